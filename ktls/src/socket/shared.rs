//! What the two halves of a connection share: the descriptor, and what one owes the other.

use std::net::{Shutdown, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use crate::alert::Alert;
use crate::sys;

/// Set beside an alert's number.
const PRESENT: u32 = 0x100;
/// Where the alert that the peer sent lies in the notices, by bits; the one owed to it lies at zero.
const RECEIVED: u32 = 9;
const OWED: u32 = 0;
/// A KeyUpdate is owed.
const KEY_UPDATE: u32 = 1 << 31;

/// What the receiving half has found that ends or delays sending: in one place, so that a look at it is cheap.
#[derive(Debug, Default)]
struct Notices(AtomicU32);

impl Notices {
    /// Keeps the first alert of those at `place`.
    fn put(&self, place: u32, alert: Alert) {
        let value = (PRESENT | u32::from(alert.0)) << place;
        let first = |notices| (notices & PRESENT << place == 0).then_some(notices | value);
        // A failure means that one is there already.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, first);
    }

    fn get(&self, place: u32) -> Option<Alert> {
        let notices = self.0.load(Ordering::Acquire) >> place;
        (notices & PRESENT != 0).then_some(Alert(notices as u8))
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    stream: TcpStream,
    notices: Notices,
    /// The peer's close_notify has come: what follows it counts for nothing.
    closed: AtomicBool,
    /// An errno of the receiving direction that the kernel gave to the sending half; 0 for none.
    receive_errno: AtomicI32,
}

impl Shared {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            notices: Notices::default(),
            closed: AtomicBool::new(false),
            receive_errno: AtomicI32::new(0),
        }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        sys::borrow(&self.stream)
    }

    /// Whether the receiving half has left anything to the sending half, or has ended it.
    pub(super) fn has_notices(&self) -> bool {
        self.notices.0.load(Ordering::Acquire) != 0
    }

    /// The peer asked for a KeyUpdate: the sending half sends one before its next data.
    pub(super) fn owe_key_update(&self) {
        self.notices.0.fetch_or(KEY_UPDATE, Ordering::AcqRel);
    }

    pub(super) fn is_key_update_owed(&self) -> bool {
        self.notices.0.load(Ordering::Acquire) & KEY_UPDATE != 0
    }

    /// Called before our KeyUpdate is sent: what the peer asks for after that is owed anew.
    pub(super) fn key_update_paid(&self) {
        self.notices.0.fetch_and(!KEY_UPDATE, Ordering::AcqRel);
    }

    /// The peer broke the protocol: the sending half tells it, and stops.
    pub(super) fn owe_alert(&self, alert: Alert) {
        self.notices.put(OWED, alert);
    }

    pub(super) fn alert_owed(&self) -> Option<Alert> {
        self.notices.get(OWED)
    }

    /// The peer ended the connection with an alert: the sending half stops too.
    pub(super) fn alert_received(&self, alert: Alert) {
        self.notices.put(RECEIVED, alert);
    }

    pub(super) fn received_alert(&self) -> Option<Alert> {
        self.notices.get(RECEIVED)
    }

    /// The peer's close_notify has come.
    pub(super) fn close_received(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Keeps an error of the receiving direction that the kernel gave to the sending half, for which the
    /// peer is told `alert`, and lets the receiving half run into the end of the stream, after what was good:
    /// the kernel gives such an error once, and would let it wait for ever.
    pub(super) fn receive_failed(&self, errno: i32, alert: Alert) {
        if !self.closed.load(Ordering::Acquire) {
            self.receive_errno.store(errno, Ordering::Release);
            self.owe_alert(alert);
            // A connection that is over needs no end.
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    pub(super) fn receive_errno(&self) -> Option<i32> {
        Some(self.receive_errno.load(Ordering::Acquire)).filter(|&errno| errno != 0)
    }
}
