//! The memory behind a queue's commands.

use nvme_tcp::proto::Payload;
use nvme_tcp::spec::digest::crc32c_append;

use crate::namespace::Shared;

/// The smallest buffer is 4 KiB, the next twice that, and so on.
const SMALLEST_SHIFT: u32 = 12;
/// Sizes that are kept: 4 KiB to 16 MiB.
const CLASSES: usize = 13;
/// At most this many bytes wait for their next command; what is freed beyond goes back to the system.
const KEEP: usize = 16 << 20;

/// The memory of each slot that has data: a buffer, taken from a pool and given back when the command is over, or
/// what a namespace shares.
#[derive(Debug)]
pub(crate) struct Memory {
    slots: Vec<Slot>,
    pool: [Vec<Vec<u8>>; CLASSES],
    kept: usize,
}

#[derive(Debug, Default)]
struct Slot {
    buffer: Vec<u8>,
    /// Where there are any, the slot's data is these.
    shared: Vec<Shared>,
}

/// The memory that one command may have.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    memory: &'a mut Memory,
    slot: u16,
}

impl<'a> Room<'a> {
    /// A buffer of `len` bytes: with the command's data if it is a write, to be filled if it is a read.
    pub(crate) fn buffer(self, len: usize) -> &'a mut [u8] {
        self.memory.prepare(self.slot, len)
    }

    /// Where pieces go that are shared; without any, the command has a [`buffer`](Self::buffer).
    pub(crate) fn shared(&mut self) -> &mut Vec<Shared> {
        &mut self.memory.slot(self.slot).shared
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), pool: Default::default(), kept: 0 }
    }

    /// What the command in `slot` may have.
    pub(crate) fn room(&mut self, slot: u16) -> Room<'_> {
        Room { memory: self, slot }
    }

    fn slot(&mut self, slot: u16) -> &mut Slot {
        let slot = usize::from(slot);
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, Slot::default);
        }
        &mut self.slots[slot]
    }

    /// Gives `slot` a buffer of at least `len` bytes, of whatever content, unless it has one.
    pub(crate) fn prepare(&mut self, slot: u16, len: usize) -> &mut [u8] {
        if self.slot(slot).buffer.len() < len {
            let class = class(len);
            let buffer = match self.pool.get_mut(class).and_then(Vec::pop) {
                Some(kept) => {
                    self.kept -= kept.len();
                    kept
                }
                None => vec![0; len.max(1 << SMALLEST_SHIFT).next_power_of_two()],
            };
            self.slot(slot).buffer = buffer;
        }
        &mut self.slot(slot).buffer[..len]
    }

    /// The command in `slot` is over.
    pub(crate) fn free(&mut self, slot: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(slot)) else { return };
        slot.shared.clear();
        if slot.buffer.is_empty() {
            return;
        }
        let buffer = std::mem::take(&mut slot.buffer);
        if let Some(pool) =
            self.pool.get_mut(class(buffer.len())).filter(|_| self.kept + buffer.len() <= KEEP)
        {
            self.kept += buffer.len();
            pool.push(buffer);
        }
    }

    /// Gives back what waits for its next command.
    pub(crate) fn release(&mut self) {
        (self.pool, self.kept) = (Default::default(), 0);
    }

    /// What `payload` names, as far as it lies in one piece; nothing where there is no such memory.
    pub(crate) fn bytes(&self, payload: Payload) -> &[u8] {
        let Some(slot) = self.slots.get(usize::from(payload.slot)) else { return &[] };
        if slot.shared.is_empty() {
            return slot.buffer.get(range(payload)).unwrap_or_default();
        }
        let mut offset = payload.offset as usize;
        for piece in &slot.shared {
            let bytes = piece.bytes();
            if let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
                return &rest[..rest.len().min(payload.len as usize)];
            }
            offset -= bytes.len();
        }
        &[]
    }

    /// CRC-32C of what `payload` names.
    pub(crate) fn digest(&self, payload: Payload) -> u32 {
        payload.pieces(|payload| self.bytes(payload)).fold(0, crc32c_append)
    }

    /// What `payload` names, to be received into; nothing where there is no such memory.
    pub(crate) fn bytes_mut(&mut self, payload: Payload) -> &mut [u8] {
        let range = range(payload);
        self.slots
            .get_mut(usize::from(payload.slot))
            .and_then(|slot| slot.buffer.get_mut(range))
            .unwrap_or_default()
    }
}

fn range(payload: Payload) -> std::ops::Range<usize> {
    payload.offset as usize..payload.offset as usize + payload.len as usize
}

/// Which of the pools holds buffers for `len` bytes; beyond the last one there is none.
fn class(len: usize) -> usize {
    (len.max(1 << SMALLEST_SHIFT).next_power_of_two().trailing_zeros() - SMALLEST_SHIFT) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::namespace::Page;

    #[test]
    fn buffers_go_round_within_their_size() {
        let mut memory = Memory::new();
        memory.prepare(3, 5000).fill(7);
        memory.free(3);
        assert_eq!(memory.kept, 8192);
        assert!(memory.prepare(0, 8192)[..5000] == [7; 5000]);
        assert_eq!(memory.kept, 0);
        assert_eq!(memory.prepare(1, 1), [0]);
        let payload = Payload { slot: 0, offset: 8000, len: 300 };
        assert!(memory.bytes(payload).is_empty());
        memory.free(0);
        memory.free(0);
        assert_eq!(memory.kept, 8192);
        memory.release();
        assert!(memory.kept == 0 && memory.pool.iter().all(Vec::is_empty));
        assert_eq!(memory.prepare(0, 3), [0; 3]);
    }

    #[test]
    fn shared_pieces_are_one_after_the_other() {
        let mut page = Page::new(100);
        (0..).zip(&mut page.bytes_mut()[..100]).for_each(|(i, byte)| *byte = i);
        let page = Arc::new(page);
        assert!(Shared::new(page.clone(), 90..4097).is_none());
        let mut memory = Memory::new();
        let pieces = [10..20, 50..53, 0..1].map(|range| Shared::new(page.clone(), range).unwrap());
        memory.room(2).shared().extend(pieces);
        let payload = Payload { slot: 2, offset: 8, len: 5 };
        let all: Vec<&[u8]> = payload.pieces(|at| memory.bytes(at)).collect();
        assert_eq!(all, [&[18, 19][..], &[50, 51, 52]]);
        assert_eq!(memory.digest(payload), crc32c_append(0, &[18, 19, 50, 51, 52]));
        assert!(memory.bytes(Payload { offset: 14, ..payload }).is_empty());
        assert!(memory.bytes_mut(payload).is_empty());
        memory.free(2);
        assert!(memory.bytes(payload).is_empty());
        assert_eq!(Arc::strong_count(&page), 1);
    }

    #[test]
    fn no_more_is_kept_than_allowed() {
        let mut memory = Memory::new();
        for slot in 0..32 {
            memory.prepare(slot, 1 << 20);
        }
        for slot in 0..32 {
            memory.free(slot);
        }
        assert_eq!(memory.kept, KEEP);
    }
}
