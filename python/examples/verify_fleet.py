"""Reads an image back from many targets at once and says which of them hold it.

    python verify_fleet.py firmware.img nvme+tcp://a/nqn.../1 nvme+tcp://b/nqn.../1 --keyfile image.key

Without URIs it makes three targets inside the process, one of which holds something else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import sys
from collections import deque
from pathlib import Path
from typing import Any

import nvme_tcp

PIECE = 1 << 20
#: Reads in flight for each target.
DEPTH = 4


async def digest_of(namespace: nvme_tcp.aio.Namespace, length: int) -> str:
    """SHA-256 of the first bytes of a namespace: the next pieces are read while one is digested."""
    digest = hashlib.sha256()
    block = namespace.block_size
    async with asyncio.TaskGroup() as group:
        running: deque[asyncio.Task[bytes]] = deque()
        ahead = 0
        for offset in range(0, length, PIECE):
            while ahead < length and len(running) < DEPTH:
                whole = -(-min(PIECE, length - ahead) // block) * block
                running.append(group.create_task(namespace.read(ahead, whole)))
                ahead += PIECE
            digest.update((await running.popleft())[: length - offset])
    return digest.hexdigest()


async def verify(wanted: str, length: int, uri: str, **options: Any) -> str | None:
    """What is wrong with one target; ``None`` for nothing."""
    try:
        async with asyncio.timeout(600), nvme_tcp.aio.connect(uri, **options) as controller:
            found = await digest_of(await controller.namespace(), length)
    except (nvme_tcp.NvmeError, TimeoutError) as error:
        return str(error) or "too slow"
    return None if found == wanted else f"holds {found}"


async def verify_all(image: Path, targets: list[dict[str, Any]]) -> dict[str, str | None]:
    """All of them, side by side."""
    data = image.read_bytes()
    wanted = hashlib.sha256(data).hexdigest()
    results = await asyncio.gather(*(verify(wanted, len(data), **target) for target in targets))
    return {target["uri"]: result for target, result in zip(targets, results, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("uris", nargs="*")
    parser.add_argument("--keyfile", type=Path)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        targets: list[dict[str, Any]] = [{"uri": uri, "keyfile": given.keyfile} for uri in given.uris]
        if not targets:
            size = -(-given.image.stat().st_size // 4096) * 4096
            for number in range(3):
                target = stack.enter_context(nvme_tcp.testing.Target(size, tls=True))
                with nvme_tcp.connect(**target.connect_args) as controller:
                    controller.namespace().copy_from(given.image)
                    if number == 2:
                        controller.namespace().write(0, b"\xff" * 512)
                targets.append(target.connect_args)
        results = asyncio.run(verify_all(given.image, targets))
    for uri, wrong in results.items():
        print(f"{uri}: {wrong or 'as it should be'}")
    sys.exit(any(wrong for wrong in results.values()))


if __name__ == "__main__":
    main()
