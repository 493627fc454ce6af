"""Whole files to and from a namespace."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from pathlib import Path

import pytest
from conftest import SIZE

import nvme_tcp


@pytest.mark.parametrize("length", [0, 1, 511, 512, 100_000, SIZE])
def test_there_and_back(namespace: nvme_tcp.Namespace, tmp_path: Path, length: int) -> None:
    data = os.urandom(length)
    (tmp_path / "in").write_bytes(data)
    namespace.write(0, b"\xee" * SIZE)
    told: list[tuple[int, int]] = []
    assert namespace.copy_from(tmp_path / "in", progress=lambda *now: told.append(now), chunk=8192) == length
    assert told == [(min(at, length), length) for at in range(8192, length + 8192, 8192) if at - 8192 < length]
    # What is behind the end of the file stays as it was.
    assert namespace.read(0, SIZE) == data + b"\xee" * (SIZE - length)
    assert namespace.copy_to(tmp_path / "out", length=length) == length
    assert (tmp_path / "out").read_bytes() == data


def test_at_an_offset(namespace: nvme_tcp.Namespace, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abc" * 1000)
    namespace.copy_from(str(tmp_path / "in"), offset=4096)
    assert namespace.read(4096, 512) == (b"abc" * 1000)[:512]
    assert namespace.copy_to(tmp_path / "out", offset=4096) == SIZE - 4096
    assert (tmp_path / "out").read_bytes()[:3000] == b"abc" * 1000


def test_what_does_not_fit(namespace: nvme_tcp.Namespace, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(SIZE + 1))
    namespace.write(0, b"\xee" * 512)
    with pytest.raises(nvme_tcp.ConfigurationError, match="inside"):
        namespace.copy_from(tmp_path / "in")
    assert namespace.read(0, 512) == b"\xee" * 512
    with pytest.raises(nvme_tcp.ConfigurationError, match="inside"):
        namespace.copy_to(tmp_path / "out", offset=512, length=SIZE)
    assert not (tmp_path / "out").exists()
    with pytest.raises(nvme_tcp.ConfigurationError, match="multiple of 512"):
        namespace.copy_from(tmp_path / "in", chunk=100)


def test_files_that_are_not_there(namespace: nvme_tcp.Namespace, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        namespace.copy_from(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        namespace.copy_to(tmp_path / "nowhere" / "out")


def test_what_progress_raises_ends_the_copy(namespace: nvme_tcp.Namespace, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 4096)

    def enough(done: int, total: int) -> None:
        raise LookupError(f"{done} of {total}")

    with pytest.raises(LookupError, match="512 of 4096"):
        namespace.copy_from(tmp_path / "in", progress=enough, chunk=512)
    assert namespace.read(0, 1024) == b"x" * 512 + bytes(512)


def test_a_long_copy_can_be_interrupted(namespace: nvme_tcp.Namespace, tmp_path: Path) -> None:
    # Whoever starts the tests in the background may have SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    assert threading.current_thread() is threading.main_thread()
    (tmp_path / "in").write_bytes(bytes(SIZE))
    copies = 0
    try:
        with pytest.raises(KeyboardInterrupt):
            while True:
                namespace.copy_from(
                    tmp_path / "in", chunk=4096, progress=lambda done, _: done == 65536 and _thread.interrupt_main()
                )
                copies += 1
    finally:
        signal.signal(signal.SIGINT, before)
    # It came through in the midst of the first copy.
    assert copies == 0
    assert namespace.read(0, 512) == bytes(512)
