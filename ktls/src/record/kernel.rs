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
    /// The kernel itself keeps to `fragment`. Where it does not, no call sends more than one record.
    kept: bool,
    /// More may come to the kernel's last record.
    open: bool,
    /// How much of that record there is, where the kernel does not keep to `fragment`, in bytes.
    open_len: usize,
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
        Ok(Self { key, fragment, kept, open: false, open_len: 0 })
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
        let call = if self.kept { usize::MAX } else { self.fragment - self.open_len };
        Ok(call.min(left.saturating_mul(self.fragment)))
    }

    /// Sends application data. A call closes its last record, unless `more` is to come to it.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        bufs: &[IoSlice<'_>],
        more: bool,
        wait: Wait,
    ) -> Result<usize, Error> {
        let most = self.most(fd)?;
        let total = bufs.iter().fold(0_usize, |sum, buf| sum.saturating_add(buf.len()));
        let sent = if total <= most {
            let more = more && (self.kept || total < most);
            let sent = sys::msg::send_data(fd, bufs, more, wait)?;
            self.sent(sent, more);
            sent
        } else {
            // Rare: the peer wants small records that this kernel cannot be told of, or the key is near
            // its limit. Then one slice is enough for one call.
            let Some(first) = bufs.iter().find(|buf| !buf.is_empty()) else { return Ok(0) };
            let part = first.get(..first.len().min(most)).unwrap_or_default();
            let more = more && part.len() < most;
            let sent = sys::msg::send_data(fd, &[IoSlice::new(part)], more, wait)?;
            self.sent(sent, more);
            sent
        };
        Ok(sent)
    }

    fn sent(&mut self, bytes: usize, more: bool) {
        let records = self.records(bytes) + u64::from(self.open);
        self.key.note(records);
        self.open = more;
        self.open_len = if more { (self.open_len + bytes) % self.fragment } else { 0 };
    }

    /// Whether more may come to the last record.
    pub(crate) fn has_open_record(&self) -> bool {
        self.open
    }

    /// Ends the record that is open, if there is one.
    pub(crate) fn close_record(&mut self, fd: BorrowedFd<'_>, wait: Wait) -> io::Result<()> {
        if self.open {
            // net/tls ends it when a call names a type, and makes no record of nothing.
            let kind = ContentType::ApplicationData.to_byte();
            sys::msg::send(fd, &[IoSlice::new(&[])], Some(kind), wait)?;
            (self.open, self.open_len) = (false, 0);
        }
        Ok(())
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
        self.sent_pages(fd, sent, len)?;
        Ok(sent)
    }

    /// The same from a pipe. 0 is the end of the pipe.
    pub(crate) fn splice(
        &mut self,
        fd: BorrowedFd<'_>,
        pipe: BorrowedFd<'_>,
        len: usize,
        more: bool,
    ) -> Result<usize, Error> {
        let len = self.most(fd)?.min(len);
        let sent = sys::splice::splice(pipe, fd, len, more, Wait::Block)?;
        if more {
            self.note_pages(sent);
            (self.open, self.open_len) = (true, (self.open_len + sent) % self.fragment);
        } else {
            self.sent_pages(fd, sent, len)?;
        }
        Ok(sent)
    }

    /// The pages of a file may be spread over records that are not full.
    fn note_pages(&mut self, sent: usize) {
        let pages = sent.div_ceil(4096) as u64 + 1;
        self.key.note(pages);
    }

    /// After `sent` of `len` bytes: where they are fewer, because the file ends or has shrunk meanwhile, kernels
    /// before 6.5 wait for the rest with the last record open, and it is ended here.
    fn sent_pages(&mut self, fd: BorrowedFd<'_>, sent: usize, len: usize) -> Result<(), Error> {
        self.note_pages(sent);
        let short = sent < len;
        self.open = self.open && sent == 0 || short && sent > 0;
        self.open_len = 0;
        if short { Ok(self.close_record(fd, Wait::Block)?) } else { Ok(()) }
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
        self.key.note(1 + u64::from(self.open));
        (self.open, self.open_len) = (false, 0);
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
    /// This end has announced that it takes no longer records.
    limit: Option<Allowance>,
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
        Ok(Self { key, control: Vec::new(), unfinished: None, idle: 0, limit })
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
            let got = got.map_err(|error| self.explain(error))?;
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
                    if let Some(limit) = &mut self.limit {
                        let cipher = self.key.key.cipher();
                        limit.take(got.len, sys::tls::record_sequence(fd, Flow::Receive, cipher)?)?;
                    }
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
