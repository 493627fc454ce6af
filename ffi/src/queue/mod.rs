//! A queue for event loops.

mod complete;
mod submit;

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nvme_tcp::{Queue, QueueCompletion};

use crate::call::{Born, call, free, get, guard, handle, place, value};
use crate::controller::nvme_tcp_controller;
use crate::statistics::Page;

pub use complete::*;
pub use submit::*;

/// The descriptor is wanted for reading: the number of POLLIN and EPOLLIN.
pub const NVME_TCP_WANT_READ: c_int = 1;
/// The descriptor is wanted for writing: the number of POLLOUT and EPOLLOUT.
pub const NVME_TCP_WANT_WRITE: c_int = 4;

/// A queue with a connection of its own.
#[derive(Debug)]
pub struct nvme_tcp_queue {
    born: Born,
    queue: Queue,
    /// What the queue gave; the first `fetched` of it were fetched.
    done: Vec<QueueCompletion>,
    fetched: usize,
    /// How many were submitted and are not among `done`.
    pending: usize,
    page: Page,
}

handle!(nvme_tcp_queue, "queue");

impl nvme_tcp_queue {
    /// How many completions wait to be fetched.
    #[inline]
    fn ready(&self) -> usize {
        self.done.len() - self.fetched
    }

    /// Forgets what was fetched, where that is all or much.
    #[inline]
    fn forget(&mut self) {
        if self.fetched == self.done.len() {
            self.done.clear();
        } else if self.fetched > MANY {
            self.done.drain(..self.fetched);
        } else {
            return;
        }
        self.fetched = 0;
    }
}

/// As many fetched completions may be kept until the others are fetched too.
const MANY: usize = 64;

/// Opens one of the I/O queues that nvme_tcp_options_set_owned_queues() reserved. It waits for the
/// connection; the queue has no thread.
///
/// Errors: -EINVAL where all of them are in use; -ECONNREFUSED, -EACCES, -ETIMEDOUT, -ECONNRESET, -EPROTO and others of
/// nvme_tcp_connect(). Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_open(
    controller: Option<&nvme_tcp_controller>,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_queue>>,
) -> c_int {
    call(|| {
        let out = place(out)?;
        let controller = get(controller)?;
        let queue = controller.controller.queue()?;
        let page = Page::new(&controller.ledger);
        out.give(nvme_tcp_queue {
            born: Born::here(),
            queue,
            done: Vec::new(),
            fetched: 0,
            pending: 0,
            page,
        });
        Ok(())
    })
}

/// Closes a queue and frees it. What is outstanding is given up without a completion: the fate of such a
/// write is not known. All buffers are the caller's again when it returns.
///
/// Threads: no other call on it may run or follow.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_free(queue: Option<Box<nvme_tcp_queue>>) {
    free(queue);
}

/// Whether it sends and waits by io_uring(7): where nvme_tcp_options_set_io_uring() asked for that, and the kernel
/// lets it; false for NULL.
///
/// Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_uses_io_uring(queue: Option<&nvme_tcp_queue>) -> bool {
    value(false, || Ok(get(queue)?.queue.uses_io_uring()))
}

/// How many commands can be submitted now; 0 for NULL.
///
/// Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_room(queue: Option<&nvme_tcp_queue>) -> usize {
    value(0, || Ok(get(queue)?.queue.room()))
}

/// How many commands are not completed yet, or completed and not fetched; 0 for NULL.
///
/// Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_outstanding(queue: Option<&nvme_tcp_queue>) -> usize {
    value(0, || {
        let queue = get(queue)?;
        Ok(queue.queue.outstanding() + queue.ready())
    })
}

/// The descriptor to wait for, in the direction of nvme_tcp_queue_wants(). It belongs to the queue, and may
/// be another one after a submission: when the controller's next association takes over.
///
/// Errors: -EINVAL, -ECHILD. Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_get_fd(queue: Option<&nvme_tcp_queue>) -> c_int {
    guard(|| Ok(get(queue)?.queue.as_fd().as_raw_fd()))
}

/// In which direction the descriptor is wanted: NVME_TCP_WANT_READ, NVME_TCP_WANT_WRITE, both or 0. Ask again
/// after each other call on the queue, and call nvme_tcp_queue_notify() when the descriptor is ready.
///
/// Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_wants(queue: Option<&nvme_tcp_queue>) -> c_int {
    value(0, || {
        let wants = get(queue)?.queue.wants();
        let read = if wants.read { NVME_TCP_WANT_READ } else { 0 };
        Ok(read | if wants.write { NVME_TCP_WANT_WRITE } else { 0 })
    })
}

/// For how many milliseconds an event loop may wait before it calls nvme_tcp_queue_notify() even so, since a
/// command will have taken too long: what poll(2) and epoll_wait(2) take. -1 for no limit.
///
/// Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_timeout(queue: Option<&nvme_tcp_queue>) -> c_int {
    value(-1, || {
        let Some(deadline) = get(queue)?.queue.next_deadline() else { return Ok(-1) };
        // Rounded up: at the deadline, not just before.
        let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        Ok(c_int::try_from(left).unwrap_or(c_int::MAX))
    })
}
