//! Records sealed and opened by the kernel.
//!
//! Each direction stands by itself. The kernel counts the records; it is asked when the key could have
//! come to its alarm or its limit since the last time, never at each call.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

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

/// The key of one direction, in the kernel.
struct Key {
    direction: Flow,
    key: DirectionKey,
    meter: Meter,
    /// Records that may have gone since `meter` was last right: never fewer than did.
    since: u64,
}

impl Key {
    fn install(fd: BorrowedFd<'_>, direction: Flow, key: DirectionKey, mut meter: Meter) -> io::Result<Self> {
        sys::tls::install_key(fd, direction, &key)?;
        meter.set(key.sequence());
        Ok(Self { direction, key, meter, since: 0 })
    }

    /// Notes that a call dealt with at most `records`.
    fn note(&mut self, records: u64) {
        self.since = self.since.saturating_add(records);
    }

    /// Asks the kernel for the count where it may have come to a mark, and refuses at the limit; else
    /// gives the number of records that are left.
    fn check(&mut self, fd: BorrowedFd<'_>) -> Result<u64, Error> {
        let used = self.meter.budget().used;
        if self.since > 0 && used.saturating_add(self.since) >= self.meter.next_mark() {
            let used = sys::tls::record_sequence(fd, self.direction, self.key.cipher())?;
            self.meter.set(used);
            self.since = 0;
        }
        self.meter.check()?;
        let budget = self.meter.budget();
        Ok(budget.limit.saturating_sub(budget.used.saturating_add(self.since)).max(1))
    }

    /// Gives the kernel the next key (Linux 6.14; older ones answer EBUSY).
    fn replace(&mut self, fd: BorrowedFd<'_>) -> Result<(), Error> {
        let mut next = self.key.next(self.direction)?;
        sys::tls::install_key(fd, self.direction, &next)
            .map_err(|_| Error::RekeyUnsupported { direction: self.direction })?;
        next.wipe();
        self.meter.reset();
        self.meter.set(next.sequence());
        self.key = next;
        self.since = 0;
        Ok(())
    }
}

/// A direction whose records the kernel seals.
pub(crate) struct Sender {
    key: Key,
    fragment: usize,
    /// The most bytes in one call: no bound where the kernel itself keeps to `fragment`.
    call: usize,
}

impl Sender {
    /// Installs the key. `max_fragment` is the most plaintext that the peer takes in a record, in bytes.
    /// No step after the key can fail.
    pub(crate) fn install(
        fd: BorrowedFd<'_>,
        key: DirectionKey,
        max_fragment: usize,
        meter: Meter,
    ) -> io::Result<Self> {
        let fragment = max_fragment.clamp(1, MAX_FRAGMENT_LEN);
        let key = Key::install(fd, Flow::Send, key, meter)?;
        let kept = fragment == MAX_FRAGMENT_LEN
            || u16::try_from(fragment).is_ok_and(|bytes| sys::tls::max_payload(fd, bytes).is_ok());
        Ok(Self { key, fragment, call: if kept { usize::MAX } else { fragment } })
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.key.meter
    }

    pub(crate) fn meter_mut(&mut self) -> &mut Meter {
        &mut self.key.meter
    }

    /// Refuses where there is no next key.
    pub(crate) fn check_next_key(&self) -> Result<(), Error> {
        self.key.key.check_next(Flow::Send)
    }

    fn records(&self, bytes: usize) -> u64 {
        bytes.div_ceil(self.fragment) as u64
    }

    /// The most bytes that the next call may send.
    fn most(&mut self, fd: BorrowedFd<'_>) -> Result<usize, Error> {
        let left = usize::try_from(self.key.check(fd)?).unwrap_or(usize::MAX);
        Ok(self.call.min(left.saturating_mul(self.fragment)))
    }

