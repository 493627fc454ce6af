"""Plots throughput against the size of a read, to a picture.

python plot_throughput.py throughput.png [URI] [--keyfile FILE] [--seconds S]
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

import nvme_tcp

SIZES = [512 << step for step in range(0, 13, 2)]


def measure(namespace: nvme_tcp.Namespace, size: int, seconds: float) -> float:
    """Bytes per second of reads of one size, one after the other."""
    buffer = memoryview(bytearray(size))
    slots = max(namespace.size // size, 1)
    count, begin = 0, time.perf_counter()
    while (took := time.perf_counter() - begin) < seconds:
        namespace.readinto(count % slots * size, buffer)
        count += 1
    return count * size / took


def plot(rates: dict[int, float], path: Path, title: str) -> None:
    """Draws it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot([size / 1024 for size in rates], [rate / 1e6 for rate in rates.values()], marker="o")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="read size, KiB", ylabel="MB/s", title=title, ylim=(0, None))
    axes.grid(True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("uri", nargs="?")
    parser.add_argument("--keyfile", type=Path)
    parser.add_argument("--seconds", type=float, default=0.5)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {"uri": given.uri, "keyfile": given.keyfile}
        if given.uri is None:
            options = stack.enter_context(nvme_tcp.testing.Target("64M")).connect_args
        controller = stack.enter_context(nvme_tcp.connect(**options))
        namespace = controller.namespace()
        sizes = [size for size in SIZES if size % namespace.block_size == 0 and size <= namespace.size]
        rates = {size: measure(namespace, size, given.seconds) for size in sizes}
        facts = controller.tls
        title = f"{facts.suite}, opened by the {facts.receive.by}" if facts is not None else "plain"
    for size, rate in rates.items():
        print(f"{size:>9} bytes: {rate / 1e6:8.1f} MB/s")
    plot(rates, given.picture, title)


if __name__ == "__main__":
    main()
