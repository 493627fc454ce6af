//! The only unsafe code of this crate: what the kernel offers, with safe signatures.
//!
//! Every function takes borrowed file descriptors and slices and gives `io::Result`s; none keeps
//! anything, none decides anything.
#![allow(unsafe_code)] // System calls with pointers cannot be made without it.

pub(crate) mod ethtool;
pub(crate) mod msg;
pub(crate) mod netlink;
#[cfg(feature = "tokio")]
pub(crate) mod reactor;
pub(crate) mod splice;
pub(crate) mod tls;

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The descriptor of `stream`: what its `as_fd` gives, which is a call that cannot be inlined.
#[inline(always)]
pub(crate) fn borrow(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream is borrowed for as long, and does not close its descriptor before it is dropped.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// What a system call gave, -1 standing for errno.
fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
