"""What goes wrong, as exceptions: all of them are ``OSError``."""

from __future__ import annotations

import errno as _errno
from typing import Literal, Self

__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "KtlsUnsupportedError",
    "NvmeConnectionError",
    "NvmeError",
    "NvmeTimeoutError",
    "TlsError",
    "TlsTimeoutError",
]


class NvmeError(OSError):
    """Every error of this package.

    ``errno`` is the number that says most of it (``ENOSPC`` where the namespace is full, ``EROFS`` where it is
    write protected, ...), ``strerror`` the message.

    >>> import nvme_tcp
    >>> with nvme_tcp.testing.Target(size="1M") as target, nvme_tcp.connect(**target.connect_args) as controller:
    ...     try:
    ...         controller.namespace(7)
    ...     except nvme_tcp.NvmeError as error:
    ...         print(error.scope, error.strerror)
    command namespace 7 does not exist, or this host may not see it
    """

    #: How far it reaches: one command, a queue, the controller, or what the caller asked for.
    scope: Literal["command", "queue", "controller", "configuration"] = "command"
    #: SCT, the status code type of the controller's answer; ``None`` where there was no such answer.
    status_type: int | None = None
    #: SC, the status code of the controller's answer.
    status_code: int | None = None
    #: What an operator can do about it, where that can be said.
    hint: str | None = None
    #: Whether the same call may succeed later with nothing changed by the caller.
    retryable: bool = False

    @classmethod
    def _make(
        cls,
        errno: int,
        message: str,
        *,
        scope: Literal["command", "queue", "controller", "configuration"],
        status_type: int | None,
        status_code: int | None,
        hint: str | None,
        retryable: bool,
    ) -> Self:
        error = cls(errno, message)
        error.scope = scope
        error.status_type = status_type
        error.status_code = status_code
        error.hint = hint
        error.retryable = retryable
        return error

    def __str__(self) -> str:
        name = _errno.errorcode.get(self.errno, str(self.errno)) if self.errno is not None else None
        text = f"[{name}] {self.strerror}" if name is not None else super().__str__()
        return f"{text} ({self.hint})" if self.hint else text


class ConfigurationError(NvmeError, ValueError):
    """What was asked for makes no sense: nothing was sent. It is a ``ValueError`` as well."""


class NvmeConnectionError(NvmeError, ConnectionError):
    """There is no connection, or no longer. It is a ``ConnectionError`` as well."""


class NvmeTimeoutError(NvmeError, TimeoutError):
    """An answer did not come in time. It is a ``TimeoutError`` as well."""


class TlsError(NvmeError):
    """TLS failed: another key at the other end, or none, or changed bytes."""


class TlsTimeoutError(TlsError, TimeoutError):
    """A TLS handshake, or data over TLS, did not come in time. It is a ``TimeoutError`` as well."""


class AuthenticationError(NvmeError):
    """DH-HMAC-CHAP failed, or the controller wants it and no secret was given."""


class KtlsUnsupportedError(TlsError):
    """This kernel has not the TLS that was asked for."""


for _class in (
    NvmeError,
    ConfigurationError,
    NvmeConnectionError,
    NvmeTimeoutError,
    TlsError,
    TlsTimeoutError,
    AuthenticationError,
    KtlsUnsupportedError,
):
    # Where users find them, in tracebacks too.
    _class.__module__ = "nvme_tcp"
