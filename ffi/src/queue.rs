//! A queue for event loops.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::slice;
use std::time::{Duration, Instant};

use libc::iovec;
use nvme_tcp::{Queue, QueueCompletion};

use crate::call::{Born, Outcome, call, free, get, get_mut, guard, handle, place, value};
use crate::controller::nvme_tcp_controller;
use crate::error::{self, Failure, blame_code, scope_code};
use crate::namespace::nvme_tcp_namespace;
use crate::statistics::{Kind, Page};
use crate::text::check;

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

/// A command that is done.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_completion {
    /// What the caller gave along with the command.
    pub cookie: u64,
    /// 0, or -errno as of nvme_tcp_pread(); -ECANCELED for a read that was cancelled.
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

/// Opens one of the I/O queues that nvme_tcp_options_set_owned_queues() reserved. It waits for the
/// connection; the queue has no thread.
///
/// Errors: -EINVAL where all of them are in use; those of nvme_tcp_connect(). Threads: any.
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

#[inline(always)]
fn submit(
    queue: Option<&mut nvme_tcp_queue>,
    namespace: Option<&nvme_tcp_namespace>,
    work: impl FnOnce(&mut Queue, &nvme_tcp::Namespace) -> Outcome<Kind>,
) -> c_int {
    call(|| {
        let queue = get_mut(queue)?;
        let namespace = &get(namespace)?.namespace;
        if queue.pending > 0 && is_full(&queue.queue) {
            return Err(no_room());
        }
        match work(&mut queue.queue, namespace) {
            Ok(kind) => {
                queue.pending += 1;
                queue.page.counters.owned(kind);
                Ok(())
            }
            // Of what was cancelled and is not answered yet.
            Err(_) if is_full(&queue.queue) => Err(no_room()),
            Err(failure) => Err(failure),
        }
    })
}

/// Whether a queue takes nothing before something is done. Where nothing is outstanding its connection is lost, and it
/// says why itself.
fn is_full(queue: &Queue) -> bool {
    queue.room() == 0 && queue.outstanding() > 0
}

/// Why a queue takes no command.
#[cold]
fn no_room() -> Failure {
    Failure::here(libc::EAGAIN, "the queue takes no more commands now")
        .hint("fetch completions first: nvme_tcp_queue_complete()")
}

/// Submits a read of `len` bytes (whole blocks, at most nvme_tcp_namespace_max_transfer()) at `offset`.
/// Nothing is sent before the next nvme_tcp_queue_notify() or nvme_tcp_queue_complete().
///
/// The buffer belongs to the queue until the completion with this cookie was fetched, or
/// nvme_tcp_queue_cancel() or nvme_tcp_queue_free() returned: until then it must neither be read, written nor
/// freed. After a failed submission it is the caller's at once.
///
/// Errors: -EAGAIN where the queue is full; -EINVAL; -ECONNRESET and others where the connection is lost.
/// Threads: no other call on the same queue at the same time; any thread may be the next to call.
///
/// # Safety
/// As said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_queue_read(
    queue: Option<&mut nvme_tcp_queue>,
    namespace: Option<&nvme_tcp_namespace>,
    buffer: *mut c_void,
    len: usize,
    offset: u64,
    cookie: u64,
) -> c_int {
    submit(queue, namespace, |queue, namespace| {
        check(buffer.cast::<u8>(), len, "the buffer")?;
        // SAFETY: the caller lends the buffer as the header says, which is what `submit_read_raw` asks for.
        unsafe { queue.submit_read_raw(namespace, buffer.cast(), len, offset, cookie) }?;
        Ok(Kind::Read(len as u64))
    })
}

/// Submits a write of `len` bytes (whole blocks, at most nvme_tcp_namespace_max_transfer()) to `offset`.
/// Nothing is sent before the next nvme_tcp_queue_notify() or nvme_tcp_queue_complete().
///
/// The buffer belongs to the queue until the completion with this cookie was fetched, or
/// nvme_tcp_queue_free() returned: until then it must neither be written nor freed. After a failed submission
/// it is the caller's at once.
///
/// Errors and threads: as nvme_tcp_queue_read().
///
/// # Safety
/// As said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_queue_write(
    queue: Option<&mut nvme_tcp_queue>,
    namespace: Option<&nvme_tcp_namespace>,
    buffer: *const c_void,
    len: usize,
    offset: u64,
    cookie: u64,
) -> c_int {
    submit(queue, namespace, |queue, namespace| {
        check(buffer.cast::<u8>(), len, "the buffer")?;
        // SAFETY: the caller lends the buffer as the header says, which is what `submit_write_raw` asks for.
        unsafe { queue.submit_write_raw(namespace, buffer.cast(), len, offset, cookie) }?;
        Ok(Kind::Write(len as u64))
    })
}

