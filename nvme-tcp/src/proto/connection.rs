//! One queue's connection, from the host's side.

use std::collections::VecDeque;
use std::time::Instant;

use super::frame::{Frame, Framer, Pdu, Sender};
use super::slots::{Direction, MAX_SLOTS, Slots};
use super::transmit::{Payload, Segment, Transmit};
use super::{CommandId, Violation};
use crate::spec::command::{Sqe, fabrics};
use crate::spec::completion::{Cqe, Status};
use crate::spec::pdu::{
    CapsuleCmd, DataPdu, FatalStatus, Flags, IcReq, IcResp, Layout, MIN_MAXH2CDATA, PduType, R2t, TermReq,
    alignment_from_pda,
};
use crate::spec::sgl::Sgl;

/// The in-capsule limit of every admin and fabrics command in bytes (TCP, section 3.3.2.1).
pub const ADMIN_IN_CAPSULE: u32 = 8192;

/// What this host wants of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Commands outstanding at once, 1 to 4,096.
    pub depth: u32,
    /// Ask for header digests; a controller that declines is a violation unless `digests_optional`.
    pub header_digest: bool,
    /// Ask for data digests.
    pub data_digest: bool,
    /// Take a controller's word that it does without a digest that was asked for.
    pub digests_optional: bool,
    /// R2Ts that the controller may have outstanding for one command, 0-based.
    pub maxr2t: u32,
    /// HPDA: where received data is to begin, 0-based dwords, 0 to 31.
    pub hpda: u8,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            depth: 31,
            header_digest: false,
            data_digest: false,
            digests_optional: false,
            maxr2t: 0,
            hpda: 0,
        }
    }
}

/// What ICReq and ICResp agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Header digests are in force.
    pub header_digest: bool,
    /// Data digests are in force.
    pub data_digest: bool,
    /// Where sent data begins: a multiple of this many bytes.
    pub alignment: u32,
    /// The most data in one H2CData PDU in bytes.
    pub maxh2cdata: u32,
}

/// What was wrong with a command's data though its connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFault {
    /// A data digest did not match what came.
    Digest,
    /// The controller reported success and had sent less than was asked for.
    Short {
        /// Bytes received.
        got: u32,
        /// Bytes asked for.
        expected: u32,
    },
}

/// A command that is done: its buffer belongs to its owner again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which command.
    pub command: CommandId,
    /// What the controller said.
    pub cqe: Cqe,
    /// What the data had to say about that.
    pub fault: Option<DataFault>,
    /// Whether [`Connection::cancel`] was called for it.
    pub cancelled: bool,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The connection takes commands now.
    Open(Negotiated),
    /// Copy `bytes` to the command's data at `to`. Only from [`Connection::consume`].
    Data {
        /// Where they belong.
        to: Payload,
        /// What was received.
        bytes: &'a [u8],
    },
    /// A data PDU is whole: call [`Connection::digest_mismatch`] unless the CRC-32C of `of` is `digest`.
    CheckDigest {
        /// Which data.
        of: Payload,
        /// The digest that came.
        digest: u32,
    },
    /// A command is done.
    Completed(Completion),
    /// A cancelled write's buffer is free, though the command is not done.
    Released(CommandId),
    /// The controller gave the connection up: FES, FEI.
    Terminated(u16, u32),
}

/// Which door the next received bytes best come in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Receive straight into the command's data here, then [`Connection::advance`].
    InPlace(Payload),
    /// Receive and throw away at most this many bytes (the data of a cancelled read), then
    /// [`Connection::advance`]; or receive anywhere and [`Connection::consume`].
    Discard(u32),
    /// Receive anywhere, then [`Connection::consume`].
    Consume,
}

