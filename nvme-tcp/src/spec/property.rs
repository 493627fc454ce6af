//! Controller properties, read and written by fabrics commands (Base, section 3.1.4).

/// CAP: controller capabilities, 8 bytes.
pub const CAP: u32 = 0x00;
/// VS: version, 4 bytes.
pub const VS: u32 = 0x08;
/// CC: controller configuration, 4 bytes.
pub const CC: u32 = 0x14;
/// CSTS: controller status, 4 bytes.
pub const CSTS: u32 = 0x1c;
/// CRTO: controller ready timeouts, 4 bytes; CRWMT, that of a controller ready with its media, in bits 15:0, in units of
/// 500 ms.
pub const CRTO: u32 = 0x68;

/// CC.EN.
pub const CC_ENABLE: u32 = 1;
/// CC.SHN in its place.
pub const CC_SHUTDOWN_MASK: u32 = 0b11 << 14;
/// CC.SHN: normal shutdown.
pub const CC_SHUTDOWN_NORMAL: u32 = 0b01 << 14;
/// CC with queue entry sizes of 64 and 16 bytes, the NVM command set and 4 KiB pages, not enabled.
pub const CC_FOR_FABRICS: u32 = 6 << 16 | 4 << 20;

/// CSTS.RDY.
pub const CSTS_READY: u32 = 1;
/// CSTS.CFS: controller fatal status.
pub const CSTS_FATAL: u32 = 1 << 1;
/// CSTS.SHST in its place.
pub const CSTS_SHUTDOWN_MASK: u32 = 0b11 << 2;
/// CSTS.SHST: shutdown complete.
pub const CSTS_SHUTDOWN_COMPLETE: u32 = 0b10 << 2;

/// CAP, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// MQES + 1: the most entries in an I/O queue.
    pub fn max_queue_entries(self) -> u32 {
        (self.0 & 0xffff) as u32 + 1
    }

    /// TO: how long a controller may take to become ready or not ready, in units of 500 ms.
    pub fn ready_timeout(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// CRMS.CRWMS: CRTO says how long the controller may take to become ready, which TO may be too narrow for.
    pub fn has_ready_timeouts(self) -> bool {
        self.0 >> 59 & 1 != 0
    }

    /// The smallest memory page in bytes (MPSMIN), which MDTS counts in.
    pub fn min_page_size(self) -> u64 {
        1 << (12 + (self.0 >> 48 & 0xf))
    }

    /// A controller with queues of up to `entries` (1 to 65,536), ready within `timeout` x 500 ms, 4 KiB
    /// pages, contiguous queues and the NVM command set.
    pub fn new(entries: u32, timeout: u8) -> Self {
        Self(u64::from(entries.saturating_sub(1) & 0xffff) | 1 << 16 | u64::from(timeout) << 24 | 1 << 37)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_round_trip() {
        let cap = Capabilities::new(128, 20);
        assert_eq!((cap.max_queue_entries(), cap.ready_timeout(), cap.min_page_size()), (128, 20, 4096));
        assert!(!cap.has_ready_timeouts() && Capabilities(cap.0 | 1 << 59).has_ready_timeouts());
    }
}
