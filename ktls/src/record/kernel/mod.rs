//! Records sealed and opened by the kernel.
//!
//! Each direction stands by itself. The kernel counts the records; it is asked when the key could have
//! come to its alarm or its limit since the last time, never at each call.

mod receiver;
mod sender;

use std::io;
use std::os::fd::BorrowedFd;

pub(crate) use receiver::{Got, Receiver};
pub(crate) use sender::Sender;

use crate::error::Error;
use crate::event::Flow;
use crate::handshake::MAX_FRAGMENT_LEN;
use crate::keys::DirectionKey;
use crate::record::BadRecord;
use crate::record::budget::Meter;
use crate::sys;

/// What is wrong with a header that net/tls refuses. It looks at headers as they arrive, and gives the error
/// to whoever calls first, also to send.
pub(crate) fn bad_header(error: &io::Error) -> Option<BadRecord> {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => Some(BadRecord::TooLong { len: 0, max: MAX_FRAGMENT_LEN }),
        Some(libc::EINVAL) => Some(BadRecord::Header),
        _ => None,
    }
}

/// The key of one direction, in the kernel.
struct Key {
    direction: Flow,
    key: DirectionKey,
    meter: Meter,
    /// Records that may have gone since `meter` was last right: never fewer than did.
    since: u64,
    /// How many of those change nothing: until then there is nothing to ask and nothing to refuse.
    free: u64,
}

impl Key {
    fn install(fd: BorrowedFd<'_>, direction: Flow, key: DirectionKey, mut meter: Meter) -> io::Result<Self> {
        sys::tls::install_key(fd, direction, &key)?;
        meter.set(key.sequence());
        let mut key = Self { direction, key, meter, since: 0, free: 0 };
        key.counted();
        Ok(key)
    }

    /// `meter` is right.
    fn counted(&mut self) {
        self.since = 0;
        self.free = self.meter.next_mark().saturating_sub(self.meter.budget().used);
    }

    /// Whether `records` more come to no mark.
    #[inline]
    fn is_far(&self, records: u64) -> bool {
        self.since + records < self.free
    }

    /// Notes that a call dealt with at most `records`. (No sum of them overflows: each call's are below 2^32, and once
    /// there are more than `free` they are counted anew.)
    #[inline]
    fn note(&mut self, records: u64) {
        self.since += records;
    }

    /// Asks the kernel for the count where it may have come to a mark, and refuses at the limit; else
    /// gives the number of records that are left.
    fn check(&mut self, fd: BorrowedFd<'_>) -> Result<u64, Error> {
        if self.since > 0 && !self.is_far(0) {
            let used = sys::tls::record_sequence(fd, self.direction, self.key.cipher())?;
            self.meter.set(used);
            self.counted();
        }
        self.meter.check()?;
        let budget = self.meter.budget();
        Ok(budget.limit.saturating_sub(budget.used.saturating_add(self.since)).max(1))
    }

    /// Gives the kernel the next key (Linux 6.14; older ones answer EBUSY).
    fn replace(&mut self, fd: BorrowedFd<'_>) -> Result<(), Error> {
        let mut next = self.key.next(self.direction)?;
        sys::tls::install_key(fd, self.direction, &next)
            .map_err(|_| Error::RekeyUnsupported { direction: self.direction })?;
        next.wipe();
        self.meter.reset();
        self.meter.set(next.sequence());
        self.key = next;
        self.counted();
        Ok(())
    }
}
