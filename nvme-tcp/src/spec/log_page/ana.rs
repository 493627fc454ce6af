//! LID 0Ch, Asymmetric Namespace Access (Base, section 5.1.12.1.13).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::spec::malformed::{self, Malformed};

const NAME: &str = "ANA log page";

/// The head of the log page.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnaHeader {
    /// CHGCNT: changes with every change of the log; 0 where it is not counted.
    pub change_count: U64,
    /// How many group descriptors follow.
    pub descriptors: U16,
    reserved_10: [u8; 6],
}

/// The head of one group's descriptor; its namespaces' IDs follow.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnaDescriptor {
    /// AGID: the group.
    pub group: U32,
    /// How many namespace IDs follow.
    pub namespaces: U32,
    /// CHGCNT of the group.
    pub change_count: U64,
    /// The state in bits 3:0.
    pub state: u8,
    reserved_17: [u8; 15],
}

/// How well a group's namespaces are reached by this controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnaState {
    /// As well as by any.
    Optimized,
    /// Not as well as by another.
    NonOptimized,
    /// Not now.
    Inaccessible,
    /// Not any more.
    PersistentLoss,
    /// Between two states, for at most ANATT.
    Change,
    /// A state that the specification does not name.
    Reserved(u8),
}

impl AnaState {
    /// The state in bits 3:0.
    pub fn from_code(code: u8) -> Self {
        match code & 0xf {
            1 => Self::Optimized,
            2 => Self::NonOptimized,
            3 => Self::Inaccessible,
            4 => Self::PersistentLoss,
            0xf => Self::Change,
            other => Self::Reserved(other),
        }
    }

    /// What stands in bits 3:0.
    pub fn code(self) -> u8 {
        match self {
            Self::Optimized => 1,
            Self::NonOptimized => 2,
            Self::Inaccessible => 3,
            Self::PersistentLoss => 4,
            Self::Change => 0xf,
            Self::Reserved(code) => code & 0xf,
        }
    }

    /// Whether commands may be sent to the group's namespaces.
    pub fn is_accessible(self) -> bool {
        matches!(self, Self::Optimized | Self::NonOptimized)
    }
}

/// One group of the log page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnaGroup {
    /// AGID.
    pub id: u32,
    /// CHGCNT of the group.
    pub change_count: u64,
    /// How well its namespaces are reached.
    pub state: AnaState,
    /// The namespaces in it; none where only groups were asked for (RGO).
    pub namespaces: Vec<u32>,
}

/// The log page, read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnaLog {
    /// CHGCNT of the whole log.
    pub change_count: u64,
    /// The groups that have namespaces.
    pub groups: Vec<AnaGroup>,
}

impl AnaLog {
    /// A log page of these groups.
    pub fn new(change_count: u64, groups: Vec<AnaGroup>) -> Self {
        Self { change_count, groups }
    }

    /// Reads a log page that is there as a whole.
    ///
    /// # Errors
    /// There are fewer bytes than its counts say.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, mut rest) = malformed::read::<AnaHeader>(NAME, bytes)?;
        let mut groups = Vec::new();
        for _ in 0..header.descriptors.get() {
            let (descriptor, after) = malformed::read::<AnaDescriptor>(NAME, rest)?;
            let count = descriptor.namespaces.get();
            let len = (count as usize).checked_mul(4);
            let ids = len.and_then(|len| after.split_at_checked(len));
            let (ids, after) = ids.ok_or(Malformed {
                structure: NAME,
                field: "number of NSID values",
                got: count.into(),
                expected: "as many as there are",
            })?;
            rest = after;
            let ids = ids.chunks_exact(4).filter_map(|id| id.first_chunk());
            groups.push(AnaGroup {
                id: descriptor.group.get(),
                change_count: descriptor.change_count.get(),
                state: AnaState::from_code(descriptor.state),
                namespaces: ids.map(|id| u32::from_le_bytes(*id)).collect(),
            });
        }
        Ok(Self { change_count: header.change_count.get(), groups })
    }

    /// The log page as it goes over the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = AnaHeader::new_zeroed();
        header.change_count.set(self.change_count);
        header.descriptors.set(self.groups.len() as u16);
        let mut bytes = header.as_bytes().to_vec();
        for group in &self.groups {
            let mut descriptor = AnaDescriptor::new_zeroed();
            descriptor.group.set(group.id);
            descriptor.namespaces.set(group.namespaces.len() as u32);
            descriptor.change_count.set(group.change_count);
            descriptor.state = group.state.code();
            bytes.extend_from_slice(descriptor.as_bytes());
            bytes.extend(group.namespaces.iter().flat_map(|id| id.to_le_bytes()));
        }
        bytes
    }

    /// The state of group `id`; `None` where the log does not have it.
    pub fn state(&self, id: u32) -> Option<AnaState> {
        self.groups.iter().find(|group| group.id == id).map(|group| group.state)
    }

    /// The most bytes that the log page can have in a subsystem of so many groups and namespaces.
    pub fn max_len(groups: u32, namespaces: u32) -> u64 {
        let (groups, namespaces) = (u64::from(groups), u64::from(namespaces));
        size_of::<AnaHeader>() as u64 + groups * size_of::<AnaDescriptor>() as u64 + namespaces * 4
    }
}

impl AnaGroup {
    /// A group in `state` with these namespaces.
    pub fn new(id: u32, change_count: u64, state: AnaState, namespaces: Vec<u32>) -> Self {
        Self { id, change_count, state, namespaces }
    }
}

const _: () = {
    assert!(size_of::<AnaHeader>() == 16);
    assert!(size_of::<AnaDescriptor>() == 32);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let groups = vec![
            AnaGroup::new(1, 7, AnaState::Optimized, vec![1, 2]),
            AnaGroup::new(9, 0, AnaState::Change, vec![]),
        ];
        let log = AnaLog::new(3, groups);
        let bytes = log.to_bytes();
        assert_eq!(bytes.len() as u64, AnaLog::max_len(2, 2));
        assert_eq!(AnaLog::read(&bytes), Ok(log.clone()));
        assert_eq!((log.state(9), log.state(2)), (Some(AnaState::Change), None));
    }

    #[test]
    fn counts_that_the_bytes_do_not_bear_are_refused() {
        let mut bytes = AnaLog::new(1, vec![AnaGroup::new(1, 1, AnaState::Optimized, vec![4])]).to_bytes();
        bytes[16 + 4..16 + 8].fill(0xff);
        assert_eq!(AnaLog::read(&bytes).unwrap_err().field, "number of NSID values");
        bytes[8] = 2;
        bytes[20..24].copy_from_slice(&[1, 0, 0, 0]);
        assert_eq!(AnaLog::read(&bytes).unwrap_err().field, "length in bytes");
    }
}
