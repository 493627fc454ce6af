"""The same in an event loop: many commands in flight, and no thread for any of them.

>>> import asyncio, nvme_tcp
>>> async def main(target):
...     async with nvme_tcp.aio.connect(**target.connect_args) as controller:
...         namespace = await controller.namespace()
...         await namespace.write(0, bytes(range(256)) * 4)
...         blocks = await asyncio.gather(*(namespace.read(at, 512) for at in (0, 512)))
...         return [block[:2] for block in blocks]
>>> with nvme_tcp.testing.Target(size="1M") as target:
...     asyncio.run(main(target))
[b'\\x00\\x01', b'\\x00\\x01']

Cancelling is safe. A read that is cancelled has let go of its buffer when the cancellation arrives; what the
controller still sends for it is thrown away. A write that is cancelled is finished all the same (its fate is known
no earlier), and keeps its buffer until then.

A controller belongs to the loop that it was connected in. What has no queue of its own, connecting and identify
commands, runs in the loop's default executor.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from . import _native
from ._errors import NvmeError
from ._types import ControllerIdentity, Event, NamespaceIdentity, Statistics, TlsFacts

if TYPE_CHECKING:
    from ._native import _Buffer

__all__ = ["Controller", "Namespace", "connect"]

_Future = asyncio.Future[None]
#: A command: the queue's method and what it takes before the future.
_Command = tuple[Callable[..., int], tuple[Any, ...]]

#: Blocks that one Write Zeroes command takes.
_MAX_BLOCKS: Final = 65_536
#: How long after a command's deadline the queue is looked at, in seconds: a clock's grain.
_GRACE: Final = 0.005


def connect(uri: str, **options: Any) -> _Connecting:
    """Connects, with the arguments of ``nvme_tcp.connect``; ``await`` it or use it with ``async with``."""
    # The loop's commands all go over one queue; no other connection is needed.
    return _Connecting(uri, {"io_queues": 0, "owned_queues": 1} | options)


class _Connecting:
    """A controller to be."""

    def __init__(self, uri: str, options: dict[str, Any]) -> None:
        self._uri = uri
        self._options = options
        self._controller: Controller | None = None

    async def _connect(self) -> Controller:
        loop = asyncio.get_running_loop()
        native = await asyncio.to_thread(_native.connect, self._uri, **self._options)
        try:
            return Controller(loop, native, await asyncio.to_thread(native._queue))
        except BaseException:
            await asyncio.shield(asyncio.to_thread(native.close))
            raise

    def __await__(self) -> Generator[Any, Any, Controller]:
        return self._connect().__await__()

    async def __aenter__(self) -> Controller:
        self._controller = await self._connect()
        return self._controller

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._controller is not None:
            await self._controller.close()


class Controller:
    """A connected controller, for one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, native: _native.Controller, queue: _native.Queue) -> None:
        self._loop = loop
        self._native = native
        self._lane = _Lane(loop, queue)
        self._open = asyncio.Event()
        self._open.set()

    async def namespace(self, nsid: int | None = None) -> Namespace:
        """A namespace; without ``nsid`` the one that the URI names."""
        return Namespace(self, await asyncio.to_thread(self._native.namespace, nsid))

    async def namespaces(self) -> list[int]:
        """The IDs of the namespaces that this host may use."""
        return await asyncio.to_thread(self._native.namespaces)

    async def identify(self) -> ControllerIdentity:
        """What the controller says of itself."""
        return await asyncio.to_thread(self._native.identify)

    async def identify_namespace(self, nsid: int) -> NamespaceIdentity:
        """What the controller says of a namespace."""
        return await asyncio.to_thread(self._native.identify_namespace, nsid)

    def statistics(self) -> Statistics:
        """What went through this controller so far."""
        return self._native.statistics()

    @property
    def tls(self) -> TlsFacts | None:
        """What TLS is on the connection, if it has any."""
        return self._native.tls

    def check(self) -> None:
        """Raises what the association was lost for, if it was; asks nobody."""
        self._native.check()

    async def events(self) -> AsyncIterator[Event]:
        """What the controller reports from the first step on, and what becomes of the association; ends with it."""
        events = self._native.events()
        arrived = asyncio.Event()
        self._loop.add_reader(events.fileno(), arrived.set)
        try:
            while True:
                event, ended = events._poll()
                if event is not None:
                    yield event
                elif ended:
                    return
                else:
                    # It is watched until it is readable, and polled until it is not: nothing falls between.
                    arrived.clear()
                    await arrived.wait()
        finally:
            self._loop.remove_reader(events.fileno())

    async def reconnect(self) -> None:
        """Brings up a new association with new keys; commands that are outstanding are finished on the old one."""
        # New commands wait: one that came now would make the present queue connect anew by itself, in the loop.
        self._open.clear()
        try:
            await asyncio.to_thread(self._native.reconnect)
            queue = await asyncio.to_thread(self._native._queue)
            old, self._lane = self._lane, _Lane(self._loop, queue)
        finally:
            self._open.set()
        await old.retire()

    async def close(self) -> None:
        """Shuts the controller down. Commands that are outstanding fail with ``ESHUTDOWN``."""
        await self._lane.close()
        await asyncio.to_thread(self._native.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, commands: Iterator[_Command]) -> None:
        """Submits commands as there is room, and returns when all are done, with the first error if there was any."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("the controller was connected in another event loop")
        running: list[tuple[_Lane, int, _Future]] = []
        try:
            for command in commands:
                lane = await self._room()
                future: _Future = self._loop.create_future()
                running.append((lane, lane.submit(command, future), future))
            for _, _, future in running:
                await future
        except BaseException as error:
            # What can be given up is; the rest still uses the caller's memory, unless the caller is cancelled itself.
            rest = []
            for lane, cookie, future in running:
                # A task that is cancelled has cancelled the future that it waits for, but not the command.
                if future.done() and not future.cancelled():
                    future.exception()
                elif lane.cancel(cookie):
                    future.cancel()
                elif not future.done():
                    future.add_done_callback(_seen)
                    rest.append(future)
            if isinstance(error, Exception) and rest:
                await asyncio.wait(rest)
            raise

    async def _room(self) -> _Lane:
        """The queue, with room for a command."""
        while True:
            if not self._open.is_set():
                await self._open.wait()
                continue
            lane = self._lane
            if lane.has_room() or (await lane.wait() and lane is self._lane and self._open.is_set()):
                return lane


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

    async def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset`` on."""
        buffer = bytearray(length)
        await self.readinto(offset, buffer)
        return bytes(buffer)

    async def readinto(self, offset: int, buffer: _Buffer) -> int:
        """Fills a buffer with what stands at ``offset``; its length."""
        length = _native.buffer_length(buffer, True)
        native = self._native

        def commands() -> Iterator[_Command]:
            for start, step in self._steps(length, self._step):
                yield (_native.Queue.submit_read, (native, offset + start, buffer, start, step))

        await self._controller._run(commands())
        return length

    async def write(self, offset: int, buffer: _Buffer) -> int:
        """Writes a buffer to ``offset``; its length. It is durable after a ``flush``."""
        length = _native.buffer_length(buffer, False)
        native = self._native

        def commands() -> Iterator[_Command]:
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

        def commands() -> Iterator[_Command]:
            for start, step in self._steps(length, _MAX_BLOCKS * native.block_size):
                yield (_native.Queue.submit_write_zeroes, (native, offset + start, step))

        await self._controller._run(commands())

    async def discard(self, offset: int, length: int) -> None:
        """Tells the controller that ``length`` bytes at ``offset`` are not needed any more."""
        native = self._native

        def commands() -> Iterator[_Command]:
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