/// Which way the socket is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Something is to be sent.
    pub write: bool,
    /// Something is to be received.
    pub read: bool,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Every slot is taken: complete something first.
    #[error("all {0} slots of the queue are taken")]
    Full(usize),
    /// ICReq and ICResp were not exchanged yet, or the connection is over.
    #[error("the connection takes no commands now")]
    NotOpen,
}

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
/// - **Sending**: [`fill_digests`](Self::fill_digests), then [`segments`](Self::segments), then
///   [`sent`](Self::sent) with what the socket took. Payload is named as (slot, offset, length), and the
///   driver gathers it from where it is.
/// - **Receiving** has two doors with the same events. By [`consume`](Self::consume), bytes that arrived
///   anywhere go in and pieces of data come out as [`Event::Data`], to be copied. Where
///   [`door`](Self::door) says [`Door::InPlace`], data may be received into place and told by
///   [`advance`](Self::advance).
/// - After either, [`next_event`](Self::next_event) until it gives `None`: [`Event::CheckDigest`] is
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
    incoming: Option<Incoming>,
    /// Commands whose response is in, in that order; each waits for its data to be sent.
    answered: VecDeque<CommandId>,
    events: VecDeque<Event<'static>>,
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
            incoming: None,
            answered: VecDeque::with_capacity(depth as usize),
            events: VecDeque::with_capacity(8),
            config,
        }
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
        self.transmit.push(&self.layout, &CapsuleCmd { common, sqe }, payload);
        if let Some(slot) = self.slots.get(id).filter(|_| in_capsule) {
            slot.unsent = 1;
            slot.moved = len;
        }
        Ok(id)
    }

    /// Gives a command up. A read's buffer is free at once, provided that nothing is being received into it
    /// by [`Door::InPlace`] at this moment; a write's when [`Event::Released`] or [`Event::Completed`] says
    /// so, which this returns `false` for. The command itself stays outstanding until its response.
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
    pub fn expired(&self, now: Instant) -> Option<CommandId> {
        self.slots.iter().find(|(_, slot)| slot.deadline.is_some_and(|at| at <= now)).map(|(id, _)| id)
    }

    /// The earliest deadline of a command that is outstanding.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|(_, slot)| slot.deadline).min()
    }

    /// Fills in the data digests of what is to be sent: CRC-32C of each payload it is asked for.
    pub fn fill_digests(&mut self, digest: impl FnMut(Payload) -> u32) {
        if self.transmit.wants_digests() {
            self.transmit.fill_digests(digest);
        }
    }

    /// What to send, in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
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
    pub fn next_event(&mut self) -> Option<Event<'static>> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        for at in 0..self.answered.len() {
            let id = *self.answered.get(at)?;
            if self.slots.get(id).is_none_or(|slot| slot.unsent > 0) {
                continue;
            }
            self.answered.remove(at);
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
                Ok(Some(Frame::Header { pdu, data, digest })) => self.header(pdu, data, digest),
                Err(violation) => Err(violation),
            };
            handled.inspect_err(|violation| self.terminate(violation))?;
        }
    }

    fn header(&mut self, pdu: Pdu, data: u32, digest: bool) -> Result<(), Violation> {
        match pdu {
            Pdu::IcResp(response) => self.initialize(&response),
            Pdu::CapsuleResp(capsule) => self.response(capsule.cqe),
            Pdu::C2hData(header) => self.data_header(&header, data, digest),
            Pdu::R2t(r2t) => self.ready_to_transfer(&r2t),
            Pdu::TermReq(term) => {
                self.state = State::Over;
                self.events.push_back(Event::Terminated(term.fes.get(), term.fei.get()));
                Ok(())
            }
            // The framer lets nothing through that only a host sends.
            Pdu::IcReq(_) | Pdu::CapsuleCmd(_) | Pdu::H2cData(_) => Ok(()),
        }
    }

    fn initialize(&mut self, response: &IcResp) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: &'static str| {
            Violation::field(PduType::IcResp, field, offset, got, expected)
                .told_as(FatalStatus::UnsupportedParameter)
        };
        if response.pfv.get() != 0 {
            return Err(wrong("PFV", 8, response.pfv.get().into(), "0"));
        }
        let alignment = alignment_from_pda(response.cpda)
            .ok_or_else(|| wrong("CPDA", 10, response.cpda.into(), "0 to 31"))?;
        let (header_digest, data_digest) = (response.dgst & 1 != 0, response.dgst & 2 != 0);
        let config = &self.config;
        if response.dgst & !3 != 0
            || header_digest && !config.header_digest
            || data_digest && !config.data_digest
        {
            return Err(wrong("DGST", 11, response.dgst.into(), "no digest that was not asked for"));
        }
        let declined = config.header_digest && !header_digest || config.data_digest && !data_digest;
        if declined && !config.digests_optional {
            return Err(wrong("DGST", 11, response.dgst.into(), "the digests that were asked for"));
        }
        let maxh2cdata = response.maxh2cdata.get();
        if maxh2cdata < MIN_MAXH2CDATA || maxh2cdata % 4 != 0 {
            return Err(wrong("MAXH2CDATA", 12, maxh2cdata, "at least 4096 and a multiple of 4"));
        }
        let hpda = alignment_from_pda(config.hpda).unwrap_or(4);
        self.framer.set_layout(Layout { header_digest, data_digest, alignment: hpda });
        self.layout = Layout { header_digest, data_digest, alignment };
        self.maxh2cdata = maxh2cdata;
        self.state = State::Open;
        let negotiated = Negotiated { header_digest, data_digest, alignment, maxh2cdata };
        self.events.push_back(Event::Open(negotiated));
        Ok(())
    }

    fn response(&mut self, cqe: Cqe) -> Result<(), Violation> {
        let id = CommandId::from_wire(cqe.cid.get());
        let slot = self.slots.get(id).filter(|slot| slot.cqe.is_none()).ok_or_else(|| {
            Violation::field(PduType::CapsuleResp, "CID", 20, cqe.cid.get(), "an outstanding command")
        })?;
        slot.cqe = Some(cqe);
        self.answered.push_back(id);
        Ok(())
    }

    fn data_header(&mut self, header: &DataPdu, data: u32, digest: bool) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: String| {
            Violation::field(PduType::C2hData, field, offset, got, expected)
        };
        let cid = header.cccid.get();
        let command = CommandId::from_wire(cid);
        let slot = self
            .slots
            .get(command)
            .filter(|slot| slot.direction == Direction::Read && slot.cqe.is_none())
            .ok_or_else(|| wrong("CCCID", 8, cid.into(), "an outstanding read".into()))?;
        let start = header.datao.get();
        if start != slot.moved {
            let expected = format!("{}, what has come so far", slot.moved);
            return Err(wrong("DATAO", 12, start, expected).told_as(FatalStatus::OutOfRange));
        }
        if data > slot.len - slot.moved {
            let expected = format!("at most {} of {}", slot.len - slot.moved, slot.len);
            return Err(wrong("DATAL", 16, data, expected).told_as(FatalStatus::OutOfRange));
        }
        slot.moved += data;
        let success = Flags::from_bits_retain(header.common.flags).contains(Flags::SUCCESS);
        self.incoming = Some(Incoming { command, start, len: data, left: data, digest, success });
        Ok(())
    }

    fn data_received(&mut self, n: u32) {
        let Some(incoming) = &mut self.incoming else { return };
        incoming.left = incoming.left.saturating_sub(n);
        if incoming.left == 0 && !incoming.digest {
            self.data_done();
        }
    }

    fn digest_received(&mut self, digest: u32) {
        let Some(incoming) = self.incoming else { return };
        if self.slots.get(incoming.command).is_some_and(|slot| !slot.cancelled) {
            let of = Payload { slot: incoming.command.slot(), offset: incoming.start, len: incoming.len };
            self.events.push_back(Event::CheckDigest { of, digest });
        }
        self.data_done();
    }

    fn data_done(&mut self) {
        let Some(incoming) = self.incoming.take().filter(|incoming| incoming.success) else { return };
        if let Some(slot) = self.slots.get(incoming.command) {
            slot.cqe = Some(Cqe::new(incoming.command.to_wire(), Status::SUCCESS, 0));
            self.answered.push_back(incoming.command);
        }
    }

    fn ready_to_transfer(&mut self, r2t: &R2t) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: String| {
            Violation::field(PduType::R2t, field, offset, got, expected)
        };
        let (cid, offset, len) = (r2t.cccid.get(), r2t.r2to.get(), r2t.r2tl.get());
        let command = CommandId::from_wire(cid);
        let slot = self
            .slots
            .get(command)
            .filter(|slot| slot.direction == Direction::Write && slot.cqe.is_none())
            .ok_or_else(|| wrong("CCCID", 8, cid.into(), "an outstanding write".into()))?;
        if offset != slot.moved {
            let expected = format!("{}, what was asked for so far", slot.moved);
            return Err(wrong("R2TO", 12, offset, expected).told_as(FatalStatus::OutOfRange));
        }
        if len == 0 || len > slot.len - slot.moved {
            let expected = format!("1 to {} of {}", slot.len - slot.moved, slot.len);
            return Err(wrong("R2TL", 16, len, expected).told_as(FatalStatus::OutOfRange));
        }
        if slot.r2ts > self.config.maxr2t {
            let expected = format!("{} R2Ts outstanding at most", self.config.maxr2t + 1);
            return Err(wrong("CCCID", 8, cid.into(), expected).told_as(FatalStatus::LimitExceeded));
        }
        slot.moved += len;
        if slot.cancelled {
            // Its buffer is its owner's again. No answer: the controller is told to abort the command.
            return Ok(());
        }
        slot.r2ts += 1;
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(self.maxh2cdata);
            let flags = if done + piece == len { Flags::LAST } else { Flags::empty() };
            let common = self.layout.common_header(PduType::H2cData, flags, piece);
            let header = DataPdu::new(common, cid, r2t.ttag.get(), offset + done, piece);
            let payload = Payload { slot: command.slot(), offset: offset + done, len: piece };
            self.transmit.push(&self.layout, &header, Some(payload));
            slot.unsent += 1;
            done += piece;
        }
        Ok(())
    }

    /// Ends the connection and tells the controller why.
    fn terminate(&mut self, violation: &Violation) {
        self.state = State::Over;
        let quote = self.framer.quote();
        let term = TermReq::new(PduType::H2cTermReq, violation.fes, violation.fei, quote.len());
        self.transmit.push(&self.layout, &term, None);
        self.transmit.push_bytes(quote);
    }
}

/// How long a command's data is, and which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// It has none.
    None,
    /// This many bytes come from the controller.
    Read(u32),
    /// This many bytes go to the controller.
    Write(u32),
}
