//! Wakes a thread that waits in poll(2).

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// An eventfd(2) to wait on beside a socket.
#[derive(Debug)]
pub(super) struct Bell {
    event: EventFd,
    stop: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> std::io::Result<Arc<Self>> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Arc::new(Self { event, stop: AtomicBool::new(false) }))
    }

    /// Tells the thread to stop.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn ring(&self) {
        // It fails only where it was rung very often already.
        let _ = self.event.write(1);
    }

    /// Takes the rings so far, so that the next wait waits.
    pub(super) fn clear(&self) {
        // It fails where there was none.
        let _ = self.event.read();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
