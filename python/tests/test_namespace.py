"""Reads, writes and the rest of a namespace, with every kind of buffer."""

from __future__ import annotations

import array
import errno
import mmap
import os
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest
from conftest import SIZE
from hypothesis import given, settings
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp.testing import Target

PIECE = bytes(range(256)) * 2


def test_what_is_written_is_read(namespace: nvme_tcp.Namespace) -> None:
    data = os.urandom(3 * 512)
    assert namespace.write(512, data) == len(data)
    assert namespace.read(512, len(data)) == data
    assert namespace.read(0, 512) == bytes(512)
    assert namespace.read(0, 0) == b""


def test_facts(namespace: nvme_tcp.Namespace) -> None:
    assert (namespace.nsid, namespace.size, len(namespace)) == (1, SIZE, SIZE)
    assert (namespace.block_size, namespace.max_transfer, namespace.read_only) == (512, 1 << 20, False)
    assert "1048576 bytes" in repr(namespace)


@pytest.mark.parametrize("kind", ["bytearray", "memoryview", "array", "mmap", "numpy", "numpy floats"])
def test_any_writable_buffer(namespace: nvme_tcp.Namespace, kind: str) -> None:
    namespace.write(0, PIECE * 8)
    buffer: bytearray | memoryview | array.array[int] | mmap.mmap
    if kind == "bytearray":
        buffer = bytearray(4096)
    elif kind == "memoryview":
        buffer = memoryview(bytearray(4096 + 100))[50:4146]
    elif kind == "array":
        buffer = array.array("Q", [0]) * 512
    elif kind == "mmap":
        buffer = mmap.mmap(-1, 4096)
    else:
        numpy = pytest.importorskip("numpy")
        shape, dtype = ((4096,), "u1") if kind == "numpy" else ((16, 32), "f8")
        values = numpy.zeros(shape, dtype)
        assert namespace.readinto(0, values) == 4096
        assert values.tobytes() == PIECE * 8
        assert namespace.write(8192, values) == 4096
        assert namespace.read(8192, 4096) == PIECE * 8
        return
    assert namespace.readinto(0, buffer) == 4096
    assert bytes(memoryview(buffer).cast("B")) == PIECE * 8
    assert namespace.write(8192, buffer) == 4096
    assert namespace.read(8192, 4096) == PIECE * 8


def test_the_buffer_is_filled_in_place(namespace: nvme_tcp.Namespace) -> None:
    numpy = pytest.importorskip("numpy")
    namespace.write(0, PIECE)
    values = numpy.zeros(512, "u1")
    address = values.ctypes.data
    namespace.readinto(0, values)
    assert values.ctypes.data == address and values[255] == 255


def test_read_only_buffers_are_refused(namespace: nvme_tcp.Namespace) -> None:
    numpy = pytest.importorskip("numpy")
    fixed = numpy.zeros(512, "u1")
    fixed.flags.writeable = False
    for buffer in (bytes(512), memoryview(bytes(512)), fixed):
        with pytest.raises((BufferError, ValueError)):
            namespace.readinto(0, buffer)
    assert namespace.write(0, fixed) == 512


def test_buffers_in_pieces_are_refused(namespace: nvme_tcp.Namespace) -> None:
    numpy = pytest.importorskip("numpy")
    for buffer in (memoryview(bytearray(1024))[::2], numpy.zeros((1024, 2), "u1")[:, 0], numpy.zeros((512, 2), "u1").T):
        with pytest.raises((BufferError, ValueError)):
            namespace.readinto(0, buffer)
        with pytest.raises((BufferError, ValueError)):
            namespace.write(0, buffer)


def test_tensors(namespace: nvme_tcp.Namespace) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(512, dtype=torch.uint8)
    namespace.write(0, PIECE)
    assert namespace.readinto(0, tensor) == 512 and tensor.tolist() == list(PIECE)
    assert namespace.write(512, tensor) == 512 and namespace.read(512, 512) == PIECE


