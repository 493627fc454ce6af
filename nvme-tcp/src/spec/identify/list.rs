//! Lists: of namespaces, controllers and UUIDs (Base, sections 5.1.13.2.2, 5.1.13.2.14 and 5.1.13.2.17).

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_LEN;
use crate::spec::malformed::{self, Malformed};

/// How many namespaces one list holds.
pub const MAX_NAMESPACES: usize = IDENTIFY_LEN / 4;
/// How many controllers one list holds.
pub const MAX_CONTROLLERS: usize = 2047;

/// CNS 12h and 13h, and the data of Namespace Attachment.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ControllerList {
    /// How many identifiers follow.
    pub count: U16,
    /// The controllers' IDs, ascending.
    pub ids: [U16; MAX_CONTROLLERS],
}

impl ControllerList {
    /// A list of these; `None` for more than [`MAX_CONTROLLERS`].
    pub fn of(ids: &[u16]) -> Option<Box<Self>> {
        let mut list = Box::new(Self::new_zeroed());
        for (place, id) in list.ids.get_mut(..ids.len())?.iter_mut().zip(ids) {
            place.set(*id);
        }
        list.count.set(ids.len() as u16);
        Some(list)
    }
}

/// One entry of CNS 17h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UuidEntry {
    /// Who the UUID belongs to: 0 nobody, 1 the PCI vendor, 2 the PCI subsystem vendor.
    pub association: u8,
    /// The UUID.
    pub uuid: [u8; 16],
}

/// The IDs of a namespace list: ascending, and above `after`. It ends with a zero; at what does not ascend too,
/// since a caller that asks for the next list from there would go round for ever.
pub fn namespaces(bytes: &[u8], after: u32) -> Vec<u32> {
    let ids = bytes.chunks_exact(4).filter_map(|id| id.first_chunk()).map(|id| u32::from_le_bytes(*id));
    let mut last = after;
    let ascending = |id: &u32| *id > std::mem::replace(&mut last, *id);
    ids.take(MAX_NAMESPACES).take_while(ascending).collect()
}

/// The IDs of a controller list.
///
/// # Errors
/// The list is shorter than it says, or says more than [`MAX_CONTROLLERS`].
pub fn controllers(bytes: &[u8]) -> Result<Vec<u16>, Malformed> {
    let (count, rest) = malformed::read::<U16>("controller list", bytes)?;
    let count = usize::from(count.get());
    let wrong = Malformed {
        structure: "controller list",
        field: "number of identifiers",
        got: count as u64,
        expected: "as many as there are, at most 2,047",
    };
    let ids = rest.get(..count * 2).filter(|_| count <= MAX_CONTROLLERS).ok_or(wrong)?;
    Ok(ids.chunks_exact(2).filter_map(|id| id.first_chunk()).map(|id| u16::from_le_bytes(*id)).collect())
}

/// The entries of a UUID list, which begins with 32 reserved bytes and ends with a zero UUID.
pub fn uuids(bytes: &[u8]) -> Vec<UuidEntry> {
    let entries = bytes.chunks_exact(32).take(IDENTIFY_LEN / 32).skip(1);
    let entries = entries.filter_map(|entry| {
        let (head, uuid) = entry.split_at_checked(16)?;
        Some(UuidEntry { association: head.first()? & 0b11, uuid: *uuid.first_chunk()? })
    });
    entries.take_while(|entry| entry.uuid != [0; 16]).collect()
}

const _: () = assert!(size_of::<ControllerList>() == IDENTIFY_LEN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_list_ends_at_zero_and_where_it_does_not_ascend() {
        let list = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
        assert_eq!(namespaces(&list(&[3, 7, 0, 9]), 2), [3, 7]);
        assert_eq!(namespaces(&list(&[3, 7, 7, 9]), 2), [3, 7]);
        assert_eq!(namespaces(&list(&[2]), 2), []);
        assert_eq!(namespaces(&[1, 0, 0], 0), []);
    }

    #[test]
    fn a_controller_list_is_no_longer_than_it_is() {
        assert_eq!(controllers(&[2, 0, 1, 0, 0xff, 1]).unwrap(), [1, 0x1ff]);
        assert_eq!(controllers(&[3, 0, 1, 0, 2, 0]).unwrap_err().got, 3);
        assert_eq!(controllers(&[]).unwrap_err().field, "length in bytes");
        let list = ControllerList::of(&[5, 6]).unwrap();
        assert_eq!(controllers(list.as_bytes()).unwrap(), [5, 6]);
        assert!(ControllerList::of(&[0; 2048]).is_none());
    }

    #[test]
    fn a_uuid_list_begins_behind_its_reserved_entry() {
        let mut bytes = [0; 128];
        bytes[32] = 0b1101;
        bytes[48..64].fill(7);
        assert_eq!(uuids(&bytes), [UuidEntry { association: 1, uuid: [7; 16] }]);
    }
}
