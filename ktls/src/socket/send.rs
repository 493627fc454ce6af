//! The sending half of a connection.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::alert::Alert;
use crate::error::Error;
use crate::event::Event;
use crate::handshake::key_update_message;
use crate::record::ContentType;
use crate::record::budget::Budget;
use crate::record::kernel;
use crate::socket::sealing::Sealing;
use crate::socket::shared::Shared;
use crate::socket::{SealedBy, Wait};
use crate::sys;

/// How far close_notify has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Open,
    Sealed,
    Sent,
}

/// The sending half of a [`Socket`](crate::Socket): one thread owns it.
///
/// Where this process seals the records, accepted bytes may still wait to be sent: after
/// [`Wait::Now`], look at [`has_pending`](Self::has_pending) and [`flush`](Self::flush) when the
/// descriptor is writable.
pub struct SendHalf {
    pub(super) shared: Arc<Shared>,
    pub(super) sealing: Sealing,
    sealed_by: SealedBy,
    closing: Closing,
    failed: Option<Error>,
    pub(super) file_chunk: Vec<u8>,
}

impl SendHalf {
    pub(super) fn new(shared: Arc<Shared>, sealing: Sealing, sealed_by: SealedBy) -> Self {
        Self { shared, sealing, sealed_by, closing: Closing::Open, failed: None, file_chunk: Vec::new() }
    }

