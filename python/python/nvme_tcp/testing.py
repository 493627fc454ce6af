"""A target inside the process, so that scripts can be tested anywhere.

>>> import nvme_tcp
>>> with Target(size="64M", tls=True) as target:
...     with nvme_tcp.connect(**target.connect_args) as controller:
...         controller.namespace().size
67108864
"""

from __future__ import annotations

import os
import re
from types import TracebackType
from typing import Any, Final, Literal, Self

from . import _native
from ._native import Key
from ._types import TargetStatistics

__all__ = ["Target", "TargetStatistics"]

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Target:
    """Serves one namespace, of RAM or of a file, on a port of 127.0.0.1 that the system chooses.

    ``size`` is in bytes, or has a suffix: "64M", "1GiB" (powers of 1,024). With ``path`` it is the file's size,
    which is made or grown to it; ``None`` takes the file as it is. ``tls=True`` makes a key, and ``key`` takes one.
    """

    def __init__(
        self,
        size: int | str | None = "64M",
        tls: bool = False,
        *,
        block_size: int = 512,
        key: Key | str | None = None,
        path: str | os.PathLike[str] | None = None,
        read_only: bool = False,
        subsystem_nqn: str = "nqn.2024-01.io.example:testing",
        max_transfer: int = 1 << 20,
        queue_entries: int = 128,
    ) -> None:
        if key is None and tls:
            key = Key.generate()
        self._key = key
        self._nqn = subsystem_nqn
        if size is None and path is None:
            raise ValueError("a target of RAM needs a size")
        self._native = _native.Target(
            subsystem_nqn,
            0 if size is None else _bytes(size),
            block_size,
            key,
            path,
            read_only,
            max_transfer,
            queue_entries,
        )

    @property
    def address(self) -> str:
        """Host and port."""
        return self._native.address

    @property
    def uri(self) -> str:
        """The namespace."""
        return f"nvme+tcp://{self.address}/{self._nqn}/1"

    @property
    def discovery_uri(self) -> str:
        """What ``nvme_tcp.discover`` takes."""
        return f"nvme+tcp://{self.address}"

    @property
    def connect_args(self) -> dict[str, Any]:
        """What ``connect`` and ``aio.connect`` take as keyword arguments."""
        return {"uri": self.uri} | ({} if self._key is None else {"key": self._key})

    def statistics(self) -> TargetStatistics:
        """What it did so far."""
        return self._native.statistics()

    def inject(
        self,
        fault: Literal["cut", "stall", "drop", "corrupt"],
        pdu: Literal["response", "data", "r2t"] = "response",
        nth: int = 1,
    ) -> None:
        """Does something wrong, once, so that a script's handling of errors can be tested.

        With the ``nth`` PDU of this kind that I/O queues send from now on: closes the connection instead ("cut"),
        sends nothing more ("stall"), leaves it out ("drop"), or flips a bit of its data ("corrupt").
        """
        self._native.inject(pdu, fault, nth)

    @property
    def injected(self) -> int:
        """How many faults have happened."""
        return self._native.injected()

    def close(self) -> None:
        """Ends all connections. What a namespace of RAM held is gone."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<nvme_tcp.testing.Target {self.uri}{', TLS' if self._key is not None else ''}>"


def _bytes(size: int | str) -> int:
    """Bytes of a size with a suffix.

    >>> _bytes("64M"), _bytes("1GiB"), _bytes(512)
    (67108864, 1073741824, 512)
    """
    if isinstance(size, int):
        return size
    match = re.fullmatch(r"(\d+) ?(?:([KMGT])(?:i?B)?)?", size, re.IGNORECASE)
    if match is None:
        raise ValueError(f"size is {size!r}, expected something like 64M")
    return int(match[1]) * _UNITS[(match[2] or "").upper()]
