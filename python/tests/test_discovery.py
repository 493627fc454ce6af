"""What discovery controllers know, and whom they refer to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from conftest import SIZE

import nvme_tcp
from nvme_tcp.testing import Target

NQN = "nqn.2024-01.io.example:testing"
DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"
#: Where the fields of a discovery log entry are (NVMe Base, discovery log page entry).
ENTRY_LENGTH, SUBTYPE, TRSVCID, SUBNQN = 1024, 2, 32, 256


def test_one_controller(target: Target) -> None:
    entries = nvme_tcp.discover(**target.discover_args)
    (entry,) = [entry for entry in entries if entry.kind == "subsystem"]
    assert (entry.address, entry.subsystem_nqn) == (target.address, NQN)
    assert entry.tls == ("required" if "key" in target.connect_args else "off")
    assert entry.controller_id is None and entry.admin_queue_size >= 32
    options = target.connect_args | {"uri": entry.uri}
    with nvme_tcp.connect(**options) as controller:
        with pytest.raises(nvme_tcp.ConfigurationError, match="names no namespace"):
            controller.namespace()
        assert controller.namespace(1).size == SIZE
    found = nvme_tcp.discover_all(**target.discover_args)
    assert [one.entry for one in found.found] == entries and found.subsystems == [entry]
    assert {(one.source, one.depth) for one in found.found} == {(target.address, 0)} and found.unreached == ()


def test_in_an_event_loop(plain: Target) -> None:
    async def main() -> None:
        entries = await nvme_tcp.aio.discover(**plain.discover_args)
        found = await nvme_tcp.aio.discover_all(**plain.discover_args, max_depth=1)
        assert [one.entry for one in found.found] == entries and NQN in {entry.subsystem_nqn for entry in entries}

    asyncio.run(main())


class Referring:
    """A discovery controller that refers to another: a target behind a relay that changes what its log says."""

    def __init__(self, before: Target, port: int) -> None:
        self._before = before
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"nvme+tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        host, port = self._before.address.rsplit(":", 1)
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((host, int(port)))
            threading.Thread(target=self._relay, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._relay, args=(server, client, True), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, changes: bool) -> None:
        with source, sink:
            try:
                while data := source.recv(1 << 20):
                    sink.sendall(self._changed(bytearray(data)) if changes else data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def _changed(self, data: bytearray) -> bytearray:
        at = data.find(NQN.encode().ljust(256, b"\0"))
        if at >= SUBNQN and len(data) >= at + ENTRY_LENGTH - SUBNQN:
            entry = at - SUBNQN
            data[entry + SUBTYPE] = 1
            data[entry + TRSVCID : entry + TRSVCID + 32] = str(self._port).encode().ljust(32)
            data[at : at + 256] = DISCOVERY_NQN.encode().ljust(256, b"\0")
        return data

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def referring(plain: Target) -> Iterator[tuple[Referring, Target]]:
    with Target(SIZE) as before:
        relay = Referring(before, int(plain.address.rsplit(":", 1)[1]))
        yield relay, plain
        relay.close()


def test_referrals_are_followed(referring: tuple[Referring, Target]) -> None:
    relay, after = referring
    kinds = [entry.kind for entry in nvme_tcp.discover(relay.uri)]
    assert "referral" in kinds and "subsystem" not in kinds
    found = nvme_tcp.discover_all(relay.uri)
    (entry,) = found.subsystems
    assert entry.address == after.address and found.unreached == ()
    (one,) = [one for one in found.found if one.entry == entry]
    assert (one.source, one.depth) == (after.address, 1)
    with nvme_tcp.connect(entry.uri) as controller:
        assert controller.namespaces() == [1]


def test_referrals_that_lead_nowhere(referring: tuple[Referring, Target]) -> None:
    relay, after = referring
    for limits, words in (({"max_depth": 0}, "0 referrals"), ({"max_controllers": 1}, "1 discovery controllers")):
        found = nvme_tcp.discover_all(relay.uri, **limits)  # type: ignore[arg-type]
        (unreached,) = found.unreached
        assert unreached.entry.kind == "referral" and words in unreached.why and found.subsystems == []
    after.close()
    (unreached,) = nvme_tcp.discover_all(relay.uri).unreached
    assert unreached.entry.address == after.address and unreached.why
