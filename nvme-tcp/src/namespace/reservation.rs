//! Reservations: who may read and write a namespace that several hosts share.

use zerocopy::IntoBytes;

use super::Namespace;
use crate::driver::shared::{Buffer, Request};
use crate::error::{ErrorKind, Result};
use crate::spec::command::Sqe;
use crate::spec::command::reservation::{
    self, AcquireAction, PersistThroughPowerLoss, RegisterAction, ReleaseAction,
};
use crate::spec::identify::ONCS_RESERVATIONS;
use crate::spec::malformed::Malformed;
use crate::spec::reservation::{KeyPair, ReservationStatus, ReservationType};

/// How many registrants the first report has room for.
const FIRST_REPORT: u16 = 63;
/// How often a report is asked for that outgrows its room.
const MAX_TRIES: u32 = 4;

/// A Reservation Register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// RREGA: what to do.
    pub action: RegisterAction,
    /// CRKEY: the key that this host is registered with; 0 for a host that is not.
    pub current_key: u64,
    /// NRKEY: the key to register, or to replace the current one by.
    pub new_key: u64,
    /// IEKEY: `current_key` is not looked at.
    pub ignore_existing_key: bool,
    /// CPTPL: what to change about persistence through power loss.
    pub persist: PersistThroughPowerLoss,
}

/// A Reservation Acquire.
///
/// ```no_run
/// use nvme_tcp::spec::command::reservation::AcquireAction;
/// use nvme_tcp::spec::reservation::ReservationType;
/// use nvme_tcp::{Acquire, Register};
///
/// # fn fence(namespace: &nvme_tcp::Namespace, mine: u64, theirs: u64) -> nvme_tcp::Result<()> {
/// // From here on only registrants write, and who had `theirs` is none any more.
/// namespace.reservation_register(&Register { new_key: mine, ..Register::default() })?;
/// namespace.reservation_acquire(&Acquire {
///     action: AcquireAction::PreemptAndAbort,
///     kind: ReservationType::WriteExclusiveRegistrantsOnly,
///     current_key: mine,
///     preempt_key: theirs,
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// RACQA: what to do.
    pub action: AcquireAction,
    /// RTYPE: the reservation wanted.
    pub kind: ReservationType,
    /// CRKEY: the key that this host is registered with.
    pub current_key: u64,
    /// PRKEY: the key to preempt; 0 for an acquire that preempts nobody.
    pub preempt_key: u64,
}

/// A Reservation Release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// RRELA: what to do.
    pub action: ReleaseAction,
    /// RTYPE: the reservation that is held; a clear does not look at it.
    pub kind: Option<ReservationType>,
    /// CRKEY: the key that this host is registered with.
    pub current_key: u64,
    /// IEKEY: `current_key` is not looked at.
    pub ignore_existing_key: bool,
}

impl Namespace {
    /// Registers this host's key, takes the registration back, or replaces the key.
    ///
    /// # Errors
    /// The command failed, by [`RESERVATION_CONFLICT`](crate::spec::completion::Status::RESERVATION_CONFLICT) where
    /// the current key is another; the association is lost; the controller has no reservations.
    pub fn reservation_register(&self, register: &Register) -> Result<()> {
        let Register { action, ignore_existing_key, persist, .. } = *register;
        let sqe = reservation::register(self.nsid, action, ignore_existing_key, persist);
        let keys = KeyPair { current: register.current_key.into(), other: register.new_key.into() };
        self.reserve("Reservation Register", sqe, keys.as_bytes())
    }

    /// Takes the reservation, with [`AcquireAction::Preempt`] from somebody else. The host must be registered.
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register).
    pub fn reservation_acquire(&self, acquire: &Acquire) -> Result<()> {
        let sqe = reservation::acquire(self.nsid, acquire.action, acquire.kind);
        let keys = KeyPair { current: acquire.current_key.into(), other: acquire.preempt_key.into() };
        self.reserve("Reservation Acquire", sqe, keys.as_bytes())
    }

    /// Gives the reservation back, or clears it and every registration.
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register).
    pub fn reservation_release(&self, release: &Release) -> Result<()> {
        let Release { action, kind, current_key, ignore_existing_key } = *release;
        let sqe = reservation::release(self.nsid, action, kind, ignore_existing_key);
        self.reserve("Reservation Release", sqe, &current_key.to_le_bytes())
    }

    /// Who is registered, and who holds the reservation, with host IDs of 128 bits.
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register). The report is malformed, or does not fit into one
    /// command (MDTS).
    pub fn reservation_report(&self) -> Result<ReservationStatus> {
        self.require(ONCS_RESERVATIONS, "reservations")?;
        let mut room = FIRST_REPORT;
        for _ in 0..MAX_TRIES {
            let len = ReservationStatus::len_for(room);
            if len > self.max_transfer() {
                break;
            }
            let mut data = vec![0; len];
            let sqe = reservation::report(self.nsid, len as u32);
            self.run("Reservation Report", [Request { sqe, buffer: Buffer::Read(&mut data) }])?;
            let count = ReservationStatus::count(&data)?;
            if count <= room {
                return Ok(ReservationStatus::read(&data)?);
            }
            room = count;
        }
        Err(ErrorKind::Malformed(Malformed {
            structure: "reservation status",
            field: "number of registrants",
            got: room.into(),
            expected: "as many as one command can bring",
        })
        .into())
    }

    fn reserve(&self, name: &'static str, sqe: Sqe, data: &[u8]) -> Result<()> {
        self.require(ONCS_RESERVATIONS, "reservations")?;
        self.run(name, [Request { sqe, buffer: Buffer::Write(data) }])
    }
}
