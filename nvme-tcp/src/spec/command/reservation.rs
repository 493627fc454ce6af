//! Reservation commands (Base, section 7.9).

use super::Sqe;
use crate::spec::reservation::ReservationType;

/// OPC: Reservation Register.
pub const REGISTER: u8 = 0x0d;
/// OPC: Reservation Report.
pub const REPORT: u8 = 0x0e;
/// OPC: Reservation Acquire.
pub const ACQUIRE: u8 = 0x11;
/// OPC: Reservation Release.
pub const RELEASE: u8 = 0x15;

/// CDW11 of Reservation Report: EDS, the extended data structure with host IDs of 128 bits.
pub const REPORT_EXTENDED: u32 = 1;
/// IEKEY, CDW10 of Register and Release: the current key is not looked at.
pub const IGNORE_EXISTING_KEY: u32 = 1 << 3;

/// RREGA: what Reservation Register does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RegisterAction {
    /// Registers the new key.
    #[default]
    Register = 0,
    /// Takes the registration back, and with it the reservation, if this host holds it.
    Unregister = 1,
    /// Replaces the current key by the new one.
    Replace = 2,
}

/// CPTPL: whether registrations and reservations outlive a loss of power from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PersistThroughPowerLoss {
    /// As it is.
    #[default]
    Unchanged = 0b00,
    /// They are released at power on.
    Off = 0b10,
    /// They persist.
    On = 0b11,
}

/// RACQA: what Reservation Acquire does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum AcquireAction {
    /// Takes the reservation that nobody holds.
    #[default]
    Acquire = 0,
    /// Takes it from whoever is registered with the preempted key, whose registration ends.
    Preempt = 1,
    /// The same, and their commands are aborted.
    PreemptAndAbort = 2,
}

/// RRELA: what Reservation Release does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ReleaseAction {
    /// Gives the reservation back; the registration stays.
    #[default]
    Release = 0,
    /// Ends the reservation and every host's registration.
    Clear = 1,
}

/// Reservation Register; its data is a [`KeyPair`](crate::spec::reservation::KeyPair).
pub fn register(nsid: u32, action: RegisterAction, ignore: bool, persist: PersistThroughPowerLoss) -> Sqe {
    let ignore = if ignore { IGNORE_EXISTING_KEY } else { 0 };
    Sqe::new(REGISTER, nsid).cdw(10, action as u32 | ignore | (persist as u32) << 30)
}

/// Reservation Acquire; its data is a [`KeyPair`](crate::spec::reservation::KeyPair).
pub fn acquire(nsid: u32, action: AcquireAction, kind: ReservationType) -> Sqe {
    Sqe::new(ACQUIRE, nsid).cdw(10, action as u32 | (kind as u32) << 8)
}

/// Reservation Release; its data is the current key, 8 bytes. RTYPE is looked at only by a release.
pub fn release(nsid: u32, action: ReleaseAction, kind: Option<ReservationType>, ignore: bool) -> Sqe {
    let ignore = if ignore { IGNORE_EXISTING_KEY } else { 0 };
    Sqe::new(RELEASE, nsid).cdw(10, action as u32 | ignore | kind.map_or(0, |kind| kind as u32) << 8)
}

/// Reservation Report of `len` bytes (a multiple of 4, not zero), with host IDs of 128 bits.
pub fn report(nsid: u32, len: u32) -> Sqe {
    Sqe::new(REPORT, nsid).cdw(10, (len / 4).saturating_sub(1)).cdw(11, REPORT_EXTENDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_place() {
        let sqe = register(1, RegisterAction::Replace, true, PersistThroughPowerLoss::On);
        assert_eq!(sqe.get_cdw(10), 0xc000_000a);
        let sqe = acquire(1, AcquireAction::PreemptAndAbort, ReservationType::WriteExclusiveAllRegistrants);
        assert_eq!(sqe.get_cdw(10), 0x502);
        let sqe = release(1, ReleaseAction::Clear, None, false);
        assert_eq!(sqe.get_cdw(10), 1);
        let sqe = report(1, 4096);
        assert_eq!((sqe.get_cdw(10), sqe.get_cdw(11)), (1023, 1));
    }
}
