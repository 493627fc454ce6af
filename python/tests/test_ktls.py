"""TLS on sockets of one's own."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp import ktls

KEY = bytes(range(32))


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = ktls._pair()
    return ours, theirs


def both(client: Callable[[], ktls.Socket], server: Callable[[], ktls.Socket]) -> tuple[ktls.Socket, ktls.Socket]:
    """Does a handshake at both ends."""
    ends: list[ktls.Socket] = []
    thread = threading.Thread(target=lambda: ends.append(server()))
    thread.start()
    connected = client()
    thread.join()
    return connected, ends[0]


def wrapped() -> tuple[ktls.Socket, ktls.Socket]:
    ours, theirs = pair()
    return both(lambda: ktls.wrap_psk(ours, b"a", KEY), lambda: ktls.wrap_psk(theirs, b"a", KEY, server_side=True))


def test_probe() -> None:
    probe = ktls.probe()
    assert probe.available == (probe.missing is None) and probe.explanation
    assert probe.available == bool(probe.suites)
    assert probe.available or probe.mend


def test_data_goes_both_ways() -> None:
    client, server = wrapped()
    with client, server:
        assert client.version == "TLS 1.3" and client.suite == server.suite == "TLS_AES_128_GCM_SHA256"
        expected = ("kernel", "nic") if ktls.probe().available else ("process",)
        assert client.sender.by in expected and server.receiver.by in expected
        assert client.send(b"one") == 3 and server.recv(100) == b"one"
        data = os.urandom(1 << 20)
        thread = threading.Thread(target=server.sendall, args=(data,))
        thread.start()
        found, part = bytearray(), bytearray(10_000)
        while len(found) < len(data):
            found += part[: client.recv_into(part)]
        thread.join()
        assert found == data
        budgets = client.budgets()
        # The kernel is asked only now and then.
        assert budgets.received >= 1 << 6 or client.receiver.by != "process"
        assert budgets.sent >= 1 or client.sender.by != "process"
        assert budgets.limit > 1 << 20 > budgets.received
        server.close_notify()
        assert client.recv(1) == b""
        assert client.fileno() >= 0 and "TLS_AES_128" in repr(client)
    assert client.fileno() == -1
    with pytest.raises(nvme_tcp.NvmeError) as caught:
        client.recv(1)
    assert caught.value.errno == errno.ESHUTDOWN


def test_sha384_and_update_key() -> None:
    ours, theirs = pair()
    client, server = both(
        lambda: ktls.wrap_psk(ours, b"a", KEY, hash="sha384", layer="process"),
        lambda: ktls.wrap_psk(theirs, b"a", KEY, hash="sha384", layer="process", server_side=True),
    )
    with client, server:
        assert client.suite == "TLS_AES_256_GCM_SHA384"
        client.sendall(b"before")
        client.update_key()
        client.sendall(b"after")
        assert server.recv(6) + server.recv(6) == b"beforeafter"


def test_sendfile(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    client, server = wrapped()
    with client, server, (tmp_path / "file").open("rb") as file:
        sent: list[int] = []
        thread = threading.Thread(target=lambda: sent.append(client.sendfile(file, 1000)))
        thread.start()
        found = bytearray()
        while len(found) < len(data) - 1000:
            found += server.recv(1 << 16)
        thread.join()
        assert sent == [len(data) - 1000] and found == data[1000:]
        assert client.sendfile(file, 5, 10) == 10 and server.recv(100) == data[5:15]
        assert client.sendfile(file, len(data)) == 0


_MESSAGE = st.tuples(
    st.sampled_from(["send", "sendall", "sendfile", "update_key"]), st.booleans(), st.binary(max_size=3000)
)


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(_MESSAGE, max_size=12),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=8),
    layer=st.sampled_from(["auto", "process"]),
    hash=st.sampled_from(["sha256", "sha384"]),
)
def test_what_is_sent_is_received(
    messages: list[tuple[str, bool, bytes]], sizes: list[int], layer: Any, hash: Any
) -> None:
    """However it is sent and received, in both directions, across changes of keys."""
    ours, theirs = pair()
    ends = both(
        lambda: ktls.wrap_psk(ours, b"a", KEY, hash=hash, layer=layer),
        lambda: ktls.wrap_psk(theirs, b"a", KEY, hash=hash, layer=layer, server_side=True),
    )
    with ends[0], ends[1]:
        sent = [bytearray(), bytearray()]
        for kind, reverse, data in messages:
            end = ends[reverse]
            if kind == "update_key":
                # Not every kernel can.
                with contextlib.suppress(nvme_tcp.KtlsUnsupportedError):
                    end.update_key()
            elif kind == "send":
                sent[reverse] += data[: end.send(data)]
            elif kind == "sendall":
                end.sendall(data)
                sent[reverse] += data
            else:
                with tempfile.TemporaryFile() as file:
                    file.write(data)
                    file.flush()
                    sent[reverse] += data[: end.sendfile(file)]
        for reverse in (False, True):
            end, found, turn = ends[not reverse], bytearray(), 0
            ends[reverse].close_notify()
            buffer = bytearray(5000)
            while True:
                size = sizes[turn % len(sizes)]
                with memoryview(buffer)[:size] as part:
                    piece = end.recv(size) if turn % 2 else bytes(part[: end.recv_into(part)])
                if not piece:
                    break
                assert len(piece) <= size
                found += piece
                turn += 1
            assert found == sent[reverse]


@settings(max_examples=60, deadline=None)
@given(identity=st.binary(max_size=40), key=st.binary(max_size=70), hash=st.sampled_from(["sha256", "sha384"]))
def test_any_identity_and_key(identity: bytes, key: bytes, hash: Any) -> None:
    ours, theirs = pair()
    with ours, theirs:
        if not identity or not 0 < len(key) <= 64:
            with pytest.raises(nvme_tcp.NvmeError):
                ktls.wrap_psk(ours, identity, key, hash=hash)
            assert ours.fileno() >= 0
            return
        client, server = both(
            lambda: ktls.wrap_psk(ours, identity, key, hash=hash),
            lambda: ktls.wrap_psk(theirs, identity, key, hash=hash, server_side=True),
        )
        with client, server:
            client.sendall(b"known")
            assert server.recv(5) == b"known"


@settings(deadline=None)
@given(st.text())
def test_no_text_is_a_key_log_by_chance(text: str) -> None:
    ours, theirs = pair()
    with ours, theirs:
        with pytest.raises((nvme_tcp.ConfigurationError, UnicodeEncodeError)):
            ktls.wrap_keylog(ours, text, "TLS_AES_128_GCM_SHA256", server_side=False)
        assert ours.fileno() >= 0


def test_another_key_is_refused() -> None:
    ours, theirs = pair()
    errors: list[nvme_tcp.NvmeError] = []

    def serve() -> None:
        try:
            ktls.wrap_psk(theirs, b"a", bytes(32), server_side=True)
        except nvme_tcp.NvmeError as error:
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(nvme_tcp.TlsError):
        ktls.wrap_psk(ours, b"a", KEY)
    thread.join()
    assert isinstance(errors[0], nvme_tcp.TlsError) and errors[0].errno == errno.EKEYREJECTED


def test_a_silent_peer_times_out() -> None:
    ours, theirs = pair()
    with theirs:
        ours.settimeout(0.1)
        with pytest.raises(nvme_tcp.TlsTimeoutError):
            ktls.wrap_psk(ours, b"a", KEY)
    assert ours.fileno() == -1
    client, server = wrapped()
    client.close()
    with server, pytest.raises(nvme_tcp.TlsError):
        # The connection ends; whether with close_notify or without, no data comes.
        if server.recv(1) == b"":
            raise nvme_tcp.TlsError("ended in good order")


def test_recv_keeps_the_sockets_timeout() -> None:
    ours, theirs = pair()
    ours.settimeout(0.1)
    client, server = both(
        lambda: ktls.wrap_psk(ours, b"a", KEY), lambda: ktls.wrap_psk(theirs, b"a", KEY, server_side=True)
    )
    with client, server:
        with pytest.raises(TimeoutError):
            client.recv(1)
        server.sendall(b"late")
        assert client.recv(4) == b"late"


def test_wrong_arguments() -> None:
    ours, theirs = pair()
    with ours, theirs:
        ours.setblocking(False)
        with pytest.raises(ValueError, match="blocking"):
            ktls.wrap_psk(ours, b"a", KEY)
        ours.setblocking(True)
        for options in ({"hash": "md5"}, {"layer": "magic"}, {"identity": b""}, {"key": bytes(65)}, {"key": b""}):
            given = {"identity": b"a", "key": KEY} | options
            with pytest.raises(nvme_tcp.NvmeError):
                ktls.wrap_psk(ours, **given)  # type: ignore[arg-type]
        # The socket is still its owner's.
        assert ours.fileno() >= 0
        for text, words in (("", "0 connections"), ("CLIENT_TRAFFIC_SECRET_0 00 00", "random")):
            with pytest.raises(nvme_tcp.ConfigurationError, match=words):
                ktls.wrap_keylog(ours, text, "TLS_AES_128_GCM_SHA256", server_side=False)
        with pytest.raises(nvme_tcp.ConfigurationError, match="TLS_X"):
            ktls.wrap_keylog(ours, f"CLIENT_TRAFFIC_SECRET_0 {'00' * 32} {'00' * 32}", "TLS_X", server_side=False)
    with pytest.raises(ValueError, match="closed"):
        ktls.wrap_psk(ours, b"a", KEY)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with: apt-get install openssl")
    path = tmp_path / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=localhost", "-keyout", str(path), "-out", str(tmp_path / "only-cert.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    path.write_text(path.read_text() + (tmp_path / "only-cert.pem").read_text())
    return path


@pytest.mark.parametrize("tickets", [0, 2])
def test_connections_of_ssl_are_handed_over(certificate: Path, tmp_path: Path, tickets: int) -> None:
    """Both ends: made by Python's ssl, then ours on one side and on the other."""
    ours, theirs = pair()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    server_context.num_tickets = tickets
    server_context.keylog_filename = str(tmp_path / "server.log")
    client_context = ssl.create_default_context(cafile=str(certificate))
    client_context.keylog_filename = str(tmp_path / "client.log")

    def server() -> ktls.Socket:
        wrapped = server_context.wrap_socket(theirs, server_side=True)
        return ktls.wrap_ssl(wrapped, tmp_path / "server.log", sent=tickets)

    def client() -> ktls.Socket:
        wrapped = client_context.wrap_socket(ours, server_hostname="localhost")
        assert wrapped.version() == "TLSv1.3"
        return ktls.wrap_ssl(wrapped, tmp_path / "client.log")

    one, other = both(client, server)
    with one, other:
        one.sendall(b"to the server")
        assert other.recv(100) == b"to the server"
        other.sendall(b"to the client")
        assert one.recv(100) == b"to the client"
        other.close_notify()
        assert one.recv(100) == b""


def test_ssl_before_its_handshake_is_refused(tmp_path: Path) -> None:
    ours, theirs = pair()
    context = ssl.create_default_context()
    early = context.wrap_socket(ours, server_hostname="localhost", do_handshake_on_connect=False)
    with theirs, early, pytest.raises(ValueError, match="no TLS yet"):
        ktls.wrap_ssl(early, tmp_path / "log")
