//! Memory that is lent to a command until its completion.
//!
//! The protocol core names payload by slot, offset and length; this is the table from slots to memory. It
//! is one of the few modules with `unsafe`, because a caller's slice must outlive its borrow while other
//! threads move the bytes.
#![allow(unsafe_code)]

use std::fmt;
use std::io::IoSliceMut;

use crate::proto::{Payload, Transfer};
use crate::spec::digest::crc32c_append;

/// What a command's data lies in.
#[derive(Default)]
pub(crate) struct Loan {
    memory: Memory,
    len: usize,
    /// The round of the last [`Lender`] that gave its memory.
    given: u32,
}

#[derive(Default)]
enum Memory {
    #[default]
    None,
    /// The command reads from the controller into this.
    Into(*mut u8),
    /// The command writes this to the controller.
    From(*const u8),
    /// The same two, with the memory handed over whole.
    OwnedInto(Vec<u8>),
    OwnedFrom(Vec<u8>),
    /// The same two as the first, in several pieces.
    IntoPieces(Box<[Piece]>),
    FromPieces(Box<[Piece]>),
}

/// One of several pieces of memory, which follow one another in the data.
struct Piece {
    /// Never written to in a write.
    start: *mut u8,
    /// Where it ends in the data: where it begins is the end of the one before.
    end: usize,
}

// Written by hand, since a payload has no place in a log.
impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loan").field(&self.transfer()).finish()
    }
}

// SAFETY: the pointers are to memory that is lent for as long as the loan lives (the contract of `read_into`
// and `write_from`), and `&mut [u8]` and `&[u8]`, which they stand for, are both Send.
unsafe impl Send for Loan {}

impl Loan {
    #[inline]
    fn of(len: usize, memory: Memory) -> Self {
        Self { memory, len, given: 0 }
    }

    /// A read into borrowed memory.
    ///
    /// # Safety
    /// `memory` stays valid, and nothing else touches it, until the loan is dropped.
    pub(crate) unsafe fn read_into(memory: &mut [u8]) -> Self {
        Self::of(memory.len(), Memory::Into(memory.as_mut_ptr()))
    }

    /// A write from borrowed memory.
    ///
    /// # Safety
    /// `memory` stays valid, and nothing changes it, until the loan is dropped.
    pub(crate) unsafe fn write_from(memory: &[u8]) -> Self {
        Self::of(memory.len(), Memory::From(memory.as_ptr()))
    }

    /// A read into memory that only its owner knows.
    ///
    /// # Safety
    /// The `len` bytes at `memory` (or `len` is 0) are valid to read and write, and nobody else touches them,
    /// until the loan is dropped.
    #[inline]
    pub(crate) unsafe fn read_raw(memory: *mut u8, len: usize) -> Self {
        Self::of(len, Memory::Into(memory))
    }

    /// A write from memory that only its owner knows.
    ///
    /// # Safety
    /// The `len` bytes at `memory` (or `len` is 0) are valid to read, and nobody changes them, until the loan
    /// is dropped.
    #[inline]
    pub(crate) unsafe fn write_raw(memory: *const u8, len: usize) -> Self {
        Self::of(len, Memory::From(memory))
    }

    /// A read into several pieces, one after the other; `None` where they overlap, which would be two ways to
    /// the same memory at once.
    ///
    /// # Safety
    /// As [`read_raw`](Self::read_raw), for each pair of address and length.
    pub(crate) unsafe fn read_pieces(pieces: impl Iterator<Item = (*mut u8, usize)>) -> Option<Self> {
        let (pieces, len) = join(pieces);
        (!overlap(&pieces)).then_some(Self::of(len, Memory::IntoPieces(pieces)))
    }

    /// A write from several pieces, one after the other.
    ///
    /// # Safety
    /// As [`write_raw`](Self::write_raw), for each pair of address and length.
    pub(crate) unsafe fn write_pieces(pieces: impl Iterator<Item = (*const u8, usize)>) -> Self {
        let (pieces, len) = join(pieces.map(|(start, len)| (start.cast_mut(), len)));
        Self::of(len, Memory::FromPieces(pieces))
    }

    /// A read into memory that is handed over.
    pub(crate) fn owned_read(memory: Vec<u8>) -> Self {
        Self::of(memory.len(), Memory::OwnedInto(memory))
    }

    /// A write from memory that is handed over.
    pub(crate) fn owned_write(memory: Vec<u8>) -> Self {
        Self::of(memory.len(), Memory::OwnedFrom(memory))
    }

    /// The memory that was handed over, if any was.
    pub(crate) fn into_owned(self) -> Option<Vec<u8>> {
        match self.memory {
            Memory::OwnedInto(memory) | Memory::OwnedFrom(memory) => Some(memory),
            _ => None,
        }
    }

