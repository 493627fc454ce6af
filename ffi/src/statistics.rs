//! What went through a controller.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::{call, fill, get, sizing};
use crate::controller::nvme_tcp_controller;

/// What went through a controller's namespaces and queues. A synchronous call counts once, also where it is split
/// into several commands; commands of the controller itself, such as Identify, are not counted.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_statistics {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// Reads that were called for, or submitted to a queue.
    pub reads: u64,
    /// How many bytes they asked for.
    pub bytes_read: u64,
    /// Writes that were called for, or submitted to a queue.
    pub writes: u64,
    /// How many bytes they brought.
    pub bytes_written: u64,
    /// Flushes, zeroings, discards and comparisons.
    pub others: u64,
    /// How many of all these have failed so far.
    pub failures: u64,
    /// How many associations there were, the present one among them.
    pub associations: u64,
}

sizing!(nvme_tcp_statistics, associations: u64);

/// What a call or command is counted as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Read(u64),
    Write(u64),
    Other,
}

/// What one queue has counted, or everybody else.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    reads: AtomicU64,
    bytes_read: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    others: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    /// Counts for whoever else counts here at the same time.
    pub(crate) fn shared(&self, kind: Kind, failed: bool) {
        self.count(kind, |counter, more| {
            counter.fetch_add(more, Ordering::Relaxed);
        });
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts for the one owner, which needs no bus lock.
    #[inline]
    pub(crate) fn owned(&self, kind: Kind) {
        self.count(kind, add);
    }

    /// The same for a failure.
    #[cold]
    pub(crate) fn failed(&self) {
        add(&self.failures, 1);
    }

    #[inline]
    fn count(&self, kind: Kind, add: impl Fn(&AtomicU64, u64)) {
        match kind {
            Kind::Read(bytes) => {
                add(&self.reads, 1);
                add(&self.bytes_read, bytes);
            }
            Kind::Write(bytes) => {
                add(&self.writes, 1);
                add(&self.bytes_written, bytes);
            }
            Kind::Other => add(&self.others, 1),
        }
    }

    fn add_to(&self, sum: &mut nvme_tcp_statistics) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sum.reads += read(&self.reads);
        sum.bytes_read += read(&self.bytes_read);
        sum.writes += read(&self.writes);
        sum.bytes_written += read(&self.bytes_written);
        sum.others += read(&self.others);
        sum.failures += read(&self.failures);
    }
}

/// For a counter with one writer.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// The counters of a controller: its namespaces' and those of each queue.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) namespaces: Counters,
    queues: Mutex<Queues>,
}

#[derive(Debug)]
struct Queues {
    open: Vec<Arc<Counters>>,
    freed: nvme_tcp_statistics,
}

const NOTHING: nvme_tcp_statistics = nvme_tcp_statistics {
    size: 0,
    reads: 0,
    bytes_read: 0,
    writes: 0,
    bytes_written: 0,
    others: 0,
    failures: 0,
    associations: 0,
};

impl Default for Queues {
    fn default() -> Self {
        Self { open: Vec::new(), freed: NOTHING }
    }
}

impl Ledger {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sum(&self) -> nvme_tcp_statistics {
        let queues = self.queues();
        let mut sum = queues.freed;
        queues.open.iter().for_each(|counters| counters.add_to(&mut sum));
        self.namespaces.add_to(&mut sum);
        sum
    }
}

/// A queue's own page in the ledger. What it counted stays when it is gone.
#[derive(Debug)]
pub(crate) struct Page {
    ledger: Arc<Ledger>,
    pub(crate) counters: Arc<Counters>,
}

impl Page {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Self {
        let counters = Arc::<Counters>::default();
        ledger.queues().open.push(counters.clone());
        Self { ledger: ledger.clone(), counters }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let mut queues = self.ledger.queues();
        queues.open.retain(|counters| !Arc::ptr_eq(counters, &self.counters));
        self.counters.add_to(&mut queues.freed);
    }
}

/// Tells what went through a controller's namespaces and queues since nvme_tcp_connect().
///
/// Errors: -EINVAL. Threads: any.
///
/// # Safety
/// The struct is there as far as its first member says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_controller_get_statistics(
    controller: Option<&nvme_tcp_controller>,
    statistics: *mut nvme_tcp_statistics,
) -> c_int {
    call(|| {
        let controller = get(controller)?;
        let make = || {
            let associations = controller.controller.info().generation + 1;
            Ok(nvme_tcp_statistics { associations, ..controller.ledger.sum() })
        };
        // SAFETY: the caller gives such a struct.
        unsafe { fill(statistics, make) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_queue_counted_stays_when_it_is_gone() {
        let ledger = Arc::<Ledger>::default();
        ledger.namespaces.shared(Kind::Write(7), true);
        let page = Page::new(&ledger);
        page.counters.owned(Kind::Read(512));
        page.counters.failed();
        let kept = Page::new(&ledger);
        kept.counters.owned(Kind::Other);
        drop(page);
        let sum = ledger.sum();
        assert_eq!((sum.reads, sum.bytes_read, sum.writes, sum.bytes_written), (1, 512, 1, 7));
        assert_eq!((sum.others, sum.failures), (1, 2));
    }
}
