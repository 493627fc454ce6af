//! One queue's connection, from the controller's side.

use std::collections::VecDeque;

use nvme_tcp::proto::{
    ADMIN_IN_CAPSULE, Door, Frame, Framer, Payload, Pdu, Segment, Sender, Transmit, Violation,
};
use nvme_tcp::spec::command::{PSDT_SGL, Sqe, fabrics};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::pdu::{
    CapsuleCmd, CapsuleResp, CommonHeader, DataPdu, FatalStatus, Flags, IcReq, IcResp, Layout,
    MIN_MAXH2CDATA, PduType, R2t, TermReq, alignment_from_pda,
};
use nvme_tcp::spec::sgl;
use zerocopy::{Immutable, IntoBytes};

use super::slots::{Slots, Stage};

/// What this controller offers on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Grant header digests to a host that asks for them.
    pub header_digest: bool,
    /// Grant data digests to a host that asks for them.
    pub data_digest: bool,
    /// CPDA: where received data is to begin, 0-based dwords, 0 to 31.
    pub cpda: u8,
    /// MAXH2CDATA: the most data in one H2CData PDU in bytes; at least 4,096 and a multiple of 4.
    pub maxh2cdata: u32,
    /// The most data in one C2HData PDU in bytes, a multiple of 4.
    pub maxc2hdata: u32,
    /// R2Ts outstanding for one command, 1 to 16, and never more than the host's MAXR2T allows.
    pub max_r2ts: u32,
    /// The most data that one R2T asks for, in bytes, a multiple of 4.
    pub r2t_len: u32,
    /// When a read that succeeded has no response of its own.
    pub c2h_success: C2hSuccess,
    /// The most data in the capsule of an I/O command, in bytes, a multiple of 16.
    pub in_capsule: u32,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            header_digest: true,
            data_digest: true,
            cpda: 0,
            maxh2cdata: 1 << 20,
            maxc2hdata: 1 << 20,
            max_r2ts: 1,
            r2t_len: 1 << 20,
            c2h_success: C2hSuccess::Always,
            in_capsule: 8192,
        }
    }
}

/// When the last C2HData of a read says SUCCESS, and no response follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum C2hSuccess {
    /// Each read has a response.
    Never,
    /// On queues without SQ flow control, since SUCCESS carries no SQHD: what the kernel's target does.
    WithoutFlowControl,
    /// On every queue: what SPDK's target does. Hosts that wait for SQHD to move would wait for the next
    /// command that has a response.
    Always,
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
    /// How many R2Ts may be outstanding for one command.
    pub max_r2ts: u32,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The connection takes commands now.
    Open(Negotiated),
    /// A command has `len` bytes of data to be received: call [`Connection::grant`] when there is memory for
    /// them, or refuse it by [`Connection::respond`], before anything else.
    Want {
        /// The command's slot.
        slot: u16,
        /// The command.
        sqe: Sqe,
        /// How much data, in bytes.
        len: u32,
    },
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
    /// A command, and all of its write data, is there. It is answered by [`Connection::respond`], now or
    /// later.
    Command {
        /// Its slot.
        slot: u16,
        /// The command.
        sqe: Sqe,
    },
    /// A command is over, and its memory is its owner's again.
    Free(u16),
    /// The host gave the connection up: FES, FEI.
    Terminated(u16, u32),
}

/// Data that is being received.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    /// Whose it is; `None` for data of a command that is refused already.
    slot: Option<u16>,
    /// Where in the command's data it begins, how long it is, and how much is still to come.
    start: u32,
    len: u32,
    left: u32,
    digest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// ICReq is awaited.
    Initializing,
    Open,
    /// A violation was found, or the host terminated the connection.
    Over,
}

/// The controller's side of one queue's connection.
///
/// # The call contract
/// - **Receiving** has two doors with the same events. By [`consume`](Self::consume), bytes that arrived
///   anywhere go in and pieces of data come out as [`Event::Data`], to be copied. Where
///   [`door`](Self::door) says [`Door::InPlace`], data may be received into place and told by
///   [`advance`](Self::advance).
/// - After either, [`next_event`](Self::next_event) until it gives `None`: [`Event::Want`] and
///   [`Event::CheckDigest`] are answered before the next call.
/// - **Answers** go in by [`respond`](Self::respond), which names the data that is sent along by length
///   only; the slot is the owner's key to the memory behind it.
/// - **A command's memory is in use** from its `grant` (a write) or `respond` (a read) until its
///   [`Event::Free`].
/// - **Sending**: [`fill_digests`](Self::fill_digests), then [`segments`](Self::segments), then
///   [`sent`](Self::sent) with what the socket took.
/// - An `Err` ends the connection: send what [`segments`](Self::segments) still holds (the TermReq), close.
#[derive(Debug)]
pub struct Connection {
    config: ConnectionConfig,
    state: State,
    framer: Framer,
    transmit: Transmit,
    /// How PDUs that are sent are laid out.
    layout: Layout,
    in_capsule: u32,
    max_r2ts: u32,
    slots: Slots,
    /// The queue's size, which SQHD counts in; `None` without SQ flow control.
    flow_control: Option<u32>,
    sqhd: u32,
    incoming: Option<Incoming>,
    events: VecDeque<Event<'static>>,
    /// Bytes that are queued and not sent.
    backlog: usize,
}

