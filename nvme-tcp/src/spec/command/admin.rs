//! Admin commands (Base, section 5).

use super::Sqe;
use crate::spec::log_page::RETAIN_EVENT;

/// OPC: Get Log Page.
pub const GET_LOG_PAGE: u8 = 0x02;
/// OPC: Identify.
pub const IDENTIFY: u8 = 0x06;
/// OPC: Abort.
pub const ABORT: u8 = 0x08;
/// OPC: Set Features.
pub const SET_FEATURES: u8 = 0x09;
/// OPC: Get Features.
pub const GET_FEATURES: u8 = 0x0a;
/// OPC: Asynchronous Event Request.
pub const ASYNC_EVENT_REQUEST: u8 = 0x0c;
/// OPC: Keep Alive.
pub const KEEP_ALIVE: u8 = 0x18;

/// FID: Power Management.
pub const FEATURE_POWER_MANAGEMENT: u8 = 0x02;
/// FID: Volatile Write Cache.
pub const FEATURE_WRITE_CACHE: u8 = 0x06;
/// FID: Number of Queues.
pub const FEATURE_NUMBER_OF_QUEUES: u8 = 0x07;
/// FID: Asynchronous Event Configuration.
pub const FEATURE_ASYNC_EVENTS: u8 = 0x0b;
/// FID: Keep Alive Timer.
pub const FEATURE_KEEP_ALIVE: u8 = 0x0f;
/// FID: Host Behavior Support.
pub const FEATURE_HOST_BEHAVIOR: u8 = 0x16;

/// LID: Supported Log Pages.
pub const LOG_SUPPORTED: u8 = 0x00;
/// LID: Error Information.
pub const LOG_ERROR: u8 = 0x01;
/// LID: SMART / Health Information.
pub const LOG_SMART: u8 = 0x02;
/// LID: Firmware Slot Information.
pub const LOG_FIRMWARE: u8 = 0x03;
/// LID: Changed Attached Namespace List.
pub const LOG_CHANGED_NAMESPACES: u8 = 0x04;
/// LID: Commands Supported and Effects.
pub const LOG_EFFECTS: u8 = 0x05;
/// LID: Asymmetric Namespace Access.
pub const LOG_ANA: u8 = 0x0c;
/// LID: Discovery.
pub const LOG_DISCOVERY: u8 = 0x70;
/// LID: Sanitize Status.
pub const LOG_SANITIZE: u8 = 0x81;

/// NSID for all namespaces.
pub const ALL_NAMESPACES: u32 = 0xffff_ffff;

/// Identify.
pub fn identify(cns: u8, nsid: u32) -> Sqe {
    Sqe::new(IDENTIFY, nsid).cdw(10, cns.into())
}

/// Which Identify data structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentifyFields {
    /// CNS: which structure.
    pub cns: u8,
    /// NSID: of which namespace, or after which.
    pub nsid: u32,
    /// CNTID: of which controller, or from which on.
    pub cntid: u16,
    /// CNSSID: what else CNS wants to know.
    pub cnssid: u16,
    /// CSI: for which command set.
    pub csi: u8,
    /// UUID index, 0 for none.
    pub uuid_index: u8,
}

impl IdentifyFields {
    /// The command.
    pub fn to_sqe(self) -> Sqe {
        identify(self.cns, self.nsid)
            .cdw(10, u32::from(self.cns) | u32::from(self.cntid) << 16)
            .cdw(11, u32::from(self.cnssid) | u32::from(self.csi) << 24)
            .cdw(14, u32::from(self.uuid_index & 0x7f))
    }
}

/// Get Log Page of `len` bytes (a multiple of 4, not zero) from `offset` on.
pub fn get_log_page(lid: u8, nsid: u32, offset: u64, len: u32) -> Sqe {
    let numd = (len / 4).saturating_sub(1);
    Sqe::new(GET_LOG_PAGE, nsid)
        .cdw(10, u32::from(lid) | (numd & 0xffff) << 16)
        .cdw(11, numd >> 16)
        .cdw(12, offset as u32)
        .cdw(13, (offset >> 32) as u32)
}

/// What of a log page is wanted, besides where and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// LID: which log page.
    pub lid: u8,
    /// NSID: of which namespace; 0 or [`ALL_NAMESPACES`] for the controller's own.
    pub nsid: u32,
    /// LSP: what the log page knows to be asked, 7 bits.
    pub lsp: u8,
    /// LSI: of which of the log's subjects.
    pub lsi: u16,
    /// RAE: the event that led here stays masked.
    pub retain_event: bool,
    /// CSI: for which command set.
    pub csi: u8,
    /// UUID index, 0 for none.
    pub uuid_index: u8,
}

impl LogPage {
    /// Log page `lid` of the controller.
    pub fn new(lid: u8) -> Self {
        Self { lid, ..Self::default() }
    }

