//! Which data is likely to come next. Controllers mostly answer reads in the order in which they got them, so that data
//! can be received where it belongs before its header is here.

use std::collections::VecDeque;
use std::ops::Range;

use zerocopy::IntoBytes;

use super::{Completion, Connection, Door, Foreseen, Incoming, State};
use crate::proto::CommandId;
use crate::proto::frame::LONG;
use crate::proto::slots::{Slot, Slots};
use crate::proto::transmit::Payload;
use crate::spec::completion::{Cqe, Status};
use crate::spec::pdu::{DATA_HEADER_LEN, DataPdu, Flags, Layout, PduType};
use crate::trials::Trials;

/// How long data is, in bytes, that is foreseen: shorter is copied as fast, longer is received behind its header.
const WORTH: Range<u32> = 4096..LONG;

/// The reads that are waited for, and whether their answers come in this order.
#[derive(Debug)]
pub(super) struct Order {
    /// Oldest first; among them some that are answered.
    reads: VecDeque<CommandId>,
    trials: Trials,
}

impl Order {
    pub(super) fn new(depth: u32) -> Self {
        Self { reads: VecDeque::with_capacity(2 * depth as usize), trials: Trials::default() }
    }

    /// A read is submitted.
    pub(super) fn push(&mut self, id: CommandId, slots: &mut Slots) {
        // Nobody has asked for some time, or the first is not answered for long. As long as half of them at most are
        // outstanding, this is seldom.
        if self.reads.len() == self.reads.capacity() {
            self.reads.retain(|id| slots.get(*id).is_some_and(|slot| slot.is_unanswered_read()));
        }
        self.reads.push_back(id);
    }
}

impl Connection {
    /// Whether [`foresee`](Self::foresee) may find anything: cheap enough for a look before each receive. Not where other
    /// commands are outstanding than reads, whose answers come in between.
    #[inline]
    pub fn may_foresee(&self) -> bool {
        !self.order.reads.is_empty() && !self.slots.has_others()
    }

    /// Puts to `ahead`, which is empty, where the next data is likely to belong, at most `count` pieces and `most` bytes
    /// with the headers before them: what is left of the PDU at hand, if [`door`](Self::door) says that it is in the midst
    /// of one, then the data of PDUs as [`take_foreseen`](Self::take_foreseen) takes. Nothing where no more is known than
    /// that, where one of these reads is too short or too long for it or was given up, or where it was wrong time after time.
    /// Until the last of them is taken, nothing may be submitted or given up; should one slot be named twice, the second is
    /// wrong.
    pub fn foresee(&mut self, ahead: &mut Vec<Payload>, count: usize, mut most: u32) {
        let layout = self.framer.layout();
        if layout.header_digest
            || layout.data_digest
            || self.state != State::Open
            || !self.may_foresee()
            || !self.order.trials.begin()
        {
            return;
        }
        match (self.door(), &self.incoming) {
            (Door::InPlace(rest), Some(incoming)) if incoming.success && rest.len <= most => {
                ahead.push(rest);
                most -= rest.len;
            }
            (Door::Consume, None) if self.framer.is_between() => {}
            _ => return,
        }
        let begun = ahead.len();
        let (mut answered, mut unfit) = (0, false);
        for id in &self.order.reads {
            let Some(slot) = self.slots.get(*id).filter(|slot| slot.is_unanswered_read()) else {
                // Those between others are left for later.
                answered += usize::from(ahead.len() == begun);
                continue;
            };
            let whole = slot.len.saturating_add(DATA_HEADER_LEN as u32);
            if whole > most || ahead.len() >= count {
                break;
            }
            unfit = !WORTH.contains(&slot.len) || slot.cancelled;
            if unfit {
                break;
            }
            ahead.push(Payload { slot: id.slot(), offset: 0, len: slot.len });
            most -= whole;
        }
        self.order.reads.drain(..answered);
        // What is behind one that is unfit would take a receive of its own: the ring has room for both.
        if unfit || ahead.len() == begun {
            ahead.clear();
        }
    }

    /// Takes the header of a PDU that brings all of a command's data, `at`, and ends the command, or says that it is
    /// another. `here` bytes that came behind it are in place: where that is not all of the data, the rest comes next.
    pub fn take_foreseen(&mut self, header: &[u8; DATA_HEADER_LEN], at: Payload, here: usize) -> Foreseen {
        let waits = |slot: &Slot| slot.is_unanswered_read() && slot.len == at.len && !slot.cancelled;
        let found = self.slots.at(at.slot).filter(|(_, slot)| waits(slot));
        let Some((command, slot)) = found.filter(|_| self.framer.is_between()) else {
            return Foreseen::Another;
        };
        let common = Layout::default().common_header(PduType::C2hData, Flags::LAST | Flags::SUCCESS, at.len);
        // Whatever would be looked for in a header has to be so in this one.
        if DataPdu::new(common, command.to_wire(), 0, 0, at.len).as_bytes() != header {
            return Foreseen::Another;
        }
        if let Some(watcher) = &self.watcher {
            watcher.tell(false, header);
        }
        self.framer.note_data(at.len);
        if here >= at.len as usize {
            self.slots.release(command);
            let cqe = Cqe::new(command.to_wire(), Status::SUCCESS, 0);
            return Foreseen::Completed(Completion { command, cqe, fault: None, cancelled: false });
        }
        self.framer.begin_data(header, at.len);
        slot.moved = at.len;
        let incoming =
            Incoming { command, start: 0, len: at.len, left: at.len, digest: false, success: true };
        self.incoming = Some(incoming);
        self.advance(here);
        Foreseen::Begun
    }

    /// What came was as [foreseen](Self::foresee), or not: the more often it is not, the less often it is tried.
    pub fn came_as_foreseen(&mut self, right: bool) {
        self.order.trials.end(right);
    }
}