    /// How many bytes it is.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Which way the data goes, and how long it is.
    pub(crate) fn transfer(&self) -> Transfer {
        match self.memory {
            Memory::None => Transfer::None,
            Memory::Into(_) | Memory::OwnedInto(_) | Memory::IntoPieces(_) => Transfer::Read(self.len as u32),
            Memory::From(_) | Memory::OwnedFrom(_) | Memory::FromPieces(_) => {
                Transfer::Write(self.len as u32)
            }
        }
    }

    fn range(&self, at: Payload) -> Option<(usize, usize)> {
        let (offset, len) = (at.offset as usize, at.len as usize);
        (offset.checked_add(len)? <= self.len).then_some((offset, len))
    }

    /// The data at `at`, for sending or digesting, as far as it lies in one piece; empty where the loan has no
    /// such bytes.
    pub(crate) fn bytes(&self, at: Payload) -> &[u8] {
        let Some((offset, len)) = self.range(at) else { return &[] };
        match &self.memory {
            Memory::None => &[],
            Memory::OwnedInto(memory) | Memory::OwnedFrom(memory) => {
                memory.get(offset..offset + len).unwrap_or_default()
            }
            Memory::Into(start) => borrowed(start.cast_const(), offset, len),
            Memory::From(start) => borrowed(*start, offset, len),
            Memory::IntoPieces(pieces) | Memory::FromPieces(pieces) => match piece_at(pieces, offset) {
                Some((start, left)) => borrowed(start.cast_const(), 0, left.min(len)),
                None => &[],
            },
        }
    }

    /// The data at `at`, to receive into, as far as it lies in one piece; empty where the loan has no such
    /// bytes.
    pub(crate) fn bytes_mut(&mut self, at: Payload) -> &mut [u8] {
        let Some((offset, len)) = self.range(at) else { return &mut [] };
        match &mut self.memory {
            Memory::OwnedInto(memory) => memory.get_mut(offset..offset + len).unwrap_or_default(),
            Memory::Into(start) => {
                if len == 0 {
                    return &mut [];
                }
                // SAFETY: `range` saw that offset lies inside the lent memory.
                let first = unsafe { start.add(offset) };
                // SAFETY: `offset + len` lies inside it too, and the lender keeps it valid and to
                // itself for as long as this loan lives, which the returned borrow of the loan ensures.
                unsafe { std::slice::from_raw_parts_mut(first, len) }
            }
            Memory::IntoPieces(pieces) => match piece_at(pieces, offset) {
                // SAFETY: `piece_at` gives only bytes inside one lent piece; the lender keeps it valid and to
                // itself for as long as this loan lives, which the returned borrow of the loan ensures.
                Some((start, left)) => unsafe { std::slice::from_raw_parts_mut(start, left.min(len)) },
                None => &mut [],
            },
            _ => &mut [],
        }
    }

    /// Whether the data lies in several pieces.
    pub(crate) fn is_scattered(&self) -> bool {
        matches!(self.memory, Memory::IntoPieces(_) | Memory::FromPieces(_))
    }

    /// The pieces of a scattered read at `at`, to receive into at once: as many as `room` holds, and how many
    /// that are.
    pub(crate) fn places<'a>(&'a mut self, at: Payload, room: &mut [IoSliceMut<'a>]) -> usize {
        let (Some((mut offset, len)), Memory::IntoPieces(pieces)) = (self.range(at), &mut self.memory) else {
            return 0;
        };
        let end = offset + len;
        let mut count = 0;
        for place in room {
            let Some((start, left)) = piece_at(pieces, offset).filter(|_| offset < end) else { break };
            let left = left.min(end - offset);
            // SAFETY: as in `bytes_mut`. Several are given out under one borrow of the loan, but each
            // `offset` lies in another piece, and `read_pieces` saw that no two pieces overlap.
            *place = IoSliceMut::new(unsafe { std::slice::from_raw_parts_mut(start, left) });
            offset += left;
            count += 1;
        }
        count
    }

    /// Puts `bytes` to `at`; does nothing where the loan has no such bytes, or not so many.
    pub(crate) fn fill(&mut self, at: Payload, mut bytes: &[u8]) {
        if self.range(at).is_none() || bytes.len() != at.len as usize {
            return;
        }
        let mut at = at;
        while !bytes.is_empty() {
            let room = self.bytes_mut(at);
            let Some((now, later)) = bytes.split_at_checked(room.len()).filter(|(now, _)| !now.is_empty())
            else {
                return;
            };
            room.copy_from_slice(now);
            bytes = later;
            at = Payload { offset: at.offset + now.len() as u32, len: later.len() as u32, ..at };
        }
    }

    /// Where data at `at` may be received while the loan itself is out of reach (behind a lock).
    pub(crate) fn place(&mut self, at: Payload) -> Place {
        let bytes = self.bytes_mut(at);
        Place { start: bytes.as_mut_ptr(), len: bytes.len() }
    }

