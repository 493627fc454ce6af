//! One queue's connection, from the host's side.

mod foresee;
mod receive;
mod types;

use std::collections::VecDeque;
use std::time::Instant;

use zerocopy::{Immutable, IntoBytes};

use crate::proto::frame::{Frame, Framer, Sender};
use crate::proto::slots::{Direction, MAX_SLOTS, Slots};
use crate::proto::transmit::{Payload, Segment, Transmit};
use crate::proto::{CommandId, Violation};
use crate::spec::command::{Sqe, fabrics};
use crate::spec::pdu::{CapsuleCmd, Flags, IcReq, Layout, MIN_MAXH2CDATA, PduType};
use crate::spec::sgl::Sgl;
use crate::trace::Watcher;

use foresee::Order;
pub use types::{
    ADMIN_IN_CAPSULE, Completion, ConnectionConfig, DataFault, Door, Event, Foreseen, Gaps, Negotiated,
    SubmitError, Transfer, Wants,
};

/// Data of a command that is being received.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    command: CommandId,
    /// Where in the command's data the PDU's data begins, and how long it is.
    start: u32,
    len: u32,
    left: u32,
    digest: bool,
    success: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// ICReq is queued or sent.
    Initializing,
    Open,
    /// A violation was found, or the controller terminated the connection.
    Over,
}

/// The host's side of one queue's connection.
///
/// # The call contract
/// - **Commands** go in by [`submit`](Self::submit), which names their data by length only; the slot in
///   the [`CommandId`] is the driver's key to the memory (or file, or registered buffer) behind it.
/// - **Sending**: [`fill_digests`](Self::fill_digests) or [`fill_next_digests`](Self::fill_next_digests), then
///   [`segments`](Self::segments), then
///   [`sent`](Self::sent) with what the socket took. Payload is named as (slot, offset, length), and the
///   driver gathers it from where it is.
/// - **Receiving** has three doors with the same events. By [`consume`](Self::consume), bytes that arrived
///   anywhere go in and pieces of data come out as [`Event::Data`], to be copied. Where
///   [`door`](Self::door) says [`Door::InPlace`], data may be received into place and told by
///   [`advance`](Self::advance). Where it does not but [`expects_long_data`](Self::expects_long_data), little
///   is received, lest long data come before its place is known. And by [`foresee`](Self::foresee) short data is
///   received into place before its header is known: [`take_foreseen`](Self::take_foreseen) says whether that was right,
///   and from where on it was not, [`consume`](Self::consume) takes what came.
/// - After each, [`next_event`](Self::next_event) until it gives `None`: [`Event::CheckDigest`] is
///   answered before the next call.
/// - **A buffer is lent** from `submit` until its [`Event::Completed`] or [`Event::Released`]; a completion
///   is held back while pieces of the command's data are still to be sent.
/// - An `Err` ends the connection: send what [`segments`](Self::segments) still holds (the TermReq), close.
#[derive(Debug)]
pub struct Connection {
    config: ConnectionConfig,
    state: State,
    framer: Framer,
    transmit: Transmit,
    /// How PDUs that are sent are laid out.
    layout: Layout,
    maxh2cdata: u32,
    in_capsule: u32,
    slots: Slots,
    order: Order,
    incoming: Option<Incoming>,
    /// Commands whose response is in, in that order; each waits for its data to be sent.
    answered: VecDeque<CommandId>,
    events: VecDeque<Event<'static>>,
    watcher: Option<Watcher>,
}

impl Connection {
    /// A connection whose first bytes to send are ICReq.
    pub fn new(config: ConnectionConfig) -> Self {
        let depth = config.depth.clamp(1, MAX_SLOTS);
        let mut transmit = Transmit::default();
        let request = IcReq::new(config.hpda, config.header_digest, config.data_digest, config.maxr2t);
        transmit.push(&Layout::default(), &request, None);
        Self {
            state: State::Initializing,
            framer: Framer::new(Sender::Controller),
            transmit,
            layout: Layout::default(),
            maxh2cdata: MIN_MAXH2CDATA,
            in_capsule: ADMIN_IN_CAPSULE,
            slots: Slots::new(depth),
            order: Order::new(depth),
            incoming: None,
            answered: VecDeque::with_capacity(depth as usize),
            events: VecDeque::with_capacity(8),
            watcher: None,
            config,
        }
    }

    /// Tells `watcher` of every PDU, of the ICReq that waits to be sent first.
    pub(crate) fn watch(&mut self, watcher: Watcher) {
        if let Some(Segment::Bytes(request)) = self.transmit.segments().next() {
            watcher.tell(true, request);
        }
        self.watcher = Some(watcher);
    }

    /// The most data that goes along with a command on an I/O queue, in bytes: IOCCSZ x 16 - 64.
    pub fn set_in_capsule_limit(&mut self, bytes: u32) {
        self.in_capsule = bytes;
    }

    /// How many commands can be submitted now.
    pub fn room(&self) -> usize {
        if self.state == State::Open { self.slots.free() } else { 0 }
    }

