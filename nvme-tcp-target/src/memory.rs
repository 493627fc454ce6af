//! The memory behind a queue's commands.

use std::io::IoSliceMut;
use std::ops::Range;
use std::sync::Arc;

use nvme_tcp::proto::Payload;
use nvme_tcp::spec::digest::crc32c_append;

use crate::namespace::{Page, Shared};

/// The smallest buffer is 4 KiB, the next twice that, and so on.
const SMALLEST_SHIFT: u32 = 12;
/// Sizes that are kept: 4 KiB to 16 MiB.
const CLASSES: usize = 13;
/// At most this many bytes wait for their next command; what is freed beyond goes back to the system.
const KEEP: usize = 16 << 20;

/// The memory of each slot that has data: a buffer or pages, taken from a pool and given back when the command is over,
/// or what a namespace shares.
#[derive(Debug)]
pub(crate) struct Memory {
    slots: Vec<Slot>,
    pool: [Vec<Vec<u8>>; CLASSES],
    pages: Vec<Arc<Page>>,
    /// How many bytes wait in `pool` and `pages`.
    kept: usize,
}

#[derive(Debug, Default)]
struct Slot {
    buffer: Vec<u8>,
    /// Where there are any, the slot's data is these.
    shared: Vec<Shared>,
    /// Or else these, of which nobody else has any while data is received.
    pages: Vec<Arc<Page>>,
}

