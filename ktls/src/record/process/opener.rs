//! Records in, plaintext out.

mod placed;

use std::ops::Range;

pub use self::placed::Placed;
use super::codec::Codec;
use crate::error::Error;
use crate::event::Flow;
use crate::handshake::{MAX_CIPHERTEXT_LEN, MAX_FRAGMENT_LEN, RECORD_HEADER_LEN};
use crate::keys::{DirectionKey, TrafficSecret};
use crate::record::budget::Meter;
use crate::record::{BadRecord, ContentType, MAX_IDLE_RECORDS};

/// The size of the buffer that the wire is read into, once so much comes that one read has filled the first:
/// large, for few system calls.
const BUFFER: usize = 256 * 1024;
/// The size of the first buffer, made when the first bytes are read: a record of full size.
const FIRST_BUFFER: usize = RECORD_HEADER_LEN + MAX_CIPHERTEXT_LEN;
/// After records went to their place this many reads into the buffer take a record at most: data that follows may have
/// its place as well.
const LEAN: u8 = 2;

/// Opens one direction's records in place, in a buffer of its own.
///
/// Use: read from the wire into [`space`](Self::space), say how much came by
/// [`filled`](Self::filled), then call [`next_record`](Self::next_record) until it gives `None`, and
/// take each record's [`plaintext`](Self::plaintext) in between.
pub struct Opener {
    codec: Codec,
    sequence: u64,
    /// Empty until it is needed, and after [`release`](Self::release).
    buf: Box<[u8]>,
    /// What was received and not opened yet.
    wire: Range<usize>,
    /// What was opened and not consumed yet: it lies before `wire`.
    open: Range<usize>,
    idle: u32,
    meter: Meter,
    max_fragment: usize,
    /// The length of the last large record's body: what is expected where data is to be placed.
    large_body: usize,
    /// How many more reads take a record at most.
    lean: u8,
}

impl Opener {
    /// Starts with `secret`'s key and sequence number 0.
    pub fn new(secret: TrafficSecret, meter: Meter) -> Self {
        Self::with_codec(Codec::from_secret(secret), meter)
    }

    /// Starts with `key` and its sequence number.
    ///
    /// # Errors
    /// [`Error::KernelOnly`] for a cipher that this library has not.
    pub fn with_key(key: DirectionKey, meter: Meter) -> Result<Self, Error> {
        Ok(Self::with_codec(Codec::new(key)?, meter))
    }

    fn with_codec(codec: Codec, mut meter: Meter) -> Self {
        let sequence = codec.key().sequence();
        meter.set(sequence);
        Self {
            codec,
            sequence,
            buf: Box::default(),
            wire: 0..0,
            open: 0..0,
            idle: 0,
            meter,
            max_fragment: MAX_FRAGMENT_LEN,
            large_body: 0,
            lean: 0,
        }
    }

    /// Sets the most plaintext that a record may have, in bytes: less than 16,384 where this end has announced
    /// so (RFC 8449).
    #[must_use]
    pub fn max_fragment(mut self, bytes: usize) -> Self {
        self.max_fragment = bytes.clamp(1, MAX_FRAGMENT_LEN);
        self
    }

    /// The count of records under this key.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The same, to take its event.
    pub fn meter_mut(&mut self) -> &mut Meter {
        &mut self.meter
    }

    /// Where the next bytes from the wire go; never empty after [`next_record`](Self::next_record)
    /// gave `None`. What was not consumed of the last record is lost.
    pub fn space(&mut self) -> &mut [u8] {
        self.open = 0..0;
        if self.wire.end == self.buf.len() && self.buf.len() < BUFFER {
            // Not there yet, or filled by one read.
            self.grow(if self.buf.is_empty() { FIRST_BUFFER } else { BUFFER });
        } else if self.wire.is_empty() {
            self.wire = 0..0;
        } else if self.buf.len() - self.wire.start < RECORD_HEADER_LEN + MAX_CIPHERTEXT_LEN {
            // The rest of a record, shorter than one: the only bytes that are ever moved.
            self.buf.copy_within(self.wire.clone(), 0);
            self.wire = 0..self.wire.len();
        }
        let most = if self.lean > 0 { self.wire.start + FIRST_BUFFER } else { BUFFER };
        let end = self.buf.len().min(most);
        &mut self.buf[self.wire.end..end]
    }

