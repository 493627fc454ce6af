"""The native half: what it exports is documented here, for readers and for type checkers."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, Self, TypedDict, Unpack, final, overload

from typing_extensions import Buffer

from ._admin import (
    AnaLog,
    CommandEffectsLog,
    Completion,
    Discovered,
    ErrorLogEntry,
    Feature,
    FirmwareSlots,
    ReservationStatus,
    SanitizeStatus,
    SmartLog,
    SupportedLog,
    _ReservationKind,
)
from ._file import NamespaceFile
from ._options import ConnectOptions
from ._types import (
    Budgets,
    ControllerIdentity,
    DerivedKey,
    DiscoveryEntry,
    Event,
    NamespaceIdentity,
    NamespaceIds,
    Probe,
    RecordLayer,
    Rotation,
    Statistics,
    TargetStatistics,
    TlsFacts,
)

__all__ = [
    "Controller",
    "Events",
    "Features",
    "Key",
    "Logs",
    "Namespace",
    "Queue",
    "Reservations",
    "Socket",
    "Source",
    "Target",
    "__version__",
    "buffer_length",
    "connect",
    "discover",
    "discover_all",
    "generate_secret",
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

class _HasNumpy(Protocol):
    # A tensor of PyTorch.
    def numpy(self) -> Any: ...

_Buffer = Buffer | _HasArray | _HasNumpy

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

def connect(uri: str, **options: Unpack[ConnectOptions]) -> Controller: ...
def discover(uri: str, **options: Unpack[ConnectOptions]) -> list[DiscoveryEntry]: ...
def discover_all(
    uri: str,
    *,
    max_depth: int | None = None,
    max_controllers: int | None = None,
    **options: Unpack[ConnectOptions],
) -> Discovered: ...

class _Dwords(TypedDict, total=False):
    cdw2: int
    cdw3: int
    cdw10: int
    cdw11: int
    cdw12: int
    cdw13: int
    cdw14: int
    cdw15: int

@final
class Controller:
    def namespace(self, nsid: int | None = None) -> Namespace: ...
    def namespaces(self) -> list[int]: ...
    def identify(self) -> ControllerIdentity: ...
    def identify_namespace(self, nsid: int) -> NamespaceIdentity: ...
    def namespace_ids(self, nsid: int) -> NamespaceIds: ...
    def controllers(self, nsid: int | None = None) -> list[int]: ...
    def identify_raw(self, cns: int, nsid: int) -> bytes: ...
    def log_page(self, lid: int, length: int, offset: int = 0) -> bytes: ...
    @property
    def logs(self) -> Logs: ...
    @property
    def features(self) -> Features: ...
    def admin_passthrough(
        self,
        opcode: int,
        *,
        nsid: int = 0,
        data: _Buffer | None = None,
        into: _Buffer | None = None,
        timeout: float | None = None,
        **dwords: Unpack[_Dwords],
    ) -> Completion: ...
    def io_passthrough(
        self,
        opcode: int,
        *,
        nsid: int = 0,
        data: _Buffer | None = None,
        into: _Buffer | None = None,
        timeout: float | None = None,
        **dwords: Unpack[_Dwords],
    ) -> Completion: ...
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
    def rotate_keys(self) -> Rotation: ...
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
class Logs:
    def supported(self) -> list[SupportedLog]: ...
    def errors(self, most: int = 64) -> list[ErrorLogEntry]: ...
    def smart(self, nsid: int | None = None) -> SmartLog: ...
    def firmware(self) -> FirmwareSlots: ...
    def changed_namespaces(self) -> list[int] | None: ...
    def command_effects(self, csi: int = 0) -> CommandEffectsLog: ...
    def sanitize(self) -> SanitizeStatus: ...
    def ana(self) -> AnaLog: ...

@final
class Features:
    @property
    def number_of_queues(self) -> tuple[int, int]: ...
    keep_alive_timeout: float | None
    write_cache: bool
    async_events: int
    def get(
        self,
        feature: int,
        *,
        nsid: int = 0,
        select: Literal["current", "default", "saved", "capabilities"] = "current",
        length: int = 0,
    ) -> Feature: ...
    def set(
        self,
        feature: int,
        value: int,
        *,
        nsid: int = 0,
        data: _Buffer | None = None,
        save: bool = False,
    ) -> int: ...

@final
class Reservations:
    def register(
        self,
        action: Literal["register", "unregister", "replace"] = "register",
        *,
        current_key: int = 0,
        new_key: int = 0,
        ignore_existing_key: bool = False,
        persist: bool | None = None,
    ) -> None: ...
    def acquire(
        self,
        kind: _ReservationKind,
        action: Literal["acquire", "preempt", "preempt-and-abort"] = "acquire",
        *,
        current_key: int,
        preempt_key: int = 0,
    ) -> None: ...
    def release(
        self,
        kind: _ReservationKind | None = None,
        action: Literal["release", "clear"] = "release",
        *,
        current_key: int = 0,
        ignore_existing_key: bool = False,
    ) -> None: ...
    def report(self) -> ReservationStatus: ...

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
    def write(self, offset: int, buffer: _Buffer, *, fua: bool = False) -> int: ...
    def compare(self, offset: int, buffer: _Buffer) -> bool: ...
    def compare_and_write(self, offset: int, expected: _Buffer, new: _Buffer) -> bool: ...
    def verify(self, offset: int, length: int) -> None: ...
    def write_uncorrectable(self, offset: int, length: int) -> None: ...
    def copy(self, sources: Sequence[tuple[int, int]], destination: int) -> None: ...
    @property
    def reservations(self) -> Reservations: ...
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

_Keys = Key | str | Sequence[Key | str]

@final
class Source:
    def __new__(cls, keys: _Keys) -> Self: ...
    @staticmethod
    def file(path: _Path) -> Source: ...
    def set(self, keys: _Keys) -> None: ...

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
    def room(self) -> tuple[int, int, bool]: ...
    def wants(self) -> tuple[int, bool, float | None]: ...
    def follow(self) -> None: ...
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
        host_nqn: str | None,
        dhchap_secret: str | None,
        dhchap_ctrl_secret: str | None,
        concat: bool,
    ) -> Self: ...
    @property
    def address(self) -> str: ...
    def statistics(self) -> TargetStatistics: ...
    def add_namespace(self, nsid: int, size: int, block_size: int) -> None: ...
    def remove_namespace(self, nsid: int) -> None: ...
    def resize_namespace(self, nsid: int, size: int) -> None: ...
    def set_ana_state(self, state: str) -> None: ...
    def add_key(self, key: Key | str) -> None: ...
    def remove_key(self, key: Key | str) -> bool: ...
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

def generate_secret(hash: Literal["none", "sha256", "sha384", "sha512"] = "sha256") -> str: ...
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
