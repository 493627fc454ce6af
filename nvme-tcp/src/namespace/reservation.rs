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

/// What the command of a reservation is called in errors, itself, and its data.
pub(crate) type Command = (&'static str, Sqe, Vec<u8>);

impl Register {
    pub(crate) fn command(&self, nsid: u32) -> Command {
        let Self { action, ignore_existing_key, persist, .. } = *self;
        let sqe = reservation::register(nsid, action, ignore_existing_key, persist);
        let keys = KeyPair { current: self.current_key.into(), other: self.new_key.into() };
        ("Reservation Register", sqe, keys.as_bytes().to_vec())
    }
}

impl Acquire {
    pub(crate) fn command(&self, nsid: u32) -> Command {
        let sqe = reservation::acquire(nsid, self.action, self.kind);
        let keys = KeyPair { current: self.current_key.into(), other: self.preempt_key.into() };
        ("Reservation Acquire", sqe, keys.as_bytes().to_vec())
    }
}

impl Release {
    pub(crate) fn command(&self, nsid: u32) -> Command {
        let Self { action, kind, current_key, ignore_existing_key } = *self;
        let sqe = reservation::release(nsid, action, kind, ignore_existing_key);
        ("Reservation Release", sqe, current_key.to_le_bytes().to_vec())
    }
}

/// Asks for a report until there is room for all of it.
pub(crate) struct Reporting {
    room: u16,
    tries: u32,
}

/// What a Reservation Report is called in errors.
pub(crate) const REPORT: &str = "Reservation Report";

impl Reporting {
    pub(crate) fn new() -> Self {
        Self { room: FIRST_REPORT, tries: 0 }
    }

    /// The next command, and how much it brings.
    pub(crate) fn next(&mut self, namespace: &Namespace) -> Result<(Sqe, usize)> {
        namespace.require(ONCS_RESERVATIONS, "reservations")?;
        let len = ReservationStatus::len_for(self.room);
        self.tries += 1;
        if len > namespace.max_transfer() || self.tries > MAX_TRIES {
            return Err(ErrorKind::Malformed(Malformed {
                structure: "reservation status",
                field: "number of registrants",
                got: self.room.into(),
                expected: "as many as one command can bring",
            })
            .into());
        }
        Ok((reservation::report(namespace.nsid, len as u32), len))
    }

    /// The report, where it is all there.
    pub(crate) fn read(&mut self, data: &[u8]) -> Result<Option<ReservationStatus>> {
        let count = ReservationStatus::count(data)?;
        if count > self.room {
            self.room = count;
            return Ok(None);
        }
        Ok(Some(ReservationStatus::read(data)?))
    }
}

impl Namespace {
    /// Registers this host's key, takes the registration back, or replaces the key.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{Register, spec::command::reservation::RegisterAction};
    ///
    /// // Another key in place of this host's own; a reservation that it holds stays.
    /// let action = RegisterAction::Replace;
    /// let register = Register { action, current_key: 7, new_key: 8, ..Register::default() };
    /// namespace.reservation_register(&register)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, by [`RESERVATION_CONFLICT`](crate::spec::completion::Status::RESERVATION_CONFLICT) where
    /// the current key is another; the association is lost; the controller has no reservations.
    pub fn reservation_register(&self, register: &Register) -> Result<()> {
        self.reserve(register.command(self.nsid))
    }

    /// Takes the reservation, with [`AcquireAction::Preempt`] from somebody else. The host must be registered.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::Acquire;
    /// use nvme_tcp::spec::command::reservation::AcquireAction;
    /// use nvme_tcp::spec::{reservation::ReservationType, status::Status};
    ///
    /// let (action, kind) = (AcquireAction::Acquire, ReservationType::WriteExclusive);
    /// let acquire = Acquire { action, kind, current_key: 7, preempt_key: 0 };
    /// match namespace.reservation_acquire(&acquire) {
    ///     Err(error) if error.status().is_some_and(|status| status.is(Status::RESERVATION_CONFLICT)) => {
    ///         println!("another host holds it, or this one is not registered");
    ///     }
    ///     result => result?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register).
    pub fn reservation_acquire(&self, acquire: &Acquire) -> Result<()> {
        self.reserve(acquire.command(self.nsid))
    }

    /// Gives the reservation back, or clears it and every registration.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{Release, spec::command::reservation::ReleaseAction};
    ///
    /// // A cluster starts afresh: no reservation, no registration, of no host.
    /// let action = ReleaseAction::Clear;
    /// namespace.reservation_release(&Release { action, current_key: 7, ..Release::default() })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register).
    pub fn reservation_release(&self, release: &Release) -> Result<()> {
        self.reserve(release.command(self.nsid))
    }

    /// Who is registered, and who holds the reservation, with host IDs of 128 bits.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// for registrant in namespace.reservation_report()?.registrants {
    ///     println!("{:02x?}", registrant.host_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register). The report is malformed, or does not fit into one
    /// command (MDTS).
    pub fn reservation_report(&self) -> Result<ReservationStatus> {
        let mut reporting = Reporting::new();
        loop {
            let (sqe, len) = reporting.next(self)?;
            let mut data = vec![0; len];
            self.run(REPORT, [Request { sqe, buffer: Buffer::Read(&mut data) }])?;
            if let Some(report) = reporting.read(&data)? {
                return Ok(report);
            }
        }
    }

    fn reserve(&self, (name, sqe, data): Command) -> Result<()> {
        self.require(ONCS_RESERVATIONS, "reservations")?;
        self.run(name, [Request { sqe, buffer: Buffer::Write(&data) }])
    }
}
