//! A socket's place on tokio's reactor.

// The reactor wants a promise that the descriptor stays open.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::tokio::io::unix::AsyncFd;

use crate::error::Error;
use crate::event::Flow;
use crate::socket::shared::Shared;

/// Keeps the descriptor open for as long as the reactor knows it.
#[derive(Debug)]
struct Descriptor(Arc<Shared>);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd().as_fd().as_raw_fd()
    }
}

/// One registration, shared by both halves: each waits for its own direction.
#[derive(Clone, Debug)]
pub(super) struct Registered(Arc<AsyncFd<Descriptor>>);

impl Registered {
    pub(super) fn new(shared: &Arc<Shared>) -> io::Result<Self> {
        let descriptor = Descriptor(Arc::clone(shared));
        // SAFETY: the descriptor is that of the TcpStream inside of `Shared`, which is never replaced and lives
        // as long as the Arc that `descriptor` holds.
        let registered = unsafe { AsyncFd::register(descriptor) }.map_err(io::Error::from)?;
        Ok(Self(Arc::new(registered)))
    }

    /// Calls `operation`, which never waits, until it gives something else than `WouldBlock`; `Pending` means
    /// that the task is woken when the descriptor is ready for `direction`.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        direction: Flow,
        mut operation: impl FnMut() -> Result<T, Error>,
    ) -> Poll<Result<T, Error>> {
        loop {
            let mut guard = ready!(match direction {
                Flow::Send => self.0.poll_write_ready(cx),
                Flow::Receive => self.0.poll_read_ready(cx),
            })?;
            match operation() {
                Err(error) if error.is_would_block() => guard.clear_ready(),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }
}
