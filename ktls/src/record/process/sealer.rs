//! Plaintext in, records out.

use std::io::IoSlice;

use super::codec::{Codec, OVERHEAD};
use crate::error::Error;
use crate::event::Flow;
use crate::handshake::MAX_FRAGMENT_LEN;
use crate::keys::{DirectionKey, TrafficSecret};
use crate::record::ContentType;
use crate::record::budget::Meter;

/// The most sealed bytes that wait to be sent; application data beyond it is not accepted.
pub const MAX_PENDING: usize = 256 * 1024;
/// Room beyond [`MAX_PENDING`] for alerts and KeyUpdates, so that they never have to wait for data.
const CONTROL_ROOM: usize = 4096;
/// The size of the first buffer, made for the first record: one of full size.
const FIRST_BUFFER: usize = OVERHEAD + MAX_FRAGMENT_LEN;

/// Seals one direction's records into a buffer of its own.
///
/// Use: [`seal`](Self::seal) what there is, send [`pending`](Self::pending), say how much went by
/// [`sent`](Self::sent).
pub struct Sealer {
    codec: Codec,
    sequence: u64,
    fragment: usize,
    /// Without memory until it is needed, and after [`release`](Self::release).
    out: Vec<u8>,
    start: usize,
    /// The plaintext of a record to which more may come; memory only for who uses it.
    open: Vec<u8>,
    meter: Meter,
}

impl Sealer {
    /// Starts with `secret`'s key and sequence number 0. `max_fragment` is the most plaintext that the
    /// peer takes in a record, in bytes.
    pub fn new(secret: TrafficSecret, max_fragment: usize, meter: Meter) -> Self {
        Self::with_codec(Codec::from_secret(secret), max_fragment, meter)
    }

    /// Starts with `key` and its sequence number.
    ///
    /// # Errors
    /// [`Error::KernelOnly`] for a cipher that this library has not.
    pub fn with_key(key: DirectionKey, max_fragment: usize, meter: Meter) -> Result<Self, Error> {
        Ok(Self::with_codec(Codec::new(key)?, max_fragment, meter))
    }

    fn with_codec(codec: Codec, max_fragment: usize, mut meter: Meter) -> Self {
        let sequence = codec.key().sequence();
        meter.set(sequence);
        Self {
            codec,
            sequence,
            fragment: max_fragment.clamp(1, MAX_FRAGMENT_LEN),
            out: Vec::new(),
            start: 0,
            open: Vec::new(),
            meter,
        }
    }

    /// The count of records under this key.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The same, to take its event.
    pub fn meter_mut(&mut self) -> &mut Meter {
        &mut self.meter
    }