def test_tensors_share_their_memory(namespace: nvme_tcp.Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyTorch's tensors do, as far as it is used: no buffer protocol, and an array of the same memory."""
    numpy = pytest.importorskip("numpy")

    class Tensor:
        def __init__(self, fails: bool = False) -> None:
            self.memory, self.fails = numpy.zeros(512, "u1"), fails

        def numpy(self) -> Any:
            if self.fails:
                raise RuntimeError("can't convert a tensor that is elsewhere")
            return self.memory

    tensor = Tensor()
    with pytest.raises(TypeError, match="not 'Tensor'"):
        namespace.readinto(0, tensor)
    torch = types.ModuleType("torch")
    torch.Tensor = Tensor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    namespace.write(0, PIECE)
    assert namespace.readinto(0, tensor) == 512 and tensor.memory.tobytes() == PIECE
    assert namespace.write(512, tensor) == 512 and namespace.read(512, 512) == PIECE
    with pytest.raises(RuntimeError, match="elsewhere"):
        namespace.readinto(0, Tensor(fails=True))
    with pytest.raises(TypeError, match="not 'str'"):
        namespace.write(0, "text")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["text", 3, None, [1, 2]])
def test_what_is_no_buffer_is_refused(namespace: nvme_tcp.Namespace, wrong: object) -> None:
    with pytest.raises(TypeError, match="bytes-like"):
        namespace.write(0, wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes-like"):
        namespace.readinto(0, wrong)  # type: ignore[arg-type]


def test_a_bytearray_is_free_again_after_a_call(namespace: nvme_tcp.Namespace) -> None:
    buffer = bytearray(512)
    namespace.readinto(0, buffer)
    with pytest.raises(ValueError, match="multiple"):
        namespace.readinto(1, buffer)
    buffer.extend(b"it can be resized")


@pytest.mark.parametrize(
    ("offset", "length", "words"),
    [
        (1, 512, "multiple"),
        (0, 513, "multiple"),
        (SIZE, 512, "inside"),
        (0, SIZE + 512, "inside"),
        (1 << 63, 512, "in"),
    ],
)
def test_wrong_ranges(namespace: nvme_tcp.Namespace, offset: int, length: int, words: str) -> None:
    calls = [
        lambda: namespace.read(offset, length),
        lambda: namespace.readinto(offset, bytearray(length)),
        lambda: namespace.write(offset, bytes(length)),
        lambda: namespace.write_zeroes(offset, length),
        lambda: namespace.discard(offset, length),
    ]
    for call in calls:
        with pytest.raises(nvme_tcp.ConfigurationError, match=words) as caught:
            call()
        assert caught.value.errno == errno.EINVAL
        assert caught.value.scope == "configuration"


def test_huge_reads_take_no_memory(namespace: nvme_tcp.Namespace) -> None:
    with pytest.raises(nvme_tcp.ConfigurationError, match="inside"):
        namespace.read(0, 1 << 62)
    for wrong in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            namespace.read(wrong, 512)
        with pytest.raises(OverflowError):
            namespace.read(0, wrong)


def test_zeroes_and_discard(namespace: nvme_tcp.Namespace) -> None:
    namespace.write(0, b"\xff" * 4096)
    namespace.write_zeroes(512, 1024)
    assert namespace.read(0, 4096) == b"\xff" * 512 + bytes(1024) + b"\xff" * (4096 - 1536)
    namespace.discard(2048, 2048)
    assert namespace.read(2048, 2048) == bytes(2048)
    namespace.flush()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 63),
            st.integers(0, 16),
            st.sampled_from(["write", "zero", "discard"]),
            st.binary(min_size=1, max_size=8),
        ),
        max_size=12,
    )
)
def test_a_namespace_is_bytes_at_offsets(model: list[tuple[int, int, str, bytes]]) -> None:
    namespace = _shared()
    namespace.write_zeroes(0, 64 * 512)
    expected = bytearray(64 * 512)
    for first, count, kind, fill in model:
        start, length = first * 512, min(count, 64 - first) * 512
        if kind == "write":
            data = (fill * (length // len(fill) + 1))[:length]
            namespace.write(start, data)
        else:
            data = bytes(length)
            (namespace.write_zeroes if kind == "zero" else namespace.discard)(start, length)
        expected[start : start + length] = data
    assert namespace.read(0, len(expected)) == expected


_SHARED: list[tuple[Target, nvme_tcp.Controller, nvme_tcp.Namespace]] = []


def _shared() -> nvme_tcp.Namespace:
    """One namespace for all of hypothesis' examples."""
    if not _SHARED:
        target = Target(SIZE)
        controller = nvme_tcp.connect(**target.connect_args)
        _SHARED.append((target, controller, controller.namespace()))
    return _SHARED[0][2]


def teardown_module() -> None:
    while _SHARED:
        target, controller, _ = _SHARED.pop()
        controller.close()
        target.close()


def test_more_than_one_command() -> None:
    with (
        Target("4M", max_transfer=8192, queue_entries=32) as small,
        nvme_tcp.connect(**small.connect_args) as controller,
    ):
        namespace = controller.namespace()
        assert namespace.max_transfer == 8192
        data = os.urandom(1 << 20)
        namespace.write(4096, data)
        assert namespace.read(4096, len(data)) == data


def test_read_only_namespaces() -> None:
    with Target(SIZE, read_only=True) as target, nvme_tcp.connect(**target.connect_args) as controller:
        namespace = controller.namespace()
        assert namespace.read_only
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            namespace.write(0, bytes(512))
        assert caught.value.errno == errno.EROFS
        assert (caught.value.status_type, caught.value.status_code) == (0, 0x20)
        assert caught.value.hint is not None and "reading only" in str(caught.value)
        with pytest.raises(PermissionError):
            namespace.open()
        with namespace.open("rb") as file:
            assert not file.writable()


def test_a_file_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with Target("1M", path=path, block_size=4096) as target, nvme_tcp.connect(**target.connect_args) as controller:
        namespace = controller.namespace()
        assert namespace.block_size == 4096
        namespace.write(4096, b"x" * 4096)
        namespace.flush()
    assert path.read_bytes()[4096:8192] == b"x" * 4096


def test_threads_really_run_side_by_side(plain: Target) -> None:
    """While one thread waits for an answer that never comes, another reads."""
    with nvme_tcp.connect(**plain.connect_args, io_queues=2, timeout=20.0) as controller:
        namespace = controller.namespace()
        held = threading.Barrier(2)
        done: list[BaseException | None] = []

        def stall() -> None:
            held.wait()
            try:
                namespace.write(0, bytes(512))
                done.append(None)
            except nvme_tcp.NvmeError as error:
                done.append(error)

        plain.inject("stall", "response")
        thread = threading.Thread(target=stall)
        thread.start()
        held.wait()
        while plain.injected < 1:
            # The interpreter is free, or this loop would not turn.
            controller.statistics()
        thread_two = [controller.identify().model_number for _ in range(3)]
        assert len(thread_two) == 3 and not done
        plain.close()
        thread.join()
        assert isinstance(done[0], nvme_tcp.NvmeError)


def test_many_threads(plain: Target) -> None:
    with nvme_tcp.connect(**plain.connect_args, io_queues=4) as controller:
        namespace = controller.namespace()

        def work(number: int) -> None:
            mine = bytes([number]) * 4096
            buffer = bytearray(4096)
            for turn in range(200):
                offset = (number * 16 + turn % 16) * 4096
                namespace.write(offset, mine)
                namespace.readinto(offset, buffer)
                if buffer != mine:
                    wrong.append(number)

        wrong: list[int] = []
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        statistics = controller.statistics()
        assert (statistics.reads, statistics.writes, statistics.errors) == (1600, 1600, 0)
        assert statistics.bytes_read == 1600 * 4096
