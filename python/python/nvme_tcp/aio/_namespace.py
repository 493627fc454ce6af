"""A namespace in an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .. import _native
from ._lane import Command

if TYPE_CHECKING:
    from .._native import _Buffer
    from ._controller import Controller

__all__ = ["Namespace"]

#: Blocks that one Write Zeroes command takes.
_MAX_BLOCKS: Final = 65_536


class Namespace:
    """A namespace, for one event loop. Offsets and lengths are in bytes and whole blocks."""

    def __init__(self, controller: Controller, native: _native.Namespace) -> None:
        self._controller = controller
        self._native = native
        # Asked once: each is a call, and a small read has few of those.
        self._step = native.max_transfer

    @property
    def nsid(self) -> int:
        """Its ID."""
        return self._native.nsid

    @property
    def size(self) -> int:
        """In bytes."""
        return self._native.size

    @property
    def block_size(self) -> int:
        """In bytes."""
        return self._native.block_size

    @property
    def read_only(self) -> bool:
        """Whether it is write protected."""
        return self._native.read_only

    @property
    def blocking(self) -> _native.Namespace:
        """The same namespace with blocking calls, for threads; they need a controller with ``io_queues``."""
        return self._native

    async def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset`` on."""
        buffer = bytearray(length)
        await self.readinto(offset, buffer)
        return bytes(buffer)

    async def readinto(self, offset: int, buffer: _Buffer) -> int:
        """Fills a buffer with what stands at ``offset``; its length."""
        length = _native.buffer_length(buffer, True)
        native = self._native

        def commands() -> Iterator[Command]:
            for start, step in self._steps(length, self._step):
                yield (_native.Queue.submit_read, (native, offset + start, buffer, start, step))

        await self._controller._run(commands())
        return length

    async def write(self, offset: int, buffer: _Buffer) -> int:
        """Writes a buffer to ``offset``; its length. It is durable after a ``flush``."""
        length = _native.buffer_length(buffer, False)
        native = self._native

        def commands() -> Iterator[Command]:
            for start, step in self._steps(length, self._step):
                yield (_native.Queue.submit_write, (native, offset + start, buffer, start, step))

        await self._controller._run(commands())
        return length

    async def flush(self) -> None:
        """Makes everything that was written before durable."""
        await self._controller._run(iter([(_native.Queue.submit_flush, (self._native,))]))

    async def write_zeroes(self, offset: int, length: int) -> None:
        """Makes ``length`` bytes at ``offset`` read as zeros."""
        native = self._native

        def commands() -> Iterator[Command]:
            for start, step in self._steps(length, _MAX_BLOCKS * native.block_size):
                yield (_native.Queue.submit_write_zeroes, (native, offset + start, step))

        await self._controller._run(commands())

    async def discard(self, offset: int, length: int) -> None:
        """Tells the controller that ``length`` bytes at ``offset`` are not needed any more."""
        native = self._native

        def commands() -> Iterator[Command]:
            for start, step in self._steps(length, ((1 << 32) - 1) * native.block_size):
                yield (_native.Queue.submit_discard, (native, offset + start, step))

        await self._controller._run(commands())

    def __repr__(self) -> str:
        return repr(self._native).replace("nvme_tcp.", "nvme_tcp.aio.", 1)

    @staticmethod
    def _steps(length: int, step: int) -> Iterator[tuple[int, int]]:
        if length < 0:
            raise ValueError(f"negative length {length}")
        for start in range(0, length, step):
            yield start, min(step, length - start)
