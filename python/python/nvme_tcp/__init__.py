"""NVMe/TCP with TLS 1.3 from user space, without root and without the kernel's NVMe driver.

>>> import nvme_tcp
>>> with nvme_tcp.testing.Target(size="64M", tls=True) as target:
...     with nvme_tcp.connect(**target.connect_args) as controller:
...         namespace = controller.namespace(1)
...         namespace.write(4096, b"hello".ljust(512))
...         namespace.flush()
...         namespace.read(4096, 512).rstrip()
512
b'hello'

Offsets and lengths are in bytes and multiples of ``Namespace.block_size``; ``Namespace.open`` gives a file
object that takes any. ``nvme_tcp.aio`` does the same in an event loop.
"""

from . import aio, keys, ktls, testing
from ._admin import (
    AnaGroup,
    AnaLog,
    CommandEffects,
    CommandEffectsLog,
    Completion,
    Discovered,
    ErrorLogEntry,
    Feature,
    FirmwareSlots,
    Found,
    Recovery,
    Registrant,
    ReservationStatus,
    SanitizeStatus,
    SmartLog,
    SupportedLog,
    Unreached,
)
from ._errors import (
    AuthenticationError,
    ConfigurationError,
    KtlsUnsupportedError,
    NvmeConnectionError,
    NvmeError,
    NvmeTimeoutError,
    TlsError,
    TlsTimeoutError,
)
from ._file import NamespaceFile
from ._native import (
    Controller,
    Events,
    Features,
    Logs,
    Namespace,
    Reservations,
    __version__,
    connect,
    discover,
    discover_all,
)
from ._options import ConnectOptions
from ._types import (
    ControllerIdentity,
    DiscoveryEntry,
    Event,
    NamespaceIdentity,
    NamespaceIds,
    RecordLayer,
    Rotation,
    Statistics,
    TlsFacts,
)

__all__ = [
    "AnaGroup",
    "AnaLog",
    "AuthenticationError",
    "CommandEffects",
    "CommandEffectsLog",
    "Completion",
    "ConfigurationError",
    "ConnectOptions",
    "Controller",
    "ControllerIdentity",
    "Discovered",
    "DiscoveryEntry",
    "ErrorLogEntry",
    "Event",
    "Events",
    "Feature",
    "Features",
    "FirmwareSlots",
    "Found",
    "KtlsUnsupportedError",
    "Logs",
    "Namespace",
    "NamespaceFile",
    "NamespaceIdentity",
    "NamespaceIds",
    "NvmeConnectionError",
    "NvmeError",
    "NvmeTimeoutError",
    "RecordLayer",
    "Recovery",
    "Registrant",
    "ReservationStatus",
    "Reservations",
    "Rotation",
    "SanitizeStatus",
    "SmartLog",
    "Statistics",
    "SupportedLog",
    "TlsError",
    "TlsFacts",
    "TlsTimeoutError",
    "Unreached",
    "__version__",
    "aio",
    "connect",
    "discover",
    "discover_all",
    "keys",
    "ktls",
    "testing",
]
