//! Asynchronous events (Base, section 5.1.2): what the completion of an Asynchronous Event Request says.
//!
//! ```
//! use nvme_tcp::spec::async_event::{AsyncEvent, Notification};
//!
//! let notification = Notification::read(0x000c_0302);
//! assert_eq!((notification.event(), notification.log_page), (AsyncEvent::AnaChanged, 0x0c));
//! ```

use super::command::{Sqe, admin};
use super::log_page::{
    CHANGED_NAMESPACES_LEN, ERROR_ENTRY_LEN, EVENT_DISCOVERY, EVENT_NAMESPACE, EVENT_TYPE_NOTICE,
    NOTICE_NAMESPACE,
};

/// OAES, and feature 0Bh: a firmware image is about to be activated.
pub const EVENT_FIRMWARE: u32 = 1 << 9;
/// OAES, and feature 0Bh: the state of an ANA group changed.
pub const EVENT_ANA: u32 = 1 << 11;
/// The optional events that this library knows what to do with.
pub const EVENTS_KNOWN: u32 = EVENT_NAMESPACE | EVENT_FIRMWARE | EVENT_ANA | EVENT_DISCOVERY;

/// The type of an asynchronous event that is an error.
pub const EVENT_TYPE_ERROR: u8 = 0;
/// The type of an asynchronous event that concerns the health of the subsystem.
pub const EVENT_TYPE_HEALTH: u8 = 1;

/// The information of a notice: firmware activation is starting.
pub const NOTICE_FIRMWARE: u8 = 0x01;
/// The information of a notice: an ANA group changed its state.
pub const NOTICE_ANA: u8 = 0x03;
/// The information of a notice: the discovery log changed.
pub const NOTICE_DISCOVERY: u8 = 0xf0;

/// An Asynchronous Event Request, which stays outstanding until there is an event.
pub fn request() -> Sqe {
    Sqe::new(admin::ASYNC_EVENT_REQUEST, 0)
}

/// DW0 of a completed Asynchronous Event Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// The event's type: error, health, notice and others, 0 to 7.
    pub kind: u8,
    /// What happened, within its type.
    pub information: u8,
    /// LID of the log page that says more; reading it unmasks events of this kind. 0 for none.
    pub log_page: u8,
}

impl Notification {
    /// Takes DW0 apart: type in bits 2:0, information in 15:8, log page in 23:16.
    pub fn read(dw0: u32) -> Self {
        Self { kind: dw0 as u8 & 0b111, information: (dw0 >> 8) as u8, log_page: (dw0 >> 16) as u8 }
    }

    /// What happened.
    pub fn event(self) -> AsyncEvent {
        match (self.kind, self.information) {
            (EVENT_TYPE_ERROR, information) => AsyncEvent::Error(match information {
                0x00 => ErrorEvent::InvalidDoorbell,
                0x01 => ErrorEvent::InvalidDoorbellValue,
                0x02 => ErrorEvent::DiagnosticFailure,
                0x03 => ErrorEvent::PersistentInternalError,
                0x04 => ErrorEvent::TransientInternalError,
                0x05 => ErrorEvent::FirmwareImageLoad,
                other => ErrorEvent::Other(other),
            }),
            (EVENT_TYPE_HEALTH, information) => AsyncEvent::Health(match information {
                0x00 => HealthEvent::Reliability,
                0x01 => HealthEvent::Temperature,
                0x02 => HealthEvent::Spare,
                other => HealthEvent::Other(other),
            }),
            (EVENT_TYPE_NOTICE, NOTICE_NAMESPACE) => AsyncEvent::NamespacesChanged(ChangedNamespaces::All),
            (EVENT_TYPE_NOTICE, NOTICE_FIRMWARE) => AsyncEvent::FirmwareActivationStarting,
            (EVENT_TYPE_NOTICE, NOTICE_ANA) => AsyncEvent::AnaChanged,
            (EVENT_TYPE_NOTICE, NOTICE_DISCOVERY) => AsyncEvent::DiscoveryLogChanged,
            _ => AsyncEvent::Other(self),
        }
    }

