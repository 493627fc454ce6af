//! Wakes a controller's housekeeping thread, which sleeps in poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// What a [`Bell`] rings for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    /// The controller ends.
    pub(crate) stop: bool,
    /// A key's record budget runs low.
    pub(crate) budget_low: bool,
    /// The source of the keys has others.
    pub(crate) keys_changed: bool,
    /// There is something to look at.
    pub(crate) look: bool,
}

/// One thread waits for the descriptor, others ring.
#[derive(Debug)]
pub(crate) struct Bell {
    calls: Mutex<Calls>,
    fd: EventFd,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { calls: Mutex::default(), fd })
    }

    /// Rings with the calls that `change` sets.
    pub(crate) fn ring(&self, change: impl FnOnce(&mut Calls)) {
        let mut calls = self.lock();
        change(&mut calls);
        // It counts; a full counter rings all the same.
        let _ = self.fd.write(1);
    }

    /// Takes all calls there are. `stop` stays.
    pub(crate) fn take(&self) -> Calls {
        let mut calls = self.lock();
        // Nothing to read means that nobody rang.
        let _ = self.fd.read();
        let taken = *calls;
        *calls = Calls { stop: taken.stop, ..Calls::default() };
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
