//! A direction whose records the kernel seals.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use super::Key;
use crate::error::Error;
use crate::event::Flow;
use crate::handshake::MAX_FRAGMENT_LEN;
use crate::keys::DirectionKey;
use crate::record::ContentType;
use crate::record::budget::Meter;
use crate::socket::Wait;
use crate::sys;

/// The most that sendmsg(2) takes (`MAX_RW_COUNT`, in bytes).
const MOST_BYTES: usize = 0x7fff_ffff;

/// A direction whose records the kernel seals.
pub(crate) struct Sender {
    key: Key,
    fragment: usize,
    /// The greatest power of two in `fragment`: its exponent.
    log2: u32,
    /// The most records that any call seals, with the one that was open before it.
    most_records: u64,
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
        let log2 = fragment.ilog2();
        let most_records = (MOST_BYTES >> log2) as u64 + 2;
        Ok(Self { key, fragment, log2, most_records, kept, open: false, open_len: 0 })
    }

    #[inline]
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

    /// The most records that so many bytes are.
    #[inline]
    fn records(&self, bytes: usize) -> u64 {
        // Cheaper than a division.
        (bytes >> self.log2) as u64 + 1
    }

    /// The most bytes that the next call may send.
    fn most(&mut self, fd: BorrowedFd<'_>) -> Result<usize, Error> {
        let left = usize::try_from(self.key.check(fd)?).unwrap_or(usize::MAX);
        let call = if self.kept { usize::MAX } else { self.fragment - self.open_len };
        Ok(call.min(left.saturating_mul(self.fragment)))
    }

    /// Sends application data. A call closes its last record, unless `more` is to come to it.
    #[inline(always)]
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        bufs: &[IoSlice<'_>],
        more: bool,
        wait: Wait,
    ) -> Result<usize, Error> {
        // So many bytes no call takes, and no sum of the slices is needed.
        if self.kept && self.key.is_far(self.most_records) {
            let sent = sys::msg::send_data(fd, bufs, more, wait)?;
            self.sent(sent, more);
            return Ok(sent);
        }
        self.send_counted(fd, bufs, more, wait)
    }

    /// The same where the next record may come to a mark, or be too long for the peer.
    #[cold]
    fn send_counted(
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

    #[inline]
    fn sent(&mut self, bytes: usize, more: bool) {
        self.key.note(self.records(bytes));
        // Mostly none is open, neither before nor after.
        if self.open || more {
            self.key.note(u64::from(self.open));
            self.open = more;
            self.open_len = if more { (self.open_len + bytes) % self.fragment } else { 0 };
        }
    }

    /// Whether more may come to the last record.
    #[inline]
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

    /// Sends from a file without a copy; whether it waits, the descriptor says, and `wait` must say the same. 0 is the
    /// end of the file.
    pub(crate) fn send_file(
        &mut self,
        fd: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        wait: Wait,
    ) -> Result<usize, Error> {
        let len = self.most(fd)?.min(len);
        let sent = sys::msg::send_file(fd, file, offset, len)?;
        self.sent_pages(fd, sent, len, wait)?;
        Ok(sent)
    }

    /// The same from a pipe. 0 is the end of the pipe.
    pub(crate) fn splice(
        &mut self,
        fd: BorrowedFd<'_>,
        pipe: BorrowedFd<'_>,
        len: usize,
        more: bool,
        wait: Wait,
    ) -> Result<usize, Error> {
        let len = self.most(fd)?.min(len);
        let sent = sys::splice::splice(pipe, fd, len, more, wait)?;
        if more {
            self.note_pages(sent);
            (self.open, self.open_len) = (true, (self.open_len + sent) % self.fragment);
        } else {
            self.sent_pages(fd, sent, len, wait)?;
        }
        Ok(sent)
    }

    /// The pages of a file may be spread over records that are not full.
    fn note_pages(&mut self, sent: usize) {
        let pages = sent.div_ceil(4096) as u64 + 1;
        self.key.note(pages);
    }

    /// After `sent` of `len` bytes: where they are fewer, because the file ends, has shrunk meanwhile or the socket
    /// is full, the kernel may wait for the rest with the last record open (before 6.5 it always does), and it is
    /// ended here. Where there is no room for that, it stays open: whatever is sent next ends it.
    fn sent_pages(&mut self, fd: BorrowedFd<'_>, sent: usize, len: usize, wait: Wait) -> Result<(), Error> {
        self.note_pages(sent);
        let short = sent < len;
        self.open = if sent == 0 { self.open } else { short };
        self.open_len = if self.open { (self.open_len + sent) % self.fragment } else { 0 };
        if !short {
            return Ok(());
        }
        match self.close_record(fd, wait) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && wait == Wait::Now => Ok(()),
            result => Ok(result?),
        }
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
