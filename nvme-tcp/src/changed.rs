//! What threads wait for, and with the feature `tokio` tasks too.

use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Instant;

#[cfg(feature = "tokio")]
use ::tokio::{sync::Notify, time::timeout_at};
#[cfg(feature = "tokio")]
use std::{ops::ControlFlow, pin::pin};

/// Says that something guarded by a mutex may have changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    threads: Condvar,
    #[cfg(feature = "tokio")]
    tasks: Notify,
}

impl Changed {
    /// Wakes whoever waits.
    pub(crate) fn notify_all(&self) {
        self.threads.notify_all();
        #[cfg(feature = "tokio")]
        self.tasks.notify_waiters();
    }

    /// Waits until somebody says so, until `until` at most; now and then for less.
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>, until: Option<Instant>) -> MutexGuard<'a, T> {
        match until {
            None => self.threads.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.threads.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Looks until there is something to break with, at each change and at the times that `look` continues until.
    #[cfg(feature = "tokio")]
    pub(crate) async fn look_until<T>(&self, mut look: impl FnMut() -> ControlFlow<T, Option<Instant>>) -> T {
        loop {
            // Before the look, so that no change after it is missed.
            let mut changed = pin!(self.tasks.notified());
            changed.as_mut().enable();
            match look() {
                ControlFlow::Break(found) => return found,
                ControlFlow::Continue(None) => changed.await,
                // Whichever comes first, the next look tells.
                ControlFlow::Continue(Some(until)) => drop(timeout_at(until.into(), changed).await),
            }
        }
    }

    /// The next change, counted from this call on.
    #[cfg(feature = "tokio")]
    pub(crate) fn next(&self) -> ::tokio::sync::futures::Notified<'_> {
        self.tasks.notified()
    }
}