    /// Seals application data, the bytes of `bufs` after the first `skip`, into as many records as there
    /// is room for, and gives the number of bytes taken: 0 when the buffer is full (or nothing is left).
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`] when the key may seal nothing more.
    pub fn seal(&mut self, bufs: &[IoSlice<'_>], skip: usize) -> Result<usize, Error> {
        self.take(bufs, skip, false)
    }

    /// The same, but the last record, if it is not full, stays open: what comes next goes into it too, if it is
    /// application data. Until then, or [`close_record`](Self::close_record), it is not among what is
    /// [`pending`](Self::pending).
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_more(&mut self, bufs: &[IoSlice<'_>], skip: usize) -> Result<usize, Error> {
        self.take(bufs, skip, true)
    }

    fn take(&mut self, bufs: &[IoSlice<'_>], skip: usize, more: bool) -> Result<usize, Error> {
        let mut cursor = Cursor::new(bufs, skip);
        let mut taken = 0;
        if !self.open.is_empty() && !cursor.is_empty() {
            let part = cursor.left_at_most(self.fragment - self.open.len());
            let len = self.open.len() + part;
            let closes = !more || len == self.fragment;
            if closes && self.room(MAX_PENDING, len) < OVERHEAD + len {
                return Ok(0);
            }
            cursor.take(part, &mut self.open);
            taken = part;
            if closes {
                self.close_record()?;
            }
        }
        while !cursor.is_empty() {
            let want = cursor.left_at_most(self.fragment);
            let stays_open = more && want < self.fragment;
            if !stays_open && self.room(MAX_PENDING, want) < OVERHEAD + want {
                break;
            }
            if let Err(error) = self.meter.check() {
                return if taken > 0 { Ok(taken) } else { Err(error) };
            }
            if stays_open {
                self.open.reserve_exact(self.fragment);
                cursor.take(want, &mut self.open);
            } else {
                self.record(ContentType::ApplicationData, want, &mut cursor)?;
            }
            taken += want;
        }
        Ok(taken)
    }

    /// Whether a record is open.
    pub fn has_open_record(&self) -> bool {
        !self.open.is_empty()
    }

    /// Seals the open record, if there is one, and says whether there was room. The key's limit was checked when
    /// it was opened.
    ///
    /// # Errors
    /// [`Error::SealingFailed`].
    pub fn close_record(&mut self) -> Result<bool, Error> {
        let len = self.open.len();
        if len == 0 {
            return Ok(true);
        }
        if self.room(MAX_PENDING, len) < OVERHEAD + len {
            return Ok(false);
        }
        let mut open = std::mem::take(&mut self.open);
        let bufs = [IoSlice::new(&open)];
        let result = self.record(ContentType::ApplicationData, len, &mut Cursor::new(&bufs, 0));
        open.clear();
        self.open = open;
        result.map(|()| true)
    }

    /// How much application data [`seal`](Self::seal) takes for certain, in bytes.
    pub(crate) fn capacity(&mut self) -> usize {
        if self.start >= self.pending().len() {
            self.move_to_front();
        }
        // What was sent already is in the way until the rest is moved.
        let behind = (MAX_PENDING + CONTROL_ROOM).saturating_sub(self.out.len());
        let bytes = MAX_PENDING.saturating_sub(self.pending().len()).min(behind);
        let room = bytes / (OVERHEAD + self.fragment);
        let budget = self.meter.budget();
        let left = usize::try_from(budget.limit.saturating_sub(budget.used)).unwrap_or(usize::MAX);
        // One record may be open, another begun.
        room.min(left).saturating_sub(usize::from(self.has_open_record())).saturating_mul(self.fragment)
    }

    /// Moves what is pending over what was sent.
    fn move_to_front(&mut self) {
        let pending = self.pending().len();
        self.out.copy_within(self.start.., 0);
        self.out.truncate(pending);
        self.start = 0;
    }

    /// Seals `content` as one record of its own, and says whether there was room. A key past its limit
    /// still seals alerts and handshake messages: they are few, and end or renew the key.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_record(&mut self, content_type: ContentType, content: &[u8]) -> Result<bool, Error> {
        let limit = match content_type {
            ContentType::ApplicationData => {
                self.meter.check()?;
                MAX_PENDING
            }
            ContentType::Alert | ContentType::Handshake => MAX_PENDING + CONTROL_ROOM,
        };
        if content.len() > self.fragment {
            return Err(Error::RecordSize { len: content.len(), max: self.fragment });
        }
        if !self.close_record()? {
            return Ok(false);
        }
        if self.room(limit, content.len()) < OVERHEAD + content.len() {
            return Ok(false);
        }
        let bufs = [IoSlice::new(content)];
        self.record(content_type, content.len(), &mut Cursor::new(&bufs, 0))?;
        Ok(true)
    }

    /// The most plaintext that one record takes, in bytes.
    pub fn max_fragment(&self) -> usize {
        self.fragment
    }

    /// What is to be sent.
    pub fn pending(&self) -> &[u8] {
        self.out.get(self.start..).unwrap_or_default()
    }

    /// Notes that the first `n` bytes of [`pending`](Self::pending) were sent.
    pub fn sent(&mut self, n: usize) {
        self.start = self.out.len().min(self.start.saturating_add(n));
        if self.start == self.out.len() {
            self.out.clear();
            self.start = 0;
        }
    }

    /// Refuses where there is no next key: asked before a KeyUpdate is sealed.
    pub(crate) fn check_next_key(&self) -> Result<(), Error> {
        self.codec.key().check_next(Flow::Send)
    }

    /// Changes to the next key (RFC 8446, section 7.2): records from now on are sealed with it. Our
    /// KeyUpdate must have been sealed before.
    ///
    /// # Errors
    /// [`Error::NoNextKey`], [`Error::Stack`]: the old key stays.
    pub fn rekey(&mut self) -> Result<(), Error> {
        self.codec = self.codec.next(Flow::Send)?;
        self.sequence = self.codec.key().sequence();
        self.meter.reset();
        self.meter.set(self.sequence);
        Ok(())
    }

    /// Gives the buffer back, if nothing is pending, and says whether it did. The next record makes a new
    /// one.
    pub fn release(&mut self) -> bool {
        let unused = self.pending().is_empty() && self.open.is_empty();
        if unused {
            (self.out, self.start, self.open) = (Vec::new(), 0, Vec::new());
        }
        unused
    }

    /// The room below `limit` pending bytes, after moving them to the front where that helps, and making
    /// the buffer larger where it is not as large as it may be and has no room for a record of `len` bytes.
    fn room(&mut self, limit: usize, len: usize) -> usize {
        let pending = self.out.len() - self.start;
        // Data waits until moving costs no more than was sent since; a control record does not.
        let worth_it = self.start >= pending || limit > MAX_PENDING;
        if self.start > 0 && worth_it && self.out.capacity() - self.out.len() < OVERHEAD + MAX_FRAGMENT_LEN {
            self.move_to_front();
        }
        let needed = self.out.len() + OVERHEAD + len;
        if self.out.capacity() < needed {
            let full = MAX_PENDING + CONTROL_ROOM;
            let size = if needed <= FIRST_BUFFER { FIRST_BUFFER } else { full };
            self.out.reserve_exact(size.saturating_sub(self.out.len()));
        }
        limit.saturating_sub(pending).min(self.out.capacity() - self.out.len())
    }

    /// Seals the next `len` bytes of `content`; there must be room.
    fn record(
        &mut self,
        content_type: ContentType,
        len: usize,
        content: &mut Cursor<'_, '_>,
    ) -> Result<(), Error> {
        if self.sequence == u64::MAX {
            // The number of the record after it would be 0 again (RFC 8446, section 5.3).
            return Err(Error::BudgetExhausted { direction: Flow::Send, limit: u64::MAX });
        }
        self.codec
            .seal(self.sequence, content_type, len, &mut self.out, |out| content.take(len, out))
            .map_err(|_| Error::SealingFailed)?;
        self.sequence += 1;
        self.meter.set(self.sequence);
        Ok(())
    }
}

/// A place in a list of slices.
struct Cursor<'a, 'b> {
    bufs: &'a [IoSlice<'b>],
    /// Bytes of the first slice already taken.
    skip: usize,
}

impl<'a, 'b> Cursor<'a, 'b> {
    fn new(bufs: &'a [IoSlice<'b>], skip: usize) -> Self {
        let mut cursor = Self { bufs, skip };
        cursor.drop_empty();
        cursor
    }

    fn is_empty(&self) -> bool {
        self.bufs.is_empty()
    }

    /// How many bytes are left, counted no further than `max`.
    fn left_at_most(&self, max: usize) -> usize {
        let mut left = 0;
        for buf in self.bufs {
            left += buf.len();
            if left >= max + self.skip {
                return max;
            }
        }
        left - self.skip
    }

    /// Appends the next `len` bytes to `out`.
    fn take(&mut self, mut len: usize, out: &mut Vec<u8>) {
        while len > 0 {
            let Some(rest) = self.bufs.first().and_then(|buf| buf.get(self.skip..)) else { return };
            let part = &rest[..rest.len().min(len)];
            out.extend_from_slice(part);
            self.skip += part.len();
            len -= part.len();
            self.drop_empty();
        }
    }

    fn drop_empty(&mut self) {
        while let Some((first, rest)) = self.bufs.split_first() {
            if self.skip < first.len() {
                break;
            }
            self.skip -= first.len();
            self.bufs = rest;
        }
    }
}
