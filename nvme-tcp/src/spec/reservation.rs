//! Reservation data: what the commands carry and what Reservation Report gives (Base, section 7.9).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::malformed::{self, Malformed};

const NAME: &str = "reservation status";

/// RTYPE: who may do what while the reservation is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReservationType {
    /// Only the holder writes; everybody reads.
    WriteExclusive = 1,
    /// Only the holder reads and writes.
    ExclusiveAccess = 2,
    /// Only registrants write; everybody reads.
    WriteExclusiveRegistrantsOnly = 3,
    /// Only registrants read and write.
    ExclusiveAccessRegistrantsOnly = 4,
    /// Only registrants write, and each of them holds it; everybody reads.
    WriteExclusiveAllRegistrants = 5,
    /// Only registrants read and write, and each of them holds it.
    ExclusiveAccessAllRegistrants = 6,
}

impl ReservationType {
    /// The type with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::WriteExclusive,
            2 => Self::ExclusiveAccess,
            3 => Self::WriteExclusiveRegistrantsOnly,
            4 => Self::ExclusiveAccessRegistrantsOnly,
            5 => Self::WriteExclusiveAllRegistrants,
            6 => Self::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }
}

/// The data of Reservation Register: the current and the new key; of Reservation Acquire: the current key and
/// the one to preempt.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct KeyPair {
    /// CRKEY: the key that this host is registered with.
    pub current: U64,
    /// NRKEY: the key to register; PRKEY: the key to preempt.
    pub other: U64,
}

/// The head of the extended data structure.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReservationHeader {
    /// GEN: changes with every registration and preemption.
    pub generation: U32,
    /// RTYPE: 0 where nobody holds a reservation.
    pub kind: u8,
    /// REGSTRNT: how many registrants there are.
    pub registrants: U16,
    reserved_7: [u8; 2],
    /// PTPLS: 1 where reservations outlive a loss of power.
    pub persist: u8,
    reserved_10: [u8; 54],
}

/// One registrant in the extended data structure.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RegistrantEntry {
    /// CNTLID: the controller that it registered by; FFFFh for a dynamic one.
    pub cntlid: U16,
    /// RCSTS: bit 0 where it holds the reservation.
    pub status: u8,
    reserved_3: [u8; 5],
    /// RKEY: its key.
    pub key: U64,
    /// HOSTID: 128 bits.
    pub host_id: [u8; 16],
    reserved_32: [u8; 32],
}

/// One registrant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registrant {
    /// CNTLID: the controller that it registered by; FFFFh for a dynamic one.
    pub controller_id: u16,
    /// Whether it holds the reservation.
    pub holds: bool,
    /// Its key, which every registrant may see.
    pub key: u64,
    /// Its HOSTID.
    pub host_id: [u8; 16],
}

/// What Reservation Report gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReservationStatus {
    /// GEN: changes with every registration and preemption.
    pub generation: u32,
    /// The reservation that is held; `None` where nobody holds one.
    pub held: Option<ReservationType>,
    /// PTPLS: whether registrations and reservations outlive a loss of power.
    pub persists: bool,
    /// Who is registered.
    pub registrants: Vec<Registrant>,
}

impl ReservationStatus {
    /// The length in bytes of a report on so many registrants.
    pub const fn len_for(registrants: u16) -> usize {
        size_of::<ReservationHeader>() + registrants as usize * size_of::<RegistrantEntry>()
    }

    /// How many registrants the report says there are, which may be more than it has room for.
    ///
    /// # Errors
    /// There is not even a header.
    pub fn count(bytes: &[u8]) -> Result<u16, Malformed> {
        malformed::read::<ReservationHeader>(NAME, bytes).map(|(header, _)| header.registrants.get())
    }

    /// Reads the extended data structure (EDS set).
    ///
    /// # Errors
    /// It has fewer registrants than it says, or a type that there is not.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, mut rest) = malformed::read::<ReservationHeader>(NAME, bytes)?;
        let held = match header.kind {
            0 => None,
            code => Some(ReservationType::from_code(code).ok_or(Malformed {
                structure: NAME,
                field: "RTYPE",
                got: code.into(),
                expected: "0 to 6",
            })?),
        };
        let mut registrants = Vec::new();
        for _ in 0..header.registrants.get() {
            let (entry, after) = malformed::read::<RegistrantEntry>(NAME, rest)?;
            rest = after;
            registrants.push(Registrant {
                controller_id: entry.cntlid.get(),
                holds: entry.status & 1 != 0,
                key: entry.key.get(),
                host_id: entry.host_id,
            });
        }
        Ok(Self { generation: header.generation.get(), held, persists: header.persist & 1 != 0, registrants })
    }

    /// The extended data structure as it goes over the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = ReservationHeader::new_zeroed();
        header.generation.set(self.generation);
        header.kind = self.held.map_or(0, |held| held as u8);
        header.registrants.set(self.registrants.len() as u16);
        header.persist = self.persists.into();
        let mut bytes = header.as_bytes().to_vec();
        for registrant in &self.registrants {
            let mut entry = RegistrantEntry::new_zeroed();
            entry.cntlid.set(registrant.controller_id);
            entry.status = registrant.holds.into();
            entry.key.set(registrant.key);
            entry.host_id = registrant.host_id;
            bytes.extend_from_slice(entry.as_bytes());
        }
        bytes
    }

    /// A report.
    pub fn new(
        generation: u32,
        held: Option<ReservationType>,
        persists: bool,
        registrants: Vec<Registrant>,
    ) -> Self {
        Self { generation, held, persists, registrants }
    }
}

impl Registrant {
    /// A registrant.
    pub fn new(controller_id: u16, holds: bool, key: u64, host_id: [u8; 16]) -> Self {
        Self { controller_id, holds, key, host_id }
    }
}

const _: () = {
    assert!(size_of::<KeyPair>() == 16);
    assert!(size_of::<ReservationHeader>() == 64);
    assert!(size_of::<RegistrantEntry>() == 64);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_and_is_bounded() {
        let registrants = vec![Registrant::new(0xffff, true, 0xabc, [3; 16])];
        let held = Some(ReservationType::ExclusiveAccessAllRegistrants);
        let report = ReservationStatus::new(9, held, true, registrants);
        let mut bytes = report.to_bytes();
        assert_eq!(bytes.len(), ReservationStatus::len_for(1));
        assert_eq!(ReservationStatus::read(&bytes), Ok(report));
        bytes[5] = 2;
        assert_eq!(ReservationStatus::count(&bytes), Ok(2));
        assert_eq!(ReservationStatus::read(&bytes).unwrap_err().field, "length in bytes");
        bytes[4] = 7;
        assert_eq!(ReservationStatus::read(&bytes).unwrap_err().field, "RTYPE");
    }
}
