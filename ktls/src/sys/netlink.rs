//! netlink(7): one question, one answer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::check;

/// Sends one request to the kernel's sock_diag (sock_diag(7)) and puts its answer into `answer`.
pub(crate) fn ask_sock_diag(request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    ask(libc::NETLINK_INET_DIAG, request, answer)
}

/// The same of generic netlink.
pub(crate) fn ask_generic(request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    ask(libc::NETLINK_GENERIC, request, answer)
}

/// The kernel answers a question about one thing inside of the send call, so the answer is there at once or
/// never.
fn ask(protocol: libc::c_int, request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes three integers.
    let raw = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
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
