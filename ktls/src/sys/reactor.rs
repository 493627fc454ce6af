//! A socket's place on tokio's reactor, which wants a promise that the descriptor stays open.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use ::tokio::io::unix::AsyncFd;

use crate::socket::shared::Shared;

/// Keeps the descriptor open for as long as the reactor knows it.
#[derive(Debug)]
pub(crate) struct Descriptor(Arc<Shared>);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd().as_fd().as_raw_fd()
    }
}

/// Makes the socket known to the reactor of the runtime that this runs on.
pub(crate) fn register(shared: &Arc<Shared>) -> io::Result<AsyncFd<Descriptor>> {
    let descriptor = Descriptor(Arc::clone(shared));
    // SAFETY: the descriptor is that of the TcpStream inside of `Shared`, which is never replaced and lives
    // as long as the Arc that `descriptor` holds.
    unsafe { AsyncFd::register(descriptor) }.map_err(io::Error::from)
}
