"""Events, and recovery."""

from __future__ import annotations

import asyncio
import math
import select
from typing import Any

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


def test_recovery_is_as_it_is_asked_for(plain: Target) -> None:
    policy = nvme_tcp.Recovery(first_delay=0.2, longest_delay=0.4, controller_loss_timeout=math.inf, retries=2)
    with nvme_tcp.connect(plain.uri, recovery=policy) as controller:
        events = controller.events()
        plain.inject("cut", "data")
        assert controller.namespace().read(0, 512) == bytes(512)
        while (event := events.recv(60)) is not None and event.kind != "reconnecting":
            pass
        # A quarter may be taken off.
        assert event is not None and event.delay is not None and 0.1 < event.delay <= 0.2


def test_recovery_gives_up(plain: Target) -> None:
    policy = nvme_tcp.Recovery(first_delay=0.01, longest_delay=0.05, controller_loss_timeout=0.3, fast_fail_timeout=0.1)
    with nvme_tcp.connect(plain.uri, recovery=policy) as controller:
        events, namespace = controller.events(), controller.namespace()
        plain.close()
        with pytest.raises(nvme_tcp.NvmeError):
            namespace.read(0, 512)
        kinds = []
        while (event := events.recv(60)) is not None:
            kinds.append(event.kind)
            if event.kind == "gone":
                assert isinstance(event.error, nvme_tcp.NvmeError)
                break
        assert kinds[0] == "lost" and "reconnecting" in kinds and kinds[-1] == "gone"


def test_a_write_of_unknown_fate_is_told(plain: Target) -> None:
    policy = nvme_tcp.Recovery(first_delay=0.01, longest_delay=0.1, unknown_writes="report", assumed_quiesce_time=1.0)
    with nvme_tcp.connect(plain.uri, recovery=policy) as controller:
        plain.inject("cut", "response")
        with pytest.raises(nvme_tcp.NvmeConnectionError, match="may or may not"):
            controller.namespace().write(0, b"u" * 512)


@pytest.mark.parametrize(
    ("recovery", "error", "words"),
    [
        ("yes", TypeError, "recovery"),
        (nvme_tcp.Recovery(first_delay=1.0), nvme_tcp.ConfigurationError, "together"),
        (nvme_tcp.Recovery(fast_fail_timeout=-1.0), nvme_tcp.ConfigurationError, "fast_fail_timeout"),
        (nvme_tcp.Recovery(unknown_writes="guess"), nvme_tcp.ConfigurationError, "unknown_writes"),  # type: ignore
        (nvme_tcp.Recovery(controller_loss_timeout=1e9), nvme_tcp.ConfigurationError, "loss timeout"),
        (nvme_tcp.Recovery(retries=-1), OverflowError, "int"),
    ],
)
def test_recovery_that_is_none(plain: Target, recovery: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        nvme_tcp.connect(plain.uri, recovery=recovery)
    assert plain.statistics().connections == 0


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
