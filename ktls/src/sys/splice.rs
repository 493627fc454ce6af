//! splice(2): between a pipe and anything else, pages change hands instead of being copied.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::check;
use super::msg::PipeSignal;
use crate::socket::Wait;

/// Moves at most `len` bytes, one end being a pipe, and gives their number: 0 at the end of `from`. `more` is
/// to come: a TLS record stays open. A socket that is written to waits as its descriptor is set. There is never a
/// SIGPIPE.
pub(crate) fn splice(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: usize,
    more: bool,
    wait: Wait,
) -> io::Result<usize> {
    let nonblock = if wait == Wait::Now { libc::SPLICE_F_NONBLOCK } else { 0 };
    let flags = libc::SPLICE_F_MOVE | nonblock | if more { libc::SPLICE_F_MORE } else { 0 };
    let _guard = PipeSignal::hold()?;
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: both are open descriptors; no offsets are given, and no other memory is involved.
    check(unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), len, flags) })
}

/// Reads what a pipe has, waiting until it has something if `wait` allows it; 0 where nobody can write to it any
/// more. Nobody else may read from it meanwhile.
pub(crate) fn read(pipe: BorrowedFd<'_>, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
    if wait == Wait::Now && !super::msg::is_ready(pipe, libc::POLLIN)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let (data, len) = (buf.as_mut_ptr(), buf.len());
    // SAFETY: `data` points to `len` bytes that are ours to write for the length of the call.
    check(unsafe { libc::read(pipe.as_raw_fd(), data.cast(), len) })
}

/// Writes to a pipe: as much as there is, or where the call may not wait as much as surely has room.
pub(crate) fn write(pipe: BorrowedFd<'_>, bytes: &[u8], wait: Wait) -> io::Result<usize> {
    let len = match wait {
        Wait::Block => bytes.len(),
        // A pipe that is ready takes so much at once (pipe(7)).
        Wait::Now if super::msg::is_ready(pipe, libc::POLLOUT)? => bytes.len().min(libc::PIPE_BUF),
        Wait::Now => return Err(io::ErrorKind::WouldBlock.into()),
    };
    let _guard = PipeSignal::hold()?;
    // SAFETY: `bytes` has at least `len` bytes, readable for the length of the call.
    check(unsafe { libc::write(pipe.as_raw_fd(), bytes.as_ptr().cast(), len) })
}
