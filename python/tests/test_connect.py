"""Connecting, what is told of a connection, and how it fails."""

from __future__ import annotations

import errno
import gc
import pickle
import socket
import threading
from pathlib import Path

import pytest
from conftest import SIZE
from hypothesis import given
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp import keys
from nvme_tcp.testing import Target


def test_facts(target: Target) -> None:
    usual = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    more = {"io_queues": 2, "queue_size": 64, "busy_poll": 0.0001, "private_memory": True, "congestion_control": usual}
    with nvme_tcp.connect(**target.connect_args, **more) as controller:
        identity = controller.identify()
        assert identity.subsystem_nqn == "nqn.2024-01.io.example:testing"
        assert (identity.model_number, identity.io_queues, identity.queue_entries) == ("nvme-tcp-target", 2, 64)
        assert len(identity.raw) == 4096 and "raw" not in repr(identity)
        assert controller.namespaces() == [1]
        namespace = controller.identify_namespace(1)
        assert (namespace.size, namespace.block_size, namespace.read_only) == (SIZE, 512, False)
        assert controller.identify_raw(0, 1) == namespace.raw
        assert len(controller.log_page(2, 512)) == 512
        assert controller.generation == 0 and not controller.header_digest and not controller.data_digest
        controller.check()
        tls = controller.tls
        if "key" in target.connect_args:
            assert tls is not None and (tls.version, tls.suite) == ("TLS 1.3", "TLS_AES_128_GCM_SHA256")
            assert tls.psk_identity.startswith("NVMe1R01 ") and tls.identity_version == 1
            assert tls.send.by in ("kernel", "nic", "process")
            assert tls.send.by == "process" or nvme_tcp.ktls.probe().available
        else:
            assert tls is None
        controller.reconnect()
        assert controller.generation == 1
        assert controller.namespace().read(0, 512) == bytes(512)


def test_closing(plain: Target) -> None:
    controller = nvme_tcp.connect(plain.uri)
    namespace = controller.namespace()
    assert not controller.closed and "testing" in repr(controller)
    controller.close()
    controller.close()
    assert controller.closed and "closed" in repr(controller)
    for call in (controller.namespaces, controller.identify, controller.check, lambda: namespace.read(0, 512)):
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            call()
        assert caught.value.errno == errno.ESHUTDOWN


def test_a_controller_that_is_forgotten_is_closed(plain: Target) -> None:
    controller = nvme_tcp.connect(plain.uri)
    assert plain.statistics().open_connections == 2
    del controller
    gc.collect()
    while plain.statistics().open_connections:
        pass


def test_digests(target: Target) -> None:
    with nvme_tcp.connect(**target.connect_args, header_digest=True, data_digest=True) as controller:
        assert controller.header_digest and controller.data_digest
        namespace = controller.namespace()
        namespace.write(0, b"d" * 512)
        assert namespace.read(0, 512) == b"d" * 512
        target.inject("corrupt", "data")
        with pytest.raises(nvme_tcp.NvmeError, match="digest") as caught:
            namespace.read(0, 512)
        assert caught.value.errno == errno.EBADMSG and caught.value.retryable
        assert namespace.read(0, 512) == b"d" * 512
        assert controller.statistics().errors == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"host_nqn": "x y"}, nvme_tcp.ConfigurationError, "host NQN"),
        ({"host_id": "1"}, nvme_tcp.ConfigurationError, "not a UUID"),
        ({"timeout": -1.0}, nvme_tcp.ConfigurationError, "timeout is -1"),
        ({"keep_alive": float("nan")}, nvme_tcp.ConfigurationError, "keep_alive"),
        ({"busy_poll": -1.0}, nvme_tcp.ConfigurationError, "busy_poll"),
        ({"congestion_control": "nvme-none"}, nvme_tcp.ConfigurationError, "congestion control"),
        ({"queue_size": 1}, nvme_tcp.ConfigurationError, "queue size"),
        ({"layer": "magic"}, nvme_tcp.ConfigurationError, "layer"),
        ({"key": "NVMeTLSkey-1:01:AA:"}, nvme_tcp.ConfigurationError, "Base64"),
        ({"key": []}, nvme_tcp.ConfigurationError, "empty"),
        ({"key": [3]}, TypeError, "expected a Key"),
        ({"key": keys.generate(), "identity_version": 2}, nvme_tcp.ConfigurationError, "version 2"),
        ({"dhchap_secret": "DHHC-1:x"}, nvme_tcp.ConfigurationError, "dhchap_secret"),
        ({"concat": True}, nvme_tcp.ConfigurationError, "DH-HMAC-CHAP"),
        ({"concat": True, "key": keys.generate()}, nvme_tcp.ConfigurationError, "no other key"),
        ({"keyfile": "/nonexistent/key"}, nvme_tcp.ConfigurationError, "nonexistent"),
        ({"io_queues": "many"}, TypeError, "io_queues"),
        ({"io_queues": -1}, (TypeError, OverflowError), "io_queues"),
        ({"colour": "red"}, TypeError, "unexpected keyword argument 'colour'"),
    ],
)
def test_wrong_options(plain: Target, options: dict[str, object], error: type[Exception], words: str) -> None:
    for call in (nvme_tcp.connect, nvme_tcp.discover):
        with pytest.raises(error, match=words):
            call(plain.uri, **options)  # type: ignore[operator]
    assert plain.statistics().connections == 0


@pytest.mark.parametrize(
    "uri",
    ["", "http://x", "nvme+tcp://", "nvme+tcp://h", "nvme+tcp://h:99999/nqn.x:y", "nvme+tcp://h/nqn.2024-01.x:y/0"],
)
def test_wrong_uris(uri: str) -> None:
    with pytest.raises(nvme_tcp.ConfigurationError):
        nvme_tcp.connect(uri)