class _Lane:
    """A queue in an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, queue: _native.Queue) -> None:
        self._loop = loop
        self._queue = queue
        self._waiters: deque[asyncio.Future[bool]] = deque()
        #: Those who were let in and have not come yet.
        self._invited = 0
        self._scheduled = False
        self._fd = -1
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._settle()

    def has_room(self) -> bool:
        """Whether a command can be submitted now, or will at once say why not."""
        if self._closed:
            raise NvmeError(errno.ESHUTDOWN, "the controller is closed")
        room, outstanding = self._queue.room()
        return room > self._invited or (outstanding == 0 and self._invited == 0)

    async def wait(self) -> bool:
        """Until there is room, kept for whoever waited: ``True``; or there may be some elsewhere: ``False``."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            invited = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                # The turn that this one does not take is another's.
                self._invited -= 1
                self._wake(1, True)
            raise
        self._invited -= invited
        return invited

    def submit(self, command: _Command, future: _Future) -> int:
        """Submits one command; it is sent when the loop comes round, along with others."""
        method, arguments = command
        cookie = method(self._queue, *arguments, future)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)
        return cookie

    def cancel(self, cookie: int) -> bool:
        """Gives a read up: whether its memory is the caller's again."""
        return not self._closed and self._queue.cancel(cookie)

    def _pump(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        for future, error in self._queue.poll():
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        self._settle()

    def _settle(self) -> None:
        """Watches what the queue wants, and lets those in for whom there is room."""
        fd, write, left = self._queue.wants()
        if fd != self._fd:
            self._unwatch()
            self._fd = fd
            self._loop.add_reader(fd, self._pump)
        if write != self._writing:
            self._writing = write
            if write:
                self._loop.add_writer(fd, self._pump)
            else:
                self._loop.remove_writer(fd)
        if left is not None and self._timer is None:
            self._timer = self._loop.call_later(left + _GRACE, self._overdue)
        if self._waiters:
            room, outstanding = self._queue.room()
            if room or outstanding:
                self._wake(room - self._invited, True)
            else:
                # The connection is lost: a submission says why.
                self._wake(len(self._waiters), False)

    def _overdue(self) -> None:
        self._timer = None
        self._pump()

    def _wake(self, count: int, invite: bool) -> None:
        while count > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(invite)
                self._invited += invite
                count -= 1

    def _unwatch(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd, self._writing = -1, False

    async def retire(self) -> None:
        """Closes when what is outstanding is done."""
        # Those who wait for room find it on the queue after this one.
        self._wake(len(self._waiters), False)
        while not self._closed and self._queue.room()[1] > 0:
            await self.wait()
        await self.close()

    async def close(self) -> None:
        """Closes the connection; whoever waits gets ``ESHUTDOWN``."""
        if self._closed:
            return
        self._closed = True
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
        for future in await asyncio.to_thread(self._queue.close):
            if not future.done():
                future.set_exception(NvmeError(errno.ESHUTDOWN, "the controller was closed"))
        self._wake(len(self._waiters), False)


def _seen(future: _Future) -> None:
    """Takes note of an exception that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
