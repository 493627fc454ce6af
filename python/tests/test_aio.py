"""The same in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
import time

import pytest
from conftest import SIZE
from hypothesis import given, settings
from hypothesis import strategies as st

import nvme_tcp
from nvme_tcp import aio
from nvme_tcp.testing import Target


def test_calls(target: Target) -> None:
    async def main() -> None:
        async with aio.connect(**target.connect_args) as controller:
            assert await controller.namespaces() == [1]
            assert (await controller.identify()).model_number == "nvme-tcp-target"
            assert (await controller.identify_namespace(1)).size == SIZE
            assert (controller.tls is None) == ("key" not in target.connect_args)
            controller.check()
            namespace = await controller.namespace()
            assert (namespace.nsid, namespace.size, namespace.block_size) == (1, SIZE, 512)
            assert not namespace.read_only and "aio.Namespace 1" in repr(namespace)
            data = os.urandom(8192)
            assert await namespace.write(512, data) == 8192
            buffer = bytearray(8192)
            assert await namespace.readinto(512, buffer) == 8192
            assert buffer == data
            await namespace.flush()
            await namespace.write_zeroes(512, 4096)
            await namespace.discard(512 + 4096, 4096)
            assert await namespace.read(512, 8192) == bytes(8192)
            assert await namespace.read(0, 0) == b""
            assert controller.statistics().reads == 2

    asyncio.run(main())


@pytest.mark.parametrize("private", [False, True])
def test_other_data_passes_only_through_private_memory(plain: Target, private: bool) -> None:
    """Where the answer of a read stays away, that of the next one is not received into its buffer."""

    async def main() -> None:
        options = {"private_memory": True} if private else {}
        async with aio.connect(**plain.connect_args, **options) as controller:
            namespace = await controller.namespace()
            await namespace.write(0, b"2" * 4096)
            plain.inject("drop", "data")
            first, second = bytearray(b"1" * 4096), bytearray(4096)
            lost = asyncio.create_task(namespace.readinto(0, first))
            assert await asyncio.create_task(namespace.readinto(0, second)) == 4096
            assert second == b"2" * 4096 and not lost.done()
            assert first == (b"2" if private else b"1") * 4096
            lost.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await lost

    asyncio.run(main())


def test_many_at_once_need_no_thread(plain: Target) -> None:
    async def main() -> None:
        async with await aio.connect(**plain.connect_args, queue_size=8) as controller:
            namespace = await controller.namespace()
            pieces = [os.urandom(512) for _ in range(500)]
            threads = set(threading.enumerate())
            await asyncio.gather(*(namespace.write(at * 512, piece) for at, piece in enumerate(pieces)))
            found = await asyncio.gather(*(namespace.read(at * 512, 512) for at in range(500)))
            assert set(threading.enumerate()) == threads
            assert found == pieces

    asyncio.run(main())


def test_more_than_one_command() -> None:
    async def main(target: Target) -> None:
        async with aio.connect(**target.connect_args) as controller:
            namespace = await controller.namespace()
            data = os.urandom(SIZE)
            await namespace.write(0, data)
            assert await namespace.read(0, SIZE) == data

    with Target(SIZE, max_transfer=8192, queue_entries=32) as target:
        asyncio.run(main(target))


def test_wrong_calls(plain: Target) -> None:
    async def main() -> None:
        async with aio.connect(**plain.connect_args) as controller:
            namespace = await controller.namespace()
            for offset, length in ((1, 512), (0, 100), (SIZE, 512)):
                for call in (
                    namespace.read(offset, length),
                    namespace.write(offset, bytes(length)),
                    namespace.write_zeroes(offset, length),
                    namespace.discard(offset, length),
                ):
                    with pytest.raises(nvme_tcp.ConfigurationError):
                        await call
            with pytest.raises(BufferError):
                await namespace.readinto(0, bytes(512))
            with pytest.raises(TypeError, match="bytes-like"):
                await namespace.write(0, "text")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="negative"):
                await namespace.write_zeroes(0, -1)
            with pytest.raises(nvme_tcp.NvmeError, match="does not exist"):
                await controller.namespace(9)
            assert await namespace.read(0, 512) == bytes(512)

    asyncio.run(main())


def test_a_cancelled_read_lets_go_of_its_buffer(plain: Target) -> None:
    async def main() -> None:
        async with aio.connect(**plain.connect_args) as controller:
            namespace = await controller.namespace()
            plain.inject("stall", "data")
            buffer = bytearray(4096)
            reading = asyncio.create_task(namespace.readinto(0, buffer))
            while plain.injected < 1:
                await asyncio.sleep(0.001)
            with pytest.raises(BufferError):
                buffer.append(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            buffer.append(0)

    asyncio.run(main())


def test_a_cancelled_write_keeps_its_buffer_until_it_is_done(plain: Target) -> None:
    async def main() -> None:
        async with aio.connect(**plain.connect_args) as controller:
            namespace = await controller.namespace()
            buffer = bytearray(b"w" * 4096)
            writing = asyncio.create_task(namespace.write(0, buffer))
            # It is submitted in the task's first step.
            await asyncio.sleep(0)
            writing.cancel()
            with pytest.raises(BufferError):
                buffer.append(0)
            with pytest.raises(asyncio.CancelledError):
                await writing
            while controller.statistics().writes < 1:
                await asyncio.sleep(0.001)
            buffer.append(0)
            assert await namespace.read(0, 4096) == b"w" * 4096

    asyncio.run(main())


def test_cancelled_in_the_midst_of_many(plain: Target) -> None:
    """Whoever is cancelled, while waiting for room or for an answer, the others go on, and nothing leaks."""

    async def main() -> None:
        async with aio.connect(**plain.connect_args, queue_size=4) as controller:
            namespace = await controller.namespace()
            await namespace.write(0, b"\x5a" * 65536)
            for turn in range(50):
                reads = [asyncio.create_task(namespace.read(at * 512, 512)) for at in range(32)]
                await asyncio.sleep(0)
                for at in range(turn % 3, 32, 3):
                    reads[at].cancel()
                results = await asyncio.gather(*reads, return_exceptions=True)
                for at, result in enumerate(results):
                    if at % 3 == turn % 3:
                        assert isinstance(result, asyncio.CancelledError) or result == b"\x5a" * 512
                    else:
                        assert result == b"\x5a" * 512

    asyncio.run(main())


def test_timeouts_of_asyncio(plain: Target) -> None:
    async def main() -> None:
        async with aio.connect(**plain.connect_args) as controller:
            namespace = await controller.namespace()
            plain.inject("stall", "data")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await namespace.read(0, 512)

    asyncio.run(main())


def test_a_command_that_takes_too_long(plain: Target) -> None:
    async def main() -> None:
        async with aio.connect(**plain.connect_args, timeout=0.2) as controller:
            namespace = await controller.namespace()
            plain.inject("stall", "data")
            results = await asyncio.gather(*(namespace.read(0, 512) for _ in range(3)), return_exceptions=True)
            for result in results:
                assert isinstance(result, nvme_tcp.NvmeTimeoutError) and isinstance(result, TimeoutError)
                assert result.errno == errno.ETIMEDOUT

    asyncio.run(main())


def test_a_lost_connection(plain: Target) -> None:
    async def main() -> None:
        async with aio.connect(**plain.connect_args) as controller:
            namespace = await controller.namespace()
            plain.inject("cut", "data", 2)
            results = await asyncio.gather(*(namespace.read(at * 512, 512) for at in range(4)), return_exceptions=True)
            failed = [result for result in results if isinstance(result, BaseException)]
            assert failed and all(isinstance(error, nvme_tcp.NvmeConnectionError) for error in failed)
            # The next command goes to a new connection, unless the whole association was lost.
            with contextlib.suppress(nvme_tcp.NvmeConnectionError):
                assert await namespace.read(0, 512) == bytes(512)
            # And all is well on a new one.
            await controller.reconnect()
            assert await namespace.read(0, 512) == bytes(512)

    asyncio.run(main())


def test_reconnect_under_load(target: Target) -> None:
    async def main() -> None:
        async with aio.connect(**target.connect_args, queue_size=8) as controller:
            namespace = await controller.namespace()
            going = True

            async def read(at: int) -> int:
                count = 0
                while going:
                    assert await namespace.read(at * 512, 512) == bytes(512)
                    count += 1
                return count

            readers = [asyncio.create_task(read(at)) for at in range(32)]
            for _ in range(3):
                await controller.reconnect()
            going = False
            assert all(await asyncio.gather(*readers))

    asyncio.run(main())


class Relay:
    """Stands between a controller and its target; new connections wait while it holds them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"nvme+tcp://127.0.0.1:{self._listener.getsockname()[1]}/nqn.2024-01.io.example:testing/1"
        self.let = threading.Event()
        self.let.set()
        self.held = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        host, port = self._target.address.rsplit(":", 1)
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.let.is_set():
                self.held.set()
                self.let.wait()
            server = socket.create_connection((host, int(port)))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with source:
            with contextlib.suppress(OSError):
                while data := source.recv(1 << 16):
                    sink.sendall(data)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.let.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def test_another_connection_does_not_hold_up_the_loop(plain: Target) -> None:
    """While the queue's next connection takes its time, the loop goes round; all who wait then go on."""

    async def main(relay: Relay) -> None:
        async with aio.connect(relay.uri, connect_timeout=60.0) as controller:
            namespace = await controller.namespace()
            # The queue's connection is lost, and the association is not.
            plain.inject("cut", "data")
            with pytest.raises(nvme_tcp.NvmeConnectionError):
                await namespace.read(0, 512)
            controller.check()
            relay.let.clear()
            reads = [asyncio.create_task(namespace.read(at * 512, 512)) for at in range(300)]
            while not relay.held.is_set():
                await asyncio.sleep(0.001)
            # One of those who wait for it gives up.
            reads[7].cancel()
            turns = 0
            async with asyncio.timeout(30):
                while turns < 200:
                    await asyncio.sleep(0)
                    turns += 1
            assert not any(read.done() for read in reads if read is not reads[7])
            relay.let.set()
            found = await asyncio.gather(*reads, return_exceptions=True)
            assert isinstance(found.pop(7), asyncio.CancelledError)
            assert found == [bytes(512)] * 299

    with Relay(plain) as relay:
        asyncio.run(main(relay))