/// Slots of a queue that is not connected yet.
const SLOTS_BEFORE_CONNECT: usize = 2;

impl Connection {
    /// A connection that awaits ICReq. What `config` has out of range is moved into it.
    pub fn new(config: ConnectionConfig) -> Self {
        let config = ConnectionConfig {
            cpda: config.cpda.min(31),
            maxh2cdata: config.maxh2cdata.max(MIN_MAXH2CDATA) & !3,
            maxc2hdata: config.maxc2hdata.max(4) & !3,
            max_r2ts: config.max_r2ts.clamp(1, 16),
            r2t_len: config.r2t_len.max(4) & !3,
            ..config
        };
        Self {
            state: State::Initializing,
            framer: Framer::new(Sender::Host),
            transmit: Transmit::default(),
            layout: Layout::default(),
            in_capsule: ADMIN_IN_CAPSULE,
            max_r2ts: 1,
            slots: Slots::new(SLOTS_BEFORE_CONNECT),
            flow_control: Some(SLOTS_BEFORE_CONNECT as u32),
            sqhd: 0,
            incoming: None,
            events: VecDeque::with_capacity(8),
            backlog: 0,
            config,
        }
    }

    /// The queue is connected: `entries` is its size, `flow_control` whether SQHD is maintained, and `io`
    /// whether it is an I/O queue. Called before the response to Connect.
    pub fn connected(&mut self, entries: u32, flow_control: bool, io: bool) {
        self.slots.grow(entries as usize);
        self.flow_control = flow_control.then_some(entries.max(1));
        self.sqhd = 0;
        if io {
            self.in_capsule = self.config.in_capsule;
        }
    }

    /// How many commands are not over.
    pub fn outstanding(&self) -> usize {
        self.slots.outstanding()
    }

    /// How many bytes wait to be sent.
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// Whether the connection ended: by a violation or by the host's TermReq.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// There is memory for the write data of the command in this slot.
    pub fn grant(&mut self, slot: u16) {
        let Some(command) = self.slots.get(slot).filter(|command| command.stage == Stage::Asking) else {
            return;
        };
        command.stage = Stage::Receiving;
        // Data that comes along in the capsule needs no R2T.
        if self.incoming.is_none_or(|incoming| incoming.slot != Some(slot)) {
            self.ask(slot);
        }
    }

    /// Answers the command in this slot, with the first `data` bytes of its memory if it is a read that
    /// asks for that many. CID and SQHD of `cqe` are filled in here.
    pub fn respond(&mut self, slot: u16, status: Status, result: u64, data: u32) {
        let Some(command) = self.slots.get(slot).filter(|command| command.stage != Stage::Sending) else {
            return;
        };
        debug_assert!(data <= command.sqe.sgl.length.get(), "more data than the host asked for");
        let data = data.min(command.sqe.sgl.length.get());
        let cid = command.sqe.cid.get();
        if let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.slot == Some(slot)) {
            incoming.slot = None;
        }
        let may_succeed = match self.config.c2h_success {
            C2hSuccess::Never => false,
            C2hSuccess::WithoutFlowControl => self.flow_control.is_none(),
            C2hSuccess::Always => true,
        };
        let success = may_succeed && data > 0 && status == Status::SUCCESS && result == 0;
        let mut done = 0;
        let mut pieces = 0;
        while done < data {
            let piece = (data - done).min(self.config.maxc2hdata);
            let last = done + piece == data;
            let mut flags = Flags::empty();
            flags.set(Flags::LAST, last);
            flags.set(Flags::SUCCESS, last && success);
            let common = self.layout.common_header(PduType::C2hData, flags, piece);
            let header = DataPdu::new(common, cid, 0, done, piece);
            self.push(&common, &header, Some(Payload { slot, offset: done, len: piece }));
            done += piece;
            pieces += 1;
        }
        if success {
            self.next_sqhd();
        } else {
            self.push_response(cid, status, result);
        }
        if let Some(command) = self.slots.get(slot) {
            command.stage = Stage::Sending;
            command.unsent = pieces;
            if pieces == 0 {
                self.slots.release(slot);
                self.events.push_back(Event::Free(slot));
            }
        }
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

