//! A socket's place on tokio's reactor.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::tokio::io::unix::AsyncFd;

use crate::error::Error;
use crate::event::Flow;
use crate::socket::shared::Shared;
use crate::sys::reactor::{self, Descriptor};

/// One registration, shared by both halves: each waits for its own direction.
#[derive(Clone, Debug)]
pub(super) struct Registered(Arc<AsyncFd<Descriptor>>);

impl Registered {
    pub(super) fn new(shared: &Arc<Shared>) -> io::Result<Self> {
        Ok(Self(Arc::new(reactor::register(shared)?)))
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