def test_closing_while_another_connection_is_made(plain: Target) -> None:
    async def main(relay: Relay) -> None:
        async with aio.connect(relay.uri, connect_timeout=60.0) as controller:
            namespace = await controller.namespace()
            plain.inject("cut", "data")
            with pytest.raises(nvme_tcp.NvmeConnectionError):
                await namespace.read(0, 512)
            relay.let.clear()
            reads = [asyncio.create_task(namespace.read(at * 512, 512)) for at in range(10)]
            while not relay.held.is_set():
                await asyncio.sleep(0.001)
            closing = asyncio.create_task(controller.close())
            await asyncio.sleep(0)
            relay.let.set()
            await closing
            for error in await asyncio.gather(*reads, return_exceptions=True):
                # The controller is closed here, or its target took the shutdown before it took the connection.
                assert isinstance(error, nvme_tcp.NvmeError)

    with Relay(plain) as relay:
        asyncio.run(main(relay))


def test_all_who_wait_hear_why_there_is_no_connection(plain: Target) -> None:
    async def main() -> None:
        async with aio.connect(**plain.connect_args, connect_timeout=5.0) as controller:
            namespace = await controller.namespace()
            plain.close()
            for _ in range(2):
                reads = (namespace.read(0, 512) for _ in range(200))
                for error in await asyncio.gather(*reads, return_exceptions=True):
                    assert isinstance(error, nvme_tcp.NvmeError)

    asyncio.run(main())


