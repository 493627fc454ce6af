//! Memory that is lent to a command until its completion.
//!
//! The protocol core names payload by slot, offset and length; this is the table from slots to memory. It
//! is one of the few modules with `unsafe`, because a caller's slice must outlive its borrow while other
//! threads move the bytes.
#![allow(unsafe_code)]

use std::fmt;

use crate::proto::{Payload, Transfer};
use crate::spec::digest::crc32c;

/// What a command's data lies in.
#[derive(Default)]
pub(crate) struct Loan {
    memory: Memory,
    len: usize,
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
    /// A read into borrowed memory.
    ///
    /// # Safety
    /// `memory` stays valid, and nothing else touches it, until the loan is dropped.
    pub(crate) unsafe fn read_into(memory: &mut [u8]) -> Self {
        Self { len: memory.len(), memory: Memory::Into(memory.as_mut_ptr()) }
    }

    /// A write from borrowed memory.
    ///
    /// # Safety
    /// `memory` stays valid, and nothing changes it, until the loan is dropped.
    pub(crate) unsafe fn write_from(memory: &[u8]) -> Self {
        Self { len: memory.len(), memory: Memory::From(memory.as_ptr()) }
    }

    /// A read into memory that is handed over.
    pub(crate) fn owned_read(memory: Vec<u8>) -> Self {
        Self { len: memory.len(), memory: Memory::OwnedInto(memory) }
    }

    /// A write from memory that is handed over.
    pub(crate) fn owned_write(memory: Vec<u8>) -> Self {
        Self { len: memory.len(), memory: Memory::OwnedFrom(memory) }
    }

    /// The memory that was handed over, if any was.
    pub(crate) fn into_owned(self) -> Option<Vec<u8>> {
        match self.memory {
            Memory::OwnedInto(memory) | Memory::OwnedFrom(memory) => Some(memory),
            _ => None,
        }
    }

    /// Which way the data goes, and how long it is.
    pub(crate) fn transfer(&self) -> Transfer {
        match self.memory {
            Memory::None => Transfer::None,
            Memory::Into(_) | Memory::OwnedInto(_) => Transfer::Read(self.len as u32),
            Memory::From(_) | Memory::OwnedFrom(_) => Transfer::Write(self.len as u32),
        }
    }

    fn range(&self, at: Payload) -> Option<(usize, usize)> {
        let (offset, len) = (at.offset as usize, at.len as usize);
        (offset.checked_add(len)? <= self.len).then_some((offset, len))
    }

    /// The data at `at`, for sending or digesting; empty where the loan has no such bytes.
    pub(crate) fn bytes(&self, at: Payload) -> &[u8] {
        let Some((offset, len)) = self.range(at) else { return &[] };
        match &self.memory {
            Memory::None => &[],
            Memory::OwnedInto(memory) | Memory::OwnedFrom(memory) => {
                memory.get(offset..offset + len).unwrap_or_default()
            }
            Memory::Into(start) => borrowed(start.cast_const(), offset, len),
            Memory::From(start) => borrowed(*start, offset, len),
        }
    }

    /// The data at `at`, to receive into; empty where the loan has no such bytes.
    pub(crate) fn bytes_mut(&mut self, at: Payload) -> &mut [u8] {
        let Some((offset, len)) = self.range(at) else { return &mut [] };
        match &mut self.memory {
            Memory::OwnedInto(memory) => memory.get_mut(offset..offset + len).unwrap_or_default(),
            Memory::Into(start) => {
                // SAFETY: `range` saw that offset lies inside the lent memory.
                let first = unsafe { start.add(offset) };
                // SAFETY: `offset + len` lies inside it too, and `read_into`'s caller keeps it valid and to
                // itself for as long as this loan lives, which the returned borrow of the loan ensures.
                unsafe { std::slice::from_raw_parts_mut(first, len) }
            }
            _ => &mut [],
        }
    }

    /// Where data at `at` may be received while the loan itself is out of reach (behind a lock).
    pub(crate) fn place(&mut self, at: Payload) -> Place {
        let bytes = self.bytes_mut(at);
        Place { start: bytes.as_mut_ptr(), len: bytes.len() }
    }

    pub(crate) fn digest(&self, at: Payload) -> u32 {
        crc32c(self.bytes(at))
    }
}

fn borrowed<'a>(start: *const u8, offset: usize, len: usize) -> &'a [u8] {
    // SAFETY: the callers' `range` saw that offset lies inside the lent memory.
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
    fn what_is_written_cannot_be_received_into() {
        let mut loan = Loan::owned_write(vec![1, 2]);
        assert!(loan.bytes_mut(Payload { slot: 0, offset: 0, len: 2 }).is_empty());
        assert_eq!(loan.into_owned(), Some(vec![1, 2]));
    }
}
