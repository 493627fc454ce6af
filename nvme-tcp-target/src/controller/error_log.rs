//! The Error Information log (Base, section 5.1.12.1.2).

use std::collections::VecDeque;

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::discovery_log::TRTYPE_TCP;
use nvme_tcp::spec::log_page::{ERROR_ENTRY_LEN, ErrorEntry};
use zerocopy::{FromZeros, IntoBytes};

/// ELPE + 1: how many of the last errors are kept.
pub(super) const MAX_ERRORS: usize = 16;

/// The last errors of a controller.
#[derive(Debug, Default)]
pub(super) struct ErrorLog {
    /// How many there were, ever.
    pub(super) count: u64,
    /// The newest first.
    entries: VecDeque<ErrorEntry>,
}

impl ErrorLog {
    /// A command of queue `qid` failed.
    pub(super) fn record(&mut self, qid: u16, sqe: &Sqe, status: Status) {
        self.count += 1;
        let mut entry = ErrorEntry::new_zeroed();
        entry.error_count.set(self.count);
        entry.sqid.set(qid);
        entry.cid = sqe.cid;
        entry.status_field.set(status.0 << 1);
        // Which field it was is not kept.
        entry.parameter_location.set(u16::MAX);
        if qid > 0 {
            entry.lba.set(sqe.slba());
        }
        entry.nsid = sqe.nsid;
        entry.trtype = TRTYPE_TCP;
        self.entries.truncate(MAX_ERRORS - 1);
        self.entries.push_front(entry);
    }

    /// The log page.
    pub(super) fn page(&self) -> Vec<u8> {
        let mut page = self.entries.iter().flat_map(IntoBytes::as_bytes).copied().collect::<Vec<_>>();
        page.resize(MAX_ERRORS * ERROR_ENTRY_LEN, 0);
        page
    }
}

#[cfg(test)]
mod tests {
    use nvme_tcp::spec::command::nvm;

    use super::*;

    #[test]
    fn the_newest_of_the_last_errors_comes_first() {
        let mut log = ErrorLog::default();
        for slba in 0..20 {
            let sqe = Sqe { cid: 0x1234.into(), ..nvm::read(9, slba, 1) };
            log.record(3, &sqe, Status::LBA_OUT_OF_RANGE.with_do_not_retry());
        }
        let page = log.page();
        assert_eq!(page.len(), 16 * 64);
        let (newest, oldest) = (&page[..64], &page[15 * 64..]);
        assert_eq!((newest[0], newest[16], oldest[0], oldest[16]), (20, 19, 5, 4));
        assert_eq!(newest[8..16], [3, 0, 0x34, 0x12, 0x00, 0x81, 0xff, 0xff]);
        assert_eq!((newest[24], newest[29]), (9, 3));
    }
}