    /// How many commands are outstanding.
    pub fn outstanding(&self) -> usize {
        self.slots.outstanding()
    }

    /// Whether commands can be submitted, slots permitting.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Queues a command. `sqe`'s CID and SGL are filled in here.
    pub fn submit(
        &mut self,
        sqe: &Sqe,
        data: Transfer,
        deadline: Option<Instant>,
    ) -> Result<CommandId, SubmitError> {
        if self.state != State::Open {
            return Err(SubmitError::NotOpen);
        }
        let (direction, len) = match data {
            Transfer::None => (Direction::None, 0),
            Transfer::Read(len) => (Direction::Read, len),
            Transfer::Write(len) => (Direction::Write, len),
        };
        let full = SubmitError::Full(self.slots.outstanding());
        let id = self.slots.take(direction, len, deadline).ok_or(full)?;
        let limit = if sqe.opcode == fabrics::OPCODE { ADMIN_IN_CAPSULE } else { self.in_capsule };
        let in_capsule = direction == Direction::Write && len > 0 && len <= limit;
        let mut sqe = *sqe;
        sqe.cid = id.to_wire().into();
        sqe.sgl = if in_capsule { Sgl::in_capsule(len) } else { Sgl::transport(len) };
        let carried = if in_capsule { len } else { 0 };
        let common = self.layout.common_header(PduType::CapsuleCmd, Flags::empty(), carried);
        let payload = in_capsule.then_some(Payload { slot: id.slot(), offset: 0, len });
        let command = CapsuleCmd { common, sqe };
        send(&mut self.transmit, self.watcher.as_ref(), &self.layout, &command, payload);
        match direction {
            Direction::Read => self.order.push(id, &mut self.slots),
            Direction::Write if in_capsule => {
                if let Some(slot) = self.slots.get(id) {
                    slot.unsent = 1;
                    slot.moved = len;
                }
            }
            _ => {}
        }
        Ok(id)
    }

    /// Gives a command up. A read's buffer is free at once, provided that nothing is being received into it by
    /// [`Door::InPlace`] or as [foreseen](Self::foresee) at this moment; a write's when [`Event::Released`] or
    /// [`Event::Completed`] says so, which this returns `false` for. The command itself stays outstanding until its
    /// response.
    pub fn cancel(&mut self, id: CommandId) -> bool {
        let Some(slot) = self.slots.get(id) else { return true };
        slot.cancelled = true;
        slot.unsent == 0
    }

    /// Gives the connection up: nothing is sent or received any more. The commands that were outstanding; their
    /// buffers are free.
    pub fn abandon(&mut self) -> Vec<CommandId> {
        self.state = State::Over;
        self.transmit = Transmit::default();
        self.incoming = None;
        self.answered.clear();
        self.events.clear();
        let outstanding: Vec<_> = self.slots.iter().map(|(id, _)| id).collect();
        for id in &outstanding {
            self.slots.release(*id);
        }
        outstanding
    }

    /// The first command whose deadline is not after `now`.
    pub fn expired(&mut self, now: Instant) -> Option<CommandId> {
        self.slots.look_for_deadlines(now);
        if self.slots.earliest().is_none_or(|at| at > now) {
            return None;
        }
        self.slots.iter().find(|(_, slot)| slot.deadline.is_some_and(|at| at <= now)).map(|(id, _)| id)
    }

