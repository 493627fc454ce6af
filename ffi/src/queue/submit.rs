//! Commands for a queue.

use std::ffi::{c_int, c_void};
use std::slice;

use libc::iovec;
use nvme_tcp::Queue;

use super::nvme_tcp_queue;
use crate::call::{Outcome, call, get, get_mut};
use crate::error::Failure;
use crate::namespace::nvme_tcp_namespace;
use crate::statistics::Kind;
use crate::text::check;

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
