"""A namespace as a file object."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING, BinaryIO, Final, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._native import Namespace

__all__ = ["NamespaceFile", "open_namespace"]

#: What buffered readers and writers hold: well above a block, and below what one command moves.
BUFFER_BYTES: Final = 128 * 1024


class NamespaceFile(io.RawIOBase):
    """The bytes of a namespace, from any position on, for whatever takes a binary file.

    Positions and lengths need not be whole blocks: a read fetches the blocks that it touches, a write fetches the
    first and the last block where it covers only a part of them, and writes them back. (So two writers of the same
    block, this process's threads or other hosts, can undo each other's bytes; writers of whole blocks cannot.)
    It ends where the namespace ends, and cannot be made longer. ``flush`` makes what was written durable, and so
    does ``close``.

    >>> import io, nvme_tcp, tarfile
    >>> with nvme_tcp.testing.Target(size="1M") as target, nvme_tcp.connect(**target.connect_args) as controller:
    ...     with controller.namespace().open() as file:
    ...         with tarfile.open(fileobj=file, mode="w") as archive:
    ...             entry = tarfile.TarInfo("a.txt")
    ...             entry.size = 14
    ...             archive.addfile(entry, io.BytesIO(b"in a namespace"))
    ...         position = file.seek(0)
    ...         with tarfile.open(fileobj=file) as archive:
    ...             archive.getnames()
    ['a.txt']
    """

    def __init__(self, namespace: Namespace, *, readable: bool = True, writable: bool = True) -> None:
        super().__init__()
        self._namespace = namespace
        self._readable = readable
        self._writable = writable and not namespace.read_only
        self._at = 0
        self._end = 0
        self._dirty = False

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"<namespace {self._namespace.nsid}>"

    def readable(self) -> bool:
        self._check()
        return self._readable

    def writable(self) -> bool:
        self._check()
        return self._writable

    def seekable(self) -> bool:
        self._check()
        return True

    def tell(self) -> int:
        self._check()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._namespace.size}.get(whence)
        if base is None:
            raise ValueError(f"whence is {whence}, expected 0, 1 or 2")
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        self._check()
        if not self._readable:
            raise io.UnsupportedOperation("not open for reading")
        with memoryview(buffer) as whole, whole.cast("B") as view:
            length = min(len(view), max(self._namespace.size - self._at, 0))
            at, end, block = self._at, self._at + length, self._namespace.block_size
            done = 0
            while at < end:
                if at % block == 0 and end - at >= block:
                    step = (end - at) // block * block
                    self._namespace.readinto(at, view[done : done + step])
                else:
                    first = at // block * block
                    step = min(first + block, end) - at
                    view[done : done + step] = self._namespace.read(first, block)[at - first : at - first + step]
                at, done = at + step, done + step
        self._at = end
        return length

    def readall(self) -> bytes:
        buffer = bytearray(max(self._namespace.size - self._at, 0))
        self.readinto(buffer)
        return bytes(buffer)

    def write(self, buffer: Buffer) -> int:
        self._check()
        if not self._writable:
            raise io.UnsupportedOperation("not open for writing")
        with memoryview(buffer) as whole, whole.cast("B") as view:
            length = min(len(view), max(self._namespace.size - self._at, 0))
            if length == 0 and len(view) > 0:
                raise OSError(errno.ENOSPC, "No space left in the namespace")
            at, end, block = self._at, self._at + length, self._namespace.block_size
            done = 0
            while at < end:
                if at % block == 0 and end - at >= block:
                    step = (end - at) // block * block
                    self._namespace.write(at, view[done : done + step])
                else:
                    first = at // block * block
                    step = min(first + block, end) - at
                    edge = bytearray(self._namespace.read(first, block))
                    edge[at - first : at - first + step] = view[done : done + step]
                    self._namespace.write(first, edge)
                self._dirty = True
                at, done = at + step, done + step
        self._at = end
        return length

    def flush(self) -> None:
        super().flush()
        if self._dirty:
            self._namespace.flush()
            self._dirty = False

    def truncate(self, size: int | None = None) -> int:
        """A namespace has the size that it has: succeeds where it is asked for less, as for a block device."""
        self._check()
        size = self._at if size is None else size
        if size > self._namespace.size:
            raise OSError(errno.ENOSPC, f"the namespace has {self._namespace.size} bytes, not {size}")
        return size

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


def open_namespace(namespace: Namespace, mode: str, buffering: int) -> NamespaceFile | BinaryIO:
    """What ``Namespace.open`` does."""
    kinds = {"rb": (True, False), "wb": (False, True), "r+b": (True, True), "rb+": (True, True)}
    if mode not in kinds:
        raise ValueError(f"mode is {mode!r}, expected 'rb', 'wb' or 'r+b'")
    readable, writable = kinds[mode]
    if writable and namespace.read_only:
        raise PermissionError(errno.EROFS, f"namespace {namespace.nsid} is write protected: open it with 'rb'")
    raw = NamespaceFile(namespace, readable=readable, writable=writable)
    if buffering == 0:
        return raw
    size = BUFFER_BYTES if buffering < 0 else buffering
    if readable and writable:
        return cast(BinaryIO, io.BufferedRandom(raw, size))
    if writable:
        return cast(BinaryIO, io.BufferedWriter(raw, size))
    return cast(BinaryIO, io.BufferedReader(raw, size))
