//! The receiving half of a connection.

mod kernel_opens;
mod process_opens;

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::cipher::Version;
use crate::error::Error;
use crate::event::Event;
use crate::keys::SharedSchedule;
use crate::record::ContentType;
use crate::record::budget::{Budget, Meter};
use crate::record::kernel;
use crate::record::process::Opener;
use crate::socket::control::{Control, Effect};
use crate::socket::shared::Shared;
use crate::socket::{SealedBy, Wait};
use crate::sys;
use crate::sys::msg::Received;

/// The size of the buffer behind [`RecvHalf::fill_buf`] where the kernel opens, in bytes.
const KERNEL_BUFFER: usize = 64 * 1024;

/// Who opens.
pub(super) enum Opening {
    Process(Box<Opener>),
    Kernel(Box<kernel::Receiver>),
}

/// The receiving half of a [`Socket`](crate::Socket): one thread owns it.
pub struct RecvHalf {
    pub(super) shared: Arc<Shared>,
    pub(super) opening: Opening,
    sealed_by: SealedBy,
    control: Control,
    /// The peer's close_notify has come.
    closed: bool,
    failed: Option<Error>,
    event: Option<Event>,
    /// Behind `fill_buf` where the kernel opens: made at its first call.
    buffer: Vec<u8>,
    buffered: Range<usize>,
}

impl RecvHalf {
    pub(super) fn new(
        shared: Arc<Shared>,
        opening: Opening,
        version: Version,
        schedule: Option<SharedSchedule>,
        sealed_by: SealedBy,
    ) -> Self {
        Self {
            shared,
            opening,
            sealed_by,
            control: Control::new(version, schedule),
            closed: false,
            failed: None,
            event: None,
            buffer: Vec::new(),
            buffered: 0..0,
        }
    }

