//! Wakes a controller's housekeeping thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a [`Bell`] rings for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    /// The controller ends.
    pub(crate) stop: bool,
    /// A key's record budget runs low.
    pub(crate) budget_low: bool,
    /// There is something to look at.
    pub(crate) look: bool,
}

/// One thread waits, others ring.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    calls: Mutex<Calls>,
    rung: Condvar,
}

impl Bell {
    /// Rings with the calls that `change` sets.
    pub(crate) fn ring(&self, change: impl FnOnce(&mut Calls)) {
        change(&mut self.lock());
        self.rung.notify_all();
    }

    /// Waits for a call, at most for `limit`, and takes all there are. `stop` stays.
    pub(crate) fn wait(&self, limit: Duration) -> Calls {
        let quiet = |calls: &mut Calls| !(calls.stop || calls.budget_low || calls.look);
        let waited = self.rung.wait_timeout_while(self.lock(), limit, quiet);
        let (mut calls, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let taken = *calls;
        *calls = Calls { stop: taken.stop, ..Calls::default() };
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
