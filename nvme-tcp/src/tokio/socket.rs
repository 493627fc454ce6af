//! A queue's socket on tokio's reactor.
#![allow(unsafe_code, reason = "the reactor wants a promise")]

use std::os::fd::{AsFd, OwnedFd};

use ::tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};
use crate::queue::Queue;

/// Puts the queue's socket on the reactor of this runtime.
pub(super) fn register(queue: &Queue) -> Result<AsyncFd<OwnedFd>> {
    let refused = |e| Error::invalid(format!("the reactor does not take the connection: {e}"));
    let descriptor = queue.as_fd().try_clone_to_owned().map_err(refused)?;
    // SAFETY: an OwnedFd is closed when it is dropped, not before, and always gives the same descriptor.
    let registered = unsafe { AsyncFd::register(descriptor) };
    registered.map_err(|e| refused(e.into()))
}
