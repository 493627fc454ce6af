//! The memory behind a queue's commands.

use nvme_tcp::proto::Payload;

/// The smallest buffer is 4 KiB, the next twice that, and so on.
const SMALLEST_SHIFT: u32 = 12;
/// Sizes that are kept: 4 KiB to 16 MiB.
const CLASSES: usize = 13;
/// At most this many bytes wait for their next command; what is freed beyond goes back to the system.
const KEEP: usize = 16 << 20;

/// One buffer for each slot that has data, taken from a pool and given back when the command is over.
#[derive(Debug)]
pub(crate) struct Memory {
    slots: Vec<Vec<u8>>,
    pool: [Vec<Vec<u8>>; CLASSES],
    kept: usize,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), pool: Default::default(), kept: 0 }
    }

    /// Gives `slot` a buffer of at least `len` bytes, of whatever content, unless it has one.
    pub(crate) fn prepare(&mut self, slot: u16, len: usize) -> &mut [u8] {
        let slot = usize::from(slot);
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, Vec::new);
        }
        let buffer = &mut self.slots[slot];
        if buffer.len() < len {
            let class = class(len);
            *buffer = match self.pool.get_mut(class).and_then(Vec::pop) {
                Some(kept) => {
                    self.kept -= kept.len();
                    kept
                }
                None => vec![0; len.max(1 << SMALLEST_SHIFT).next_power_of_two()],
            };
        }
        &mut buffer[..len]
    }

    /// The command in `slot` is over.
    pub(crate) fn free(&mut self, slot: u16) {
        let Some(buffer) = self.slots.get_mut(usize::from(slot)).filter(|buffer| !buffer.is_empty()) else {
            return;
        };
        let buffer = std::mem::take(buffer);
        if let Some(pool) =
            self.pool.get_mut(class(buffer.len())).filter(|_| self.kept + buffer.len() <= KEEP)
        {
            self.kept += buffer.len();
            pool.push(buffer);
        }
    }

    /// What `payload` names; nothing where there is no such memory.
    pub(crate) fn bytes(&self, payload: Payload) -> &[u8] {
        let range = range(payload);
        self.slots.get(usize::from(payload.slot)).and_then(|buffer| buffer.get(range)).unwrap_or_default()
    }

    /// What `payload` names; nothing where there is no such memory.
    pub(crate) fn bytes_mut(&mut self, payload: Payload) -> &mut [u8] {
        let range = range(payload);
        self.slots
            .get_mut(usize::from(payload.slot))
            .and_then(|buffer| buffer.get_mut(range))
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
    use super::*;

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
