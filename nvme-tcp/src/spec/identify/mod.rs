//! Identify data structures (Base, section 5.1.13; NVM, section 4.1.5). Fields that nothing reads stand as
//! reserved bytes.
//!
//! ```
//! use nvme_tcp::spec::identify::{IDENTIFY_LEN, IdentifyController, namespaces};
//! use zerocopy::FromBytes;
//!
//! let mut page = [0; IDENTIFY_LEN];
//! // MDTS: 2^5 pages.
//! page[77] = 5;
//! let identify = IdentifyController::ref_from_bytes(&page).expect("4,096 bytes");
//! assert_eq!(identify.max_transfer(4096), Some(128 << 10));
//! // A list of namespaces ends with the first zero.
//! assert_eq!(namespaces(&[1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0], 0), [1, 7]);
//! ```

mod command_set;
mod controller;
mod list;
mod namespace;

pub use command_set::{IdentifyNvmController, IdentifyNvmNamespace};
pub use controller::IdentifyController;
pub use list::{ControllerList, MAX_CONTROLLERS, MAX_NAMESPACES, UuidEntry, controllers, namespaces, uuids};
pub use namespace::{IdentifyIndependentNamespace, IdentifyNamespace, LbaFormat};

/// The length of every Identify data structure in bytes.
pub const IDENTIFY_LEN: usize = 4096;

/// CNS 00h: one namespace.
pub const CNS_NAMESPACE: u8 = 0x00;
/// CNS 01h: the controller.
pub const CNS_CONTROLLER: u8 = 0x01;
/// CNS 02h: active namespace IDs above the NSID in the command.
pub const CNS_ACTIVE_NAMESPACES: u8 = 0x02;
/// CNS 03h: a namespace's identification descriptors.
pub const CNS_DESCRIPTORS: u8 = 0x03;
/// CNS 05h: what a command set adds to a namespace.
pub const CNS_COMMAND_SET_NAMESPACE: u8 = 0x05;
/// CNS 06h: what a command set adds to the controller.
pub const CNS_COMMAND_SET_CONTROLLER: u8 = 0x06;
/// CNS 07h: active namespace IDs of one command set.
pub const CNS_COMMAND_SET_ACTIVE_NAMESPACES: u8 = 0x07;
/// CNS 08h: a namespace, as far as it is the same for each command set.
pub const CNS_INDEPENDENT_NAMESPACE: u8 = 0x08;
/// CNS 10h: allocated namespace IDs above the NSID in the command.
pub const CNS_ALLOCATED_NAMESPACES: u8 = 0x10;
/// CNS 11h: an allocated namespace, attached or not.
pub const CNS_ALLOCATED_NAMESPACE: u8 = 0x11;
/// CNS 12h: the controllers that a namespace is attached to.
pub const CNS_NAMESPACE_CONTROLLERS: u8 = 0x12;
/// CNS 13h: the controllers of the subsystem.
pub const CNS_CONTROLLERS: u8 = 0x13;
/// CNS 17h: the UUID list.
pub const CNS_UUIDS: u8 = 0x17;

/// CSI: the NVM command set.
pub const CSI_NVM: u8 = 0;

/// CNTRLTYPE: an I/O controller.
pub const CONTROLLER_IO: u8 = 1;
/// CNTRLTYPE: a discovery controller.
pub const CONTROLLER_DISCOVERY: u8 = 2;

/// OACS: Format NVM is there.
pub const OACS_FORMAT: u16 = 1 << 1;
/// OACS: Firmware Commit and Firmware Image Download are there.
pub const OACS_FIRMWARE: u16 = 1 << 2;
/// OACS: Namespace Management and Namespace Attachment are there.
pub const OACS_NAMESPACES: u16 = 1 << 3;
/// FNA: a format goes for every namespace.
pub const FNA_FORMAT_ALL: u8 = 1;
/// FNA: a secure erase goes for every namespace.
pub const FNA_ERASE_ALL: u8 = 1 << 1;
/// FUSES: fused compare and write is there.
pub const FUSES_COMPARE_AND_WRITE: u16 = 1;
/// CMIC: asymmetric namespace access is reported.
pub const CMIC_ANA: u8 = 1 << 3;

/// ONCS: Compare is there.
pub const ONCS_COMPARE: u16 = 1;
/// ONCS: Write Uncorrectable is there.
pub const ONCS_WRITE_UNCORRECTABLE: u16 = 1 << 1;
/// ONCS: Dataset Management is there.
pub const ONCS_DSM: u16 = 1 << 2;
/// ONCS: Write Zeroes is there.
pub const ONCS_WRITE_ZEROES: u16 = 1 << 3;
/// ONCS: reservations are there.
pub const ONCS_RESERVATIONS: u16 = 1 << 5;
/// ONCS: Verify is there.
pub const ONCS_VERIFY: u16 = 1 << 7;
/// ONCS: Copy is there.
pub const ONCS_COPY: u16 = 1 << 8;
/// CTRATT: any command counts as a keep-alive (TBKAS).
pub const CTRATT_TBKAS: u32 = 1 << 6;
/// CTRATT: 128-bit host identifiers.
pub const CTRATT_HOSTID_128: u32 = 1;
/// VWC: a volatile write cache is present.
pub const VWC_PRESENT: u8 = 1;
/// SGLS: SGLs are there, without alignment rules.
pub const SGLS_SUPPORTED: u32 = 1;
/// SGLS: the transport SGL descriptor is there.
pub const SGLS_TRANSPORT: u32 = 1 << 21;
/// SGLS: an address in an SGL may be an offset.
pub const SGLS_OFFSET: u32 = 1 << 20;

/// The identifier types of CNS 03h (Base, figure for NIDT).
pub mod descriptor {
    /// An EUI-64, 8 bytes.
    pub const EUI64: u8 = 1;
    /// An NGUID, 16 bytes.
    pub const NGUID: u8 = 2;
    /// A UUID, 16 bytes.
    pub const UUID: u8 = 3;
    /// The command set, 1 byte.
    pub const CSI: u8 = 4;

    /// The descriptors of a CNS 03h structure: type and identifier. It ends at a length of zero, and at
    /// the first descriptor that does not fit.
    pub fn iter(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
        std::iter::from_fn(move || {
            let (head, rest) = bytes.split_at_checked(4)?;
            let (id, rest) = rest.split_at_checked(usize::from(head[1])).filter(|(id, _)| !id.is_empty())?;
            bytes = rest;
            Some((head[0], id))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_end_at_zero_length_and_never_overrun() {
        let list = [3, 16, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 4, 1, 0, 0, 0, 0, 0, 0, 0];
        let found: Vec<_> = descriptor::iter(&list).collect();
        assert_eq!(found, [(3, &[9; 16][..]), (4, &[0][..])]);
        assert_eq!(descriptor::iter(&[1, 200, 0, 0, 1]).count(), 0);
    }
}
