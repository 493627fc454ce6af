"""A queue in an event loop: who may submit, who waits, and what the loop watches for it."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .. import _native
from .._errors import NvmeError

__all__ = ["Command", "Future", "Lane", "closed"]

Future = asyncio.Future[None]
#: A command: the queue's method and what it takes before the future.
Command = tuple[Callable[..., int], tuple[Any, ...]]

#: How long after a command's deadline the queue is looked at, in seconds: a clock's grain.
_GRACE: Final = 0.005


def closed() -> NvmeError:
    """What a call to a closed controller raises."""
    return NvmeError(errno.ESHUTDOWN, "the controller is closed")


class Lane:
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
        self._away = False
        self._closed = False
        self._settle()

    def has_room(self) -> bool | None:
        """Whether a command can be submitted now; ``None`` where ``catch_up`` comes before."""
        if self._closed:
            raise closed()
        room, _, behind = self._queue.room()
        return None if behind else room > self._invited

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

    def submit(self, command: Command, future: Future) -> int:
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
        if self._closed or self._away:
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
        room, _, behind = self._queue.room()
        if behind:
            # Its end would be told again and again. Who waits comes back when it has caught up, or hears why not.
            self._unwatch()
            self._wake(len(self._waiters), False)
            return
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
        self._wake(room - self._invited, True)

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

    async def catch_up(self) -> None:
        """Goes over to another connection, where the present one is of no use any more and nothing is outstanding."""
        if self._closed:
            raise closed()
        # Its descriptor is about to be another's.
        self._unwatch()
        self._away = True
        try:
            await asyncio.to_thread(self._queue.follow)
        finally:
            self._away = False
        if not self._closed:
            self._settle()

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