    /// How much of its log page is read to unmask events of this kind, in bytes; `None` where there is no log
    /// page. What a reader wants beyond that it reads for itself.
    pub fn log_len(self) -> Option<u32> {
        Some(match self.log_page {
            0 => return None,
            admin::LOG_ERROR => ERROR_ENTRY_LEN as u32,
            admin::LOG_CHANGED_NAMESPACES => CHANGED_NAMESPACES_LEN as u32,
            // The header.
            admin::LOG_ANA => 16,
            admin::LOG_DISCOVERY => 1024,
            // SMART, firmware slots, and the headers of those that are longer.
            _ => 512,
        })
    }
}

/// What a controller reports by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsyncEvent {
    /// Namespaces were changed, added or removed.
    NamespacesChanged(ChangedNamespaces),
    /// The state of an ANA group changed: read the ANA log page (0Ch).
    AnaChanged,
    /// A firmware image is about to be activated; commands may take longer meanwhile.
    FirmwareActivationStarting,
    /// The discovery log changed: ask the discovery controller anew.
    DiscoveryLogChanged,
    /// The health of the subsystem: log page 02h says more.
    Health(HealthEvent),
    /// An error that concerns no single command: log page 01h says more.
    Error(ErrorEvent),
    /// Something that this library has no name for.
    Other(Notification),
}

/// Which namespaces changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedNamespaces {
    /// More than the log page has room for (its one entry is FFFFFFFFh), or the log page could not be read: any
    /// may have changed.
    All,
    /// Those with these IDs.
    Ids(Vec<u32>),
}

impl ChangedNamespaces {
    /// Reads the Changed Attached Namespace List (log page 04h): IDs up to the first zero; FFFFFFFFh for more
    /// than it has room for.
    pub fn read(log: &[u8]) -> Self {
        let ids = log.chunks_exact(4).filter_map(|id| id.first_chunk()).map(|id| u32::from_le_bytes(*id));
        let ids: Vec<u32> = ids.take_while(|id| *id != 0).collect();
        if ids.contains(&admin::ALL_NAMESPACES) { Self::All } else { Self::Ids(ids) }
    }
}

/// What concerns the subsystem's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthEvent {
    /// Its reliability is degraded.
    Reliability,
    /// A temperature crossed its threshold.
    Temperature,
    /// The available spare fell below its threshold.
    Spare,
    /// Another, by its code.
    Other(u8),
}

/// What went wrong apart from any command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorEvent {
    /// A doorbell that is none was written; not over a network.
    InvalidDoorbell,
    /// A doorbell was written with a value that it cannot have; not over a network.
    InvalidDoorbellValue,
    /// A diagnostic failed.
    DiagnosticFailure,
    /// An internal error that stays.
    PersistentInternalError,
    /// An internal error that passes.
    TransientInternalError,
    /// A firmware image could not be loaded.
    FirmwareImageLoad,
    /// Another, by its code.
    Other(u8),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::log_page::event_dw0;

    #[test]
    fn dw0_reads_back() {
        let dw0 = event_dw0(EVENT_TYPE_NOTICE, NOTICE_DISCOVERY, admin::LOG_DISCOVERY);
        let found = Notification::read(dw0);
        assert_eq!(found, Notification { kind: 2, information: 0xf0, log_page: 0x70 });
        assert_eq!(found.event(), AsyncEvent::DiscoveryLogChanged);
        assert_eq!(Notification::read(1 << 8 | 1).event(), AsyncEvent::Health(HealthEvent::Temperature));
        assert_eq!(Notification::read(4 << 8).event(), AsyncEvent::Error(ErrorEvent::TransientInternalError));
        let vendor = Notification::read(0xc0_01_07);
        assert_eq!(vendor.event(), AsyncEvent::Other(vendor));
    }

    #[test]
    fn changed_namespaces_end_at_zero_and_overflow_to_all() {
        let log = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<_>>();
        assert_eq!(ChangedNamespaces::read(&log(&[3, 9, 0, 4])), ChangedNamespaces::Ids(vec![3, 9]));
        assert_eq!(ChangedNamespaces::read(&log(&[u32::MAX, 0])), ChangedNamespaces::All);
        assert_eq!(ChangedNamespaces::read(&log(&[])), ChangedNamespaces::Ids(vec![]));
    }
}
