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
from ._native import Controller, Events, Namespace, __version__, connect, discover
from ._types import (
    ControllerIdentity,
    DiscoveryEntry,
    Event,
    NamespaceIdentity,
    RecordLayer,
    Statistics,
    TlsFacts,
)

__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "Controller",
    "ControllerIdentity",
    "DiscoveryEntry",
    "Event",
    "Events",
    "KtlsUnsupportedError",
    "Namespace",
    "NamespaceFile",
    "NamespaceIdentity",
    "NvmeConnectionError",
    "NvmeError",
    "NvmeTimeoutError",
    "RecordLayer",
    "Statistics",
    "TlsError",
    "TlsFacts",
    "TlsTimeoutError",
    "__version__",
    "aio",
    "connect",
    "discover",
    "keys",
    "ktls",
    "testing",
]
