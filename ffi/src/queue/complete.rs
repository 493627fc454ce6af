//! What a queue has done.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use super::nvme_tcp_queue;
use crate::call::{call, get_mut, guard};
use crate::error::{self, Failure, blame_code, scope_code};
use crate::text::check;

/// A command that is done.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_completion {
    /// What the caller gave along with the command.
    pub cookie: u64,
    /// 0, or -errno: that of a command; -EBADMSG for a read with a wrong data digest; -ENOSPC, -EROFS and others for
    /// what writes; -ECANCELED for a read that was cancelled.
    pub result: c_int,
    /// The status code type of the NVMe status, -1 where there is none.
    pub status_type: i16,
    /// The status code of the NVMe status, -1 where there is none.
    pub status_code: i16,
    /// One of NVME_TCP_SCOPE_*, 0 after success.
    pub scope: c_int,
    /// One of NVME_TCP_BLAME_*, 0 after success.
    pub blame: c_int,
    /// Zero.
    pub reserved: [u64; 1],
}

impl nvme_tcp_completion {
    fn success(cookie: u64) -> Self {
        Self { cookie, result: 0, status_type: -1, status_code: -1, scope: 0, blame: 0, reserved: [0] }
    }

    /// Also the thread's last error, where it is a failure.
    #[cold]
    fn failure(cookie: u64, error: &nvme_tcp::Error) -> Self {
        let failure = Failure::from(error.clone());
        let done = Self {
            result: -failure.errno,
            status_type: failure.status.map_or(-1, |status| status.code_type().into()),
            status_code: failure.status.map_or(-1, |status| status.code().into()),
            scope: scope_code(failure.scope),
            blame: blame_code(failure.blame),
            ..Self::success(cookie)
        };
        error::set(failure);
        done
    }
}

/// Sends and receives what can be now, without waiting. What is done is kept for nvme_tcp_queue_complete().
///
/// Errors: -ETIMEDOUT, -ECONNRESET, -EPROTO and others where the connection is lost: every outstanding command
/// completes with the same error; -EINVAL. Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_notify(queue: Option<&mut nvme_tcp_queue>) -> c_int {
    call(|| {
        let queue = get_mut(queue)?;
        Ok(progress(queue, Duration::ZERO)?)
    })
}

// The library's own error as far as it goes: a failure is made of it where somebody hears of it.
#[inline]
fn progress(queue: &mut nvme_tcp_queue, wait: Duration) -> nvme_tcp::Result<()> {
    let before = queue.done.len();
    let result = queue.queue.poll(&mut queue.done, wait);
    queue.pending = queue.pending.saturating_sub(queue.done.len() - before);
    result.map(drop)
}

/// Fetches completions: at least `min` and at most `max` of them into the list, whose elements have
/// `completion_size` bytes each, sizeof of the struct; gives back how many. It sends and receives, and waits
/// until there are `min`, nothing is outstanding any more, or `timeout` milliseconds have passed, -1 for no
/// limit: so it may give back fewer, also 0. With a `min` of 0 it does not wait. Signals do not end the wait.
///
/// Each failed command has its own result; the thread's last error is that of the last failed one.
///
/// Errors: -EINVAL; -ETIMEDOUT, -ECONNRESET, -EPROTO and others where the connection is lost and nothing is
/// outstanding.
/// Threads: as nvme_tcp_queue_read().
///
/// # Safety
/// A list of `max` elements of that size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_queue_complete(
    queue: Option<&mut nvme_tcp_queue>,
    completions: *mut nvme_tcp_completion,
    completion_size: usize,
    min: c_int,
    max: c_int,
    timeout: c_int,
) -> c_int {
    guard(|| {
        let queue = get_mut(queue)?;
        let invalid = |what: &str| Err(Failure::here(libc::EINVAL, what));
        let (Ok(least), Ok(most)) = (usize::try_from(min), usize::try_from(max)) else {
            return invalid("the least and the most number of completions are 0 or more");
        };
        if least > most {
            return invalid("the least number of completions is more than the most");
        }
        if completion_size < size_of::<nvme_tcp_completion>() {
            return invalid("the size of a completion is less than sizeof(struct nvme_tcp_completion)");
        }
        // So many that are longer than memory an int does not count.
        if completions.is_null() {
            check(completions, most, "the list of completions")?;
        }
        let result = gather(queue, least, timeout);
        let count = most.min(queue.ready());
        if count == 0 {
            result?;
        }
        let mut to = completions.cast::<u8>();
        let end = queue.fetched + count;
        for completion in queue.done.get(queue.fetched..end).unwrap_or_default() {
            let put = |done| {
                // SAFETY: the caller's list has `most` elements of this size, and this is one of the first `count`; it
                // is no smaller than the struct, wherever it lies.
                unsafe { to.cast::<nvme_tcp_completion>().write_unaligned(done) }
            };
            match &completion.result {
                Ok(()) => put(nvme_tcp_completion::success(completion.cookie)),
                Err(error) => {
                    queue.page.counters.failed();
                    put(nvme_tcp_completion::failure(completion.cookie, error));
                }
            }
            to = to.wrapping_add(completion_size);
        }
        queue.fetched = end;
        queue.forget();
        Ok(count as c_int)
    })
}

/// Sends and receives once, then until there are `least` completions.
#[inline]
fn gather(queue: &mut nvme_tcp_queue, least: usize, timeout: c_int) -> nvme_tcp::Result<()> {
    let missing = |queue: &nvme_tcp_queue| queue.ready() < least && queue.pending > 0;
    if timeout == 0 || !missing(queue) {
        return progress(queue, Duration::ZERO);
    }
    let Ok(limit) = u64::try_from(timeout) else {
        loop {
            progress(queue, Duration::MAX)?;
            if !missing(queue) {
                return Ok(());
            }
        }
    };
    let until = Instant::now() + Duration::from_millis(limit);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        progress(queue, left)?;
        if !missing(queue) || left.is_zero() {
            return Ok(());
        }
    }
}
