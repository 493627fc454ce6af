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
import uuid
from types import TracebackType
from typing import Any, Final, Literal, Self

from . import _native
from ._native import Key, generate_secret
from ._types import TargetStatistics

__all__ = ["Target", "TargetStatistics"]

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Target:
    """Serves one namespace, of RAM or of a file, on a port of 127.0.0.1 that the system chooses.

    ``size`` is in bytes, or has a suffix: "64M", "1GiB" (powers of 1,024). With ``path`` it is the file's size,
    which is made or grown to it; ``None`` takes the file as it is. ``tls=True`` makes a key, and ``key`` takes one.

    ``authentication=True`` lets one host in only, and only after DH-HMAC-CHAP with secrets that it makes, or with
    ``dhchap_secret`` and ``dhchap_ctrl_secret``; ``concat=True`` does that, and makes the TLS key of it.
    ``connect_args`` has all that a host needs.
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
        authentication: bool = False,
        concat: bool = False,
        host_nqn: str | None = None,
        dhchap_secret: str | None = None,
        dhchap_ctrl_secret: str | None = None,
    ) -> None:
        if key is None and tls:
            key = Key.generate()
        if (authentication or concat) and dhchap_secret is None:
            dhchap_secret, dhchap_ctrl_secret = generate_secret(), generate_secret()
        if dhchap_secret is not None and host_nqn is None:
            host_nqn = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.uuid4()}"
        self._nqn = subsystem_nqn
        given = {
            "key": key,
            "host_nqn": host_nqn,
            "dhchap_secret": dhchap_secret,
            "dhchap_ctrl_secret": dhchap_ctrl_secret,
            "concat": concat or None,
        }
        self._options = {name: value for name, value in given.items() if value is not None}
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
            host_nqn,
            dhchap_secret,
            dhchap_ctrl_secret,
            concat,
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
        return {"uri": self.uri} | self._options

    @property
    def discover_args(self) -> dict[str, Any]:
        """What ``discover`` and ``discover_all`` take as keyword arguments."""
        return self.connect_args | {"uri": self.discovery_uri}

    def statistics(self) -> TargetStatistics:
        """What it did so far."""
        return self._native.statistics()

    def add_namespace(self, nsid: int, size: int | str, *, block_size: int = 512) -> None:
        """Adds a namespace of RAM; hosts that are connected are told."""
        self._native.add_namespace(nsid, _bytes(size), block_size)

    def remove_namespace(self, nsid: int) -> None:
        """Takes a namespace away; hosts that are connected are told."""
        self._native.remove_namespace(nsid)

    def resize_namespace(self, nsid: int, size: int | str) -> None:
        """Gives a namespace another size; hosts that are connected are told."""
        self._native.resize_namespace(nsid, _bytes(size))

    def set_ana_state(
        self, state: Literal["optimized", "non-optimized", "inaccessible", "persistent-loss", "change"]
    ) -> None:
        """Says how well it reaches its namespaces; hosts that are connected are told."""
        self._native.set_ana_state(state)

    def add_key(self, key: Key | str) -> None:
        """Knows one more TLS key from now on."""
        self._native.add_key(key)

    def remove_key(self, key: Key | str) -> bool:
        """Knows a TLS key no longer: whether it was known. Connections that have it go on."""
        return self._native.remove_key(key)

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
        tls = "key" in self._options or "concat" in self._options
        return f"<nvme_tcp.testing.Target {self.uri}{', TLS' if tls else ''}>"


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
