//! Identify data structures (Base, section 5.1.13; NVM, section 4.1.5). Fields that nothing here reads
//! stand as reserved bytes.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

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
/// CNS 08h: a namespace, as far as it is the same for each command set.
pub const CNS_INDEPENDENT_NAMESPACE: u8 = 0x08;

/// CNTRLTYPE: an I/O controller.
pub const CONTROLLER_IO: u8 = 1;
/// CNTRLTYPE: a discovery controller.
pub const CONTROLLER_DISCOVERY: u8 = 2;

/// ONCS: Dataset Management is there.
pub const ONCS_DSM: u16 = 1 << 2;
/// ONCS: Write Zeroes is there.
pub const ONCS_WRITE_ZEROES: u16 = 1 << 3;
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

/// CNS 01h.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyController {
    /// PCI vendor ID; 0 for a controller that is none.
    pub vid: U16,
    /// PCI subsystem vendor ID.
    pub ssvid: U16,
    /// SN: serial number, ASCII padded with spaces.
    pub serial_number: [u8; 20],
    /// MN: model number, ASCII padded with spaces.
    pub model_number: [u8; 40],
    /// FR: firmware revision, ASCII padded with spaces.
    pub firmware_revision: [u8; 8],
    reserved_72: [u8; 4],
    /// CMIC: multi-path and sharing.
    pub cmic: u8,
    /// MDTS: the most data in one command, 2^n pages of CAP.MPSMIN; 0 for no limit.
    pub mdts: u8,
    /// CNTLID: controller ID.
    pub cntlid: U16,
    /// VER: version.
    pub version: U32,
    reserved_84: [u8; 4],
    /// RTD3E: how long a shutdown takes, in microseconds.
    pub rtd3e: U32,
    /// OAES: optional asynchronous events.
    pub oaes: U32,
    /// CTRATT: controller attributes.
    pub ctratt: U32,
    reserved_100: [u8; 11],
    /// CNTRLTYPE: controller type.
    pub cntrltype: u8,
    reserved_112: [u8; 16],
    /// CRDT1 to CRDT3: command retry delay times in 100 ms.
    pub crdt: [U16; 3],
    reserved_134: [u8; 124],
    /// ACL: abort command limit, 0-based.
    pub acl: u8,
    /// AERL: asynchronous event request limit, 0-based.
    pub aerl: u8,
    /// FRMW: firmware updates.
    pub frmw: u8,
    /// LPA: log page attributes.
    pub lpa: u8,
    /// ELPE: error log page entries, 0-based.
    pub elpe: u8,
    reserved_263: [u8; 57],
    /// KAS: keep-alive granularity in 100 ms; 0 for no keep-alive.
    pub kas: U16,
    reserved_322: [u8; 64],
    /// CQT: command quiesce time in ms.
    pub cqt: U16,
    reserved_388: [u8; 124],
    /// SQES: submission queue entry sizes, 66h.
    pub sqes: u8,
    /// CQES: completion queue entry sizes, 44h.
    pub cqes: u8,
    /// MAXCMD: the most commands outstanding on an I/O queue.
    pub maxcmd: U16,
    /// NN: the highest namespace ID.
    pub nn: U32,
    /// ONCS: optional NVM commands.
    pub oncs: U16,
    /// FUSES: fused operations.
    pub fuses: U16,
    /// FNA: format attributes.
    pub fna: u8,
    /// VWC: volatile write cache.
    pub vwc: u8,
    /// AWUN: atomic write unit, 0-based blocks.
    pub awun: U16,
    /// AWUPF: atomic write unit at power failure, 0-based blocks.
    pub awupf: U16,
    reserved_530: [u8; 6],
    /// SGLS: SGL support.
    pub sgls: U32,
    /// MNAN: the most namespaces; 0 for NN.
    pub mnan: U32,
    reserved_544: [u8; 224],
    /// SUBNQN: the subsystem's NQN, ended by NUL.
    pub subnqn: [u8; 256],
    reserved_1024: [u8; 768],
    /// IOCCSZ: the most in a command capsule of an I/O queue, in 16 bytes.
    pub ioccsz: U32,
    /// IORCSZ: the most in a response capsule, in 16 bytes.
    pub iorcsz: U32,
    /// ICDOFF: where in-capsule data begins behind the SQE, in 16 bytes.
    pub icdoff: U16,
    /// FCATT: bit 0 clear for the dynamic controller model.
    pub fcatt: u8,
    /// MSDBD: the most SGL descriptors in a command; 0 for no limit.
    pub msdbd: u8,
    /// OFCS: optional fabrics commands.
    pub ofcs: U16,
    /// DCTYPE: the kind of a discovery controller.
    pub dctype: u8,
    reserved_1807: [u8; 2289],
}