def test_replaced_at_its_record_budget() -> None:
    """The association is replaced before a key's records run out, again and again, and no read fails."""

    async def main(target: Target) -> None:
        async with aio.connect(**target.connect_args, record_limit=1000, queue_size=4) as controller:
            namespace = await controller.namespace()
            kinds: list[str] = []

            async def watch() -> None:
                async for event in controller.events():
                    kinds.append(event.kind)
                    if event.kind == "replaced":
                        assert event.text == "record budget"

            async def read(at: int) -> None:
                while kinds.count("replaced") < 2:
                    assert await namespace.read(at * 512, 512) == bytes(512)

            watcher = asyncio.create_task(watch())
            async with asyncio.timeout(300):
                await asyncio.gather(*(read(at) for at in range(40)))
            watcher.cancel()
            assert "record-budget-low" in kinds and controller.statistics().errors == 0

    with Target(SIZE, tls=True) as target:
        asyncio.run(main(target))


def test_an_idle_loop_rests(plain: Target) -> None:
    """What was lost while nobody asked for anything is not looked at again and again."""

    async def main() -> None:
        async with aio.connect(**plain.connect_args) as controller:
            namespace = await controller.namespace()
            assert await namespace.read(0, 512) == bytes(512)
            plain.close()
            before = time.thread_time()
            await asyncio.sleep(0.5)
            assert time.thread_time() - before < 0.1

    asyncio.run(main())


