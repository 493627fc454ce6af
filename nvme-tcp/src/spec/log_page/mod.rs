//! Log pages besides the discovery log, and what asynchronous events say about them (Base, section 5.1.12).
//!
//! ```
//! use nvme_tcp::spec::log_page::{FirmwareSlotLog, SmartLog};
//! use zerocopy::FromBytes;
//!
//! let mut smart = SmartLog::zeroed();
//! smart.data_units_read[0] = 2;
//! assert_eq!(smart.bytes_moved(), (1_024_000, 0));
//! // As a controller sends it: slot 1 runs, slot 2 does after the next reset.
//! let mut page = [0; 512];
//! page[0] = 0x21;
//! let slots = FirmwareSlotLog::ref_from_bytes(&page).expect("512 bytes");
//! assert_eq!((slots.active_slot(), slots.next_slot()), (1, Some(2)));
//! ```

mod ana;
mod effects;
mod error;
mod health;
mod sanitize;

pub use ana::{AnaDescriptor, AnaGroup, AnaHeader, AnaLog, AnaState};
pub use effects::{CommandEffects, CommandEffectsLog, SupportedLog, SupportedLogsLog};
pub use error::{ErrorEntry, errors};
pub use health::{FirmwareSlotLog, SmartLog};
pub use sanitize::{SanitizeLog, SanitizeState};

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

/// The namespaces of LID 04h, the Changed Attached Namespace List (Base, section 5.1.12.1.5); `None` where there
/// are too many to list, so that all are to be looked at.
pub fn changed_namespaces(bytes: &[u8]) -> Option<Vec<u32>> {
    let first = bytes.first_chunk().map_or(0, |id| u32::from_le_bytes(*id));
    (first != u32::MAX).then(|| super::identify::namespaces(bytes, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_changes_are_told_by_one_entry() {
        assert_eq!(changed_namespaces(&[1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]), Some(vec![1, 5]));
        assert_eq!(changed_namespaces(&[0xff; 4]), None);
        assert_eq!(changed_namespaces(&[]), Some(vec![]));
    }
}
