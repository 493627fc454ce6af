//! The commands of one queue that are not answered yet.

use nvme_tcp::spec::command::Sqe;

/// The most slots of a queue: a TTAG has 12 bits for the slot, and 4 for the R2T.
pub(super) const MAX_SLOTS: usize = 1 << 12;

/// How far a command is.
///
/// ```text
///        write data                granted             all there
/// Free ------------> Asking ------------> Receiving ------------> Executing
///   |  \              |  refused                                   |
///   |   `-- no data --+------------------------------------------->|
///   ^                 v                                            | answered
///   +--------------- Sending <-------------------------------------+
///        all sent
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No command.
    Free,
    /// Its owner was asked for memory and has not answered.
    Asking,
    /// Its write data is coming.
    Receiving,
    /// Its owner has it.
    Executing,
    /// It is answered; some of its data is still to be sent.
    Sending,
}

/// One command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) stage: Stage,
    pub(super) sqe: Sqe,
    /// Write: how much data there is, how much R2Ts asked for, and how much came, in bytes.
    pub(super) len: u32,
    pub(super) asked: u32,
    pub(super) received: u32,
    /// Read: pieces of data that are queued and not sent.
    pub(super) unsent: u32,
    pub(super) digest_wrong: bool,
}

/// All slots of a queue, and which command IDs are in use.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// One bit for each command ID.
    cids: Box<[u64; 1024]>,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        let mut slots = Self { slots: Vec::new(), free: Vec::new(), cids: Box::new([0; 1024]) };
        slots.grow(count);
        slots
    }

    /// Makes it `count` slots, unless they are that many already.
    pub(super) fn grow(&mut self, count: usize) {
        let idle = Slot {
            stage: Stage::Free,
            sqe: Sqe::default(),
            len: 0,
            asked: 0,
            received: 0,
            unsent: 0,
            digest_wrong: false,
        };
        let (from, to) = (self.slots.len(), count.min(MAX_SLOTS));
        if from < to {
            self.slots.resize(to, idle);
            self.free.extend((from as u16..to as u16).rev());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_cid_taken(&self, cid: u16) -> bool {
        self.cids.get(usize::from(cid >> 6)).is_some_and(|word| word & 1 << (cid & 63) != 0)
    }

    fn flip_cid(&mut self, cid: u16) {
        if let Some(word) = self.cids.get_mut(usize::from(cid >> 6)) {
            *word ^= 1 << (cid & 63);
        }
    }

    /// Takes a slot for a command whose ID is not taken; `None` when all are.
    pub(super) fn take(&mut self, sqe: &Sqe, stage: Stage, len: u32) -> Option<u16> {
        let index = self.free.pop()?;
        let slot = self.slots.get_mut(usize::from(index))?;
        *slot = Slot { stage, sqe: *sqe, len, asked: 0, received: 0, unsent: 0, digest_wrong: false };
        self.flip_cid(sqe.cid.get());
        Some(index)
    }

    /// The command in this slot, if there is one.
    pub(super) fn get(&mut self, index: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(index)).filter(|slot| slot.stage != Stage::Free)
    }

    pub(super) fn release(&mut self, index: u16) {
        if let Some(slot) = self.get(index) {
            slot.stage = Stage::Free;
            let cid = slot.sqe.cid.get();
            self.flip_cid(cid);
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(cid: u16) -> Sqe {
        Sqe { cid: cid.into(), ..Sqe::default() }
    }

    #[test]
    fn a_command_id_is_taken_until_its_slot_is_released() {
        let mut slots = Slots::new(2);
        for cid in [0, 63, 64, 0xffff] {
            assert!(!slots.is_cid_taken(cid));
            let slot = slots.take(&command(cid), Stage::Executing, 0).unwrap();
            assert!(slots.is_cid_taken(cid));
            slots.release(slot);
            slots.release(slot);
            assert!(!slots.is_cid_taken(cid));
        }
        assert_eq!(slots.outstanding(), 0);
    }

    #[test]
    fn slots_grow_and_never_shrink() {
        let mut slots = Slots::new(1);
        let first = slots.take(&command(1), Stage::Executing, 0).unwrap();
        assert!(slots.take(&command(2), Stage::Executing, 0).is_none());
        slots.grow(2);
        slots.grow(1);
        let second = slots.take(&command(2), Stage::Executing, 0).unwrap();
        assert_ne!(first, second);
        assert_eq!((slots.len(), slots.outstanding()), (2, 2));
    }
}
