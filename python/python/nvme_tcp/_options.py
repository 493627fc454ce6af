"""What ``connect`` takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from ._admin import Recovery
    from ._native import Key, Source

__all__ = ["ConnectOptions"]


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of ``connect``, ``aio.connect`` and ``discover``, each as if absent when it is ``None``.

    ``connect`` says what they mean.
    """

    key: Key | str | Sequence[Key | str] | Source | None
    keyfile: str | os.PathLike[str] | None
    host_nqn: str | None
    host_id: str | None
    io_queues: int | None
    owned_queues: int | None
    queue_size: int | None
    header_digest: bool | None
    data_digest: bool | None
    digests_optional: bool | None
    keep_alive: float | None
    timeout: float | None
    connect_timeout: float | None
    busy_poll: float | None
    private_memory: bool | None
    congestion_control: str | None
    layer: Literal["auto", "kernel", "process"] | None
    record_limit: int | None
    identity_version: Literal[0, 1] | None
    compat: bool | None
    dhchap_secret: str | None
    dhchap_ctrl_secret: str | None
    concat: bool | None
    recovery: bool | Recovery | None
