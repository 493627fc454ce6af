//! What is to be sent: headers held here, payload only named.

use std::collections::VecDeque;

use zerocopy::{Immutable, IntoBytes};

use crate::spec::digest::crc32c;
use crate::spec::pdu::{CommonHeader, DIGEST_LEN, Flags, Layout};

/// A piece of a command's data. The driver knows the memory, or the file, behind the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Which slot of the queue.
    pub slot: u16,
    /// Where in the command's data it begins, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub len: u32,
}

impl Payload {
    /// The memory behind it, piece by piece. `resolve` gives as much of a payload as lies in one piece, from its
    /// beginning on; nothing where there is none, which ends it.
    pub fn pieces<'a>(self, mut resolve: impl FnMut(Self) -> &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let bytes = if rest.len > 0 { resolve(rest) } else { &[] };
            let done = u32::try_from(bytes.len()).unwrap_or(rest.len).min(rest.len);
            rest = Self { offset: rest.offset + done, len: rest.len - done, ..rest };
            bytes.get(..done as usize).filter(|bytes| !bytes.is_empty())
        })
    }
}

/// A piece of what is to be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Headers, padding and digests.
    Bytes(&'a [u8]),
    /// Data that the driver has.
    Payload(Payload),
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Bytes { len: usize },
    Payload(Payload, Flags),
}

/// The send queue of one connection, in the order of the wire.
///
/// 1. [`push`](Self::push) PDUs.
/// 2. Where it [wants digests](Self::wants_digests), fill them in: all with [`fill_digests`](Self::fill_digests), or
///    those that are sent next with [`fill_next_digests`](Self::fill_next_digests).
/// 3. Send as many of [`segments`](Self::segments) as the socket takes, and say how many bytes those were
///    with [`sent`](Self::sent).
#[derive(Debug, Default)]
pub struct Transmit {
    items: VecDeque<Item>,
    /// Bytes of the first item that are sent already.
    front_sent: usize,
    /// The bytes of all `Item::Bytes`, one behind the other, from `start` on.
    bytes: Vec<u8>,
    start: usize,
    /// Where in `bytes` a data digest is still missing, and of which data it is.
    digests: VecDeque<(usize, Payload)>,
    /// How much of the data that is not sent yet has its digest filled in, in bytes; headers count as if they were data.
    digested: usize,
}

/// Past this many bytes already sent, what is left of the header bytes moves to the front.
const COMPACT_AT: usize = 64 * 1024;

impl Transmit {
    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a PDU: `header` begins with a [`CommonHeader`] made by [`Layout::common_header`], and `payload`
    /// is as long as that was told.
    pub fn push<H: IntoBytes + Immutable>(&mut self, layout: &Layout, header: &H, payload: Option<Payload>) {
        let header = header.as_bytes();
        let before = self.bytes.len();
        self.bytes.extend_from_slice(header);
        let [_, flags, hlen, pdo, ..] = *header else { return };
        let flags = Flags::from_bits_retain(flags);
        debug_assert!(usize::from(hlen) == header.len() && header.len() >= size_of::<CommonHeader>());
        if flags.contains(Flags::HDGST) {
            debug_assert!(layout.header_digest);
            self.bytes.extend_from_slice(&crc32c(header).to_le_bytes());
        }
        if let Some(payload) = payload {
            let padded = before + usize::from(pdo);
            debug_assert!(padded >= self.bytes.len());
            self.bytes.resize(padded, 0);
            self.note_bytes(padded - before);
            self.items.push_back(Item::Payload(payload, flags));
            if flags.contains(Flags::DDGST) {
                self.digests.push_back((self.bytes.len(), payload));
                self.bytes.extend_from_slice(&[0; DIGEST_LEN]);
                self.note_bytes(DIGEST_LEN);
            }
        } else {
            self.note_bytes(self.bytes.len() - before);
        }
    }