    /// Whether something is to be sent.
    pub fn wants_write(&self) -> bool {
        !self.transmit.is_empty()
    }

    /// The first `n` bytes of [`segments`](Self::segments) were sent.
    pub fn sent(&mut self, n: usize) {
        let (slots, events) = (&mut self.slots, &mut self.events);
        self.backlog = self.backlog.saturating_sub(n);
        self.transmit.sent(n, |index, _| {
            if let Some(slot) = slots.get(index) {
                slot.unsent = slot.unsent.saturating_sub(1);
                if slot.unsent == 0 && slot.stage == Stage::Sending {
                    slots.release(index);
                    events.push_back(Event::Free(index));
                }
            }
        });
    }

    /// The data that [`Event::CheckDigest`] spoke of has another digest: its command fails with Transient
    /// Transport Error once all of its data is there, and is never seen as [`Event::Command`].
    pub fn digest_mismatch(&mut self, slot: u16) {
        if let Some(command) = self.slots.get(slot) {
            command.digest_wrong = true;
        }
    }

    /// The next thing that happened, without new bytes.
    pub fn next_event(&mut self) -> Option<Event<'static>> {
        loop {
            let event = self.events.pop_front()?;
            match event {
                Event::Command { slot, .. }
                    if self.slots.get(slot).is_some_and(|command| command.digest_wrong) =>
                {
                    self.respond(slot, Status::TRANSIENT_TRANSPORT, 0, 0);
                }
                event => return Some(event),
            }
        }
    }

    /// Which door the next received bytes best come in by.
    pub fn door(&mut self) -> Door {
        let left = self.framer.data_next();
        match self.incoming {
            Some(incoming) if left > 0 => match self.receiver(incoming.slot) {
                Some(slot) => {
                    let offset = incoming.start + (incoming.len - left);
                    Door::InPlace(Payload { slot, offset, len: left })
                }
                None => Door::Discard(left),
            },
            _ => Door::Consume,
        }
    }

    /// The slot of incoming data, if its memory may be written to.
    fn receiver(&mut self, slot: Option<u16>) -> Option<u16> {
        let slot = slot?;
        self.slots.get(slot).filter(|command| command.stage == Stage::Receiving)?;
        Some(slot)
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
                Ok(Some(Frame::Data(bytes))) => {
                    let Some(incoming) = self.incoming else { continue };
                    let offset = incoming.start + (incoming.len - incoming.left);
                    let receiver = self.receiver(incoming.slot);
                    self.data_received(bytes.len() as u32);
                    if let Some(slot) = receiver {
                        let to = Payload { slot, offset, len: bytes.len() as u32 };
                        return Ok(Some(Event::Data { to, bytes }));
                    }
                    Ok(())
                }
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

    fn header(&mut self, pdu: &Pdu, data: u32, digest: bool) -> Result<(), Violation> {
        match pdu {
            Pdu::IcReq(request) => self.initialize(request),
            Pdu::CapsuleCmd(capsule) => self.capsule(capsule, data, digest),
            Pdu::H2cData(header) => self.data_header(header, data, digest),
            Pdu::TermReq(term) => {
                self.state = State::Over;
                self.events.push_back(Event::Terminated(term.fes.get(), term.fei.get()));
                Ok(())
            }
            // The framer lets nothing through that only a controller sends.
            Pdu::IcResp(_) | Pdu::CapsuleResp(_) | Pdu::C2hData(_) | Pdu::R2t(_) => Ok(()),
        }
    }

    fn initialize(&mut self, request: &IcReq) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: &'static str| {
            Violation::field(PduType::IcReq, field, offset, got, expected)
                .told_as(FatalStatus::UnsupportedParameter)
        };
        if request.pfv.get() != 0 {
            return Err(wrong("PFV", 8, request.pfv.get().into(), "0"));
        }
        let alignment = alignment_from_pda(request.hpda)
            .ok_or_else(|| wrong("HPDA", 10, request.hpda.into(), "0 to 31"))?;
        if request.dgst & !3 != 0 {
            return Err(wrong("DGST", 11, request.dgst.into(), "no bit besides 0 and 1"));
        }
        let header_digest = self.config.header_digest && request.dgst & 1 != 0;
        let data_digest = self.config.data_digest && request.dgst & 2 != 0;
        let response = IcResp::new(self.config.cpda, header_digest, data_digest, self.config.maxh2cdata);
        self.push(&response.common, &response, None);
        let cpda = alignment_from_pda(self.config.cpda).unwrap_or(4);
        self.framer.set_layout(Layout { header_digest, data_digest, alignment: cpda });
        self.layout = Layout { header_digest, data_digest, alignment };
        self.max_r2ts = self.config.max_r2ts.min(request.maxr2t.get().saturating_add(1));
        self.state = State::Open;
        let max_r2ts = self.max_r2ts;
        self.events.push_back(Event::Open(Negotiated { header_digest, data_digest, alignment, max_r2ts }));
        Ok(())
    }

    fn capsule(&mut self, capsule: &CapsuleCmd, data: u32, digest: bool) -> Result<(), Violation> {
        let sqe = &capsule.sqe;
        let limit = if sqe.opcode == fabrics::OPCODE { ADMIN_IN_CAPSULE } else { self.in_capsule };
        if data > limit {
            let expected = format!("at most {limit} bytes of in-capsule data");
            return Err(Violation::field(PduType::CapsuleCmd, "PLEN", 4, data, expected)
                .told_as(FatalStatus::LimitExceeded));
        }
        if data > 0 {
            self.incoming = Some(Incoming { slot: None, start: 0, len: data, left: data, digest });
        }
        let cid = sqe.cid.get();
        if self.slots.is_cid_taken(cid) {
            self.push_response(cid, Status::COMMAND_ID_CONFLICT.with_do_not_retry(), 0);
            return Ok(());
        }
        let len = match checked_len(sqe, data) {
            Ok(len) => len,
            Err(status) => {
                self.push_response(cid, status.with_do_not_retry(), 0);
                return Ok(());
            }
        };
        let stage = if len > 0 { Stage::Asking } else { Stage::Executing };
        let Some(slot) = self.slots.take(sqe, stage, len) else {
            let expected = format!("at most {} commands outstanding", self.slots.len());
            return Err(Violation::sequence(PduType::CapsuleCmd, expected));
        };
        if let Some(incoming) = self.incoming.as_mut().filter(|_| data > 0) {
            incoming.slot = Some(slot);
        }
        self.events.push_back(match len {
            0 => Event::Command { slot, sqe: *sqe },
            len => Event::Want { slot, sqe: *sqe, len },
        });
        Ok(())
    }

    /// Sends R2Ts for as much of the command's data as may be outstanding at once.
    fn ask(&mut self, index: u16) {
        let step = self.config.r2t_len;
        while let Some(command) = self.slots.get(index) {
            let (asked, left) = (command.asked, command.len - command.asked);
            // R2Ts are answered in order, so those outstanding begin with the one that data comes for.
            let outstanding = asked.div_ceil(step) - command.received / step;
            if left == 0 || outstanding >= self.max_r2ts {
                break;
            }
            let piece = left.min(step);
            command.asked += piece;
            let cid = command.sqe.cid.get();
            let common = self.layout.common_header(PduType::R2t, Flags::empty(), 0);
            let r2t = R2t::new(common, cid, ttag(index, asked / step), asked, piece);
            self.push(&common, &r2t, None);
        }
    }

    fn data_header(&mut self, header: &DataPdu, data: u32, digest: bool) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: String| {
            Violation::field(PduType::H2cData, field, offset, got, expected)
        };
        let step = self.config.r2t_len;
        let tag = header.ttag.get();
        let index = slot_of(tag);
        let command = self
            .slots
            .get(index)
            .filter(|command| command.stage == Stage::Receiving && command.asked > command.received)
            .filter(|command| tag == ttag(index, command.received / step))
            .ok_or_else(|| wrong("TTAG", 10, tag.into(), "that of the oldest unanswered R2T".into()))?;
        let (cid, expected_cid) = (header.cccid.get(), command.sqe.cid.get());
        if cid != expected_cid {
            return Err(wrong("CCCID", 8, cid.into(), format!("{expected_cid}, as in the R2T")));
        }
        let (start, received) = (header.datao.get(), command.received);
        if start != received {
            let expected = format!("{received}, what has come so far");
            return Err(wrong("DATAO", 12, start, expected).told_as(FatalStatus::OutOfRange));
        }
        if data > self.config.maxh2cdata {
            let expected = format!("at most {}, MAXH2CDATA", self.config.maxh2cdata);
            return Err(wrong("DATAL", 16, data, expected).told_as(FatalStatus::LimitExceeded));
        }
        let r2t_end = (received / step).saturating_add(1).saturating_mul(step).min(command.len);
        if data > r2t_end - received {
            let expected = format!("at most {}, what the R2T leaves", r2t_end - received);
            return Err(wrong("DATAL", 16, data, expected).told_as(FatalStatus::OutOfRange));
        }
        let last = Flags::from_bits_retain(header.common.flags).contains(Flags::LAST);
        if last != (received + data == r2t_end) {
            let expected = "LAST_PDU on the last PDU that answers an R2T, and on no other";
            return Err(wrong("FLAGS", 1, header.common.flags.into(), expected.into()));
        }
        self.incoming = Some(Incoming { slot: Some(index), start, len: data, left: data, digest });
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
        if let Some(slot) = self.receiver(incoming.slot) {
            let of = Payload { slot, offset: incoming.start, len: incoming.len };
            self.events.push_back(Event::CheckDigest { of, digest });
        }
        self.data_done();
    }

    /// A PDU's data is whole.
    fn data_done(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        let Some(slot) = self.receiver(incoming.slot) else { return };
        let Some(command) = self.slots.get(slot) else { return };
        command.received += incoming.len;
        if command.received == command.len {
            command.stage = Stage::Executing;
            let sqe = command.sqe;
            self.events.push_back(Event::Command { slot, sqe });
        } else {
            self.ask(slot);
        }
    }

    fn push_response(&mut self, cid: u16, status: Status, result: u64) {
        let sqhd = self.next_sqhd();
        let common = self.layout.common_header(PduType::CapsuleResp, Flags::empty(), 0);
        let cqe = Cqe { sqhd: sqhd.into(), ..Cqe::new(cid, status, result) };
        self.push(&common, &CapsuleResp { common, cqe }, None);
    }

    /// SQHD once one more command is answered.
    fn next_sqhd(&mut self) -> u16 {
        let Some(entries) = self.flow_control else { return u16::MAX };
        self.sqhd = (self.sqhd + 1) % entries;
        self.sqhd as u16
    }

    fn push<H: IntoBytes + Immutable>(
        &mut self,
        common: &CommonHeader,
        header: &H,
        payload: Option<Payload>,
    ) {
        self.backlog += common.plen.get() as usize;
        self.transmit.push(&self.layout, header, payload);
    }

    /// Ends the connection and tells the host why.
    fn terminate(&mut self, violation: &Violation) {
        self.state = State::Over;
        let quote = self.framer.quote();
        let term = TermReq::new(PduType::C2hTermReq, violation.fes, violation.fei, quote.len());
        self.backlog += term.common.plen.get() as usize;
        self.transmit.push(&self.layout, &term, None);
        self.transmit.push_bytes(quote);
    }
}

