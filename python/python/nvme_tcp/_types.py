"""What calls give back: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

__all__ = [
    "Budgets",
    "ControllerIdentity",
    "DerivedKey",
    "DiscoveryEntry",
    "Event",
    "NamespaceIdentity",
    "NamespaceIds",
    "Probe",
    "RecordLayer",
    "Rotation",
    "Statistics",
    "SuiteProbe",
    "TargetStatistics",
    "TlsFacts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerIdentity:
    """What a controller says of itself (Identify, CNS 01h), and what the connection came to."""

    #: CNTLID.
    controller_id: int
    #: The version of the NVMe specification that it follows: "2.0.0".
    version: str
    subsystem_nqn: str
    serial_number: str
    model_number: str
    firmware_revision: str
    #: MDTS: the most data in one command, in bytes; ``None`` for no limit.
    max_transfer: int | None
    #: NN: the highest namespace ID.
    max_namespace: int
    #: Whether a flush means something.
    volatile_write_cache: bool
    #: I/O queues that it granted.
    io_queues: int
    #: Entries in each of them.
    queue_entries: int
    #: Data that goes along with a command, in bytes.
    in_capsule_bytes: int
    is_discovery: bool
    #: The whole structure, 4,096 bytes.
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceIdentity:
    """What a controller says of a namespace (Identify, CNS 00h). Sizes are in bytes."""

    nsid: int
    size: int
    capacity: int
    used: int
    block_size: int
    #: Metadata of each block; a namespace with metadata cannot be opened.
    metadata_bytes: int
    #: 0 for none.
    protection_type: int
    read_only: bool
    nguid: bytes | None
    eui64: bytes | None
    #: The whole structure, 4,096 bytes.
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceIds:
    """What tells a namespace from every other (Identify, CNS 03h)."""

    eui64: bytes | None
    nguid: bytes | None
    uuid: UUID | None
    #: CSI: its command set, 0 for the NVM command set.
    command_set: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryEntry:
    """One entry of a discovery log."""

    #: What it leads to: a subsystem with namespaces, another discovery controller, the one that was asked.
    kind: Literal["subsystem", "referral", "discovery", "other"]
    subsystem_nqn: str
    #: Host and port.
    address: str
    port_id: int
    #: Whether the listener wants TLS.
    tls: Literal["off", "possible", "required"]
    #: CNTLID, where the subsystem's controllers are not dynamic.
    controller_id: int | None
    #: The most entries in the admin queue; 0 where the entry does not say.
    admin_queue_size: int

    @property
    def uri(self) -> str:
        """What ``connect`` takes."""
        return f"nvme+tcp://{self.address}/{self.subsystem_nqn}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a controller reported, or that became of the association with it."""

    kind: Literal[
        "namespaces-changed",
        "ana-changed",
        "firmware-activation",
        "discovery-changed",
        "health",
        "error",
        "up",
        "lost",
        "reconnecting",
        "replaced",
        "record-budget-low",
        "gone",
        "missed",
        "other",
    ]
    #: How many associations there were before the one that it is about.
    generation: int | None = None
    #: Which attempt to connect again it is, since the association was lost.
    attempt: int | None = None
    #: How many seconds until that attempt.
    delay: float | None = None
    #: How many events were dropped, because nobody came for them.
    missed: int | None = None
    #: The IDs of the namespaces that changed; ``None`` where any may have.
    namespaces: tuple[int, ...] | None = None
    #: What the association was lost for.
    error: OSError | None = None
    #: What else there is to say.
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLayer:
    """Who seals or opens the TLS records of one direction."""

    by: Literal["kernel", "nic", "process"]
    why: str
    #: What would make the kernel do it, where that can be said: "modprobe tls".
    mend: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What TLS is on a connection."""

    version: str
    suite: str
    #: The group of the key agreement.
    group: str | None
    #: The name of the key, which is no secret.
    psk_identity: str
    identity_version: int
    #: Whether the key was derived as libnvme did before 1.15.
    compat: bool
    #: Whether the key comes from authentication (secure channel concatenation).
    generated: bool
    send: RecordLayer
    receive: RecordLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What came of ``Controller.rotate_keys``."""

    #: How many associations there were before the one that took over.
    generation: int
    #: Whether the ``keys.Source`` gave other keys than before.
    key_changed: bool
    #: Which version of the identity the target took.
    identity_version: int | None
    #: Whether the target can know one key at a time only, since a version-0 identity names none in particular.
    gap: bool
    #: For how many seconds commands were held, because the target grants a host one controller; ``None`` for none.
    held: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What went through one ``Controller`` so far: calls, or commands where an event loop is used."""

    reads: int
    bytes_read: int
    writes: int
    bytes_written: int
    flushes: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatistics:
    """What a ``testing.Target`` did so far."""

    connections: int
    open_connections: int
    refused_connections: int
    commands: int
    failed_commands: int
    bytes_received: int
    bytes_sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedKey:
    """The identity and the key of a TLS handshake between one host and one subsystem."""

    #: What goes over the wire in the clear.
    identity: str
    hash: Literal["sha256", "sha384"]
    version: int
    compat: bool
    #: The TLS PSK itself.
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteProbe:
    """Whether the kernel takes the keys of one cipher: ``None`` where it does, else why not."""

    suite: str
    send: str | None
    receive: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What this kernel's TLS can do."""

    #: Why there is none; ``None`` where there is.
    missing: str | None
    #: What would bring it, where that can be said: "modprobe tls".
    mend: str | None
    suites: tuple[SuiteProbe, ...]
    #: TLS_RX_EXPECT_NO_PAD (Linux 6.0).
    no_pad: bool
    #: TLS_TX_MAX_PAYLOAD_LEN (Linux 6.19).
    max_payload: bool
    #: The kernel tells how many records each key was used for (Linux 6.0).
    counts_records: bool
    #: A key can be replaced (Linux 6.14).
    rekey: bool
    #: The same in sentences.
    explanation: str

    @property
    def available(self) -> bool:
        """Whether the kernel has TLS at all."""
        return self.missing is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """How many records the keys of a connection were used for, and the most that they may be.

    A kernel that seals and opens is asked only now and then: its numbers are those of the last time.
    """

    sent: int
    received: int
    limit: int
