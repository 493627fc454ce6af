"""Nothing is left behind, however many calls are made."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nvme_tcp
from nvme_tcp.testing import Target

CALLS = 100_000
#: What the whole run may grow by: a leak of 10 bytes for each call is more.
PYTHON_BYTES = 200_000
#: Allocators keep pages; a leak of 100 bytes for each call is more.
RESIDENT_BYTES = 8 << 20


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def grows(calls: Callable[[int], None]) -> tuple[int, int]:
    """What Python's memory and the process grow by over all calls, after some to warm up."""
    calls(CALLS // 20)
    gc.collect()
    process = resident()
    tracemalloc.start(1)
    try:
        calls(CALLS // 100)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        # Traced calls are slow: a part of them will do, for one object that is kept for each call shows.
        calls(CALLS // 10)
        gc.collect()
        traced = (tracemalloc.get_traced_memory()[0] - before) * 10
    finally:
        tracemalloc.stop()
    calls(CALLS)
    gc.collect()
    return traced, resident() - process


def check(growth: tuple[int, int]) -> None:
    traced, process = growth
    assert traced < PYTHON_BYTES
    assert process < RESIDENT_BYTES


def test_blocking_reads() -> None:
    with Target("1M") as target, nvme_tcp.connect(target.uri) as controller:
        namespace = controller.namespace()
        buffer = bytearray(512)

        def calls(count: int) -> None:
            for turn in range(count):
                if turn % 2:
                    namespace.readinto(512, buffer)
                else:
                    namespace.read(512, 512)

        check(grows(calls))


def test_reads_in_a_loop() -> None:
    with Target("1M") as target, asyncio.Runner(debug=False) as runner:

        async def connect() -> tuple[nvme_tcp.aio.Controller, nvme_tcp.aio.Namespace]:
            controller = await nvme_tcp.aio.connect(target.uri)
            return controller, await controller.namespace()

        controller, namespace = runner.run(connect())
        buffers = [bytearray(512) for _ in range(20)]

        async def rounds(count: int) -> None:
            for _ in range(count // len(buffers)):
                await asyncio.gather(*(namespace.readinto(0, buffer) for buffer in buffers))

        check(grows(lambda count: runner.run(rounds(count))))
        runner.run(controller.close())


def test_errors_and_connections() -> None:
    with Target("1M", tls=True) as target:
        with nvme_tcp.connect(**target.connect_args) as controller:
            namespace = controller.namespace()

            def fail(count: int) -> None:
                for _ in range(count // 5):
                    with contextlib.suppress(nvme_tcp.NvmeError):
                        namespace.readinto(1, bytearray(512))

            check(grows(fail))

        def connect(count: int) -> None:
            for _ in range(count // 1000):
                with nvme_tcp.connect(**target.connect_args) as controller:
                    controller.namespace().read(0, 512)

        check(grows(connect))


def test_references_are_given_back() -> None:
    buffer = bytearray(512)
    with Target("1M") as target, nvme_tcp.connect(target.uri) as controller:
        namespace = controller.namespace()
        before = sys.getrefcount(buffer), sys.getrefcount(namespace)
        for _ in range(1000):
            namespace.readinto(0, buffer)
            namespace.write(0, buffer)
        assert (sys.getrefcount(buffer), sys.getrefcount(namespace)) == before