@given(st.text())
def test_no_text_is_a_uri_by_chance(text: str) -> None:
    with pytest.raises((nvme_tcp.ConfigurationError, UnicodeEncodeError)):
        nvme_tcp.connect(text)


def test_a_key_in_every_form(tmp_path: Path) -> None:
    key = keys.generate()
    path = tmp_path / "key"
    key.write_file(path)
    with Target(SIZE, key=key) as target:
        for options in (
            {"key": key},
            {"key": key.to_text()},
            {"key": [keys.generate(), key]},
            {"keyfile": path},
            {"keyfile": str(path)},
        ):
            with nvme_tcp.connect(target.uri, **options) as controller:  # type: ignore[arg-type]
                assert controller.namespaces() == [1]
        with nvme_tcp.connect(target.uri, key=key, identity_version=0) as controller:
            assert controller.tls is not None and controller.tls.identity_version == 0


def test_tls_failures() -> None:
    with Target(SIZE, tls=True) as target:
        with pytest.raises(nvme_tcp.TlsError) as caught:
            nvme_tcp.connect(target.uri, key=keys.generate())
        assert caught.value.errno == errno.EKEYREJECTED and caught.value.hint is not None
        # Plain, where TLS is wanted: nothing falls back.
        with pytest.raises(nvme_tcp.NvmeError) as plain_caught:
            nvme_tcp.connect(target.uri)
        assert plain_caught.value.scope == "controller" and "TLS" in str(plain_caught.value)
    with Target(SIZE) as target, pytest.raises(nvme_tcp.NvmeError):
        nvme_tcp.connect(target.uri, key=keys.generate())


def test_kernel_tls_can_be_required() -> None:
    with Target(SIZE, tls=True) as target:
        if nvme_tcp.ktls.probe().available:
            with nvme_tcp.connect(**target.connect_args, layer="kernel") as controller:
                assert controller.tls is not None and controller.tls.send.by == "kernel"
        else:
            with pytest.raises(nvme_tcp.KtlsUnsupportedError) as caught:
                nvme_tcp.connect(**target.connect_args, layer="kernel")
            assert isinstance(caught.value, nvme_tcp.TlsError) and caught.value.errno == errno.EOPNOTSUPP
        with nvme_tcp.connect(**target.connect_args, layer="process") as controller:
            assert controller.tls is not None and controller.tls.send.by == "process"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionError) as caught:
        nvme_tcp.connect(f"nvme+tcp://127.0.0.1:{port}/nqn.2024-01.io.example:x")
    assert isinstance(caught.value, nvme_tcp.NvmeError) and caught.value.errno == errno.ECONNREFUSED


@pytest.mark.parametrize("options", [{}, {"key": keys.generate()}])
def test_nobody_answers(options: dict[str, keys.Key]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(TimeoutError) as caught:
            nvme_tcp.connect(f"nvme+tcp://127.0.0.1:{port}/nqn.2024-01.io.example:x", connect_timeout=0.2, **options)
        assert isinstance(caught.value, nvme_tcp.NvmeError)
        assert isinstance(caught.value, nvme_tcp.TlsError) == bool(options)


def test_a_lost_connection(plain: Target) -> None:
    with nvme_tcp.connect(plain.uri) as controller:
        namespace = controller.namespace()
        plain.inject("cut", "data")
        with pytest.raises(nvme_tcp.NvmeConnectionError) as caught:
            namespace.read(0, 512)
        assert caught.value.scope == "queue" and caught.value.hint
        with pytest.raises(nvme_tcp.NvmeError):
            controller.check()
        controller.reconnect()
        assert namespace.read(0, 512) == bytes(512)


def test_a_command_that_takes_too_long(plain: Target) -> None:
    with nvme_tcp.connect(plain.uri, timeout=0.2) as controller:
        namespace = controller.namespace()
        plain.inject("stall", "data")
        with pytest.raises(nvme_tcp.NvmeTimeoutError):
            namespace.read(0, 512)


def test_errors_go_through_pickle() -> None:
    try:
        nvme_tcp.connect("http://x")
    except nvme_tcp.NvmeError as error:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is nvme_tcp.ConfigurationError
        assert (again.errno, again.strerror, again.scope, str(again)) == (
            error.errno,
            error.strerror,
            "configuration",
            str(error),
        )


def test_the_tree_of_errors() -> None:
    for error in (
        nvme_tcp.ConfigurationError,
        nvme_tcp.NvmeConnectionError,
        nvme_tcp.NvmeTimeoutError,
        nvme_tcp.TlsError,
        nvme_tcp.AuthenticationError,
    ):
        assert issubclass(error, nvme_tcp.NvmeError) and issubclass(error, OSError)
    assert issubclass(nvme_tcp.KtlsUnsupportedError, nvme_tcp.TlsError)
    assert issubclass(nvme_tcp.TlsTimeoutError, TimeoutError)
    bare = nvme_tcp.NvmeError("only words")
    assert str(bare) == "only words" and bare.hint is None


def test_closing_under_a_call(plain: Target) -> None:
    """A call that runs while another thread closes the controller ends, in one way or the other."""
    for _ in range(20):
        controller = nvme_tcp.connect(plain.uri)
        namespace = controller.namespace()
        ends: list[str] = []

        def read(namespace: nvme_tcp.Namespace = namespace, ends: list[str] = ends) -> None:
            try:
                while True:
                    namespace.read(0, 4096)
            except nvme_tcp.NvmeError:
                ends.append("closed")

        thread = threading.Thread(target=read)
        thread.start()
        controller.close()
        thread.join()
        assert ends == ["closed"]
