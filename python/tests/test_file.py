"""A namespace as a file object."""

from __future__ import annotations

import io
import os
import shutil
import struct
import tarfile
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from conftest import SIZE
from hypothesis import given, settings
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp.testing import Target


def test_it_is_a_raw_file(namespace: nvme_tcp.Namespace) -> None:
    with namespace.open() as file:
        assert isinstance(file, io.RawIOBase)
        assert file.readable() and file.writable() and file.seekable()
        assert file.seek(0, io.SEEK_END) == SIZE and file.read(1) == b""
        assert file.seek(-3, io.SEEK_END) == SIZE - 3 and file.write(b"abcdef") == 3
        with pytest.raises(OSError, match="No space"):
            file.write(b"d")
        assert file.seek(-3, io.SEEK_CUR) == file.tell() == SIZE - 3
        assert file.readall() == b"abc"
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 7)
        assert file.truncate(10) == 10
        with pytest.raises(OSError, match="has 1048576 bytes"):
            file.truncate(SIZE + 1)
        assert file.name == "<namespace 1>"
    with pytest.raises(ValueError, match="closed"):
        file.tell()
    assert namespace.read(SIZE - 512, 512)[-3:] == b"abc"


@pytest.mark.parametrize(("mode", "reads", "writes"), [("rb", True, False), ("wb", False, True), ("r+b", True, True)])
def test_modes(namespace: nvme_tcp.Namespace, mode: str, reads: bool, writes: bool) -> None:
    for buffering in (0, -1, 4096):
        with namespace.open(mode, buffering) as file:
            assert (file.readable(), file.writable()) == (reads, writes)
            if reads:
                assert file.read(3) == bytes(3)
            else:
                with pytest.raises(io.UnsupportedOperation):
                    file.read(3)
            if not writes:
                with pytest.raises(io.UnsupportedOperation):
                    file.write(b"x")
    with pytest.raises(ValueError, match="mode"):
        namespace.open("a")


def test_copyfileobj_and_archives(namespace: nvme_tcp.Namespace) -> None:
    content = bytes(range(256)) * 300
    with namespace.open("wb") as raw:
        shutil.copyfileobj(io.BytesIO(content), raw, 1000)
    with namespace.open("rb", -1) as file:
        assert file.read(len(content)) == content
    with namespace.open() as raw:
        with tarfile.open(fileobj=raw, mode="w") as archive:
            entry = tarfile.TarInfo("image")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        raw.seek(0)
        with tarfile.open(fileobj=raw) as archive:
            found = archive.extractfile("image")
            assert found is not None and found.read() == content


def test_zip_archives(namespace: nvme_tcp.Namespace) -> None:
    content = os.urandom(100_000)
    with namespace.open("r+b", -1) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/b.bin", content)
            archive.writestr("readme", "in a namespace")
        end = file.tell()
    # A reader looks for the directory at the end of the file: the archive's own end is told to it.
    with namespace.open("rb", -1) as file, zipfile.ZipFile(io.BytesIO(file.read(end))) as archive:
        assert archive.testzip() is None
    with namespace.open("r+b") as raw:
        # As large as the namespace, it is found where it stands.
        raw.seek(SIZE - end)
        raw.write(namespace.read(0, -(-end // 512) * 512)[:end])
        with zipfile.ZipFile(raw) as archive:
            assert archive.read("a/b.bin") == content and archive.read("readme") == b"in a namespace"


def test_arrays_are_read_where_they_lie(namespace: nvme_tcp.Namespace) -> None:
    """As numpy.memmap does: the header once, and then any part of the array by its place."""
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(60_000, dtype="<u4").reshape(300, 200)
    with namespace.open("r+b") as file:
        numpy.save(file, array)
        file.seek(0)
        assert (numpy.load(file) == array).all()
        file.seek(0)
        assert numpy.lib.format.read_magic(file) == (1, 0)
        shape, _, dtype = numpy.lib.format.read_array_header_1_0(file)
        begin, row = file.tell(), shape[1] * dtype.itemsize
        buffer = numpy.empty(shape[1], dtype)
        for number in (299, 0, 150):
            file.seek(begin + number * row)
            assert file.readinto(buffer) == row
            assert (buffer == array[number]).all()


def test_a_file_system_is_parsed(namespace: nvme_tcp.Namespace) -> None:
    """As dissect and its like do it: structures are read by seeks and short reads in any order."""
    guid = uuid.uuid4()
    header = struct.pack("<8s4xI", b"EFI PART", 92).ljust(72, b"\0") + struct.pack("<QII", 2, 4, 128)
    entry = struct.pack("<16s16sQQ", uuid.uuid4().bytes_le, guid.bytes_le, 34, 99).ljust(56, b"\0") + (
        "images".encode("utf-16le").ljust(72, b"\0")
    )
    namespace.write(512, header.ljust(512, b"\0") + entry.ljust(512, b"\0"))

    def partitions(file: BinaryIO) -> Iterator[tuple[uuid.UUID, int, int, str]]:
        file.seek(512)
        signature, size = struct.unpack("<8s4xI", file.read(16))
        assert (signature, size) == (b"EFI PART", 92)
        file.seek(512 + 72)
        first, count, length = struct.unpack("<QII", file.read(16))
        for number in range(count):
            file.seek(first * 512 + number * length)
            kind, unique, begin, end = struct.unpack("<16s16sQQ", file.read(48))
            if kind == bytes(16):
                return
            file.seek(8, io.SEEK_CUR)
            yield uuid.UUID(bytes_le=unique), begin, end, file.read(72).decode("utf-16le").rstrip("\0")

    for buffering in (0, -1):
        with namespace.open("rb", buffering) as file:
            assert list(partitions(cast(BinaryIO, file))) == [(guid, 34, 99, "images")]


def test_a_file_of_its_own_is_copied_by_shutil(namespace: nvme_tcp.Namespace, tmp_path: Path) -> None:
    content = os.urandom(SIZE)
    (tmp_path / "in").write_bytes(content)
    with (tmp_path / "in").open("rb") as source, namespace.open("wb", -1) as sink:
        shutil.copyfileobj(source, sink)
    with namespace.open("rb") as raw, (tmp_path / "out").open("wb") as sink:
        shutil.copyfileobj(raw, sink)
    assert (tmp_path / "out").read_bytes() == content


_OPERATION = st.one_of(
    st.tuples(st.just("seek"), st.integers(0, 5000), st.just(b"")),
    st.tuples(st.just("read"), st.integers(0, 3000), st.just(b"")),
    st.tuples(st.just("write"), st.just(0), st.binary(max_size=2000)),
)


@settings(max_examples=80, deadline=None)
@given(operations=st.lists(_OPERATION, max_size=20), buffering=st.sampled_from([0, 700]))
def test_it_does_what_a_file_does(operations: list[tuple[str, int, bytes]], buffering: int) -> None:
    # 4,096 bytes are eight blocks, so that edges are met often.
    with Target(4096) as target, nvme_tcp.connect(**target.connect_args) as controller:
        model = io.BytesIO(bytes(4096))
        with controller.namespace().open("r+b", buffering=buffering) as file:
            for kind, number, data in operations:
                if kind == "seek":
                    assert file.seek(number) == model.seek(number)
                elif kind == "read":
                    expected = model.read(number)
                    assert file.read(number) == expected
                else:
                    data = data[: max(4096 - model.tell(), 0)]
                    if data:
                        assert file.write(data) == model.write(data)
        assert controller.namespace().read(0, 4096) == model.getvalue()