    /// When to ask again whether a command has [`expired`](Self::expired): none does before. It may be the deadline of
    /// one that is done meanwhile, unless [`look_for_deadlines`](Self::look_for_deadlines) was asked up to here.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.slots.earliest()
    }

    /// Makes [`next_deadline`](Self::next_deadline) that of an outstanding command, unless it is after `horizon` in any
    /// case; takes time only where it is not.
    pub fn look_for_deadlines(&mut self, horizon: Instant) {
        self.slots.look_for_deadlines(horizon);
    }

    /// Fills in the data digests of what is to be sent: CRC-32C of each payload it is asked for.
    pub fn fill_digests(&mut self, digest: impl FnMut(Payload) -> u32) {
        if self.transmit.wants_digests() {
            self.transmit.fill_digests(digest);
        }
    }

    /// The same for what is sent next; once that is [sent](Self::sent), it is called again. For `at_once` see
    /// [`Transmit::fill_next_digests`].
    pub fn fill_next_digests(&mut self, at_once: impl Fn(u32) -> usize, digest: impl FnMut(Payload) -> u32) {
        if self.transmit.wants_digests() {
            self.transmit.fill_next_digests(at_once, digest);
        }
    }

    /// What to send, in order, as far as digests are filled in.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> + Clone {
        self.transmit.segments()
    }

    /// Which way the socket is wanted.
    pub fn wants(&self) -> Wants {
        Wants {
            write: !self.transmit.is_empty(),
            read: self.state == State::Initializing || self.slots.outstanding() > 0,
        }
    }

    /// The first `n` bytes of [`segments`](Self::segments) were sent.
    pub fn sent(&mut self, n: usize) {
        let (slots, events) = (&mut self.slots, &mut self.events);
        self.transmit.sent(n, |index, last| {
            if let Some((id, slot)) = slots.at(index) {
                slot.unsent = slot.unsent.saturating_sub(1);
                if last {
                    slot.r2ts = slot.r2ts.saturating_sub(1);
                }
                if slot.cancelled && slot.unsent == 0 && slot.cqe.is_none() {
                    events.push_back(Event::Released(id));
                }
            }
        });
    }

    /// The next thing that happened, without new bytes.
    #[inline]
    pub fn next_event(&mut self) -> Option<Event<'static>> {
        if self.events.is_empty() && self.answered.is_empty() { None } else { self.find_event() }
    }

    fn find_event(&mut self) -> Option<Event<'static>> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        for at in 0..self.answered.len() {
            let id = *self.answered.get(at)?;
            if self.slots.get(id).is_none_or(|slot| slot.unsent > 0) {
                continue;
            }
            // Mostly the first.
            if at == 0 {
                self.answered.pop_front()
            } else {
                self.answered.remove(at)
            };
            return self.complete(id).map(Event::Completed);
        }
        None
    }

    fn complete(&mut self, id: CommandId) -> Option<Completion> {
        let slot = self.slots.get(id)?;
        let cqe = slot.cqe?;
        let mut fault = slot.digest_wrong.then_some(DataFault::Digest);
        if slot.direction == Direction::Read && cqe.status().is_success() && slot.moved < slot.len {
            fault = fault.or(Some(DataFault::Short { got: slot.moved, expected: slot.len }));
        }
        let cancelled = slot.cancelled;
        self.slots.release(id);
        Some(Completion { command: id, cqe, fault, cancelled })
    }

    /// The data that [`Event::CheckDigest`] spoke of has another digest: its command will fail.
    pub fn digest_mismatch(&mut self, slot: u16) {
        if let Some((_, slot)) = self.slots.at(slot) {
            slot.digest_wrong = true;
        }
    }

    /// Which door the next received bytes best come in by.
    pub fn door(&mut self) -> Door {
        let left = self.framer.data_next();
        match self.incoming {
            Some(incoming) if left > 0 => {
                if self.slots.get(incoming.command).is_none_or(|slot| slot.cancelled) {
                    return Door::Discard(left);
                }
                let offset = incoming.start + (incoming.len - left);
                Door::InPlace(Payload { slot: incoming.command.slot(), offset, len: left })
            }
            _ => Door::Consume,
        }
    }

    /// Whether long data is likely to come next; as long as [`door`](Self::door) does not say where it goes, little should
    /// be received, or it is copied.
    pub fn expects_long_data(&self) -> bool {
        self.framer.expects_long_data()
    }

    /// `n` bytes were received where [`Door::InPlace`] or [`Door::Discard`] said.
    pub fn advance(&mut self, n: usize) {
        self.framer.advance(n as u32);
        self.data_received(n as u32);
    }

    /// Takes bytes off the front of `input` until something happens; `None` when all of it is taken.
    /// Events that need no bytes come out first, so this alone is enough to drain them.
    pub fn consume<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        loop {
            if let Some(event) = self.next_event() {
                return Ok(Some(event));
            }
            if self.state == State::Over {
                *input = &[];
                return Ok(None);
            }
            let next = self.framer.next(input);
            if let (Some(watcher), Ok(Some(Frame::Header { .. })) | Err(_)) = (&self.watcher, &next) {
                watcher.tell(false, self.framer.quote());
            }
            let handled = match next {
                Ok(None) => return Ok(None),
                Ok(Some(Frame::Data(bytes))) => match self.incoming {
                    Some(incoming) => {
                        let offset = incoming.start + (incoming.len - incoming.left);
                        self.data_received(bytes.len() as u32);
                        if self.slots.get(incoming.command).is_some_and(|slot| !slot.cancelled) {
                            let slot = incoming.command.slot();
                            let to = Payload { slot, offset, len: bytes.len() as u32 };
                            return Ok(Some(Event::Data { to, bytes }));
                        }
                        Ok(())
                    }
                    // What a TermReq quotes.
                    None => Ok(()),
                },
                Ok(Some(Frame::Digest(digest))) => {
                    self.digest_received(digest);
                    Ok(())
                }
                Ok(Some(Frame::Header { pdu, data, digest })) => self.header(&pdu, data, digest),
                Err(violation) => Err(violation),
            };
            handled.inspect_err(|violation| self.terminate(violation))?;
        }
    }
}

/// Queues a PDU to be sent.
fn send<H: IntoBytes + Immutable>(
    transmit: &mut Transmit,
    watcher: Option<&Watcher>,
    layout: &Layout,
    header: &H,
    payload: Option<Payload>,
) {
    if let Some(watcher) = watcher {
        watcher.tell(true, header.as_bytes());
    }
    transmit.push(layout, header, payload);
}
