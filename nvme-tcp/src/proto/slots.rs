//! The command slots of a queue: who is outstanding, and how far it is.

use std::time::Instant;

use crate::spec::completion::Cqe;

/// CID: a slot in the low 12 bits and its generation in the high 4, so that a completion of an earlier
/// command in the same slot is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId(u16);

const SLOT_BITS: u32 = 12;

/// The most slots that a command ID can tell apart.
pub(super) const MAX_SLOTS: u32 = 1 << SLOT_BITS;

impl CommandId {
    pub(super) fn new(slot: u16, generation: u8) -> Self {
        Self(slot & (MAX_SLOTS as u16 - 1) | u16::from(generation) << SLOT_BITS)
    }

    pub(super) fn from_wire(cid: u16) -> Self {
        Self(cid)
    }

    /// The slot, an index below the queue's depth.
    pub fn slot(self) -> u16 {
        self.0 & (MAX_SLOTS as u16 - 1)
    }

    /// CID as it goes over the wire.
    pub fn to_wire(self) -> u16 {
        self.0
    }
}

/// Which way a command's data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    None,
    Read,
    Write,
}

/// One outstanding command.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    generation: u8,
    active: bool,
    pub(super) direction: Direction,
    pub(super) len: u32,
    /// Read: bytes received. Write: bytes that R2Ts have asked for.
    pub(super) moved: u32,
    /// Pieces of data that are queued and not sent.
    pub(super) unsent: u32,
    /// R2Ts whose data is not all sent; `unsent` pieces belong to them in order.
    pub(super) r2ts: u32,
    pub(super) cqe: Option<Cqe>,
    pub(super) digest_wrong: bool,
    pub(super) cancelled: bool,
    pub(super) deadline: Option<Instant>,
}

impl Slot {
    fn idle() -> Self {
        Self {
            generation: 0,
            active: false,
            direction: Direction::None,
            len: 0,
            moved: 0,
            unsent: 0,
            r2ts: 0,
            cqe: None,
            digest_wrong: false,
            cancelled: false,
            deadline: None,
        }
    }

    /// Whether it is a read of which nothing has come yet.
    pub(super) fn is_unanswered_read(&self) -> bool {
        self.direction == Direction::Read && self.moved == 0 && self.cqe.is_none()
    }
}

/// All slots of a queue.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// How many of those in use are no reads.
    others: usize,
    /// No deadline of an outstanding command is before this. Kept so that a look at it costs nothing, however many
    /// slots there are; exact only after [`look_for_deadlines`](Self::look_for_deadlines).
    earliest: Option<Instant>,
}

impl Slots {
    /// `count` free slots, at most [`MAX_SLOTS`].
    pub(super) fn new(count: u32) -> Self {
        let count = count.clamp(1, MAX_SLOTS) as u16;
        Self {
            slots: vec![Slot::idle(); count.into()],
            free: (0..count).rev().collect(),
            others: 0,
            earliest: None,
        }
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    pub(super) fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether commands are outstanding that are no reads.
    pub(super) fn has_others(&self) -> bool {
        self.others > 0
    }

    pub(super) fn take(
        &mut self,
        direction: Direction,
        len: u32,
        deadline: Option<Instant>,
    ) -> Option<CommandId> {
        let index = self.free.pop()?;
        let slot = self.slots.get_mut(usize::from(index))?;
        let generation = (slot.generation + 1) & 0xf;
        self.earliest = [self.earliest, deadline].into_iter().flatten().min();
        self.others += usize::from(direction != Direction::Read);
        *slot = Slot { generation, active: true, direction, len, deadline, ..Slot::idle() };
        Some(CommandId::new(index, generation))
    }

    /// The command with this ID, if it is outstanding.
    pub(super) fn get(&mut self, id: CommandId) -> Option<&mut Slot> {
        self.slots
            .get_mut(usize::from(id.slot()))
            .filter(|slot| slot.active && CommandId::new(id.slot(), slot.generation) == id)
    }

    /// The command in this slot, if there is one.
    pub(super) fn at(&mut self, index: u16) -> Option<(CommandId, &mut Slot)> {
        let slot = self.slots.get_mut(usize::from(index)).filter(|slot| slot.active)?;
        Some((CommandId::new(index, slot.generation), slot))
    }

    pub(super) fn release(&mut self, id: CommandId) {
        if let Some(slot) = self.get(id) {
            slot.active = false;
            let other = slot.direction != Direction::Read;
            self.others -= usize::from(other);
            self.free.push(id.slot());
        }
        if self.outstanding() == 0 {
            self.earliest = None;
        }
    }

    /// No deadline of an outstanding command is before this; `None` where none has one.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Makes [`earliest`](Self::earliest) exact, unless it is after `horizon` in any case.
    pub(super) fn look_for_deadlines(&mut self, horizon: Instant) {
        if self.earliest.is_some_and(|at| at <= horizon) {
            self.earliest = self.iter().filter_map(|(_, slot)| slot.deadline).min();
        }
    }

    /// Every outstanding command.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CommandId, &Slot)> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.active)
            .map(|(index, slot)| (CommandId::new(index as u16, slot.generation), slot))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stale_id_names_nothing() {
        let mut slots = Slots::new(1);
        let first = slots.take(Direction::None, 0, None).unwrap();
        assert!(slots.take(Direction::None, 0, None).is_none());
        slots.release(first);
        let second = slots.take(Direction::None, 0, None).unwrap();
        assert_eq!(first.slot(), second.slot());
        assert!(slots.get(first).is_none());
        assert!(slots.get(second).is_some());
        slots.release(first);
        assert_eq!(slots.outstanding(), 1);
    }

    #[test]
    fn the_earliest_deadline_is_exact_where_it_is_near() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut slots = Slots::new(4);
        assert_eq!(slots.earliest(), None);
        let ids = [30, 10, 20].map(|s| slots.take(Direction::None, 0, Some(at(s))).unwrap());
        slots.take(Direction::None, 0, None).unwrap();
        assert_eq!(slots.earliest(), Some(at(10)));
        // That of a command that is done stays until it is near.
        slots.release(ids[1]);
        slots.look_for_deadlines(at(9));
        assert_eq!(slots.earliest(), Some(at(10)));
        slots.look_for_deadlines(at(10));
        assert_eq!(slots.earliest(), Some(at(20)));
        slots.release(ids[0]);
        slots.release(ids[2]);
        slots.look_for_deadlines(at(30));
        assert_eq!(slots.earliest(), None, "what is left has no deadline");
    }

    #[test]
    fn generations_wrap_within_four_bits() {
        let mut slots = Slots::new(1);
        for _ in 0..40 {
            let id = slots.take(Direction::None, 0, None).unwrap();
            assert_eq!(id.slot(), 0);
            slots.release(id);
        }
    }
}
