"""Connecting in an event loop, and what a controller does there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any, Self, Unpack

from .. import _native
from .._admin import Discovered
from .._options import ConnectOptions
from .._types import ControllerIdentity, DiscoveryEntry, Event, NamespaceIdentity, Statistics, TlsFacts
from ._lane import Command, Future, Lane, closed
from ._namespace import Namespace

__all__ = ["Controller", "connect", "discover", "discover_all"]


def connect(uri: str, **options: Unpack[ConnectOptions]) -> _Connecting:
    """Connects, with the arguments of ``nvme_tcp.connect``; ``await`` it or use it with ``async with``.

    The loop's commands all go over one queue, so that no other is made: give ``io_queues`` where the ``blocking`` twin
    is to read and write as well. ``recovery`` brings a lost association up again, but commands fail until then.
    """
    return _Connecting(uri, {"io_queues": 0, "owned_queues": 1, **options})


async def discover(uri: str, **options: Unpack[ConnectOptions]) -> list[DiscoveryEntry]:
    """As ``nvme_tcp.discover``."""
    return await asyncio.to_thread(_native.discover, uri, **options)


async def discover_all(
    uri: str,
    *,
    max_depth: int | None = None,
    max_controllers: int | None = None,
    **options: Unpack[ConnectOptions],
) -> Discovered:
    """As ``nvme_tcp.discover_all``."""
    limits = {"max_depth": max_depth, "max_controllers": max_controllers}
    return await asyncio.to_thread(_native.discover_all, uri, **limits, **options)


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
        self._lane = Lane(loop, queue)
        self._closed = False
        #: The queue is going over to another connection.
        self._change: Future | None = None

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

    @property
    def blocking(self) -> _native.Controller:
        """The same controller with blocking calls, for threads."""
        return self._native

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
        while self._change is not None:
            await asyncio.wait([self._change])
        # New commands wait, and go to the new one.
        self._change = change = self._loop.create_future()
        try:
            await asyncio.to_thread(self._native.reconnect)
            queue = await asyncio.to_thread(self._native._queue)
            old, self._lane = self._lane, Lane(self._loop, queue)
        finally:
            self._change = None
            change.set_result(None)
        await old.retire()

    async def close(self) -> None:
        """Shuts the controller down. Commands that are outstanding fail with ``ESHUTDOWN``."""
        self._closed = True
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

    async def _run(self, commands: Iterator[Command]) -> None:
        """Submits commands as there is room, and returns when all are done, with the first error if there was any."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("the controller was connected in another event loop")
        running: list[tuple[Lane, int, Future]] = []
        try:
            for command in commands:
                lane = await self._room()
                future: Future = self._loop.create_future()
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

    async def _room(self) -> Lane:
        """The queue, with room for a command."""
        while True:
            if self._closed:
                raise closed()
            if self._change is not None:
                # Whoever waits for it is told how it went.
                await asyncio.shield(self._change)
                continue
            lane = self._lane
            room = lane.has_room()
            if room is None:
                self._change = self._loop.create_task(self._catch_up(lane))
                # Where nobody waits for it any more.
                self._change.add_done_callback(_seen)
            elif room or (await lane.wait() and self._is_of_use(lane)):
                return lane

    def _is_of_use(self, lane: Lane) -> bool:
        """Whether a lane that has room takes commands at once."""
        return lane is self._lane and self._change is None and lane.has_room() is not None

    async def _catch_up(self, lane: Lane) -> None:
        try:
            await lane.catch_up()
        finally:
            # Before it is done: who comes then must not wait for it.
            self._change = None


def _seen(future: Future) -> None:
    """Takes note of an exception that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
