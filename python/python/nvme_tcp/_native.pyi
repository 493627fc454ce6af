"""The native half: what it exports is documented here, for readers and for type checkers."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, Self, final, overload

from typing_extensions import Buffer

from ._file import NamespaceFile
from ._types import (
    Budgets,
    ControllerIdentity,
    DerivedKey,
    DiscoveryEntry,
    Event,
    NamespaceIdentity,
    Probe,
    RecordLayer,
    Statistics,
    TargetStatistics,
    TlsFacts,
)

__all__ = [
    "Controller",
    "Events",
    "Key",
    "Namespace",
    "Queue",
    "Socket",
    "Target",
    "__version__",
    "buffer_length",
    "connect",
    "discover",
    "measure",
    "probe",
    "wrap_keylog",
    "wrap_psk",
]

__version__: str

_Path = str | os.PathLike[str]
_Layer = Literal["auto", "kernel", "process"]

class _HasArray(Protocol):
    # NumPy tells type checkers that its arrays are buffers from Python 3.12 on only.
    @property
    def __array_interface__(self) -> dict[str, Any]: ...

_Buffer = Buffer | _HasArray

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

def connect(
    uri: str,
    *,
    key: Key | str | Sequence[Key | str] | None = None,
    keyfile: _Path | None = None,
    host_nqn: str | None = None,
    host_id: str | None = None,
    io_queues: int | None = None,
    owned_queues: int | None = None,
    queue_size: int | None = None,
    header_digest: bool | None = None,
    data_digest: bool | None = None,
    keep_alive: float | None = None,
    timeout: float | None = None,
    connect_timeout: float | None = None,
    layer: _Layer | None = None,
    identity_version: Literal[0, 1] | None = None,
    compat: bool | None = None,
    dhchap_secret: str | None = None,
    dhchap_ctrl_secret: str | None = None,
    concat: bool | None = None,
    recovery: bool | None = None,
) -> Controller: ...
def discover(
    uri: str,
    *,
    key: Key | str | Sequence[Key | str] | None = None,
    keyfile: _Path | None = None,
    host_nqn: str | None = None,
    host_id: str | None = None,
    io_queues: int | None = None,
    owned_queues: int | None = None,
    queue_size: int | None = None,
    header_digest: bool | None = None,
    data_digest: bool | None = None,
    keep_alive: float | None = None,
    timeout: float | None = None,
    connect_timeout: float | None = None,
    layer: _Layer | None = None,
    identity_version: Literal[0, 1] | None = None,
    compat: bool | None = None,
    dhchap_secret: str | None = None,
    dhchap_ctrl_secret: str | None = None,
    concat: bool | None = None,
    recovery: bool | None = None,
) -> list[DiscoveryEntry]: ...

@final
class Controller:
    def namespace(self, nsid: int | None = None) -> Namespace: ...
    def namespaces(self) -> list[int]: ...
    def identify(self) -> ControllerIdentity: ...
    def identify_namespace(self, nsid: int) -> NamespaceIdentity: ...
    def identify_raw(self, cns: int, nsid: int) -> bytes: ...
    def log_page(self, lid: int, length: int, offset: int = 0) -> bytes: ...
    @property
    def tls(self) -> TlsFacts | None: ...
    @property
    def header_digest(self) -> bool: ...
    @property
    def data_digest(self) -> bool: ...
    @property
    def generation(self) -> int: ...
    def statistics(self) -> Statistics: ...
    def events(self) -> Events: ...
    def check(self) -> None: ...
    def reconnect(self) -> None: ...
    def reauthenticate(self) -> None: ...
    def _queue(self) -> Queue: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
        /,
    ) -> None: ...

@final
class Namespace:
    @property
    def nsid(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def block_size(self) -> int: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def max_transfer(self) -> int: ...
    def __len__(self) -> int: ...
    def read(self, offset: int, length: int) -> bytes: ...
    def readinto(self, offset: int, buffer: _Buffer) -> int: ...
    def write(self, offset: int, buffer: _Buffer) -> int: ...
    def flush(self) -> None: ...
    def discard(self, offset: int, length: int) -> None: ...
    def write_zeroes(self, offset: int, length: int) -> None: ...
    def copy_from(
        self,
        path: _Path,
        *,
        offset: int = 0,
        progress: Callable[[int, int], object] | None = None,
        chunk: int | None = None,
        flush: bool = True,
    ) -> int: ...
    def copy_to(
        self,
        path: _Path,
        *,
        offset: int = 0,
        length: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        chunk: int | None = None,
    ) -> int: ...
    @overload
    def open(self, mode: str = "r+b", buffering: Literal[0] = 0) -> NamespaceFile: ...  # type: ignore[overload-overlap]
    @overload
    def open(self, mode: str, buffering: int) -> BinaryIO: ...
    @overload
    def open(self, mode: str = "r+b", *, buffering: int) -> BinaryIO: ...

@final
class Key:
    @staticmethod
    def generate(hash: Literal["none", "sha256", "sha384"] = "sha256") -> Key: ...
    @staticmethod
    def from_text(text: str) -> Key: ...
    @staticmethod
    def from_bytes(secret: bytes, hash: Literal["none", "sha256", "sha384"] = "sha256") -> Key: ...
    @staticmethod
    def from_file(path: _Path) -> Key: ...
    def write_file(self, path: _Path) -> None: ...
    def to_text(self) -> str: ...
    @property
    def hash(self) -> Literal["none", "sha256", "sha384"]: ...
    @property
    def length(self) -> int: ...
    def derive(
        self,
        host_nqn: str,
        subsystem_nqn: str,
        *,
        version: int = 1,
        compat: bool = False,
    ) -> DerivedKey: ...
    def identities(self, host_nqn: str, subsystem_nqn: str) -> list[str]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__ = None  # type: ignore[assignment]

@final
class Events:
    def recv(self, timeout: float | None = None) -> Event | None: ...
    def _poll(self) -> tuple[Event | None, bool]: ...
    def fileno(self) -> int: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...

@final
class Queue:
    def submit_read(
        self,
        namespace: Namespace,
        offset: int,
        buffer: _Buffer,
        start: int,
        length: int,
        future: asyncio.Future[None],
    ) -> int: ...
    def submit_write(
        self,
        namespace: Namespace,
        offset: int,
        buffer: _Buffer,
        start: int,
        length: int,
        future: asyncio.Future[None],
    ) -> int: ...
    def submit_flush(self, namespace: Namespace, future: asyncio.Future[None]) -> int: ...
    def submit_write_zeroes(
        self,
        namespace: Namespace,
        offset: int,
        length: int,
        future: asyncio.Future[None],
    ) -> int: ...
    def submit_discard(
        self,
        namespace: Namespace,
        offset: int,
        length: int,
        future: asyncio.Future[None],
    ) -> int: ...
    def cancel(self, cookie: int) -> bool: ...
    def poll(self) -> list[tuple[asyncio.Future[None], Exception | None]]: ...
    def room(self) -> tuple[int, int]: ...
    def wants(self) -> tuple[int, bool, float | None]: ...
    def close(self) -> list[asyncio.Future[None]]: ...

@final
class Target:
    def __new__(
        cls,
        nqn: str,
        size: int,
        block_size: int,
        key: Key | str | None,
        path: _Path | None,
        read_only: bool,
        max_transfer: int,
        queue_entries: int,
    ) -> Self: ...
    @property
    def address(self) -> str: ...
    def statistics(self) -> TargetStatistics: ...
    def inject(self, pdu: str, fault: str, nth: int) -> None: ...
    def injected(self) -> int: ...
    def close(self) -> None: ...

@final
class Socket:
    def send(self, data: _Buffer) -> int: ...
    def sendall(self, data: _Buffer) -> None: ...
    def sendfile(self, file: _HasFileno, offset: int = 0, count: int | None = None) -> int: ...
    def recv(self, bufsize: int) -> bytes: ...
    def recv_into(self, buffer: _Buffer) -> int: ...
    def update_key(self, *, request: bool = False) -> None: ...
    def close_notify(self) -> None: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...
    def budgets(self) -> Budgets: ...
    @property
    def version(self) -> str: ...
    @property
    def suite(self) -> str: ...
    @property
    def sender(self) -> RecordLayer: ...
    @property
    def receiver(self) -> RecordLayer: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
        /,
    ) -> None: ...

def buffer_length(buffer: _Buffer, writable: bool) -> int: ...
def measure(namespace: Namespace, size: int, threads: int, seconds: float) -> float: ...
def probe() -> Probe: ...
def wrap_psk(
    sock: socket.socket,
    identity: bytes,
    key: bytes,
    *,
    server_side: bool = False,
    hash: Literal["sha256", "sha384"] = "sha256",
    layer: _Layer | None = None,
) -> Socket: ...
def wrap_keylog(
    sock: socket.socket,
    keylog: str,
    cipher: str,
    *,
    server_side: bool,
    client_random: bytes | None = None,
    sent: int = 0,
    received: int = 0,
    layer: _Layer | None = None,
) -> Socket: ...
