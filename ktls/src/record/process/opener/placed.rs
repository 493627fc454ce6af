//! Records of data that are received straight into their caller's memory, and opened there.
//!
//! What is to come is guessed: records as long as the last large one. One receive puts their data one after the other into
//! the caller's memory, what frames them elsewhere, and what follows them into the opener's own buffer:
//!
//! ```text
//! stream  header data type tag header data type tag header ...
//! place          data                 data
//! frames  header      type tag header      type tag
//! buf                                               header ...
//! ```
//!
//! A record is opened in one piece with its content type, so for that long this byte stands where the data of the next
//! one begins. What did not come as it was guessed, or not whole, goes to the opener's own buffer, as if it had been
//! received there.

use std::io::{self, IoSliceMut};

use super::{BUFFER, FIRST_BUFFER, LEAN, Opener, may_open};
use crate::cipher::TAG_LEN;
use crate::error::Error;
use crate::handshake::RECORD_HEADER_LEN;
use crate::record::{BadRecord, ContentType};

/// What stands behind a record's data: its content type and its tag.
const TAIL_LEN: usize = 1 + TAG_LEN;
/// The most records that one receive places.
const MAX_RECORDS: usize = 14;
/// The body of a record with 4,096 bytes of data: less is not worth three pieces of a receive.
pub(super) const MIN_BODY: usize = 4096 + TAIL_LEN;
/// Where in the buffer goes what follows the records: there is room before it for all of them.
const AHEAD: usize = MAX_RECORDS * FIRST_BUFFER;
/// Three for each record, and one for what follows.
const MAX_PIECES: usize = 3 * MAX_RECORDS + 1;

const _: () = assert!(AHEAD + FIRST_BUFFER <= BUFFER, "the buffer holds all that one receive may bring");

/// The records that are expected next.
#[derive(Clone, Copy)]
struct Layout {
    /// How long the data of each is.
    data: usize,
    records: usize,
    /// Whether what follows them is received as well: not where it is data that has a place too.
    look_ahead: bool,
}

/// What frames a record's data.
#[derive(Clone, Copy)]
struct Frame {
    header: [u8; RECORD_HEADER_LEN],
    tail: [u8; TAIL_LEN],
}

const NO_FRAME: Frame = Frame { header: [0; RECORD_HEADER_LEN], tail: [0; TAIL_LEN] };

/// What one receive brought.
#[derive(Debug)]
pub struct Placed {
    /// How many bytes of data lie in the caller's memory.
    pub data: usize,
    /// What the record behind that data was, if it is not data as it was expected: as
    /// [`next_record`](Opener::next_record) says it.
    pub then: Result<Option<ContentType>, Error>,
    /// The stream has ended.
    pub end: bool,
}

impl Layout {
    /// How long each record is.
    fn on_wire(self) -> usize {
        RECORD_HEADER_LEN + self.data + TAIL_LEN
    }

    /// Where the stream goes, in its order.
    fn pieces<'a>(
        self,
        place: &'a mut [u8],
        frames: &'a mut [Frame; MAX_RECORDS],
        ahead: &'a mut [u8],
    ) -> [&'a mut [u8]; MAX_PIECES] {
        let mut pieces: [&mut [u8]; MAX_PIECES] = std::array::from_fn(|_| &mut [][..]);
        let mut rest = pieces.iter_mut();
        for (frame, data) in frames.iter_mut().zip(place.chunks_exact_mut(self.data)).take(self.records) {
            let record: [&mut [u8]; 3] = [&mut frame.header, data, &mut frame.tail];
            record.into_iter().zip(&mut rest).for_each(|(part, piece)| *piece = part);
        }
        if let Some(last) = rest.next() {
            *last = ahead;
        }
        pieces
    }
}

impl Opener {
    /// What to expect where `room` bytes are wanted; `None` where no record of that is worth placing.
    fn layout(&self, room: usize) -> Option<Layout> {
        let body = match self.buf[self.wire.clone()].first_chunk() {
            Some(header) => self.codec.body_len(header).ok()?,
            None => self.large_body,
        };
        let is_here = self.wire.len() >= RECORD_HEADER_LEN + body;
        if body < MIN_BODY || is_here || !self.codec.is_tls13() {
            return None;
        }
        let data = body - TAIL_LEN;
        // The last one's content type has to stand somewhere, too.
        let fit = room.checked_sub(1)? / data;
        let records = fit.min(MAX_RECORDS);
        (records > 0).then_some(Layout { data, records, look_ahead: records == fit })
    }

