//! A direction whose records the kernel opens.

use std::io::{self, IoSliceMut};
use std::os::fd::BorrowedFd;

use super::{Key, bad_header};
use crate::cipher::Version;
use crate::error::Error;
use crate::event::Flow;
use crate::handshake::MAX_FRAGMENT_LEN;
use crate::keys::DirectionKey;
use crate::probe::probe;
use crate::record::budget::Meter;
use crate::record::{BadRecord, ContentType, MAX_IDLE_RECORDS};
use crate::socket::Wait;
use crate::sys;
use crate::sys::msg::Received;

/// What one call to the kernel gave.
pub(crate) enum Got {
    /// So many bytes of application data, in the caller's buffers.
    Data(usize),
    /// A whole alert or handshake record, in [`Receiver::control`].
    Control(ContentType),
    /// The peer's FIN.
    End,
}

/// A direction whose records the kernel opens.
pub(crate) struct Receiver {
    key: Key,
    /// The content of the control record that came last, or is coming.
    control: Vec<u8>,
    /// The type of a control record of which more is to come.
    unfinished: Option<ContentType>,
    idle: u32,
    /// This end has announced that it takes no longer records.
    limit: Option<Allowance>,
    /// Neither `unfinished` nor `limit` is there: one look for each call.
    straight: bool,
}

/// What the peer may still send of the records begun, where this end takes only short ones (RFC 8449). The kernel
/// takes records of any length and joins them, so that only their number tells.
struct Allowance {
    fragment: usize,
    records: u64,
    bytes: usize,
}

impl Allowance {
    /// Takes note of `len` more bytes, after which the kernel has opened `records`.
    fn take(&mut self, len: usize, records: u64) -> Result<(), Error> {
        let begun = usize::try_from(records.saturating_sub(self.records)).unwrap_or(usize::MAX);
        let may = self.bytes.saturating_add(begun.saturating_mul(self.fragment));
        let Some(left) = may.checked_sub(len) else {
            return Err(BadRecord::TooLong { len, max: self.fragment }.into());
        };
        self.records = records;
        // Of all but the last record nothing can be left.
        self.bytes = left.min(self.fragment - 1);
        Ok(())
    }
}

impl Receiver {
    /// Installs the key. `max_fragment` is the most plaintext that this end takes in a record, in bytes; `no_pad`
    /// expects the peer not to pad its records. No step after the key can fail.
    pub(crate) fn install(
        fd: BorrowedFd<'_>,
        key: DirectionKey,
        max_fragment: usize,
        no_pad: bool,
        meter: Meter,
    ) -> io::Result<Self> {
        let key = Key::install(fd, Flow::Receive, key, meter)?;
        if no_pad && key.key.cipher().version() == Version::Tls13 {
            // An older kernel does without: it then opens records into memory of its own and copies.
            let _ = sys::tls::expect_no_pad(fd);
        }
        let limit = (max_fragment < MAX_FRAGMENT_LEN).then(|| Allowance {
            fragment: max_fragment.max(1),
            records: key.key.sequence(),
            bytes: 0,
        });
        let straight = limit.is_none();
        Ok(Self { key, control: Vec::new(), unfinished: None, idle: 0, limit, straight })
    }

    #[inline]
    pub(crate) fn meter(&self) -> &Meter {
        &self.key.meter
    }

    pub(crate) fn meter_mut(&mut self) -> &mut Meter {
        &mut self.key.meter
    }

    /// The content of the control record that [`Got::Control`] announced.
    pub(crate) fn control(&self) -> &[u8] {
        &self.control
    }

    /// Changes to the peer's next key, after its KeyUpdate.
    pub(crate) fn replace_key(&mut self, fd: BorrowedFd<'_>) -> Result<(), Error> {
        self.key.replace(fd)?;
        if let Some(limit) = &mut self.limit {
            (limit.records, limit.bytes) = (self.key.key.sequence(), 0);
        }
        Ok(())
    }

    /// The record that came last ends in the middle of a KeyUpdate, so that the rest of it still comes under
    /// the present key. Kernels that can change a key refuse to open anything from its first byte on.
    pub(crate) fn await_rest_of_key_update(&self, fd: BorrowedFd<'_>) -> Result<(), Error> {
        if probe().rekey {
            sys::tls::reinstall_key(fd, Flow::Receive, self.key.key.cipher())?;
        }
        Ok(())
    }

    /// Whether the next call can be [`sys::msg::receive_data`], with [`note_data`](Self::note_data) after it: what it
    /// brings comes to no mark, is not too long, nor the rest of a control record.
    #[inline]
    pub(crate) fn is_straight(&self) -> bool {
        self.straight && self.key.is_far(0)
    }

    /// Notes a call that brought `len` bytes of data.
    #[inline]
    pub(crate) fn note_data(&mut self, len: usize) {
        self.note(len);
        self.idle = 0;
    }

