"""The same in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading

import pytest
from conftest import SIZE

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
