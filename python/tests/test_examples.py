"""The examples do what they say."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*arguments: str | Path, code: int = 0) -> str:
    command = [sys.executable, str(EXAMPLES / arguments[0]), *map(str, arguments[1:])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(5_000_000))
    return path


def test_stage_image(image: Path) -> None:
    assert run("stage_image.py", image).split() == [hashlib.sha256(image.read_bytes()).hexdigest()]
    run("stage_image.py", image.parent / "missing", code=1)


def test_verify_fleet(image: Path) -> None:
    first, second, third = run("verify_fleet.py", image, code=1).splitlines()
    assert first.endswith("as it should be") and second.endswith("as it should be") and "holds" in third


def test_plot_throughput(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run("plot_throughput.py", tmp_path / "t.png", "--seconds", "0.02")
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_numpy_array() -> None:
    pytest.importorskip("numpy")
    assert run("numpy_array.py") == "1048576 numbers, mean 524287.5\n"