    /// Sends application data. A call closes its last record.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        bufs: &[IoSlice<'_>],
        wait: Wait,
    ) -> Result<usize, Error> {
        let most = self.most(fd)?;
        let total = bufs.iter().fold(0_usize, |sum, buf| sum.saturating_add(buf.len()));
        let sent = if total <= most {
            sys::msg::send(fd, bufs, None, wait)?
        } else {
            // Rare: the peer wants small records that this kernel cannot be told of, or the key is near
            // its limit. Then one slice is enough for one call.
            let Some(first) = bufs.iter().find(|buf| !buf.is_empty()) else { return Ok(0) };
            sys::msg::send(fd, &[IoSlice::new(&first[..first.len().min(most)])], None, wait)?
        };
        let records = self.records(sent);
        self.key.note(records);
        Ok(sent)
    }

    /// Sends from a file without a copy; waits as the descriptor is set. 0 is the end of the file.
    pub(crate) fn send_file(
        &mut self,
        fd: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Result<usize, Error> {
        let len = self.most(fd)?.min(len);
        let sent = sys::msg::send_file(fd, file, offset, len)?;
        // The pages of a file may be spread over records that are not full.
        let pages = sent.div_ceil(4096) as u64 + 1;
        self.key.note(pages);
        Ok(sent)
    }

    /// Sends `content` as one record of its own, and gives how much of it: all, but for a long one that the
    /// send buffer has no room for. Alerts and handshake messages go beyond the limit too.
    pub(crate) fn send_record(
        &mut self,
        fd: BorrowedFd<'_>,
        content_type: ContentType,
        content: &[u8],
        wait: Wait,
    ) -> Result<usize, Error> {
        if content_type == ContentType::ApplicationData {
            self.key.check(fd)?;
        }
        if content.len() > self.fragment {
            return Err(Error::RecordSize { len: content.len(), max: self.fragment });
        }
        let sent = sys::msg::send(fd, &[IoSlice::new(content)], Some(content_type.to_byte()), wait)?;
        self.key.note(1);
        Ok(sent)
    }

    /// Sends `message`, a KeyUpdate, and changes to the next key, which the kernel must be able to.
    pub(crate) fn update_key(&mut self, fd: BorrowedFd<'_>, message: &[u8], wait: Wait) -> Result<(), Error> {
        self.send_record(fd, ContentType::Handshake, message, wait)?;
        self.key.replace(fd)
    }
}

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
}

impl Receiver {
    /// Installs the key. No step after the key can fail.
    pub(crate) fn install(fd: BorrowedFd<'_>, key: DirectionKey, meter: Meter) -> io::Result<Self> {
        let key = Key::install(fd, Flow::Receive, key, meter)?;
        if key.key.cipher().version() == Version::Tls13 {
            // An older kernel does without: it then opens records into memory of its own and copies.
            let _ = sys::tls::expect_no_pad(fd);
        }
        Ok(Self { key, control: Vec::new(), unfinished: None, idle: 0 })
    }

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
        self.key.replace(fd)
    }

    /// The record that came last ends in the middle of a KeyUpdate, so that the rest of it still comes under
    /// the present key. Kernels that can change a key refuse to open anything from its first byte on.
    pub(crate) fn await_rest_of_key_update(&self, fd: BorrowedFd<'_>) -> Result<(), Error> {
        if probe().rekey {
            sys::tls::reinstall_key(fd, Flow::Receive, self.key.key.cipher())?;
        }
        Ok(())
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
            let got = sys::msg::receive(fd, bufs, wait).map_err(|error| self.explain(error))?;
            // Each byte may have been a record, and empty ones leave no trace but the call itself.
            self.key.note(got.len as u64 + u64::from(MAX_IDLE_RECORDS));
            if got.cut {
                return Err(BadRecord::Cut.into());
            }
            let Some(byte) = got.record_type else {
                return if got.len == 0 { Ok(Got::End) } else { Err(BadRecord::Cut.into()) };
            };
            match ContentType::from_byte(byte) {
                Some(ContentType::ApplicationData) if got.len > 0 => {
                    self.idle = 0;
                    return Ok(Got::Data(got.len));
                }
                Some(ContentType::ApplicationData) => self.idle(1)?,
                Some(content_type) if got.len == 0 => return Err(BadRecord::Empty { content_type }.into()),
                Some(content_type) => {
                    self.idle(1)?;
                    self.control.clear();
                    let mut left = got.len;
                    for buf in bufs.iter() {
                        let part = buf.get(..left.min(buf.len())).unwrap_or_default();
                        self.control.extend_from_slice(part);
                        left -= part.len();
                    }
                    self.unfinished = Some(content_type);
                    if got.end_of_record {
                        self.unfinished = None;
                        return Ok(Got::Control(content_type));
                    }
                }
                None => return Err(BadRecord::InnerType { got: byte }.into()),
            }
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
            if got.cut || !same || self.control.len() + part.len() > MAX_FRAGMENT_LEN {
                return Err(BadRecord::Cut.into());
            }
            self.control.extend_from_slice(part);
            if got.end_of_record {
                self.unfinished = None;
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

/// What is wrong with a header that net/tls refuses. It looks at headers as they arrive, and gives the error
/// to whoever calls first, also to send.
pub(crate) fn bad_header(error: &io::Error) -> Option<BadRecord> {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => Some(BadRecord::TooLong { len: 0, max: MAX_FRAGMENT_LEN }),
        Some(libc::EINVAL) => Some(BadRecord::Header),
        _ => None,
    }
}
