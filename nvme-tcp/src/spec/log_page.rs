//! Log pages besides the discovery log, and what asynchronous events say about them (Base, section 5.1.12).

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// CDW10 of Get Log Page: RAE, the event that led here stays masked.
pub const RETAIN_EVENT: u32 = 1 << 15;
/// LPA: offsets and lengths of more than 16 bits.
pub const LPA_EXTENDED: u8 = 1 << 2;
/// The length of an Error Information entry in bytes.
pub const ERROR_ENTRY_LEN: usize = 64;
/// The length of the Changed Attached Namespace List in bytes.
pub const CHANGED_NAMESPACES_LEN: usize = 4096;
/// How many namespaces that list holds; more of them are told by one entry of FFFFFFFFh.
pub const MAX_CHANGED_NAMESPACES: usize = 1024;

/// OAES, and feature 0Bh: a namespace was changed, added or removed.
pub const EVENT_NAMESPACE: u32 = 1 << 8;
/// OAES, and feature 0Bh: the discovery log changed.
pub const EVENT_DISCOVERY: u32 = 1 << 31;
/// The type of an asynchronous event that is a notice.
pub const EVENT_TYPE_NOTICE: u8 = 2;
/// The information of a notice: namespace attributes changed.
pub const NOTICE_NAMESPACE: u8 = 0x00;

/// DW0 of the completion of an Asynchronous Event Request: the event's type, its information, and the log
/// page that says more.
pub fn event_dw0(kind: u8, information: u8, lid: u8) -> u32 {
    u32::from(kind & 0b111) | u32::from(information) << 8 | u32::from(lid) << 16
}

/// LID 02h: SMART / Health Information.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SmartLog {
    /// Critical warning.
    pub critical_warning: u8,
    /// Composite temperature in kelvins.
    pub temperature: U16,
    /// Available spare in percent.
    pub available_spare: u8,
    /// The spare below which a warning is due, in percent.
    pub available_spare_threshold: u8,
    /// Percentage used.
    pub percentage_used: u8,
    reserved_6: [u8; 26],
    /// Data read, in units of 1,000 times 512 bytes.
    pub data_units_read: [u8; 16],
    /// Data written, in units of 1,000 times 512 bytes.
    pub data_units_written: [u8; 16],
    /// Read commands.
    pub host_reads: [u8; 16],
    /// Write commands.
    pub host_writes: [u8; 16],
    /// Busy time, power cycles, hours, errors and temperatures, which are zero in fabrics.
    reserved_96: [u8; 416],
}

impl SmartLog {
    /// All zero.
    pub fn zeroed() -> Self {
        Self::new_zeroed()
    }
}

/// LID 03h: Firmware Slot Information.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FirmwareSlotLog {
    /// AFI: the active slot in bits 2:0, the next one in 6:4.
    pub afi: u8,
    reserved_1: [u8; 7],
    /// The revision in each of the seven slots, ASCII; zero for none.
    pub revisions: [[u8; 8]; 7],
    reserved_64: [u8; 448],
}

impl FirmwareSlotLog {
    /// All zero.
    pub fn zeroed() -> Self {
        Self::new_zeroed()
    }
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<SmartLog>() == 512);
    assert!(offset_of!(SmartLog, data_units_read) == 32);
    assert!(offset_of!(SmartLog, host_writes) == 80);
    assert!(size_of::<FirmwareSlotLog>() == 512);
    assert!(offset_of!(FirmwareSlotLog, revisions) == 8);
};
