"""The types, the style and the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import nvme_tcp

ROOT = Path(__file__).parent.parent


def module(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a tool of this environment in the package's folder."""
    if subprocess.run([sys.executable, "-c", f"import {arguments[0]}"], capture_output=True).returncode != 0:
        pytest.skip(f"no {arguments[0]} in this environment: pip install {arguments[0]}")
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )


def test_the_stubs_say_what_is_there() -> None:
    done = module("mypy.stubtest", "nvme_tcp", "--mypy-config-file", "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_types() -> None:
    # Where it is installed, the package is found as its users find it: by its py.typed.
    done = module("mypy", "--strict", "python/nvme_tcp", "examples", "benches")
    assert done.returncode == 0, done.stdout + done.stderr


def test_style() -> None:
    if shutil.which("ruff", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("no ruff in this environment: pip install ruff")
    done = module("ruff", "check", ".")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def wheel() -> str:
    path = os.environ.get("NVME_TCP_WHEEL")
    if path is None:
        pytest.skip("NVME_TCP_WHEEL names no wheel: cargo xtask python builds one")
    return path


def test_the_wheel_is_one_for_every_python(wheel: str) -> None:
    assert "-cp311-abi3-manylinux" in Path(wheel).name or "-cp311-abi3-linux" in Path(wheel).name
    done = module("abi3audit", "--strict", "--verbose", wheel)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_is_for_every_linux(wheel: str) -> None:
    done = module("auditwheel", "show", wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "manylinux" in done.stdout, done.stdout


def test_the_global_lock_is_claimed() -> None:
    """A free-threaded interpreter takes the lock for it, rather than run what was not tried without."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this Python is not a free-threaded one: build nvme_tcp for one (3.14t, say) to try it")
    code = "import sys, nvme_tcp; sys.exit(not sys._is_gil_enabled())"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_the_version_is_the_workspaces() -> None:
    manifest = (ROOT.parent / "Cargo.toml").read_text(encoding="utf-8")
    assert f'version = "{nvme_tcp.__version__}"' in manifest
