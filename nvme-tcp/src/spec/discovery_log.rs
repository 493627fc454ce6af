//! The discovery log page, LID 70h (Base, section 5.1.12.3.1).

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The length of the header and of each entry in bytes.
pub const ENTRY_LEN: usize = 1024;

/// TRTYPE: TCP.
pub const TRTYPE_TCP: u8 = 3;
/// ADRFAM: IPv4.
pub const ADRFAM_IPV4: u8 = 1;
/// ADRFAM: IPv6.
pub const ADRFAM_IPV6: u8 = 2;
/// SUBTYPE: another discovery subsystem.
pub const SUBTYPE_REFERRAL: u8 = 1;
/// SUBTYPE: an NVM subsystem.
pub const SUBTYPE_NVM: u8 = 2;
/// SUBTYPE: this discovery subsystem.
pub const SUBTYPE_CURRENT_DISCOVERY: u8 = 3;
/// TREQ: a secure channel is required.
pub const TREQ_REQUIRED: u8 = 1;
/// TREQ: a secure channel is not required.
pub const TREQ_NOT_REQUIRED: u8 = 2;
/// SECTYPE: no security.
pub const SECTYPE_NONE: u8 = 0;
/// SECTYPE: TLS 1.3.
pub const SECTYPE_TLS13: u8 = 2;
/// CNTLID of the dynamic controller model.
pub const CNTLID_DYNAMIC: u16 = 0xffff;

/// The head of the log page.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiscoveryLogHeader {
    /// GENCTR: changes with every change of the log.
    pub genctr: U64,
    /// NUMREC: how many entries follow.
    pub numrec: U64,
    /// RECFMT: 0.
    pub recfmt: U16,
    reserved: [u8; 1006],
}

/// One entry of the log page.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiscoveryLogEntry {
    /// TRTYPE: transport type.
    pub trtype: u8,
    /// ADRFAM: address family.
    pub adrfam: u8,
    /// SUBTYPE: what the entry names.
    pub subtype: u8,
    /// TREQ: transport requirements; the secure channel in bits 1:0.
    pub treq: u8,
    /// PORTID: the subsystem's port.
    pub portid: U16,
    /// CNTLID: controller ID, FFFFh for dynamic.
    pub cntlid: U16,
    /// ASQSZ: admin queue size.
    pub asqsz: U16,
    /// EFLAGS: entry flags.
    pub eflags: U16,
    reserved_12: [u8; 20],
    /// TRSVCID: the port number in ASCII.
    pub trsvcid: [u8; 32],
    reserved_64: [u8; 192],
    /// SUBNQN: the subsystem's NQN.
    pub subnqn: [u8; 256],
    /// TRADDR: the address in ASCII.
    pub traddr: [u8; 256],
    /// SECTYPE: the first byte of TSAS for TCP.
    pub sectype: u8,
    reserved_769: [u8; 255],
}

impl DiscoveryLogHeader {
    /// A header that counts `numrec` entries.
    pub fn new(genctr: u64, numrec: u64) -> Self {
        Self { genctr: genctr.into(), numrec: numrec.into(), ..Self::new_zeroed() }
    }
}

impl DiscoveryLogEntry {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }
}

/// The admin command's result in DW0 of an AER says which log changed; this is the discovery log.
pub const AEN_DISCOVERY_CHANGED: u8 = 0xf0;

/// The highest record count that is believed: 64 MiB of log.
pub const MAX_RECORDS: u64 = 65_535;

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<DiscoveryLogHeader>() == ENTRY_LEN);
    assert!(size_of::<DiscoveryLogEntry>() == ENTRY_LEN);
    assert!(offset_of!(DiscoveryLogEntry, trsvcid) == 32);
    assert!(offset_of!(DiscoveryLogEntry, subnqn) == 256);
    assert!(offset_of!(DiscoveryLogEntry, sectype) == 768);
};