    /// Receives application data into `bufs`, or a control record.
    pub(crate) fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        bufs: &mut [IoSliceMut<'_>],
        wait: Wait,
    ) -> Result<Got, Error> {
        loop {
            self.key.check(fd)?;
            if let Some(content_type) = self.unfinished {
                return self.finish_control(fd, content_type, wait);
            }
            let got = match &self.limit {
                None => sys::msg::receive(fd, bufs, wait),
                // A call for one record and a byte more, so that a longer one shows.
                Some(limit) => {
                    let Some(buf) = bufs.iter_mut().find(|buf| !buf.is_empty()) else {
                        return Ok(Got::Data(0));
                    };
                    let most = buf.len().min(limit.fragment + 1);
                    let part = IoSliceMut::new(buf.get_mut(..most).unwrap_or_default());
                    sys::msg::receive(fd, &mut [part], wait)
                }
            };
            if let Some(got) = self.take(fd, got, bufs)? {
                return Ok(got);
            }
        }
    }

    /// Notes a call that brought `len` bytes: each may have been a record, and empty ones leave no trace but the call
    /// itself.
    #[inline]
    fn note(&mut self, len: usize) {
        self.key.note(len as u64 + u64::from(MAX_IDLE_RECORDS));
    }

    /// Deals with what a call has brought; `None` where that is neither data nor a whole control record.
    pub(crate) fn take(
        &mut self,
        fd: BorrowedFd<'_>,
        got: io::Result<Received>,
        bufs: &[IoSliceMut<'_>],
    ) -> Result<Option<Got>, Error> {
        let got = got.map_err(|error| self.explain(error))?;
        self.note(got.len);
        if got.is_cut() {
            return Err(BadRecord::Cut.into());
        }
        let Some(byte) = got.record_type else {
            return if got.len == 0 { Ok(Some(Got::End)) } else { Err(BadRecord::Cut.into()) };
        };
        match ContentType::from_byte(byte) {
            Some(ContentType::ApplicationData) if got.len > 0 => {
                self.idle = 0;
                if let Some(limit) = &mut self.limit {
                    let cipher = self.key.key.cipher();
                    limit.take(got.len, sys::tls::record_sequence(fd, Flow::Receive, cipher)?)?;
                }
                return Ok(Some(Got::Data(got.len)));
            }
            Some(ContentType::ApplicationData) => self.idle(1)?,
            Some(content_type) if got.len == 0 => return Err(BadRecord::Empty { content_type }.into()),
            Some(content_type) => {
                self.idle(1)?;
                self.control.clear();
                let mut left = got.len;
                for buf in bufs {
                    let part = buf.get(..left.min(buf.len())).unwrap_or_default();
                    self.control.extend_from_slice(part);
                    left -= part.len();
                }
                if got.ends_record() {
                    return Ok(Some(Got::Control(content_type)));
                }
                (self.unfinished, self.straight) = (Some(content_type), false);
            }
            None => return Err(BadRecord::InnerType { got: byte }.into()),
        }
        Ok(None)
    }

    /// Moves application data into a pipe without a copy. `None` where something else is next, for which
    /// [`receive`](Self::receive) is the call.
    pub(crate) fn splice(
        &mut self,
        fd: BorrowedFd<'_>,
        pipe: BorrowedFd<'_>,
        len: usize,
        wait: Wait,
    ) -> Result<Option<usize>, Error> {
        self.key.check(fd)?;
        if self.unfinished.is_some() || self.limit.is_some() {
            return Ok(None);
        }
        match sys::splice::splice(fd, pipe, len, false, wait) {
            // An empty record, or the end.
            Ok(0) => Ok(None),
            Ok(n) => {
                self.key.note(n as u64);
                self.idle = 0;
                Ok(Some(n))
            }
            // A control record; a header that is wrong comes again.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Takes the rest of a control record that was longer than the caller's buffers.
    fn finish_control(
        &mut self,
        fd: BorrowedFd<'_>,
        content_type: ContentType,
        wait: Wait,
    ) -> Result<Got, Error> {
        loop {
            let mut rest = [0; 1024];
            let got = sys::msg::receive(fd, &mut [IoSliceMut::new(&mut rest)], wait)
                .map_err(|error| self.explain(error))?;
            let part = rest.get(..got.len).unwrap_or_default();
            let same = got.record_type == Some(content_type.to_byte());
            if got.is_cut() || !same || self.control.len() + part.len() > MAX_FRAGMENT_LEN {
                return Err(BadRecord::Cut.into());
            }
            self.control.extend_from_slice(part);
            if got.ends_record() {
                (self.unfinished, self.straight) = (None, self.limit.is_none());
                return Ok(Got::Control(content_type));
            }
        }
    }

    fn idle(&mut self, records: u32) -> Result<(), Error> {
        self.idle += records;
        if self.idle > MAX_IDLE_RECORDS { Err(BadRecord::TooManyIdle.into()) } else { Ok(()) }
    }

    /// What net/tls means by its error numbers.
    pub(crate) fn explain(&self, error: io::Error) -> Error {
        match error.raw_os_error() {
            Some(libc::EBADMSG) => BadRecord::NotAuthentic { sequence: self.key.meter.budget().used }.into(),
            Some(libc::EIO) => BadRecord::Cut.into(),
            // The kernel waits for a key that it was not given: the KeyUpdate was not the first message
            // of its record, or the key was refused.
            Some(libc::EKEYEXPIRED) => Error::RekeyUnsupported { direction: Flow::Receive },
            _ => match bad_header(&error) {
                Some(bad) => bad.into(),
                None => Error::Io(error),
            },
        }
    }
}