    /// The command for `len` bytes (a multiple of 4, not zero) from `offset` on.
    pub fn to_sqe(self, offset: u64, len: u32) -> Sqe {
        let sqe = get_log_page(self.lid, self.nsid, offset, len);
        let (cdw10, cdw11) = (sqe.get_cdw(10), sqe.get_cdw(11));
        let retain = if self.retain_event { RETAIN_EVENT } else { 0 };
        sqe.cdw(10, cdw10 | u32::from(self.lsp & 0x7f) << 8 | retain)
            .cdw(11, cdw11 | u32::from(self.lsi) << 16)
            .cdw(14, u32::from(self.uuid_index & 0x7f) | u32::from(self.csi) << 24)
    }
}

/// What a Get Log Page command asks for, read back by a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPageFields {
    /// LID.
    pub lid: u8,
    /// LPO: the first byte wanted.
    pub offset: u64,
    /// How many bytes are wanted.
    pub len: u64,
}

impl LogPageFields {
    /// Takes a Get Log Page command apart.
    pub fn read(sqe: &Sqe) -> Self {
        let numd = u64::from(sqe.get_cdw(10) >> 16) | u64::from(sqe.get_cdw(11) & 0xffff) << 16;
        Self {
            lid: sqe.get_cdw(10) as u8,
            offset: u64::from(sqe.get_cdw(12)) | u64::from(sqe.get_cdw(13)) << 32,
            len: (numd + 1) * 4,
        }
    }
}

/// Set Features with one dword.
pub fn set_features(feature: u8, value: u32) -> Sqe {
    Sqe::new(SET_FEATURES, 0).cdw(10, feature.into()).cdw(11, value)
}

/// SEL of Get Features: which of a feature's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FeatureValue {
    /// The one in force.
    #[default]
    Current = 0,
    /// The one from the factory.
    Default = 1,
    /// The one that outlives a reset.
    Saved = 2,
    /// What the feature can: saveable in bit 0, specific to a namespace in 1, changeable in 2.
    Capabilities = 3,
}

/// Get Features.
pub fn get_features(feature: u8, nsid: u32, value: FeatureValue) -> Sqe {
    Sqe::new(GET_FEATURES, nsid).cdw(10, u32::from(feature) | (value as u32) << 8)
}

/// SV in CDW10 of Set Features: the value outlives a reset.
pub const FEATURE_SAVE: u32 = 1 << 31;

/// Set Features: Number of Queues, `count` (not zero) each way.
pub fn set_number_of_queues(count: u16) -> Sqe {
    let n = u32::from(count.saturating_sub(1));
    set_features(FEATURE_NUMBER_OF_QUEUES, n | n << 16)
}

/// How many I/O queues DW0 of that command's completion grants.
pub fn granted_queues(dw0: u32) -> u32 {
    (dw0 & 0xffff).min(dw0 >> 16) + 1
}

/// Keep Alive.
pub fn keep_alive() -> Sqe {
    Sqe::new(KEEP_ALIVE, 0)
}

/// Abort of command `cid` on queue `sqid`.
pub fn abort(sqid: u16, cid: u16) -> Sqe {
    Sqe::new(ABORT, 0).cdw(10, u32::from(sqid) | u32::from(cid) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_page_command_reads_back() {
        let sqe = get_log_page(LOG_DISCOVERY, 0, 1 << 33 | 1024, 0x50000);
        let fields = LogPageFields { lid: 0x70, offset: 1 << 33 | 1024, len: 0x50000 };
        assert_eq!(LogPageFields::read(&sqe), fields);
    }

    #[test]
    fn every_part_of_a_log_page_command_has_its_place() {
        let page =
            LogPage { lid: 0x0c, nsid: 9, lsp: 0xff, lsi: 0x1234, retain_event: true, csi: 2, uuid_index: 3 };
        let sqe = page.to_sqe(0, 0x4_0008);
        assert_eq!((sqe.nsid.get(), sqe.get_cdw(10)), (9, 0x0001_ff0c));
        assert_eq!((sqe.get_cdw(11), sqe.get_cdw(14)), (0x1234_0001, 0x0200_0003));
    }

    #[test]
    fn every_part_of_an_identify_command_has_its_place() {
        let fields = IdentifyFields { cns: 0x12, nsid: 1, cntid: 5, cnssid: 6, csi: 7, uuid_index: 8 };
        let sqe = fields.to_sqe();
        assert_eq!([10, 11, 14].map(|n| sqe.get_cdw(n)), [0x0005_0012, 0x0700_0006, 8]);
        let saved = get_features(FEATURE_WRITE_CACHE, 0, FeatureValue::Saved);
        assert_eq!(saved.get_cdw(10), 0x206);
    }

    #[test]
    fn the_smaller_number_of_queues_is_granted() {
        assert_eq!(granted_queues(7 | 3 << 16), 4);
        assert_eq!(set_number_of_queues(4).get_cdw(11), 3 | 3 << 16);
    }
}