/// Submits one read into `count` buffers, one after the other; their lengths need be whole blocks only
/// together. The list itself is copied.
///
/// The buffers belong to the queue until the completion with this cookie was fetched, or
/// nvme_tcp_queue_cancel() or nvme_tcp_queue_free() returned: until then they must neither be read, written
/// nor freed, and no two of them may overlap. After a failed submission they are the caller's at once.
///
/// Errors and threads: as nvme_tcp_queue_read().
///
/// # Safety
/// As said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_queue_readv(
    queue: Option<&mut nvme_tcp_queue>,
    namespace: Option<&nvme_tcp_namespace>,
    buffers: *const iovec,
    count: usize,
    offset: u64,
    cookie: u64,
) -> c_int {
    submit(queue, namespace, |queue, namespace| {
        // SAFETY: the caller gives such a list.
        let buffers = unsafe { list(buffers, count) }?;
        let pieces = buffers.iter().map(|piece| (piece.iov_base.cast(), piece.iov_len));
        // SAFETY: the caller lends the buffers as the header says, which is what `submit_readv_raw` asks for.
        unsafe { queue.submit_readv_raw(namespace, pieces, offset, cookie) }?;
        Ok(Kind::Read(total(buffers)))
    })
}

/// Submits one write of `count` buffers, one after the other; their lengths need be whole blocks only
/// together. The list itself is copied.
///
/// The buffers belong to the queue until the completion with this cookie was fetched, or
/// nvme_tcp_queue_free() returned: until then they must neither be written nor freed. After a failed
/// submission they are the caller's at once.
///
/// Errors and threads: as nvme_tcp_queue_read().
///
/// # Safety
/// As said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_queue_writev(
    queue: Option<&mut nvme_tcp_queue>,
    namespace: Option<&nvme_tcp_namespace>,
    buffers: *const iovec,
    count: usize,
    offset: u64,
    cookie: u64,
) -> c_int {
    submit(queue, namespace, |queue, namespace| {
        // SAFETY: the caller gives such a list.
        let buffers = unsafe { list(buffers, count) }?;
        let pieces = buffers.iter().map(|piece| (piece.iov_base.cast_const().cast(), piece.iov_len));
        // SAFETY: the caller lends the buffers as the header says, which is what `submit_writev_raw` asks for.
        unsafe { queue.submit_writev_raw(namespace, pieces, offset, cookie) }?;
        Ok(Kind::Write(total(buffers)))
    })
}

/// # Safety
/// A list of `count` buffers, or NULL.
unsafe fn list<'a>(buffers: *const iovec, count: usize) -> Outcome<&'a [iovec]> {
    check(buffers, count, "the list of buffers")?;
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: this function's contract.
    let list = unsafe { slice::from_raw_parts(buffers, count) };
    list.iter()
        .try_for_each(|piece| check(piece.iov_base.cast::<u8>(), piece.iov_len, "a buffer of the list"))?;
    Ok(list)
}

fn total(buffers: &[iovec]) -> u64 {
    buffers.iter().map(|piece| piece.iov_len as u64).sum()
}

/// Submits a flush.
///
/// Errors and threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_flush(
    queue: Option<&mut nvme_tcp_queue>,
    namespace: Option<&nvme_tcp_namespace>,
    cookie: u64,
) -> c_int {
    submit(queue, namespace, |queue, namespace| {
        queue.submit_flush(namespace, cookie).map_err(|rejected| rejected.error)?;
        Ok(Kind::Other)
    })
}

