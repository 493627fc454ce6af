"""What admin commands, reservations and discovery give back, and how recovery is asked for: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ._types import DiscoveryEntry

__all__ = [
    "AnaGroup",
    "AnaLog",
    "CommandEffects",
    "CommandEffectsLog",
    "Completion",
    "Discovered",
    "ErrorLogEntry",
    "Feature",
    "FirmwareSlots",
    "Found",
    "Recovery",
    "Registrant",
    "ReservationStatus",
    "SanitizeStatus",
    "SmartLog",
    "SupportedLog",
    "Unreached",
]

if TYPE_CHECKING:
    _ReservationKind = Literal[
        "write-exclusive",
        "exclusive-access",
        "write-exclusive-registrants-only",
        "exclusive-access-registrants-only",
        "write-exclusive-all-registrants",
        "exclusive-access-all-registrants",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How ``connect`` brings a lost association up again. Times are in seconds; ``None`` is the library's default."""

    #: Before the first attempt (0.1). It goes along with the next.
    first_delay: float | None = None
    #: Between attempts at most; each that fails doubles the delay (10).
    longest_delay: float | None = None
    #: No more attempts after this time without an association (600); ``math.inf`` for never.
    controller_loss_timeout: float | None = None
    #: Commands are held no longer than this (as long as there are attempts).
    fast_fail_timeout: float | None = None
    #: What becomes of a write that may or may not have been carried out: it is sent again once the old controller has
    #: surely stopped ("replay"), or fails at once ("report").
    unknown_writes: Literal["replay", "report"] | None = None
    #: How long a controller that does not say so may go on after it noticed that the host is gone (0).
    assumed_quiesce_time: float | None = None
    #: How often a command is sent again that failed with a status of something passing (5).
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportedLog:
    """A log page that a controller has."""

    #: Which.
    lid: int
    #: IOS: offsets may be counted in entries.
    index_offset: bool
    #: LIDSP: what the page says of itself.
    specific: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLogEntry:
    """An error that a controller noted (LID 01h)."""

    #: Which error of the controller's life it is, from 1.
    error_count: int
    #: SQID.
    queue_id: int
    #: CID.
    command_id: int
    opcode: int
    #: SCT and SC.
    status_type: int
    status_code: int
    #: The status in words.
    text: str
    #: Where in the command the error is: byte in bits 7:0, bit in 10:8; ``None`` for no single place.
    parameter_location: int | None
    nsid: int
    #: The first block that it is about.
    lba: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartLog:
    """The health of a controller (LID 02h)."""

    #: Spare low in bit 0, temperature in 1, reliability degraded in 2, read only in 3.
    critical_warning: int
    #: In kelvins; ``None`` where it is not measured.
    temperature: int | None
    #: In percent, as the next two.
    available_spare: int
    available_spare_threshold: int
    percentage_used: int
    #: Counted in units of 512,000 bytes.
    bytes_read: int
    bytes_written: int
    read_commands: int
    write_commands: int
    busy_minutes: int
    power_cycles: int
    power_on_hours: int
    unsafe_shutdowns: int
    #: Unrecovered errors of the media or of data integrity.
    media_errors: int
    #: Entries of the error log over the controller's life.
    error_entries: int
    warning_temperature_minutes: int
    critical_temperature_minutes: int
    #: Sensors 1 to 8, in kelvins.
    temperature_sensors: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareSlots:
    """What firmware there is (LID 03h)."""

    #: The slot that runs, from 1.
    active: int
    #: The slot that runs after the next reset, where it is another one.
    next: int | None
    #: Revisions by slot.
    revisions: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEffects:
    """What a command does besides what it is for."""

    changes_blocks: bool
    #: It may change what a namespace can do.
    changes_namespace: bool
    #: It may change which namespaces there are.
    changes_inventory: bool
    #: It may change what the controller can do.
    changes_controller: bool
    #: 0 for no rule, 1 where no other command may go to the same namespace meanwhile, 2 where none may to any.
    exclusion: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEffectsLog:
    """The commands that there are, by their opcodes (LID 05h)."""

    admin: Mapping[int, CommandEffects]
    io: Mapping[int, CommandEffects]


@dataclass(frozen=True, slots=True, kw_only=True)
class SanitizeStatus:
    """How the last sanitize went (LID 81h)."""

    state: Literal["never", "done", "running", "failed", "done-and-deallocated", "other"]
    #: How much is done, from 0 to 1.
    progress: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnaGroup:
    """A group of namespaces, and how well a controller reaches them."""

    id: int
    change_count: int
    state: Literal["optimized", "non-optimized", "inaccessible", "persistent-loss", "change", "reserved"]
    namespaces: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnaLog:
    """How well a controller reaches which namespaces (LID 0Ch)."""

    change_count: int
    groups: tuple[AnaGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """What Get Features gives."""

    #: DW0 of the completion.
    value: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How a command of ``admin_passthrough`` or ``io_passthrough`` was completed."""

    #: DW0 and DW1.
    result: int
    #: SCT and SC.
    status_type: int
    status_code: int
    #: The status in words.
    text: str
    #: How many bytes came; 0 where the command failed.
    received: int

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.status_type == 0 and self.status_code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrant:
    """A host that is registered for reservations."""

    #: CNTLID; ``None`` for a dynamic one.
    controller_id: int | None
    #: Whether it holds the reservation.
    holds: bool
    #: Its key, which every registrant may see.
    key: int
    host_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationStatus:
    """Who is registered, and who holds the reservation of a namespace."""

    #: Changes with every registration and preemption.
    generation: int
    #: The reservation that is held.
    held: _ReservationKind | None
    #: Whether all of it outlives a loss of power.
    persists: bool
    registrants: tuple[Registrant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry of a discovery log, and who told of it."""

    entry: DiscoveryEntry
    #: The address of the discovery controller that has it.
    source: str
    #: How many referrals led there.
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreached:
    """A referral that did not lead anywhere."""

    entry: DiscoveryEntry
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What ``discover_all`` found."""

    #: Each entry once, those of the first controller first.
    found: tuple[Found, ...]
    unreached: tuple[Unreached, ...]

    @property
    def subsystems(self) -> list[DiscoveryEntry]:
        """The ports of subsystems, each once."""
        entries = (found.entry for found in self.found if found.entry.kind == "subsystem")
        return list({(entry.subsystem_nqn, entry.address): entry for entry in entries}.values())