/// The data of a write, all of it.
#[derive(Debug)]
pub(crate) enum Written<'a> {
    /// In one piece.
    Bytes(&'a [u8]),
    /// In pages that a namespace may keep if it gives others for them.
    Pages(&'a mut [Arc<Page>]),
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

    /// `len` bytes of a write's data.
    pub(crate) fn written(self, len: usize) -> Written<'a> {
        let Self { memory, slot } = self;
        let has_pages = memory.slot(slot).pages.len() * Page::LEN == len && len > 0;
        if has_pages {
            Written::Pages(&mut memory.slot(slot).pages)
        } else {
            Written::Bytes(memory.prepare(slot, len))
        }
    }

    /// Where pieces go that are shared; without any, the command has a [`buffer`](Self::buffer).
    pub(crate) fn shared(&mut self) -> &mut Vec<Shared> {
        &mut self.memory.slot(self.slot).shared
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), pool: Default::default(), pages: Vec::new(), kept: 0 }
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

    /// Gives `slot` pages for `len` bytes, a multiple of [`Page::LEN`], instead of a buffer.
    pub(crate) fn prepare_pages(&mut self, slot: u16, len: usize) {
        for _ in 0..len / Page::LEN {
            let page = match self.pages.pop() {
                Some(kept) => {
                    self.kept -= Page::LEN;
                    kept
                }
                None => Arc::new(Page::new(Page::LEN)),
            };
            self.slot(slot).pages.push(page);
        }
    }

    /// The command in `slot` is over.
    pub(crate) fn free(&mut self, slot: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(slot)) else { return };
        slot.shared.clear();
        for mut page in slot.pages.drain(..) {
            // One that is still being sent, or is all zeros, is not this queue's alone.
            if self.kept + Page::LEN <= KEEP && Arc::get_mut(&mut page).is_some() {
                self.kept += Page::LEN;
                self.pages.push(page);
            }
        }
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
        (self.pool, self.pages, self.kept) = (Default::default(), Vec::new(), 0);
    }

    /// What `payload` names, as far as it lies in one piece; nothing where there is no such memory.
    pub(crate) fn bytes(&self, payload: Payload) -> &[u8] {
        let Some(slot) = self.slots.get(usize::from(payload.slot)) else { return &[] };
        if slot.shared.is_empty() {
            let Some((page, range)) = slot.in_page(payload) else {
                return slot.buffer.get(range(payload)).unwrap_or_default();
            };
            return slot.pages.get(page).map(|page| &page.bytes()[range]).unwrap_or_default();
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

    /// What `payload` names, to be received into, as far as it lies in one piece; nothing where there is no such memory.
    pub(crate) fn bytes_mut(&mut self, payload: Payload) -> &mut [u8] {
        let Some(slot) = self.slots.get_mut(usize::from(payload.slot)) else { return &mut [] };
        let Some((page, range)) = slot.in_page(payload) else {
            return slot.buffer.get_mut(range(payload)).unwrap_or_default();
        };
        let page = slot.pages.get_mut(page).and_then(Arc::get_mut);
        page.map(|page| &mut page.bytes_mut()[range]).unwrap_or_default()
    }

    /// What `payload` names, to be received into, as far as `room` takes its pieces: how many there are.
    pub(crate) fn places<'a>(&'a mut self, payload: Payload, room: &mut [IoSliceMut<'a>]) -> usize {
        let Some(slot) = self.slots.get_mut(usize::from(payload.slot)) else { return 0 };
        let Some((first, range)) = slot.in_page(payload) else {
            let bytes = slot.buffer.get_mut(range(payload));
            return bytes.zip(room.first_mut()).map_or(0, |(bytes, room)| {
                *room = IoSliceMut::new(bytes);
                1
            });
        };
        let (mut start, mut left) = (range.start, payload.len as usize);
        let pages = slot.pages.get_mut(first..).unwrap_or_default();
        let mut count = 0;
        for (page, room) in pages.iter_mut().zip(room) {
            let Some(page) = Arc::get_mut(page).filter(|_| left > 0) else { break };
            let len = left.min(Page::LEN - start);
            *room = IoSliceMut::new(&mut page.bytes_mut()[start..start + len]);
            (start, left, count) = (0, left - len, count + 1);
        }
        count
    }

    /// Puts `bytes` to `payload`; does nothing where there is no such memory.
    pub(crate) fn fill(&mut self, payload: Payload, mut bytes: &[u8]) {
        let mut rest = payload;
        while !bytes.is_empty() {
            let room = self.bytes_mut(rest);
            let Some((now, later)) = bytes.split_at_checked(room.len()).filter(|(now, _)| !now.is_empty())
            else {
                return;
            };
            room.copy_from_slice(now);
            bytes = later;
            rest = Payload { offset: rest.offset + now.len() as u32, len: later.len() as u32, ..rest };
        }
    }
}

impl Slot {
    /// Which page `payload` begins in, and where in that it lies; `None` where the slot has no pages.
    fn in_page(&self, payload: Payload) -> Option<(usize, Range<usize>)> {
        let (page, start) = (payload.offset as usize / Page::LEN, payload.offset as usize % Page::LEN);
        let end = Page::LEN.min(start + payload.len as usize);
        (!self.pages.is_empty()).then_some((page, start..end))
    }
}

fn range(payload: Payload) -> Range<usize> {
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
    fn pages_are_filled_across_their_borders_and_go_round() {
        let mut memory = Memory::new();
        memory.prepare_pages(1, 3 * Page::LEN);
        let payload = Payload { slot: 1, offset: Page::LEN as u32 - 2, len: Page::LEN as u32 + 4 };
        let bytes: Vec<u8> = (0..payload.len).map(|i| i as u8).collect();
        memory.fill(payload, &bytes);
        let pieces: Vec<&[u8]> = payload.pieces(|at| memory.bytes(at)).collect();
        assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [2, Page::LEN, 2]);
        assert!(pieces.concat() == bytes && memory.digest(payload) == crc32c_append(0, &bytes));
        let mut room: [IoSliceMut<'_>; 4] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        assert_eq!(memory.places(payload, &mut room), 3);
        assert!(room.iter().flat_map(|place| place.iter()).eq(&bytes));
        let mut room = [IoSliceMut::new(&mut [])];
        assert_eq!((memory.places(Payload { len: 1, ..payload }, &mut room), room[0].len()), (1, 1));
        assert!(memory.bytes(Payload { offset: 3 * Page::LEN as u32, ..payload }).is_empty());
        assert!(memory.bytes_mut(Payload { offset: 3 * Page::LEN as u32, ..payload }).is_empty());

        let kept = match memory.room(1).written(3 * Page::LEN) {
            Written::Pages(pages) => pages[2].clone(),
            Written::Bytes(_) => panic!("the slot has pages"),
        };
        // Somebody else has one of them, who keeps it.
        memory.free(1);
        assert_eq!((memory.kept, Arc::strong_count(&kept)), (2 * Page::LEN, 1));
        memory.prepare_pages(0, Page::LEN);
        assert_eq!(memory.kept, Page::LEN);
        assert!(matches!(memory.room(2).written(10), Written::Bytes(&[_, ..])));
        memory.release();
        assert!(memory.kept == 0 && memory.pages.is_empty());
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