    /// CRC-32C of the data at `at`.
    pub(crate) fn digest(&self, at: Payload) -> u32 {
        at.pieces(|at| self.bytes(at)).fold(0, crc32c_append)
    }
}

/// Gives the memory of several loans out under one borrow of all, of each once.
pub(crate) struct Lender<'a> {
    loans: &'a mut [Loan],
    round: u32,
}

impl<'a> Lender<'a> {
    /// Of these loans, in another `round` than the last one: what had been given out in that is not given again.
    pub(crate) fn new(loans: &'a mut [Loan], round: u32) -> Self {
        Self { loans, round }
    }

    /// The data at `at`, to receive into what may be another's: all of it, or `None`.
    pub(crate) fn place(&mut self, at: Payload) -> Option<&'a mut [u8]> {
        let loan = self.loans.get_mut(usize::from(at.slot)).filter(|loan| loan.given != self.round)?;
        let (data, len) = {
            let data = loan.bytes_mut(at);
            (data.as_mut_ptr(), data.len())
        };
        if len == 0 || len != at.len as usize {
            return None;
        }
        loan.given = self.round;
        // SAFETY: the bytes are those that the loan has just given, which outlive 'a with the loan, since the loans are
        // borrowed so long; and no second slice of them is given out, since `given` is only ever set to this round here.
        Some(unsafe { std::slice::from_raw_parts_mut(data, len) })
    }
}

/// Puts pieces one after the other, those without bytes left out.
fn join(pieces: impl Iterator<Item = (*mut u8, usize)>) -> (Box<[Piece]>, usize) {
    let mut end: usize = 0;
    let pieces = pieces.filter(|(_, len)| *len > 0).map(|(start, len)| {
        end = end.saturating_add(len);
        Piece { start, end }
    });
    let pieces = pieces.collect();
    (pieces, end)
}

/// Whether two of the pieces have a byte in common.
fn overlap(pieces: &[Piece]) -> bool {
    let mut before = 0;
    let mut ranges: Vec<(usize, usize)> = pieces
        .iter()
        .map(|piece| {
            let len = piece.end - std::mem::replace(&mut before, piece.end);
            (piece.start.addr(), piece.start.addr().saturating_add(len))
        })
        .collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|pair| matches!(pair, [(_, end), (start, _)] if end > start))
}

/// The memory at `offset` of the data, and how many bytes of its piece there are from there on.
fn piece_at(pieces: &[Piece], offset: usize) -> Option<(*mut u8, usize)> {
    let index = pieces.partition_point(|piece| piece.end <= offset);
    let piece = pieces.get(index)?;
    let begin = index.checked_sub(1).and_then(|before| pieces.get(before)).map_or(0, |before| before.end);
    // SAFETY: `begin <= offset < piece.end`, so this lies inside the piece's memory, which is `piece.end -
    // begin` long.
    let start = unsafe { piece.start.add(offset - begin) };
    Some((start, piece.end - offset))
}