    fn grow(&mut self, size: usize) {
        let mut grown = vec![0; size].into_boxed_slice();
        grown[..self.wire.len()].copy_from_slice(&self.buf[self.wire.clone()]);
        self.buf = grown;
        self.wire = 0..self.wire.len();
    }

    /// Gives the buffer back, if nothing is in it, and says whether it did. The next
    /// [`space`](Self::space) makes a new one.
    pub fn release(&mut self) -> bool {
        let unused = self.wire.is_empty() && self.open.is_empty();
        if unused {
            self.buf = Box::default();
            (self.wire, self.open) = (0..0, 0..0);
        }
        unused
    }

    /// Notes that `n` bytes were read into [`space`](Self::space).
    pub fn filled(&mut self, n: usize) {
        self.wire.end = self.buf.len().min(self.wire.end + n);
        self.lean = self.lean.saturating_sub(1);
    }

    /// Whether no byte of a further record is there: only then may the connection end.
    pub fn is_between_records(&self) -> bool {
        self.wire.is_empty()
    }

    /// Whether [`next_record`](Self::next_record) has something to say without more bytes: a whole record
    /// is there, or a header that is wrong.
    pub fn has_record(&self) -> bool {
        let wire = &self.buf[self.wire.clone()];
        let Some((header, rest)) = wire.split_first_chunk() else { return false };
        self.codec.body_len(header).map_or(true, |len| rest.len() >= len)
    }

    /// Opens the next record and gives its type, or `None` when more bytes are needed. What was not
    /// consumed of the last record is lost.
    ///
    /// # Errors
    /// [`Error::BadRecord`] for what the peer did wrong, [`Error::BudgetExhausted`] when the key may
    /// open no more data. After either, nothing further can be opened.
    pub fn next_record(&mut self) -> Result<Option<ContentType>, Error> {
        self.open = 0..0;
        let wire = &mut self.buf[self.wire.clone()];
        let Some((header, rest)) = wire.split_first_chunk_mut::<RECORD_HEADER_LEN>() else { return Ok(None) };
        let len = self.codec.body_len(header)?;
        let Some(body) = rest.get_mut(..len) else { return Ok(None) };
        may_open(self.sequence)?;
        let (content_type, content) = self.codec.open(self.sequence, self.max_fragment, header, body)?;
        self.opened(content_type, content.len())?;
        let begin = self.wire.start + RECORD_HEADER_LEN;
        self.open = begin + content.start..begin + content.end;
        self.wire.start = begin + len;
        if len >= placed::MIN_BODY {
            self.large_body = len;
        }
        Ok(Some(content_type))
    }

    /// Notes that a record was opened.
    fn opened(&mut self, content_type: ContentType, len: usize) -> Result<(), Error> {
        if content_type == ContentType::ApplicationData {
            // Beyond the limit only what ends or renews the key is taken: of that there is little.
            self.meter.check()?;
        }
        match content_type {
            ContentType::ApplicationData if len > 0 => self.idle = 0,
            ContentType::ApplicationData => self.idle += 1,
            _ if len == 0 => return Err(BadRecord::Empty { content_type }.into()),
            _ => self.idle += 1,
        }
        if self.idle > MAX_IDLE_RECORDS {
            return Err(BadRecord::TooManyIdle.into());
        }
        self.sequence += 1;
        self.meter.set(self.sequence);
        Ok(())
    }

    /// What is left of the record that was opened last.
    pub fn plaintext(&self) -> &[u8] {
        &self.buf[self.open.clone()]
    }

    /// Takes `n` bytes off [`plaintext`](Self::plaintext).
    pub fn consume(&mut self, n: usize) {
        self.open.start = self.open.end.min(self.open.start.saturating_add(n));
    }

    /// Changes to the peer's next key (RFC 8446, section 7.2), after its KeyUpdate.
    ///
    /// # Errors
    /// [`Error::NoNextKey`], [`Error::Stack`]: the old key stays.
    pub fn rekey(&mut self) -> Result<(), Error> {
        self.codec = self.codec.next(Flow::Receive)?;
        self.sequence = self.codec.key().sequence();
        self.meter.reset();
        self.meter.set(self.sequence);
        Ok(())
    }
}

/// Refuses the last sequence number there is: that of the record after it would be 0 again (RFC 8446, section 5.3).
fn may_open(sequence: u64) -> Result<(), Error> {
    if sequence == u64::MAX {
        return Err(Error::BudgetExhausted { direction: Flow::Receive, limit: u64::MAX });
    }
    Ok(())
}
