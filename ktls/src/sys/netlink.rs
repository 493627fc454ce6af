//! NETLINK_SOCK_DIAG (sock_diag(7)): one question, one answer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::check;

/// Sends one request to the kernel's sock_diag and puts its answer into `answer`.
///
/// The kernel answers a question about one socket inside of the send call, so the answer is there at
/// once or never.
pub(crate) fn ask_sock_diag(request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes three integers.
    let raw = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_INET_DIAG) };
    check(raw as isize)?;
    // SAFETY: `raw` was just made, is open, and nobody else knows of it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let fd = socket.as_fd().as_raw_fd();
    let (data, len) = (request.as_ptr(), request.len());
    // SAFETY: `data` points to `len` readable bytes for the length of the call; an unconnected netlink
    // socket sends to the kernel.
    check(unsafe { libc::send(fd, data.cast(), len, libc::MSG_NOSIGNAL) })?;
    let (data, len) = (answer.as_mut_ptr(), answer.len());
    // SAFETY: `data` points to `len` writable bytes for the length of the call.
    check(unsafe { libc::recv(fd, data.cast(), len, libc::MSG_DONTWAIT) })
}