fn borrowed<'a>(start: *const u8, offset: usize, len: usize) -> &'a [u8] {
    if len == 0 {
        // Memory without bytes may have any address, also none.
        return &[];
    }
    // SAFETY: the callers saw that offset lies inside the lent memory.
    let first = unsafe { start.add(offset) };
    // SAFETY: `offset + len` lies inside it too, and the lender keeps it valid and unchanged for as long as
    // the loan lives; `bytes` ties the result to a borrow of the loan.
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// A piece of a loan that one receive call writes to.
#[derive(Debug)]
pub(crate) struct Place {
    start: *mut u8,
    len: usize,
}

impl Place {
    /// The memory.
    ///
    /// # Safety
    /// The loan lives until the borrow ends, and nobody else touches its memory meanwhile: a queue takes a
    /// loan back only when it is not being received into.
    pub(crate) unsafe fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: start and length come from `Loan::bytes_mut`; the rest is this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_outside_the_loan_are_none() {
        let mut memory = [1, 2, 3, 4];
        // SAFETY: `memory` outlives the loan and is not touched meanwhile.
        let mut loan = unsafe { Loan::read_into(&mut memory) };
        let at = |offset, len| Payload { slot: 0, offset, len };
        assert_eq!(loan.bytes(at(1, 3)), [2, 3, 4]);
        assert!(loan.bytes(at(1, 4)).is_empty());
        assert!(loan.bytes_mut(at(u32::MAX, 2)).is_empty());
        loan.bytes_mut(at(0, 1)).fill(9);
        drop(loan);
        assert_eq!(memory, [9, 2, 3, 4]);
    }

    #[test]
    fn a_lender_gives_all_of_the_data_and_each_loan_once_a_round() {
        let mut loans =
            [Loan::owned_read(vec![0; 4]), Loan::owned_read(vec![0; 4]), Loan::owned_write(vec![0; 4])];
        let at = |slot, offset, len| Payload { slot, offset, len };
        for round in [1, 2] {
            let mut lender = Lender::new(&mut loans, round);
            let first = lender.place(at(0, 1, 3)).unwrap();
            assert!(lender.place(at(0, 0, 1)).is_none());
            assert!(lender.place(at(1, 2, 3)).is_none(), "longer than the loan");
            let second = lender.place(at(1, 0, 4)).unwrap();
            assert!(lender.place(at(2, 0, 4)).is_none() && lender.place(at(3, 0, 4)).is_none());
            first.fill(1);
            second.fill(2);
        }
        assert_eq!(loans.map(Loan::into_owned), [vec![0, 1, 1, 1], vec![2; 4], vec![0; 4]].map(Some));
        let (mut one, mut two) = ([0; 4], [0; 4]);
        let [one, two] = [&mut one, &mut two].map(|memory| (memory.as_mut_ptr(), 4));
        // SAFETY: the memory outlives the loans and is not touched meanwhile.
        let [whole, cut] =
            unsafe { [vec![one], vec![two, one]].map(|list| Loan::read_pieces(list.into_iter())) };
        let mut loans = [whole.unwrap(), cut.unwrap()];
        let mut lender = Lender::new(&mut loans, 1);
        assert!(lender.place(at(0, 0, 4)).is_some());
        assert!(lender.place(at(1, 0, 8)).is_none(), "it lies in two places");
    }

    #[test]
    fn what_is_written_cannot_be_received_into() {
        let mut loan = Loan::owned_write(vec![1, 2]);
        assert!(loan.bytes_mut(Payload { slot: 0, offset: 0, len: 2 }).is_empty());
        assert_eq!(loan.into_owned(), Some(vec![1, 2]));
    }

    #[test]
    fn pieces_are_one_memory_with_gaps() {
        let (mut a, mut b, mut c) = ([0; 3], [0; 5], [0; 2]);
        let pieces =
            [(a.as_mut_ptr(), 3), (std::ptr::null_mut(), 0), (b.as_mut_ptr(), 5), (c.as_mut_ptr(), 2)];
        // SAFETY: the three arrays outlive the loan and are not touched meanwhile.
        let mut loan = unsafe { Loan::read_pieces(pieces.into_iter()) }.unwrap();
        let at = |offset, len| Payload { slot: 0, offset, len };
        assert_eq!((loan.len(), loan.transfer()), (10, Transfer::Read(10)));
        loan.fill(at(0, 10), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        loan.fill(at(8, 3), &[0xff; 3]);
        assert_eq!(loan.bytes(at(0, 10)), [1, 2, 3]);
        assert_eq!(loan.bytes(at(4, 6)), [5, 6, 7, 8]);
        assert_eq!(loan.digest(at(1, 8)), crc32c_append(0, &[2, 3, 4, 5, 6, 7, 8, 9]));
        let mut room: [IoSliceMut<'_>; 4] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        assert_eq!(loan.places(at(2, 7), &mut room), 3);
        assert_eq!(room.each_ref().map(|place| place.len()), [1, 5, 1, 0]);
        room[1].fill(0);
        drop(loan);
        assert_eq!((a, b, c), ([1, 2, 3], [0; 5], [9, 10]));
    }

    #[test]
    fn a_read_into_the_same_memory_twice_is_refused() {
        let mut memory = [0; 8];
        let start = memory.as_mut_ptr();
        let lend = |offsets: [(usize, usize); 2]| {
            let pieces = offsets.map(|(offset, len)| (start.wrapping_add(offset), len));
            // SAFETY: the offsets lie inside the array, which outlives the loan and is not touched meanwhile.
            unsafe { Loan::read_pieces(pieces.into_iter()) }.is_some()
        };
        assert!(lend([(4, 4), (0, 4)]));
        assert!(!lend([(0, 5), (4, 4)]));
        assert!(!lend([(2, 2), (0, 8)]));
    }

    #[test]
    fn what_is_written_from_pieces_cannot_be_received_into() {
        let memory = [1, 2];
        // SAFETY: the array outlives the loan and is not changed meanwhile.
        let mut loan = unsafe { Loan::write_pieces([(memory.as_ptr(), 2)].into_iter()) };
        let at = Payload { slot: 0, offset: 0, len: 2 };
        assert_eq!(loan.bytes(at), [1, 2]);
        loan.fill(at, &[3, 4]);
        assert!(loan.bytes_mut(at).is_empty());
        assert_eq!(loan.places(at, &mut [IoSliceMut::new(&mut [])]), 0);
        drop(loan);
        assert_eq!(memory, [1, 2]);
    }
}
