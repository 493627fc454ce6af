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
commands, runs in the loop's default executor, and so does a queue's way to another connection when its association is
replaced or lost: the loop is never held up. What has no method here is done by the blocking twin, in a thread:

>>> async def health(target):
...     async with nvme_tcp.aio.connect(**target.connect_args) as controller:
...         return await asyncio.to_thread(controller.blocking.logs.smart)
>>> with nvme_tcp.testing.Target(size="1M") as target:
...     asyncio.run(health(target)).media_errors
0
"""

from ._controller import Controller, connect, discover, discover_all
from ._namespace import Namespace

__all__ = ["Controller", "Namespace", "connect", "discover", "discover_all"]
