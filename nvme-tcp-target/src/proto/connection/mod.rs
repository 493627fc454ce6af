//! One queue's connection, from the controller's side.

mod receive;

pub(crate) use receive::is_write;

use std::collections::VecDeque;

use nvme_tcp::proto::{ADMIN_IN_CAPSULE, Framer, Payload, Segment, Sender, Transmit, Violation};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::pdu::{
    CapsuleResp, CommonHeader, DataPdu, Flags, Layout, MIN_MAXH2CDATA, PduType, TermReq,
};
use zerocopy::{Immutable, IntoBytes};

use super::slots::{Slots, Stage};
use super::{C2hSuccess, ConnectionConfig, Event};

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
///   [`door`](Self::door) says [`Door::InPlace`](nvme_tcp::proto::Door), data may be received into place and told by
///   [`advance`](Self::advance). Where it does not but [`expects_long_data`](Self::expects_long_data), little
///   is received, lest long data come before its place is known.
/// - After either, [`next_event`](Self::next_event) until it gives `None`: [`Event::Want`] and
///   [`Event::CheckDigest`] are answered before the next call.
/// - **Answers** go in by [`respond`](Self::respond), which names the data that is sent along by length
///   only; the slot is the owner's key to the memory behind it.
/// - **A command's memory is in use** from its `grant` (a write) or `respond` (a read) until its
///   [`Event::Free`].
/// - **Sending**: [`fill_digests`](Self::fill_digests) or [`fill_next_digests`](Self::fill_next_digests), then
///   [`segments`](Self::segments), then [`sent`](Self::sent) with what the socket took.
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
