//! The housekeeper as a task. It does not own the housekeeper: who shuts the controller down takes it, and does the
//! rest on a thread that may wait, since the runtime may be over, or driven by the very thread that waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use ::tokio::io::unix::AsyncFd;
use ::tokio::runtime::Handle;
use ::tokio::time::sleep_until;
use nix::poll::PollFlags;

use super::{DRAINING, Housekeeper, Source};
use crate::error::ErrorKind;
use crate::generations::Generations;
use crate::tokio::register;

/// The housekeeper, until somebody takes it.
pub(crate) type Slot = Arc<Mutex<Option<Housekeeper>>>;

pub(super) fn start(housekeeper: Housekeeper, runtime: &Handle) -> Slot {
    let over = Over(housekeeper.generations.clone());
    let slot = Arc::new(Mutex::new(Some(housekeeper)));
    let task = run(slot.clone());
    runtime.spawn(async move {
        let _over = over;
        task.await;
    });
    slot
}

/// The task is over: also by the end of the runtime, which waits for its threads, where somebody may be waiting for an
/// association that nobody brings up any more.
struct Over(Arc<Generations>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.hold(Some(ErrorKind::ShutDown.into()));
    }
}

/// Does the rest of it on this thread.
pub(super) fn end_here(slot: &Slot) {
    let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut housekeeper) = taken {
        housekeeper.run();
    }
}

/// Until the end, until it is taken, or until the runtime is shut down.
async fn run(slot: Slot) {
    let mut watched = Vec::new();
    while let Some(next) = look(&slot, &mut watched) {
        let mut timer = pin!(sleep_until(next.into()));
        let rested = std::future::poll_fn(|cx| {
            // All of them, so that each wakes this task.
            let ready =
                watched.iter().try_fold(false, |all, watched| watched.poll(cx).map(|ready| all | ready));
            match ready {
                Ok(false) => timer.as_mut().poll(cx).map(Ok),
                Ok(true) => Poll::Ready(Ok(())),
                Err(error) => Poll::Ready(Err::<(), io::Error>(error)),
            }
        });
        if rested.await.is_err() {
            return;
        }
    }
}

/// One look of the housekeeper's; when the next is due. `None` at the end.
fn look(slot: &Slot, watched: &mut Vec<Watched>) -> Option<Instant> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    // Put back after, so that one that panicked is not asked again.
    let mut housekeeper = slot.take()?;
    let mut next = housekeeper.look()?;
    for watched in &mut *watched {
        watched.wanted = None;
    }
    for (source, fd, flags) in housekeeper.sources() {
        match watched.iter_mut().find(|watched| watched.source == source) {
            Some(watched) => watched.wanted = Some(flags),
            None => match Watched::new(source, fd, flags) {
                Ok(new) => watched.push(new),
                // It is looked at from time to time.
                Err(_) => next = next.min(Instant::now() + DRAINING),
            },
        }
    }
    watched.retain(|watched| watched.wanted.is_some());
    *slot = Some(housekeeper);
    Some(next)
}

/// A descriptor on the reactor.
#[derive(Debug)]
struct Watched {
    source: Source,
    fd: AsyncFd<OwnedFd>,
    /// What it is wanted for; `None` where it is not there any more.
    wanted: Option<PollFlags>,
}

impl Watched {
    fn new(source: Source, fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<Self> {
        Ok(Self { source, fd: register(fd.as_fd())?, wanted: Some(flags) })
    }

    /// Whether there is something for what it is wanted for. That is forgotten here, before the housekeeper tries,
    /// so that what comes meanwhile counts again; an error where there is no reactor any more.
    fn poll(&self, cx: &mut Context<'_>) -> io::Result<bool> {
        let wanted = self.wanted.unwrap_or(PollFlags::empty());
        let mut ready = false;
        if wanted.contains(PollFlags::POLLIN) {
            if let Poll::Ready(guard) = self.fd.poll_read_ready(cx) {
                guard?.clear_ready();
                ready = true;
            }
        }
        if wanted.contains(PollFlags::POLLOUT) {
            if let Poll::Ready(guard) = self.fd.poll_write_ready(cx) {
                guard?.clear_ready();
                ready = true;
            }
        }
        Ok(ready)
    }
}
