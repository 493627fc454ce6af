//! What the two halves of a connection share: the descriptor, and what one owes the other.

use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

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
pub(super) struct Shared {
    stream: TcpStream,
    key_update_owed: AtomicBool,
    alert_owed: AlertCell,
    alert_received: AlertCell,
}

impl Shared {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            key_update_owed: AtomicBool::new(false),
            alert_owed: AlertCell::default(),
            alert_received: AlertCell::default(),
        }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
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
}
