"""Reads from one target by Python and by the Rust library, in turn, so that both meet the same machine.

python benches/throughput.py [--cell asyncio|threads] [--rounds N] [--seconds S] [--tls] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import nvme_tcp
from nvme_tcp import _native

DEPTH = 32
LARGE = 128 * 1024
SMALL = 4096
THREADS = 4


@dataclass(frozen=True)
class Result:
    """Medians of the rounds, in bytes per second."""

    name: str
    rust: float
    python: float
    #: The median of the rounds' own ratios.
    ratio: float


def compare(name: str, rust: Callable[[], float], python: Callable[[], float], rounds: int) -> Result:
    """Interleaves the two, one after the other in each round, and the order changes with each."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            fast = rust()
            ours = python()
        else:
            ours = python()
            fast = rust()
        pairs.append((fast, ours))
    return Result(
        name,
        statistics.median(rust for rust, _ in pairs),
        statistics.median(python for _, python in pairs),
        statistics.median(python / rust for rust, python in pairs),
    )


def fill(namespace: nvme_tcp.Namespace) -> None:
    """Gives every block memory at the target."""
    piece = bytes(range(256)) * 4096
    for offset in range(0, namespace.size, len(piece)):
        namespace.write(offset, piece)


def asyncio_large(target: nvme_tcp.testing.Target, rounds: int, seconds: float) -> Result:
    """128 KiB reads at depth 32 through asyncio, against a blocking read that keeps as many in flight."""
    with nvme_tcp.connect(**target.connect_args) as controller, asyncio.Runner() as runner:
        namespace = controller.namespace()
        fill(namespace)
        loop_controller = runner.run(_connect(target))
        loop_namespace = runner.run(loop_controller.namespace())
        buffers = [bytearray(LARGE) for _ in range(DEPTH)]

        async def read(number: int, until: float) -> int:
            slots, slot, count = namespace.size // LARGE, number, 0
            while time.perf_counter() < until:
                await loop_namespace.readinto(slot % slots * LARGE, buffers[number])
                slot, count = slot + DEPTH, count + 1
            return count

        async def all_of_them() -> float:
            begin = time.perf_counter()
            counts = await asyncio.gather(*(read(number, begin + seconds) for number in range(DEPTH)))
            return sum(counts) * LARGE / (time.perf_counter() - begin)

        def rust(threads: int) -> float:
            return _native.measure(namespace, LARGE * DEPTH // threads, threads, seconds)

        try:
            # One call with everything in flight, or four that overlap: whichever is better here.
            best = max((1, 4), key=lambda threads: statistics.median(rust(threads) for _ in range(3)))
            return compare(
                f"{LARGE // 1024} KiB at depth {DEPTH}, asyncio",
                lambda: rust(best),
                lambda: runner.run(all_of_them()),
                rounds,
            )
        finally:
            runner.run(loop_controller.close())


async def _connect(target: nvme_tcp.testing.Target) -> nvme_tcp.aio.Controller:
    return await nvme_tcp.aio.connect(**target.connect_args)


def threads_small(target: nvme_tcp.testing.Target, rounds: int, seconds: float) -> Result:
    """4 KiB reads from 4 threads of Python, against the same from 4 threads of Rust."""
    with nvme_tcp.connect(**target.connect_args, io_queues=THREADS) as controller:
        namespace = controller.namespace()
        fill(namespace)

        def all_of_them() -> float:
            counts = [0] * THREADS
            begin = time.perf_counter()

            def read(number: int) -> None:
                buffer, slots, slot = bytearray(SMALL), namespace.size // SMALL, number
                count = 0
                while time.perf_counter() < begin + seconds:
                    namespace.readinto(slot % slots * SMALL, buffer)
                    slot, count = slot + THREADS, count + 1
                counts[number] = count

            running = [threading.Thread(target=read, args=(number,)) for number in range(THREADS)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
            return sum(counts) * SMALL / (time.perf_counter() - begin)

        return compare(
            f"{SMALL // 1024} KiB from {THREADS} threads",
            lambda: _native.measure(namespace, SMALL, THREADS, seconds),
            all_of_them,
            rounds,
        )


CELLS = {"asyncio": asyncio_large, "threads": threads_small}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--cell", choices=list(CELLS), help="one of them; all by default")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    # MDTS is the size of one read, so that the blocking call makes the same commands.
    with nvme_tcp.testing.Target("64M", given.tls, max_transfer=LARGE) as target:
        cells = [CELLS[given.cell]] if given.cell else CELLS.values()
        results = [cell(target, given.rounds, given.seconds) for cell in cells]
    if given.json:
        print(json.dumps([asdict(result) for result in results]))
        return
    for result in results:
        print(
            f"{result.name}: Rust {result.rust / 1e6:.0f} MB/s, Python {result.python / 1e6:.0f} MB/s, "
            f"{result.ratio:.0%} of it"
        )


if __name__ == "__main__":
    main()