/// How many bytes of write data the command has, of which `data` follow in the capsule.
fn checked_len(sqe: &Sqe, data: u32) -> Result<u32, Status> {
    const FUSE: u8 = 0b11;
    const PSDT: u8 = 0b11 << 6;
    if sqe.flags & FUSE != 0 || sqe.flags & PSDT != PSDT_SGL {
        return Err(Status::INVALID_FIELD);
    }
    let sgl = &sqe.sgl;
    let len = sgl.length.get();
    match (is_write(sqe), sgl.kind) {
        (true, sgl::IN_CAPSULE) if sgl.address.get() != 0 => Err(Status::SGL_OFFSET_INVALID),
        (true, sgl::IN_CAPSULE) if len != data => Err(Status::SGL_LENGTH_INVALID),
        (true, sgl::IN_CAPSULE) => Ok(len),
        (_, sgl::TRANSPORT) if data > 0 => Err(Status::SGL_LENGTH_INVALID),
        (write, sgl::TRANSPORT) => Ok(if write { len } else { 0 }),
        _ => Err(Status::SGL_TYPE_INVALID),
    }
}

/// Whether data goes from host to controller: bits 1:0 of the opcode, or of FCTYPE, are 01b (Base, section
/// 4.1, and Fabrics, section 6).
fn is_write(sqe: &Sqe) -> bool {
    let code = if sqe.opcode == fabrics::OPCODE { fabrics::kind(sqe) } else { sqe.opcode };
    code & 0b11 == 0b01
}

/// The tag of a command's `n`th R2T: the slot below, the number's low bits above.
fn ttag(slot: u16, n: u32) -> u16 {
    slot & 0x0fff | (n as u16 & 0xf) << 12
}

fn slot_of(ttag: u16) -> u16 {
    ttag & 0x0fff
}
