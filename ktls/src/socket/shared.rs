//! What the two halves of a connection share: the descriptor, and what one owes the other.

use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, Ordering};

use crate::alert::Alert;

/// Set in an alert's cell beside the alert's number.
const PRESENT: u16 = 0x100;

/// A place for one alert.
#[derive(Debug, Default)]
struct AlertCell(AtomicU16);

impl AlertCell {
    /// Keeps the first alert.
    fn put(&self, alert: Alert) {
        let value = PRESENT | u16::from(alert.0);
        // A failure means that one is there already.
        let _ = self.0.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire);
    }

    fn get(&self) -> Option<Alert> {
        let [present, alert] = self.0.load(Ordering::Acquire).to_be_bytes();
        (present != 0).then_some(Alert(alert))
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    stream: TcpStream,
    key_update_owed: AtomicBool,
    alert_owed: AlertCell,
    alert_received: AlertCell,
    /// The peer's close_notify has come: what follows it counts for nothing.
    closed: AtomicBool,
    /// An errno of the receiving direction that the kernel gave to the sending half; 0 for none.
    receive_errno: AtomicI32,
}

impl Shared {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            key_update_owed: AtomicBool::new(false),
            alert_owed: AlertCell::default(),
            alert_received: AlertCell::default(),
            closed: AtomicBool::new(false),
            receive_errno: AtomicI32::new(0),
        }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The peer asked for a KeyUpdate: the sending half sends one before its next data.
    pub(super) fn owe_key_update(&self) {
        self.key_update_owed.store(true, Ordering::Release);
    }

    pub(super) fn is_key_update_owed(&self) -> bool {
        self.key_update_owed.load(Ordering::Acquire)
    }

    /// Called before our KeyUpdate is sent: what the peer asks for after that is owed anew.
    pub(super) fn key_update_paid(&self) {
        self.key_update_owed.store(false, Ordering::Release);
    }

    /// The peer broke the protocol: the sending half tells it, and stops.
    pub(super) fn owe_alert(&self, alert: Alert) {
        self.alert_owed.put(alert);
    }

    pub(super) fn alert_owed(&self) -> Option<Alert> {
        self.alert_owed.get()
    }

    /// The peer ended the connection with an alert: the sending half stops too.
    pub(super) fn alert_received(&self, alert: Alert) {
        self.alert_received.put(alert);
    }

    pub(super) fn received_alert(&self) -> Option<Alert> {
        self.alert_received.get()
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
