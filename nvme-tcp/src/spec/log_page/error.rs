//! LID 01h, Error Information (Base, section 5.1.12.1.2).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ERROR_ENTRY_LEN;
use crate::spec::completion::Status;

/// One error, the latest first.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ErrorEntry {
    /// Which error of the controller's life it is, from 1; 0 for no entry.
    pub error_count: U64,
    /// SQID.
    pub sqid: U16,
    /// CID.
    pub cid: U16,
    /// The status field with the phase bit.
    pub status_field: U16,
    /// Where in the command the error is: byte in 7:0, bit in 10:8; FFFFh for no single place.
    pub parameter_location: U16,
    /// The first LBA that it is about.
    pub lba: U64,
    /// NSID.
    pub nsid: U32,
    /// The vendor's own log page that says more; 0 for none.
    pub vendor_log: u8,
    /// TRTYPE: the transport.
    pub trtype: u8,
    /// CSI: the command set.
    pub csi: u8,
    /// OPC: the opcode.
    pub opcode: u8,
    /// What the command says of itself.
    pub command_specific: U64,
    /// What the transport says.
    pub transport_specific: U16,
    reserved_42: [u8; 21],
    /// LPVER: the version of the log page.
    pub version: u8,
}

impl ErrorEntry {
    /// The status, without the phase bit.
    pub fn status(&self) -> Status {
        Status(self.status_field.get() >> 1)
    }
}

/// The entries of the log page, up to the first that is none.
pub fn errors(bytes: &[u8]) -> Vec<ErrorEntry> {
    let entries =
        bytes.chunks_exact(ERROR_ENTRY_LEN).filter_map(|entry| ErrorEntry::read_from_bytes(entry).ok());
    entries.take_while(|entry| entry.error_count.get() != 0).collect()
}

const _: () = assert!(size_of::<ErrorEntry>() == ERROR_ENTRY_LEN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_ends_at_the_first_empty_entry() {
        let mut bytes = [0; 3 * ERROR_ENTRY_LEN + 9];
        bytes[0] = 2;
        bytes[12..14].copy_from_slice(&(0x4281_u16 << 1).to_le_bytes());
        bytes[2 * ERROR_ENTRY_LEN] = 1;
        let found = errors(&bytes);
        assert_eq!(found.len(), 1);
        assert!(found[0].status().is(Status::UNRECOVERED_READ) && found[0].status().do_not_retry());
    }
}