_STEP = st.tuples(
    st.sampled_from(["write", "read", "zero", "discard"]),
    st.integers(1, 4),
    st.integers(0, 255),
    # After how many turns of the loop it is cancelled, if it is.
    st.none() | st.integers(0, 4),
)


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(_STEP, max_size=12), max_size=4), queue_size=st.sampled_from([3, 128]))
def test_a_model_with_cancellations(batches: list[list[tuple[str, int, int, int | None]]], queue_size: int) -> None:
    """Whatever is cancelled when: what is read is what was written, and a cancelled write happened wholly or not."""
    slot_size = 4 * 512

    async def step(namespace: aio.Namespace, slot: int, kind: str, blocks: int, fill: int) -> bytes | None:
        at = slot * slot_size
        if kind == "write":
            await namespace.write(at, bytes([fill]) * blocks * 512)
        elif kind == "zero":
            await namespace.write_zeroes(at, blocks * 512)
        elif kind == "discard":
            await namespace.discard(at, blocks * 512)
        else:
            return await namespace.read(at, blocks * 512)
        return None

    async def cancel_after(task: asyncio.Task[bytes | None], turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()

    async def main() -> None:
        target = _shared()
        async with aio.connect(**target.connect_args, queue_size=queue_size) as controller:
            namespace = await controller.namespace()
            await namespace.write_zeroes(0, 12 * slot_size)
            model = [bytes(slot_size) for _ in range(12)]
            for batch in batches:
                tasks = [
                    asyncio.create_task(step(namespace, slot, kind, blocks, fill))
                    for slot, (kind, blocks, fill, _) in enumerate(batch)
                ]
                await asyncio.gather(
                    *(cancel_after(tasks[slot], one[3]) for slot, one in enumerate(batch) if one[3] is not None)
                )
                results = await asyncio.gather(*tasks, return_exceptions=True)
                # What was cancelled may still be on its way.
                while controller._lane._queue.room()[1]:
                    await asyncio.sleep(0.001)
                for slot, ((kind, blocks, fill, _), result) in enumerate(zip(batch, results, strict=True)):
                    old, length = model[slot], blocks * 512
                    new = bytes([fill if kind == "write" else 0]) * length + old[length:]
                    found = await namespace.read(slot * slot_size, slot_size)
                    if kind == "read":
                        assert isinstance(result, asyncio.CancelledError) or result == old[:length]
                        assert found == old
                    elif isinstance(result, asyncio.CancelledError):
                        assert found in (old, new)
                    else:
                        assert result is None and found == new
                    model[slot] = found

    asyncio.run(main())


_SHARED: list[Target] = []


def _shared() -> Target:
    """One target for all of hypothesis' examples."""
    if not _SHARED:
        _SHARED.append(Target(SIZE))
    return _SHARED[0]


def teardown_module() -> None:
    while _SHARED:
        _SHARED.pop().close()


def test_close_ends_what_waits(plain: Target) -> None:
    async def main() -> None:
        controller = await aio.connect(**plain.connect_args)
        namespace = await controller.namespace()
        plain.inject("stall", "data")
        reading = asyncio.create_task(namespace.read(0, 512))
        while plain.injected < 1:
            await asyncio.sleep(0.001)
        await controller.close()
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            await reading
        assert caught.value.errno == errno.ESHUTDOWN
        with pytest.raises(nvme_tcp.NvmeError) as caught:
            await namespace.read(0, 512)
        assert caught.value.errno == errno.ESHUTDOWN
        await controller.close()

    asyncio.run(main())


def test_another_loop_is_refused(plain: Target) -> None:
    async def connect() -> tuple[aio.Controller, aio.Namespace]:
        controller = await aio.connect(**plain.connect_args)
        return controller, await controller.namespace()

    async def read(namespace: aio.Namespace) -> bytes:
        return await namespace.read(0, 512)

    with asyncio.Runner() as first:
        controller, namespace = first.run(connect())
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="another event loop"):
            second.run(read(namespace))
        assert first.run(read(namespace)) == bytes(512)
        first.run(controller.close())


def test_connecting_fails_as_it_should(plain: Target) -> None:
    async def main() -> None:
        with pytest.raises(nvme_tcp.ConfigurationError):
            await aio.connect("http://x")
        with pytest.raises(TypeError, match="colour"):
            await aio.connect(plain.uri, colour="red")
        with pytest.raises(nvme_tcp.NvmeError):
            async with aio.connect(f"nvme+tcp://{plain.address}/nqn.2024-01.io.example:none/1"):
                raise AssertionError("there is no such subsystem")

    asyncio.run(main())