/// Submits Write Zeroes for `len` bytes at `offset`, at most 65536 blocks. A controller that has no such
/// command answers with -EOPNOTSUPP.
///
/// Errors and threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_zero(
    queue: Option<&mut nvme_tcp_queue>,
    namespace: Option<&nvme_tcp_namespace>,
    offset: u64,
    len: u64,
    cookie: u64,
) -> c_int {
    submit(queue, namespace, |queue, namespace| {
        queue.submit_write_zeroes(namespace, offset, len, cookie)?;
        Ok(Kind::Other)
    })
}

/// Submits Dataset Management, deallocate, for `len` bytes at `offset`. A controller that has no such command
/// answers with -EOPNOTSUPP.
///
/// Errors and threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_discard(
    queue: Option<&mut nvme_tcp_queue>,
    namespace: Option<&nvme_tcp_namespace>,
    offset: u64,
    len: u64,
    cookie: u64,
) -> c_int {
    submit(queue, namespace, |queue, namespace| {
        queue.submit_deallocate(namespace, offset, len, cookie)?;
        Ok(Kind::Other)
    })
}

/// Gives up a read: its buffers are the caller's again at once, and it completes with -ECANCELED. Its place
/// in the queue stays taken until the controller has answered.
///
/// Errors: -ENOENT where no read of this cookie is outstanding, be it done or a write: a write cannot be
/// given up, since its fate is not known before it completes. Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_cancel(queue: Option<&mut nvme_tcp_queue>, cookie: u64) -> c_int {
    call(|| match get_mut(queue)?.queue.cancel(cookie) {
        true => Ok(()),
        false => Err(Failure::here(libc::ENOENT, "no read with this cookie is outstanding")),
    })
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

/// Sends and receives what can be now, without waiting. What is done is kept for nvme_tcp_queue_complete().
///
/// Errors: as nvme_tcp_pread() where the connection is lost: every outstanding command completes with the
/// same error. Threads: as nvme_tcp_queue_read().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_queue_notify(queue: Option<&mut nvme_tcp_queue>) -> c_int {
    call(|| {
        let queue = get_mut(queue)?;
        progress(queue, Duration::ZERO)
    })
}

#[inline]
fn progress(queue: &mut nvme_tcp_queue, wait: Duration) -> Outcome<()> {
    let before = queue.done.len();
    let result = queue.queue.poll(&mut queue.done, wait);
    queue.pending = queue.pending.saturating_sub(queue.done.len() - before);
    result?;
    Ok(())
}

/// Fetches completions: at least `min` and at most `max` of them into the list, whose elements have
/// `completion_size` bytes each, sizeof of the struct; gives back how many. It sends and receives, and waits
/// until there are `min`, nothing is outstanding any more, or `timeout` milliseconds have passed, -1 for no
/// limit: so it may give back fewer, also 0. With a `min` of 0 it does not wait. Signals do not end the wait.
///
/// Each failed command has its own result; the thread's last error is that of the last failed one.
///
/// Errors: -EINVAL; those of nvme_tcp_pread() where the connection is lost and nothing was outstanding.
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
        check(completions, most, "the list of completions")?;
        let result = gather(queue, least, timeout);
        let count = most.min(queue.ready());
        if count == 0 {
            result?;
        }
        let mut to = completions.cast::<u8>();
        for completion in queue.done.iter().skip(queue.fetched).take(count) {
            let done = match &completion.result {
                Ok(()) => nvme_tcp_completion::success(completion.cookie),
                Err(error) => {
                    queue.page.counters.failed();
                    nvme_tcp_completion::failure(completion.cookie, error)
                }
            };
            // SAFETY: the caller's list has `most` elements of this size, and this is one of the first `count`; it
            // is no smaller than the struct, wherever it lies.
            unsafe { to.cast::<nvme_tcp_completion>().write_unaligned(done) };
            to = to.wrapping_add(completion_size);
        }
        queue.fetched += count;
        queue.forget();
        Ok(count as c_int)
    })
}

/// Sends and receives once, then until there are `least` completions.
#[inline]
fn gather(queue: &mut nvme_tcp_queue, least: usize, timeout: c_int) -> Outcome<()> {
    let missing = |queue: &nvme_tcp_queue| queue.ready() < least && queue.pending > 0;
    if timeout == 0 || !missing(queue) {
        return progress(queue, Duration::ZERO);
    }
    let Ok(limit) = u64::try_from(timeout) else {
        while missing(queue) {
            progress(queue, Duration::MAX)?;
        }
        return Ok(());
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