    /// Receives once by `receive`, as recvmsg(2) does, and opens in `place` the records that came whole and are as
    /// expected; beyond [`Placed::data`] it holds nothing of use. `None`, and nothing received, where records that are
    /// worth placing are not expected, or one is here already: then [`space`](Self::space) is the way, after
    /// [`next_record`](Self::next_record).
    ///
    /// # Errors
    /// Those of `receive`: then nothing has changed.
    pub fn receive_into(
        &mut self,
        place: &mut [u8],
        receive: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<Option<Placed>> {
        let Some(layout) = self.layout(place.len()) else { return Ok(None) };
        self.make_room();
        let mut frames = [NO_FRAME; MAX_RECORDS];
        let here = self.wire.len();
        let (front, back) = self.buf.split_at_mut(AHEAD);
        let ahead = back.get_mut(..if layout.look_ahead { FIRST_BUFFER } else { 0 }).unwrap_or_default();
        let mut pieces = layout.pieces(place, &mut frames, ahead);
        pour(&front[self.wire.clone()], &mut pieces);
        let received = receive(&mut pieces.map(IoSliceMut::new)[..=3 * layout.records])?;
        if received == 0 {
            return Ok(Some(Placed { data: 0, then: Ok(None), end: true }));
        }

        let got = here + received;
        let whole = layout.records.min(got / layout.on_wire());
        let (mut opened, mut odd) = (0, None);
        while let Some(frame) = frames[..whole].get(opened) {
            let body = self.codec.body_len(&frame.header);
            if body != Ok(layout.data + TAIL_LEN) {
                // Not to guess so again before there was another large one.
                self.large_body = body.unwrap_or(0);
                break;
            }
            match self.open_here(frame, &mut place[opened * layout.data..][..=layout.data]) {
                Ok((ContentType::ApplicationData, len)) if len == layout.data => opened += 1,
                other => {
                    odd = Some(other);
                    break;
                }
            }
        }
        if opened > 0 {
            self.lean = LEAN;
        }
        let used = opened + usize::from(odd.is_some());
        self.put_back(layout, used, got, place, &frames);
        let then = odd.transpose().map(|odd| {
            let (content_type, len) = odd?;
            // Where the record was: before the wire.
            let begin = self.wire.start - layout.on_wire();
            self.open = begin..begin + len;
            self.buf[self.open.clone()].copy_from_slice(&place[opened * layout.data..][..len]);
            Some(content_type)
        });
        Ok(Some(Placed { data: opened * layout.data, then, end: false }))
    }

    /// A buffer of full size, with the wire at its front.
    fn make_room(&mut self) {
        self.open = 0..0;
        if self.buf.len() < BUFFER {
            self.grow(BUFFER);
        } else if self.wire.start > 0 {
            self.buf.copy_within(self.wire.clone(), 0);
            self.wire = 0..self.wire.len();
        }
    }

    /// Opens a record of which `sealed` is the data, with room for one byte more.
    fn open_here(&mut self, frame: &Frame, sealed: &mut [u8]) -> Result<(ContentType, usize), Error> {
        may_open(self.sequence)?;
        let [content_type, tag @ ..] = frame.tail;
        let Some(last) = sealed.last_mut() else { return Err(BadRecord::NoContentType.into()) };
        let next = std::mem::replace(last, content_type);
        let opened = self.codec.open_apart(self.sequence, self.max_fragment, &frame.header, sealed, tag);
        if let Some(last) = sealed.last_mut() {
            *last = next;
        }
        let (content_type, len) = opened?;
        self.opened(content_type, len)?;
        Ok((content_type, len))
    }

    /// Makes the wire of what was received and is not `used`, which is a number of records.
    fn put_back(
        &mut self,
        layout: Layout,
        used: usize,
        got: usize,
        place: &[u8],
        frames: &[Frame; MAX_RECORDS],
    ) {
        let begin = AHEAD - (layout.records - used) * layout.on_wire();
        self.wire = begin..begin + got - used * layout.on_wire();
        // What follows the records is there.
        let mut room = &mut self.buf[begin..AHEAD.min(self.wire.end)];
        let records = frames.iter().zip(place.chunks_exact(layout.data)).take(layout.records).skip(used);
        for part in records.flat_map(|(frame, data)| [&frame.header[..], data, &frame.tail]) {
            let (now, later) = room.split_at_mut(part.len().min(room.len()));
            now.copy_from_slice(&part[..now.len()]);
            room = later;
        }
    }
}

/// Takes `bytes` into `pieces`, and leaves what room there is behind them.
fn pour(mut bytes: &[u8], pieces: &mut [&mut [u8]]) {
    for piece in pieces {
        let room = std::mem::take(piece);
        let (now, later) = room.split_at_mut(bytes.len().min(room.len()));
        now.copy_from_slice(&bytes[..now.len()]);
        bytes = &bytes[now.len()..];
        *piece = later;
    }
}
