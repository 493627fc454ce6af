"""Python is nearly as fast as the Rust library that it stands on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "benches" / "throughput.py"
#: A machine with other work gives some runs away.
ATTEMPTS = 4


#: More of the machine than this in other hands, and a ratio of throughputs says nothing: the two ends share its cores.
OTHERS = 0.1


def others() -> float:
    """The part of all CPUs that other work takes, by /proc/stat, while this process sleeps."""

    def times() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    (all_before, idle_before) = times()
    time.sleep(0.5)
    (all_after, idle_after) = times()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


@pytest.mark.parametrize(("cell", "wanted"), [("asyncio", 0.8), ("threads", 0.6)])
def test_the_ratio_is_reached(cell: str, wanted: float) -> None:
    """The median of interleaved rounds reaches it, in an interpreter without the development mode's checks."""
    found, busy = [], 0.0
    for _ in range(ATTEMPTS):
        busy = max(busy, others())
        command = [sys.executable, str(BENCH), "--cell", cell, "--rounds", "9", "--seconds", "0.2", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        (result,) = json.loads(done.stdout)
        found.append(result)
        if result["ratio"] >= wanted:
            return
    if busy > OTHERS:
        pytest.skip(f"other work takes {busy:.0%} of this machine")
    raise AssertionError(f"below {wanted:.0%} of Rust each time: {found}")