    /// Receives application data and gives its length: 0 only after the peer's close_notify (or for
    /// empty `bufs`). One call may bring many records. Where the kernel opens, they go straight into
    /// `bufs`; where this process does, those of 4 KiB and more that find room in the first of `bufs`, and others are
    /// copied once. What lies in `bufs` behind that length may have changed.
    ///
    /// # Errors
    /// [`Error::Io`] of the kind `WouldBlock` when there is nothing yet; [`Error::Truncated`] when the
    /// stream ends without close_notify; others end this half. Data that came before an error is given
    /// first.
    // Inlined with what it calls, as far as nothing is in the way: a command of 4 KiB notices the frame.
    #[inline]
    pub fn recv_vectored(&mut self, bufs: &mut [IoSliceMut<'_>], wait: Wait) -> Result<usize, Error> {
        let has_room = bufs.first().is_some_and(|buf| !buf.is_empty());
        let goes_on = self.goes_on();
        if let (true, true, Opening::Kernel(kernel)) = (has_room, goes_on, &mut self.opening) {
            if kernel.is_straight() {
                // Nothing stands between the kernel and the caller.
                return match sys::msg::receive_data(self.shared.fd(), bufs, wait) {
                    Ok(len) => {
                        kernel.note_data(len);
                        Ok(len)
                    }
                    Err(other) => self.recv_other(other, bufs, wait),
                };
            }
        }
        self.recv_after_all(bufs, wait)
    }

    /// The same where something else than data has come.
    #[cold]
    fn recv_other(
        &mut self,
        came: io::Result<Received>,
        bufs: &mut [IoSliceMut<'_>],
        wait: Wait,
    ) -> Result<usize, Error> {
        let followed = self.follow_received(came, bufs);
        match self.latch(followed)? {
            Some(n) => Ok(n),
            None => self.recv_after_all(bufs, wait),
        }
    }

    /// Whether nothing is here already, has ended this half, or stands before data.
    #[inline]
    fn goes_on(&self) -> bool {
        self.buffered.is_empty() && !self.control.is_partial() && !self.closed && self.failed.is_none()
    }

    /// The same where something is here already, has ended this half, or came instead of data; or the first buffer is
    /// empty.
    #[inline(never)]
    fn recv_after_all(&mut self, bufs: &mut [IoSliceMut<'_>], wait: Wait) -> Result<usize, Error> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        if let (Opening::Kernel(_), true) = (&self.opening, self.buffered.is_empty()) {
            return self.receive_by_kernel(bufs, wait);
        }
        self.copy_data(bufs, wait)
    }

    fn copy_data(&mut self, bufs: &mut [IoSliceMut<'_>], wait: Wait) -> Result<usize, Error> {
        let mut copied = 0;
        for buf in bufs {
            let mut at = 0;
            while at < buf.len() {
                // Only the first byte is worth waiting, or even a system call.
                let wait = (copied == 0).then_some(wait);
                let rest = buf.get_mut(at..).unwrap_or_default();
                let n = match self.open_data(wait, Some(&mut *rest)) {
                    Ok(0) => {
                        let part = self.buffered();
                        let n = part.len().min(rest.len());
                        rest[..n].copy_from_slice(&part[..n]);
                        self.consume(n);
                        n
                    }
                    Ok(placed) => placed,
                    Err(_) if copied > 0 => return Ok(copied),
                    Err(error) => return Err(error),
                };
                if n == 0 {
                    return Ok(copied);
                }
                at += n;
                copied += n;
            }
        }
        Ok(copied)
    }

    /// Gives application data in place, and receives some first if there is none: empty only after the
    /// peer's close_notify. Where this process opens, it is the rest of one record and not copied; where
    /// the kernel does, it is in a buffer of this half.
    ///
    /// # Errors
    /// As [`recv_vectored`](Self::recv_vectored).
    pub fn fill_buf(&mut self, wait: Wait) -> Result<&[u8], Error> {
        self.data(Some(wait))
    }

    /// The application data that [`fill_buf`](Self::fill_buf) would give without receiving any.
    pub fn buffered(&self) -> &[u8] {
        match &self.opening {
            Opening::Process(opener) => opener.plaintext(),
            Opening::Kernel(_) => self.buffer.get(self.buffered.clone()).unwrap_or_default(),
        }
    }

    /// Takes `n` bytes off what [`fill_buf`](Self::fill_buf) gives.
    pub fn consume(&mut self, n: usize) {
        match &mut self.opening {
            Opening::Process(opener) => opener.consume(n),
            Opening::Kernel(_) => self.buffered.start = self.buffered.end.min(self.buffered.start + n),
        }
    }

    /// Whether this process opens the records, so that [`fill_buf`](Self::fill_buf) is the door without
    /// a copy.
    #[inline]
    pub fn opens_in_process(&self) -> bool {
        matches!(self.opening, Opening::Process(_))
    }

    /// Whether this half has something for the next call that the descriptor does not show: poll(2) only
    /// after this has said no.
    #[inline]
    pub fn has_buffered(&self) -> bool {
        match &self.opening {
            Opening::Process(opener) => !opener.plaintext().is_empty() || opener.has_record(),
            Opening::Kernel(_) => !self.buffered.is_empty(),
        }
    }

    /// Gives back the memory of buffers that hold nothing, and says whether they did: for a connection that
    /// will be idle. The next call that needs one makes it again.
    pub fn release_buffers(&mut self) -> bool {
        match &mut self.opening {
            Opening::Process(opener) => opener.release(),
            Opening::Kernel(_) => {
                let unused = self.buffered.is_empty();
                if unused {
                    (self.buffer, self.buffered) = (Vec::new(), 0..0);
                }
                unused
            }
        }
    }

    /// Whether the peer's close_notify has come.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Who opens.
    pub fn sealed_by(&self) -> SealedBy {
        self.sealed_by
    }

    /// How far the present key has been used.
    pub fn budget(&self) -> Budget {
        match &self.opening {
            Opening::Process(opener) => opener.meter().budget(),
            Opening::Kernel(kernel) => kernel.meter().budget(),
        }
    }

    /// Whether [`take_event`](Self::take_event) has something to give: cheap enough for a look after each call.
    #[inline]
    pub fn has_event(&self) -> bool {
        let meter = match &self.opening {
            Opening::Process(opener) => opener.meter(),
            Opening::Kernel(kernel) => kernel.meter(),
        };
        self.event.is_some() || meter.has_event()
    }

    /// What happened since the last call.
    pub fn take_event(&mut self) -> Option<Event> {
        let meter: &mut Meter = match &mut self.opening {
            Opening::Process(opener) => opener.meter_mut(),
            Opening::Kernel(kernel) => kernel.meter_mut(),
        };
        meter.take_event().or_else(|| self.event.take())
    }

    /// The TCP socket, for addresses and options. Reading from it breaks the connection.
    pub fn tcp(&self) -> &TcpStream {
        self.shared.tcp()
    }

    /// The data at hand; if there is none, and `wait` allows it, what comes.
    fn data(&mut self, wait: Option<Wait>) -> Result<&[u8], Error> {
        match self.opening {
            Opening::Process(_) => {
                self.open_data(wait, None)?;
            }
            Opening::Kernel(_) => {
                if let (true, Some(wait)) = (self.buffered.is_empty(), wait) {
                    let mut buffer = std::mem::take(&mut self.buffer);
                    buffer.resize(KERNEL_BUFFER, 0);
                    let result = self.receive_by_kernel(&mut [IoSliceMut::new(&mut buffer)], wait);
                    self.buffer = buffer;
                    self.buffered = 0..result?;
                }
            }
        }
        Ok(self.buffered())
    }

    /// Refuses where this half has failed.
    pub(super) fn check_failed(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.again()))
    }

    /// Refuses data between the parts of a handshake message.
    pub(super) fn control_check_data(&self) -> Result<(), Error> {
        self.control.check_between(ContentType::ApplicationData)
    }

    /// Keeps data that came where none was asked for.
    pub(super) fn put_buffered(&mut self, data: &[u8]) {
        self.buffer.clear();
        self.buffer.extend_from_slice(data);
        self.buffered = 0..data.len();
    }

    fn follow(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::None => Ok(()),
            Effect::Closed => {
                self.closed = true;
                self.shared.close_received();
                Ok(())
            }
            Effect::KeyUpdate { requested } => {
                self.event = Some(Event::PeerUpdatedKey);
                if requested {
                    self.shared.owe_key_update();
                }
                Ok(())
            }
        }
    }

    pub(super) fn latch<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            if !error.is_passing() {
                self.failed = Some(error.again());
                if let Error::Alert(alert) = error {
                    self.shared.alert_received(*alert);
                }
                if let Some(alert) = error.alert_for_peer() {
                    self.shared.owe_alert(alert);
                }
            }
        }
        result
    }
}

impl AsFd for RecvHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd()
    }
}

impl fmt::Debug for RecvHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvHalf")
            .field("tcp", self.shared.tcp())
            .field("sealed_by", &self.sealed_by)
            .field("closed", &self.closed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
