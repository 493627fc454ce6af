"""Events, and recovery."""

from __future__ import annotations

import asyncio
import select

import pytest

import nvme_tcp
from nvme_tcp.testing import Target


def test_a_replacement_is_told(plain: Target) -> None:
    with nvme_tcp.connect(plain.uri) as controller:
        events = controller.events()
        assert events.recv(0) is None and events.recv(timeout=0.01) is None
        assert select.select([events], [], [], 0)[0] == []
        controller.reconnect()
        assert select.select([events], [], [], 30)[0] == [events]
        found = [events.recv(30), events.recv(30)]
        assert {event.kind for event in found if event is not None} == {"up", "replaced"}
        for wrong in (-1.0, float("nan")):
            with pytest.raises(nvme_tcp.ConfigurationError):
                events.recv(wrong)
    # It ends with the controller.
    assert [event.kind for event in events if event.kind != "gone"] == []
    assert events.recv() is None


def test_a_loss_is_told_and_recovered(plain: Target) -> None:
    with nvme_tcp.connect(plain.uri, recovery=True) as controller:
        namespace = controller.namespace()
        events = controller.events()
        plain.inject("cut", "data")
        # The read is held, and made again on the next association.
        assert namespace.read(0, 512) == bytes(512)
        kinds = []
        while "up" not in kinds:
            event = events.recv(30)
            assert event is not None
            kinds.append(event.kind)
            if event.kind == "lost":
                assert isinstance(event.error, nvme_tcp.NvmeError) and event.generation == 0
            if event.kind == "reconnecting":
                assert event.attempt == 1 and event.delay is not None
        assert kinds[0] == "lost"


def test_an_async_iterator(plain: Target) -> None:
    async def main() -> list[str]:
        kinds = []
        async with nvme_tcp.aio.connect(plain.uri) as controller:

            async def watch() -> None:
                async for event in controller.events():
                    kinds.append(event.kind)
                    watching.set()

            watching = asyncio.Event()
            watcher = asyncio.create_task(watch())
            await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await controller.reconnect()
                await watching.wait()
        async with asyncio.timeout(60):
            await watcher
        return kinds

    assert {"up", "replaced"} <= set(asyncio.run(main()))