/// CNS 00h.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// NSZE: size in blocks; 0 where there is no such namespace.
    pub nsze: U64,
    /// NCAP: capacity in blocks.
    pub ncap: U64,
    /// NUSE: blocks in use.
    pub nuse: U64,
    /// NSFEAT: features.
    pub nsfeat: u8,
    /// NLBAF: LBA formats, 0-based.
    pub nlbaf: u8,
    /// FLBAS: the LBA format in use.
    pub flbas: u8,
    /// MC: metadata capabilities.
    pub mc: u8,
    /// DPC: data protection capabilities.
    pub dpc: u8,
    /// DPS: data protection in use; 0 in bits 2:0 for none.
    pub dps: u8,
    /// NMIC: multi-path and sharing.
    pub nmic: u8,
    /// RESCAP: reservation capabilities.
    pub rescap: u8,
    /// FPI: format progress.
    pub fpi: u8,
    /// DLFEAT: what deallocated blocks read as; 1 in bits 2:0 for zeros.
    pub dlfeat: u8,
    reserved_34: [u8; 12],
    /// NOIOB: I/O boundary in blocks that a command best does not cross; 0 for none.
    pub noiob: U16,
    reserved_48: [u8; 44],
    /// ANAGRPID: ANA group.
    pub anagrpid: U32,
    reserved_96: [u8; 3],
    /// NSATTR: bit 0 for write protected.
    pub nsattr: u8,
    /// NVMSETID: NVM set.
    pub nvmsetid: U16,
    /// ENDGID: endurance group.
    pub endgid: U16,
    /// NGUID: a globally unique identifier; zero for none.
    pub nguid: [u8; 16],
    /// EUI64: an IEEE identifier; zero for none.
    pub eui64: [u8; 8],
    /// LBAF: each LBA format: metadata bytes in 15:0, log2 of the block size in 23:16.
    pub lbaf: [U32; 64],
    reserved_384: [u8; 3712],
}

impl IdentifyController {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }

    /// MDTS in bytes; `None` for no limit.
    pub fn max_transfer(&self, min_page_size: u64) -> Option<u64> {
        match self.mdts {
            0 => None,
            n => Some(min_page_size.checked_shl(n.into()).unwrap_or(u64::MAX)),
        }
    }
}

impl IdentifyNamespace {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }

    /// The LBA format in use: its index is bits 3:0 and 6:5 of FLBAS.
    pub fn format(&self) -> LbaFormat {
        let index = self.flbas & 0xf | (self.flbas >> 5 & 0b11) << 4;
        let raw = self.lbaf.get(usize::from(index)).map_or(0, |format| format.get());
        LbaFormat { metadata: raw as u16, data_shift: (raw >> 16) as u8 }
    }
}

/// CNS 08h: a namespace, as far as it is the same for each command set.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyIndependentNamespace {
    /// NSFEAT: features.
    pub nsfeat: u8,
    /// NMIC: multi-path and sharing.
    pub nmic: u8,
    /// RESCAP: reservation capabilities.
    pub rescap: u8,
    /// FPI: format progress.
    pub fpi: u8,
    /// ANAGRPID: ANA group.
    pub anagrpid: U32,
    /// NSATTR: bit 0 for write protected.
    pub nsattr: u8,
    reserved_9: u8,
    /// NVMSETID: NVM set.
    pub nvmsetid: U16,
    /// ENDGID: endurance group.
    pub endgid: U16,
    /// NSTAT: bit 0 for ready.
    pub nstat: u8,
    reserved_15: [u8; 4081],
}

impl IdentifyIndependentNamespace {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }
}

/// An LBA format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LbaFormat {
    /// Metadata bytes for each block.
    pub metadata: u16,
    /// Log2 of the block size in bytes.
    pub data_shift: u8,
}

impl LbaFormat {
    /// As it stands in LBAF.
    pub fn to_raw(self) -> u32 {
        u32::from(self.metadata) | u32::from(self.data_shift) << 16
    }
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<IdentifyController>() == IDENTIFY_LEN);
    assert!(offset_of!(IdentifyController, cmic) == 76);
    assert!(offset_of!(IdentifyController, cntrltype) == 111);
    assert!(offset_of!(IdentifyController, crdt) == 128);
    assert!(offset_of!(IdentifyController, acl) == 258);
    assert!(offset_of!(IdentifyController, kas) == 320);
    assert!(offset_of!(IdentifyController, cqt) == 386);
    assert!(offset_of!(IdentifyController, sqes) == 512);
    assert!(offset_of!(IdentifyController, sgls) == 536);
    assert!(offset_of!(IdentifyController, subnqn) == 768);
    assert!(offset_of!(IdentifyController, ioccsz) == 1792);
    assert!(offset_of!(IdentifyController, dctype) == 1806);
    assert!(size_of::<IdentifyNamespace>() == IDENTIFY_LEN);
    assert!(size_of::<IdentifyIndependentNamespace>() == IDENTIFY_LEN);
    assert!(offset_of!(IdentifyIndependentNamespace, nstat) == 14);
    assert!(offset_of!(IdentifyNamespace, noiob) == 46);
    assert!(offset_of!(IdentifyNamespace, anagrpid) == 92);
    assert!(offset_of!(IdentifyNamespace, nsattr) == 99);
    assert!(offset_of!(IdentifyNamespace, eui64) == 120);
    assert!(offset_of!(IdentifyNamespace, lbaf) == 128);
};

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
    fn format_index_is_split() {
        let mut ns = IdentifyNamespace::zeroed();
        ns.flbas = 0b0010_0001; // index 17
        ns.lbaf[17] = LbaFormat { metadata: 8, data_shift: 12 }.to_raw().into();
        assert_eq!(ns.format(), LbaFormat { metadata: 8, data_shift: 12 });
    }

    #[test]
    fn descriptors_end_at_zero_length_and_never_overrun() {
        let list = [3, 16, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 4, 1, 0, 0, 0, 0, 0, 0, 0];
        let found: Vec<_> = descriptor::iter(&list).collect();
        assert_eq!(found, [(3, &[9; 16][..]), (4, &[0][..])]);
        assert_eq!(descriptor::iter(&[1, 200, 0, 0, 1]).count(), 0);
    }
}
