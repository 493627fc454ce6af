//! Admin commands (Base, section 5).

use super::Sqe;

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

/// FID: Volatile Write Cache.
pub const FEATURE_WRITE_CACHE: u8 = 0x06;
/// FID: Number of Queues.
pub const FEATURE_NUMBER_OF_QUEUES: u8 = 0x07;
/// FID: Asynchronous Event Configuration.
pub const FEATURE_ASYNC_EVENTS: u8 = 0x0b;
/// FID: Keep Alive Timer.
pub const FEATURE_KEEP_ALIVE: u8 = 0x0f;

/// LID: Error Information.
pub const LOG_ERROR: u8 = 0x01;
/// LID: SMART / Health Information.
pub const LOG_SMART: u8 = 0x02;
/// LID: Firmware Slot Information.
pub const LOG_FIRMWARE: u8 = 0x03;
/// LID: Changed Attached Namespace List.
pub const LOG_CHANGED_NAMESPACES: u8 = 0x04;
/// LID: Discovery.
pub const LOG_DISCOVERY: u8 = 0x70;

/// NSID for all namespaces.
pub const ALL_NAMESPACES: u32 = 0xffff_ffff;

/// Identify.
pub fn identify(cns: u8, nsid: u32) -> Sqe {
    Sqe::new(IDENTIFY, nsid).cdw(10, cns.into())
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
    fn the_smaller_number_of_queues_is_granted() {
        assert_eq!(granted_queues(7 | 3 << 16), 4);
        assert_eq!(set_number_of_queues(4).get_cdw(11), 3 | 3 << 16);
    }
}