    /// Sends application data and gives the number of plaintext bytes accepted, which may be fewer than
    /// all. With [`Wait::Block`] what was accepted was also sent, but for an error in between.
    ///
    /// # Errors
    /// [`Error::Io`] of the kind `WouldBlock` when nothing could be accepted;
    /// [`Error::BudgetExhausted`] when the key may seal nothing more; others end this half.
    #[inline]
    pub fn send_vectored(&mut self, bufs: &[IoSlice<'_>], wait: Wait) -> Result<usize, Error> {
        self.send_data(bufs, false, wait)
    }

    /// The same, but the last record, if it is not full, stays open (`MSG_MORE`): what is sent next goes into it
    /// too. [`flush`](Self::flush) ends it, and so do all other calls that send.
    ///
    /// # Errors
    /// As [`send_vectored`](Self::send_vectored).
    pub fn send_more(&mut self, bufs: &[IoSlice<'_>], wait: Wait) -> Result<usize, Error> {
        self.send_data(bufs, true, wait)
    }

    // Inlined with what it calls, as far as nothing is in the way: a command of 4 KiB notices the frame.
    #[inline]
    fn send_data(&mut self, bufs: &[IoSlice<'_>], more: bool, wait: Wait) -> Result<usize, Error> {
        let has_some = bufs.first().is_some_and(|buf| !buf.is_empty());
        let goes_on = self.goes_on();
        if let (true, true, Sealing::Kernel(kernel)) = (has_some, goes_on, &mut self.sealing) {
            return match kernel.send(self.shared.fd(), bufs, more, wait) {
                Ok(sent) => Ok(sent),
                Err(error) => self.send_again(error, bufs, more, wait),
            };
        }
        self.send_after_all(bufs, more, wait)
    }

    /// The same where the kernel has given an error, which may be the other half's.
    #[cold]
    fn send_again(
        &mut self,
        error: Error,
        bufs: &[IoSlice<'_>],
        more: bool,
        wait: Wait,
    ) -> Result<usize, Error> {
        if self.is_receivers(&error) {
            return self.send_after_all(bufs, more, wait);
        }
        self.latch(Err(error))
    }

    /// The same where something else may have to go first, or the first buffer is empty.
    #[inline(never)]
    fn send_after_all(&mut self, bufs: &[IoSlice<'_>], more: bool, wait: Wait) -> Result<usize, Error> {
        loop {
            self.ready(wait)?;
            if bufs.iter().all(|buf| buf.is_empty()) {
                return Ok(0);
            }
            match self.sealing.send(self.shared.fd(), bufs, more, wait) {
                Err(error) if self.is_receivers(&error) => {}
                result => return self.latch(result),
            }
        }
    }

    /// Ends the record that [`send_more`](Self::send_more) left open, sends what is pending, and says whether all
    /// of it has gone; with [`Wait::Now`] that may be `false`.
    ///
    /// # Errors
    /// [`Error::Io`]; any but a retryable one ends this half.
    pub fn flush(&mut self, wait: Wait) -> Result<bool, Error> {
        self.check_failed()?;
        let result = self.close_and_write_out(wait);
        self.latch(result)
    }

    fn close_and_write_out(&mut self, wait: Wait) -> Result<bool, Error> {
        loop {
            let Some(closed) = self.sealing.close_record(self.shared.fd(), wait)? else { return Ok(false) };
            if !self.write_out(wait)? || closed {
                return Ok(!self.has_pending());
            }
        }
    }

    /// Whether accepted bytes wait to be sent: an open record, or sealed bytes, of which the kernel's own layer
    /// keeps none here.
    #[inline]
    pub fn has_pending(&self) -> bool {
        self.sealing.has_pending()
    }

    /// Gives back the memory of buffers that hold nothing, and says whether they did: for a connection that
    /// will be idle. The next call that needs one makes it again.
    pub fn release_buffers(&mut self) -> bool {
        self.file_chunk = Vec::new();
        self.sealing.release()
    }

    /// Sends `content`, which is not empty, as one record of its own type, and gives the number of bytes
    /// accepted: all, but where the kernel seals and has no room for a long one, so that the rest is
    /// another record. What a handshake or alert record does is the caller's own business: use [`update_key`](Self::update_key) and
    /// [`close_notify`](Self::close_notify) for the usual ones.
    ///
    /// # Errors
    /// [`Error::RecordSize`] when it is longer than the peer takes; else as
    /// [`send_vectored`](Self::send_vectored).
    pub fn send_record(
        &mut self,
        content_type: ContentType,
        content: &[u8],
        wait: Wait,
    ) -> Result<usize, Error> {
        self.ready(wait)?;
        let result = self.record(content_type, content, wait);
        self.latch(result)
    }

    /// Tells the peer that the key changes (RFC 8446, section 4.6.3), and changes it; `request` asks the
    /// peer for the same. Linux NVMe peers end the connection at a KeyUpdate.
    ///
    /// # Errors
    /// [`Error::RekeyUnsupported`], before anything is sent, where the kernel seals and cannot change a
    /// key; [`Error::NoNextKey`] in TLS 1.2 and where no secret was given: all then goes on under the old one;
    /// else as [`send_vectored`](Self::send_vectored).
    pub fn update_key(&mut self, request: bool, wait: Wait) -> Result<(), Error> {
        self.ready(wait)?;
        self.check_rekey()?;
        let result = self.send_key_update(request, wait);
        self.latch(result)
    }

    /// Sends close_notify, after all that was accepted before, and says whether it has gone: with
    /// [`Wait::Now`] that may be `false`, and the call is repeated when the descriptor is writable.
    /// Nothing else can be sent after the first call that got it sealed; receiving goes on.
    ///
    /// # Errors
    /// [`Error::Io`]; any but a retryable one ends this half.
    pub fn close_notify(&mut self, wait: Wait) -> Result<bool, Error> {
        self.check_failed()?;
        if self.closing == Closing::Sent {
            return Ok(true);
        }
        if self.closing == Closing::Open {
            match self.record(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes(), wait) {
                Ok(_) => self.closing = Closing::Sealed,
                Err(error) if error.is_would_block() && wait == Wait::Now => return Ok(false),
                Err(error) => return self.latch(Err(error)),
            }
        }
        let result = self.write_out(wait);
        let gone = self.latch(result)? && (wait == Wait::Block || self.kernel_has_room()?);
        if gone {
            self.closing = Closing::Sent;
        }
        Ok(gone)
    }

    /// What the receiving half has left to do to this one, if anything: answers the peer's KeyUpdate, or sends
    /// the alert for what the peer did. Otherwise it is done before the next data; an alert also when this half is
    /// dropped.
    ///
    /// # Errors
    /// As [`send_vectored`](Self::send_vectored).
    pub fn settle(&mut self, wait: Wait) -> Result<(), Error> {
        self.ready(wait)
    }

    /// Who seals.
    pub fn sealed_by(&self) -> SealedBy {
        self.sealed_by
    }

    /// How far the present key has been used.
    pub fn budget(&self) -> Budget {
        self.sealing.meter().budget()
    }

    /// Whether [`take_event`](Self::take_event) has something to give: cheap enough for a look after each call.
    #[inline]
    pub fn has_event(&self) -> bool {
        self.sealing.meter().has_event()
    }

    /// What happened since the last call.
    pub fn take_event(&mut self) -> Option<Event> {
        self.sealing.meter_mut().take_event()
    }

    /// The TCP socket, for addresses and options. Writing to it breaks the connection.
    pub fn tcp(&self) -> &TcpStream {
        self.shared.tcp()
    }

    /// Refuses where nothing can be sent any more, and does what the receiving half has left to do.
    #[inline]
    pub(super) fn ready(&mut self, wait: Wait) -> Result<(), Error> {
        if self.goes_on() { Ok(()) } else { self.settle_first(wait) }
    }

    /// Whether nothing has ended this half, and nothing is to be sent before data.
    #[inline]
    fn goes_on(&self) -> bool {
        self.failed.is_none() && self.closing == Closing::Open && !self.shared.has_notices()
    }

    #[cold]
    fn settle_first(&mut self, wait: Wait) -> Result<(), Error> {
        self.check_failed()?;
        if self.closing != Closing::Open {
            return Err(Error::SendClosed);
        }
        if let Some(alert) = self.shared.received_alert() {
            return self.latch(Err(Error::Alert(alert)));
        }
        if let Some(alert) = self.shared.alert_owed() {
            // A record that the kernel could not open is an error of the whole socket, until it is asked
            // for: so it is asked for, else the alert could not be sent.
            let _ = self.shared.tcp().take_error();
            // If it cannot be sent now, the peer learns of the end by the FIN.
            let _ = self.record(ContentType::Alert, &alert.to_bytes(), Wait::Now);
            let _ = self.write_out(Wait::Now);
            return self.latch(Err(Error::PeerAtFault(alert)));
        }
        if self.shared.is_key_update_owed() {
            // It stays owed, so no data goes; close_notify does.
            self.check_rekey()?;
            self.shared.key_update_paid();
            let result = self.send_key_update(false, wait);
            if result.is_err() {
                self.shared.owe_key_update();
            }
            return self.latch(result);
        }
        Ok(())
    }

    /// Refuses where the kernel is known not to change keys: nothing was sent, so nothing has ended.
    fn check_rekey(&self) -> Result<(), Error> {
        self.sealing.check_rekey()
    }

    fn send_key_update(&mut self, request: bool, wait: Wait) -> Result<(), Error> {
        let message = key_update_message(request);
        if let Sealing::Kernel(kernel) = &mut self.sealing {
            return kernel.update_key(self.shared.fd(), &message, wait);
        }
        self.seal_record(ContentType::Handshake, &message, wait)?;
        if let Sealing::Process(sealer) = &mut self.sealing {
            sealer.rekey()?;
        }
        self.send_sealed(wait)
    }

    fn record(&mut self, content_type: ContentType, content: &[u8], wait: Wait) -> Result<usize, Error> {
        let accepted = self.seal_record(content_type, content, wait)?;
        self.send_sealed(wait)?;
        Ok(accepted)
    }

    /// Seals one record, or in the kernel's layer sends it.
    fn seal_record(&mut self, content_type: ContentType, content: &[u8], wait: Wait) -> Result<usize, Error> {
        loop {
            match &mut self.sealing {
                Sealing::Kernel(kernel) => {
                    match kernel.send_record(self.shared.fd(), content_type, content, wait) {
                        Err(error) if self.is_receivers(&error) => continue,
                        result => return result,
                    }
                }
                Sealing::Process(sealer) => {
                    if sealer.seal_record(content_type, content)? {
                        return Ok(content.len());
                    }
                }
            }
            if !self.write_out(wait)? {
                return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
            }
        }
    }

    /// Sends what is sealed as far as it goes: what stays is pending, which is no error.
    fn send_sealed(&mut self, wait: Wait) -> Result<(), Error> {
        match self.write_out(wait) {
            Err(error) if !error.is_retryable() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn write_out(&mut self, wait: Wait) -> Result<bool, Error> {
        Ok(self.sealing.write_out(self.shared.fd(), wait)?)
    }

    /// Whether the error is one of the receiving direction, which the kernel gave to this half because it
    /// called first: then that one is left to know, and the call is worth repeating.
    pub(super) fn is_receivers(&self, error: &Error) -> bool {
        let (Sealing::Kernel(_), Error::Io(error)) = (&self.sealing, error) else { return false };
        match (kernel::bad_header(error), error.raw_os_error()) {
            (Some(bad), Some(errno)) => {
                self.shared.receive_failed(errno, bad.alert());
                // It stands in SO_ERROR, and in the way, until it is asked for.
                matches!(self.shared.tcp().take_error(), Ok(Some(_)))
            }
            _ => false,
        }
    }

    /// Whether all that the kernel has sealed is, or at once can be, in TCP's own queue. It also takes a record
    /// of which that queue has room for a part only; what of it is left when the descriptor is closed is lost
    /// if there is no room for it then.
    fn kernel_has_room(&self) -> io::Result<bool> {
        match &self.sealing {
            Sealing::Process(_) => Ok(true),
            Sealing::Kernel(_) => sys::msg::is_ready(self.shared.fd(), libc::POLLOUT),
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn check_failed(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.again()))
    }

    pub(super) fn latch<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            if !error.is_passing() {
                self.failed = Some(error.again());
            }
        }
        result
    }
}

/// A peer that broke the protocol is told, as far as that needs no waiting, whoever sends nothing more himself.
impl Drop for SendHalf {
    fn drop(&mut self) {
        if self.shared.alert_owed().is_some() {
            let _ = self.settle(Wait::Now);
        }
    }
}

impl AsFd for SendHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd()
    }
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf")
            .field("tcp", self.shared.tcp())
            .field("sealed_by", &self.sealed_by)
            .field("closing", &self.closing)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
