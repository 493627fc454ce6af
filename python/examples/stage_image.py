"""Stages an image on a namespace, with a progress bar, and checks what stands there afterwards.

    python stage_image.py firmware.img nvme+tcp://host:4420/nqn.2024-01.io.example:images/1 --keyfile image.key

Without a URI it stages on a target inside the process.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nvme_tcp

CHUNK = 4 << 20


@contextlib.contextmanager
def bar(total: int) -> Iterator[Callable[[int, int], object]]:
    """A bar on standard error, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda done, total: None
        return
    with tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024) as shown:
        yield lambda done, total: shown.update(done - shown.n)


def digest_of(namespace: nvme_tcp.Namespace, length: int) -> str:
    """SHA-256 of the first bytes of a namespace."""
    digest = hashlib.sha256()
    with namespace.open("rb", CHUNK) as file:
        while length > 0 and (piece := file.read(min(length, CHUNK))):
            digest.update(piece)
            length -= len(piece)
    return digest.hexdigest()


def stage(path: Path, uri: str, keyfile: Path | None = None, key: nvme_tcp.keys.Key | None = None) -> str:
    """Copies, makes it durable, and gives the digest that both have."""
    with nvme_tcp.connect(uri, keyfile=keyfile, key=key) as controller:
        namespace = controller.namespace()
        with bar(path.stat().st_size) as progress:
            length = namespace.copy_from(path, progress=progress)
        with path.open("rb") as file:
            wanted = hashlib.file_digest(file, "sha256").hexdigest()
        found = digest_of(namespace, length)
    if found != wanted:
        raise SystemExit(f"{uri} holds {found}, expected {wanted}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("uri", nargs="?")
    parser.add_argument("--keyfile", type=Path)
    given = parser.parse_args()
    try:
        if given.uri is not None:
            print(stage(given.image, given.uri, given.keyfile))
            return
        block = 4096
        size = -(-given.image.stat().st_size // block) * block
        with nvme_tcp.testing.Target(max(size, block), tls=True) as target:
            print(stage(given.image, **target.connect_args))
    except OSError as error:
        sys.exit(f"{given.image}: {error}")


if __name__ == "__main__":
    main()
