//! Descriptors on tokio's reactor.
#![allow(unsafe_code, reason = "the reactor wants a promise")]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use ::tokio::io::unix::AsyncFd;

/// Puts a descriptor, by a duplicate of its own, on the reactor of this runtime.
pub(crate) fn register(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = fd.try_clone_to_owned()?;
    // SAFETY: an OwnedFd is closed when it is dropped, not before, and always gives the same descriptor.
    let registered = unsafe { AsyncFd::register(descriptor) };
    Ok(registered?)
}
