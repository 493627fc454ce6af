//! Which data is likely to come next. Controllers mostly answer reads in the order in which they got them, so that data
//! can be received where it belongs before its header is here.

use std::collections::VecDeque;
use std::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::{Completion, Connection, Door, Foreseen, Gaps, Incoming, State};
use crate::proto::CommandId;
use crate::proto::frame::LONG;
use crate::proto::slots::{Slot, Slots};
use crate::proto::transmit::Payload;
use crate::spec::completion::{Cqe, Status};
use crate::spec::pdu::{CapsuleResp, CommonHeader, DATA_HEADER_LEN, DataPdu, Flags, Layout, PduType};
use crate::trials::Trials;

/// How long data is, in bytes, that is foreseen: shorter is copied as fast, longer is received behind its header.
const WORTH: Range<u32> = 4096..LONG;

/// The reads that are waited for, and whether their answers come in this order.
#[derive(Debug)]
pub(super) struct Order {
    /// Oldest first; among them some that are answered.
    reads: VecDeque<CommandId>,
    /// Their responses come in capsules of their own, as that of the last one did.
    respond: bool,
    /// The one whose response comes next, then: all of its data is here.
    awaited: Option<CommandId>,
    trials: Trials,
}

impl Order {
    pub(super) fn new(depth: u32) -> Self {
        let reads = VecDeque::with_capacity(2 * depth as usize);
        Self { reads, respond: false, awaited: None, trials: Trials::default() }
    }

    /// All data of a read is here, with its end or without.
    pub(super) fn whole(&mut self, id: CommandId, success: bool) {
        self.respond = !success;
        self.awaited = (!success).then_some(id);
    }

    /// A response is here: its ID may soon be another command's.
    pub(super) fn answered(&mut self, id: CommandId) {
        self.awaited = self.awaited.filter(|awaited| *awaited != id);
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
    /// with what comes between them: what is left of the PDU at hand, if [`door`](Self::door) says that it is in the midst
    /// of one, then the data of PDUs as [`take_foreseen`](Self::take_foreseen) takes. Nothing where no more is known than
    /// that, where one of these reads is too short or too long for it or was given up, or where it was wrong time after time.
    /// Until the last of them is taken, or what came is put in line, nothing may be submitted or given up, and nothing
    /// consumed but a [foreseen response](Self::is_foreseen_response); should one slot be named twice, the second is wrong.
    pub fn foresee(&mut self, ahead: &mut Vec<Payload>, count: usize, mut most: u32) -> Gaps {
        let mut gaps = Gaps::default();
        let layout = self.framer.layout();
        if layout.header_digest
            || layout.data_digest
            || self.state != State::Open
            || !self.may_foresee()
            || !self.order.trials.begin()
        {
            return gaps;
        }
        match (self.door(), self.incoming) {
            (Door::InPlace(rest), Some(incoming)) if rest.len <= most => {
                let ends = self.slots.get(incoming.command).is_some_and(|slot| slot.moved == slot.len);
                if !ends {
                    return gaps;
                }
                gaps = Gaps { first: 0, others: Gaps::of(!incoming.success) };
                ahead.push(rest);
                most -= rest.len;
            }
            (Door::Consume, None) if self.framer.is_between() => {
                gaps = Gaps {
                    first: Gaps::of(self.order.awaited.is_some()),
                    others: Gaps::of(self.order.respond),
                };
            }
            _ => return gaps,
        }
        let begun = ahead.len();
        let (mut answered, mut unfit) = (0, false);
        for id in &self.order.reads {
            let Some(slot) = self.slots.get(*id).filter(|slot| slot.is_unanswered_read()) else {
                // Those between others are left for later.
                answered += usize::from(ahead.len() == begun);
                continue;
            };
            let whole = slot.len.saturating_add(gaps.before(ahead.len()) as u32);
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
        gaps
    }

    /// Whether these bytes are the response that [`foresee`](Self::foresee) had put before a header: then
    /// [`consume`](Self::consume) takes them. It may not take another one there, which might end a read whose memory holds
    /// what was received.
    pub fn is_foreseen_response(&self, bytes: &[u8]) -> bool {
        let Some(awaited) = self.order.awaited.filter(|_| self.framer.is_between()) else { return false };
        let capsule = CapsuleResp::ref_from_bytes(bytes);
        capsule.is_ok_and(|capsule| {
            capsule.common == CommonHeader::bare(PduType::CapsuleResp)
                && CommandId::from_wire(capsule.cqe.cid.get()) == awaited
        })
    }

    /// Takes the header of a PDU that brings all of a command's data, `at`, and ends the command unless a response is to
    /// follow; or says that it is another. `here` bytes that came behind it are in place: where that is not all of the data,
    /// the rest comes next.
    pub fn take_foreseen(&mut self, header: &[u8; DATA_HEADER_LEN], at: Payload, here: usize) -> Foreseen {
        let success = !self.order.respond;
        let waits = |slot: &Slot| slot.is_unanswered_read() && slot.len == at.len && !slot.cancelled;
        let found = self.slots.at(at.slot).filter(|(_, slot)| waits(slot));
        let Some((command, slot)) = found.filter(|_| self.framer.is_between()) else {
            return Foreseen::Another;
        };
        let mut flags = Flags::LAST;
        flags.set(Flags::SUCCESS, success);
        let common = Layout::default().common_header(PduType::C2hData, flags, at.len);
        // Whatever would be looked for in a header has to be so in this one.
        if DataPdu::new(common, command.to_wire(), 0, 0, at.len).as_bytes() != header {
            return Foreseen::Another;
        }
        if let Some(watcher) = &self.watcher {
            watcher.tell(false, header);
        }
        self.framer.note_data(at.len);
        slot.moved = at.len;
        if here >= at.len as usize {
            if !success {
                self.order.whole(command, success);
                return Foreseen::Begun;
            }
            self.slots.release(command);
            let cqe = Cqe::new(command.to_wire(), Status::SUCCESS, 0);
            return Foreseen::Completed(Completion { command, cqe, fault: None, cancelled: false });
        }
        self.framer.begin_data(header, at.len);
        let incoming = Incoming { command, start: 0, len: at.len, left: at.len, digest: false, success };
        self.incoming = Some(incoming);
        self.advance(here);
        Foreseen::Begun
    }

    /// What came was as [foreseen](Self::foresee), or not: the more often it is not, the less often it is tried.
    pub fn came_as_foreseen(&mut self, right: bool) {
        self.order.trials.end(right);
    }
}