    /// Adds bytes that stand behind a PDU's header and are no payload: what a TermReq quotes.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.note_bytes(bytes.len());
    }

    /// Whether a data digest is missing.
    pub fn wants_digests(&self) -> bool {
        !self.digests.is_empty()
    }

    /// Fills in every missing data digest with what `digest` computes.
    pub fn fill_digests(&mut self, digest: impl FnMut(Payload) -> u32) {
        self.fill_next_digests(|_| usize::MAX, digest);
    }

    /// The same for what is sent next; as that is [sent](Self::sent), it is called again. `at_once` is given the length
    /// of the next data without its digest, and says how much is to have its digests before anything is sent; both in
    /// bytes, and more than none.
    pub fn fill_next_digests(
        &mut self,
        at_once: impl Fn(u32) -> usize,
        mut digest: impl FnMut(Payload) -> u32,
    ) {
        while let Some(&(at, payload)) = self.digests.front() {
            if self.digested >= at_once(payload.len) {
                break;
            }
            self.digests.pop_front();
            if let Some(room) = self.bytes.get_mut(at..at + DIGEST_LEN) {
                room.copy_from_slice(&digest(payload).to_le_bytes());
            }
            self.digested = self.digested.saturating_add(payload.len as usize);
        }
    }

    /// What to send, in order, as far as digests are filled in.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> + Clone {
        let mut at = self.start;
        let mut skip = self.front_sent;
        // The digest comes right behind the payload, so that both stand at the same place among the bytes.
        let missing = self.digests.front().map(|(at, _)| *at);
        self.items.iter().map_while(move |item| {
            let skipped = std::mem::take(&mut skip);
            match *item {
                Item::Bytes { len } => {
                    let bytes = self.bytes.get(at + skipped..at + len).unwrap_or_default();
                    at += len;
                    Some(Segment::Bytes(bytes))
                }
                Item::Payload(..) if missing == Some(at) => None,
                Item::Payload(payload, _) => Some(Segment::Payload(Payload {
                    offset: payload.offset + skipped as u32,
                    len: payload.len - skipped as u32,
                    ..payload
                })),
            }
        })
    }

    /// The first `n` bytes of [`segments`](Self::segments) are sent; `done` hears of each
    /// payload that is through: its slot, and whether its PDU had LAST_PDU set.
    pub fn sent(&mut self, n: usize, mut done: impl FnMut(u16, bool)) {
        self.digested = self.digested.saturating_sub(n);
        let mut left = self.front_sent + n;
        while let Some(item) = self.items.front() {
            let len = match item {
                Item::Bytes { len } => *len,
                Item::Payload(payload, _) => payload.len as usize,
            };
            if left < len {
                break;
            }
            left -= len;
            match item {
                Item::Bytes { len } => self.start += len,
                Item::Payload(payload, flags) => done(payload.slot, flags.contains(Flags::LAST)),
            }
            self.items.pop_front();
        }
        self.front_sent = left;
        if self.items.is_empty() {
            debug_assert_eq!(left, 0, "more was sent than there was");
            self.bytes.clear();
            self.start = 0;
            self.front_sent = 0;
        } else if self.start > COMPACT_AT {
            self.bytes.drain(..self.start);
            for (at, _) in &mut self.digests {
                *at -= self.start;
            }
            self.start = 0;
        }
    }

    fn note_bytes(&mut self, more: usize) {
        match self.items.back_mut() {
            Some(Item::Bytes { len }) => *len += more,
            _ => self.items.push_back(Item::Bytes { len: more }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::pdu::{DataPdu, PduType};

    fn data(layout: &Layout, slot: u16, len: u32) -> (DataPdu, Option<Payload>) {
        let common = layout.common_header(PduType::H2cData, Flags::LAST, len);
        (DataPdu::new(common, slot, 0, 0, len), Some(Payload { slot, offset: 0, len }))
    }

    fn wire(transmit: &Transmit) -> Vec<u8> {
        let mut wire = Vec::new();
        for segment in transmit.segments() {
            match segment {
                Segment::Bytes(bytes) => wire.extend(bytes),
                Segment::Payload(p) => wire.extend((p.offset..p.offset + p.len).map(|i| i as u8)),
            }
        }
        wire
    }

    #[test]
    fn any_split_of_what_is_sent_gives_the_same_bytes() {
        let layout = Layout { header_digest: true, data_digest: true, alignment: 32 };
        let fill = || {
            let mut transmit = Transmit::default();
            for slot in 0..3 {
                let (header, payload) = data(&layout, slot, 10 + u32::from(slot));
                transmit.push(&layout, &header, payload);
            }
            transmit.fill_digests(|payload| payload.len);
            transmit
        };
        let whole = wire(&fill());
        for step in 1..whole.len() {
            let mut transmit = fill();
            let (mut got, mut done): (Vec<u8>, Vec<u16>) = Default::default();
            while !transmit.is_empty() {
                let rest = wire(&transmit);
                let n = step.min(rest.len());
                got.extend(&rest[..n]);
                transmit.sent(n, |slot, last| {
                    assert!(last);
                    done.push(slot);
                });
            }
            assert_eq!(got, whole, "in steps of {step}");
            assert_eq!(done, [0, 1, 2]);
        }
    }

    #[test]
    fn nothing_is_sent_without_its_digest() {
        let layout = Layout { header_digest: false, data_digest: true, alignment: 4 };
        // So much at once of the long data it is, and not of short.
        const AT_ONCE: usize = 512 * 1024;
        let len = 2 * AT_ONCE as u32 / 3;
        let at_once = |next| if next == len { AT_ONCE } else { 1 };
        let fill = || {
            let mut transmit = Transmit::default();
            for slot in 0..5 {
                let (header, payload) = data(&layout, slot, len);
                transmit.push(&layout, &header, payload);
            }
            transmit
        };
        let digest = |payload: Payload| 0x0101_0101 * (1 + u32::from(payload.slot));
        let mut whole = fill();
        assert_eq!(wire(&whole).len(), 24);
        whole.fill_digests(digest);
        let whole = wire(&whole);
        let mut transmit = fill();
        let (mut got, mut portions, mut done) = (Vec::new(), Vec::new(), Vec::new());
        while !transmit.is_empty() {
            transmit.fill_next_digests(at_once, digest);
            let now = wire(&transmit);
            portions
                .push(transmit.segments().filter(|segment| matches!(segment, Segment::Payload(_))).count());
            transmit.sent(now.len(), |slot, _| done.push(slot));
            got.extend(now);
        }
        assert!(got == whole && done == [0, 1, 2, 3, 4]);
        assert_eq!(portions, [2, 2, 1]);
        // Also where the socket takes less: what was filled in stays so.
        let mut transmit = fill();
        let mut got: Vec<u8> = Vec::new();
        while !transmit.is_empty() {
            transmit.fill_next_digests(at_once, digest);
            let now = wire(&transmit);
            // No further ahead than a payload that was begun.
            assert!(now.len() < AT_ONCE + len as usize + 5 * 28, "{}", now.len());
            let n = now.len().min(70_001);
            transmit.sent(n, |_, _| ());
            got.extend(&now[..n]);
        }
        assert!(got == whole);
    }

    #[test]
    fn neighbouring_headers_are_one_segment() {
        let mut transmit = Transmit::default();
        let layout = Layout::default();
        for _ in 0..32 {
            transmit.push(&layout, &CommonHeader { hlen: 8, ..CommonHeader::bare(PduType::R2t) }, None);
        }
        assert_eq!(transmit.segments().count(), 1);
    }
}
