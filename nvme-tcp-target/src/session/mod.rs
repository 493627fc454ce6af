//! One connection's work: its commands carried out, still without I/O.

mod execute;
mod fused;

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use nvme_tcp::auth::AuthError;
use nvme_tcp::proto::{Door, Payload, Segment, Violation};

use crate::channel::Channel;
use crate::controller::{Answer, AssociationEnd, Controller, QueueToken};
use crate::hub::Hub;
use crate::login::Login;
use crate::memory::Memory;
use crate::proto::{Connection, Event, is_write};
use fused::Fused;

/// With this many bytes waiting to be sent, no more commands are carried out.
pub(crate) const MAX_BACKLOG: usize = 1 << 20;

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The host broke the protocol; it is told by a C2HTermReq that is still to be sent.
    #[error("the host broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// The host says that this end broke the protocol.
    #[error("the host gave the connection up: FES {fes}, FEI {fei}")]
    Terminated {
        /// FES of its H2CTermReq.
        fes: u16,
        /// FEI of its H2CTermReq.
        fei: u32,
    },
    /// The association that the queue belongs to is over.
    #[error(transparent)]
    Association(#[from] AssociationEnd),
    /// The host did not authenticate itself; where it is to be told, it still will be.
    #[error("authentication failed: {0}")]
    Authentication(#[from] AuthError),
}

/// Where a connection comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The address of this end, as the host reached it.
    pub local: Option<IpAddr>,
    /// Which of the target's ports it came in by: listeners are counted from 0.
    pub port: u16,
    /// What secures it.
    pub channel: Channel,
}

#[derive(Debug)]
enum Role {
    /// No Connect yet.
    New,
    Queue {
        controller: Arc<Controller>,
        qid: u16,
        /// Which of the queues it is that had this number.
        token: QueueToken,
        login: Box<Login>,
    },
}

/// One queue's connection with the memory of its commands, which it carries out where they arrive.
///
/// The call contract is that of [`Connection`], with the events dealt with:
/// 1. [`consume`](Self::consume) what was received, or receive into [`memory_mut`](Self::memory_mut), or several
///    [`places`](Self::places), where [`door`](Self::door) says so, and [`advance`](Self::advance).
/// 2. [`poll`](Self::poll), also when the waker that it was made with is woken, and at
///    [`deadline`](Self::deadline).
/// 3. [`fill_digests`](Self::fill_digests) or [`fill_next_digests`](Self::fill_next_digests), send
///    [`segments`](Self::segments) with [`memory`](Self::memory) behind them, [`sent`](Self::sent).
///
/// After an `Err` what is to be sent is sent as far as it goes, and the connection closed.
#[derive(Debug)]
pub struct Session {
    hub: Arc<Hub>,
    connection: Connection,
    memory: Memory,
    origin: Origin,
    waker: Waker,
    role: Role,
    /// The slots of held Asynchronous Event Requests, with their command IDs.
    event_requests: Vec<(u16, u16)>,
    fused: Fused,
    end: Option<SessionEnd>,
}

impl Session {
    /// A connection that awaits ICReq. `waker` is woken, from other threads, when [`poll`](Self::poll) has
    /// something to do.
    pub fn new(hub: Arc<Hub>, origin: Origin, waker: Waker) -> Self {
        Self {
            connection: Connection::new(hub.config.connection.clone()),
            hub,
            memory: Memory::new(),
            origin,
            waker,
            role: Role::New,
            event_requests: Vec::new(),
            fused: Fused::default(),
            end: None,
        }
    }

    /// QID, once the queue is connected.
    pub fn qid(&self) -> Option<u16> {
        match self.role {
            Role::New => None,
            Role::Queue { qid, .. } => Some(qid),
        }
    }

    /// Whether the queue is connected, and authenticated where it has to be. A connection that is there to agree on a
    /// TLS PSK never is.
    pub fn is_set_up(&self) -> bool {
        matches!(&self.role, Role::Queue { login, .. } if login.is_open())
    }

    /// The host's NQN, once the queue is connected.
    pub fn host_nqn(&self) -> Option<&str> {
        match &self.role {
            Role::New => None,
            Role::Queue { controller, .. } => Some(&controller.host_nqn),
        }
    }

    /// Which door the next received bytes best come in by.
    pub fn door(&mut self) -> Door {
        self.connection.door()
    }

    /// Whether long data is likely to come next: then little should be received until [`door`](Self::door) says where it
    /// goes.
    pub fn expects_long_data(&self) -> bool {
        self.connection.expects_long_data()
    }

    /// The memory behind a payload, as far as it lies in one piece.
    pub fn memory(&self, payload: Payload) -> &[u8] {
        self.memory.bytes(payload)
    }

    /// The memory behind a payload, to be received into, as far as it lies in one piece.
    pub fn memory_mut(&mut self, payload: Payload) -> &mut [u8] {
        self.memory.bytes_mut(payload)
    }

    /// The same, as many pieces as there are and `room` takes; how many.
    pub fn places<'a>(&'a mut self, payload: Payload, room: &mut [IoSliceMut<'a>]) -> usize {
        self.memory.places(payload, room)
    }

    /// `n` bytes were received where [`door`](Self::door) said.
    pub fn advance(&mut self, n: usize, now: Instant) -> Result<(), SessionEnd> {
        self.connection.advance(n);
        self.settle(now)
    }

    /// Takes `input` and carries out the commands in it, until more than 1 MiB waits to be sent; what is then left of
    /// it is for the next call, once that is on its way.
    pub fn consume(&mut self, input: &mut &[u8], now: Instant) -> Result<(), SessionEnd> {
        loop {
            self.ended()?;
            match self.connection.consume(input) {
                Ok(Some(event)) => {
                    self.handle(event, now);
                    if self.backlog() >= MAX_BACKLOG {
                        return self.ended();
                    }
                }
                Ok(None) => return self.ended(),
                Err(violation) => {
                    self.hub.counters.violations.add(1);
                    self.end = Some(violation.into());
                }
            }
        }
    }

    /// Takes what came of bytes that were received or [sent](Self::sent).
    pub(crate) fn settle(&mut self, now: Instant) -> Result<(), SessionEnd> {
        while let Some(event) = self.connection.next_event() {
            self.handle(event, now);
        }
        self.ended()
    }

    fn ended(&self) -> Result<(), SessionEnd> {
        match &self.end {
            None => Ok(()),
            Some(end) => Err(end.clone()),
        }
    }

    /// Does what is due without new bytes: answers held commands, notices that the association is over.
    pub fn poll(&mut self, now: Instant) -> Result<(), SessionEnd> {
        self.settle(now)?;
        let Role::Queue { controller, qid, token, .. } = &self.role else { return Ok(()) };
        if let Err(end) = controller.check(*qid, token, now) {
            self.end = Some(end.into());
        }
        while let (Role::Queue { controller, .. }, false) = (&self.role, self.event_requests.is_empty()) {
            let Some(event) = controller.take_event() else { break };
            let (slot, _) = self.event_requests.remove(0);
            self.answer(slot, Answer::result(event.into()));
        }
        self.settle(now)
    }

    /// When [`poll`](Self::poll) has something to do, whatever else happens.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Queue { controller, qid: 0, .. } => controller.deadline(),
            _ => None,
        }
    }

    /// Gives memory back that no command has.
    pub fn release(&mut self) {
        self.memory.release();
    }

    /// How many bytes wait to be sent.
    pub fn backlog(&self) -> usize {
        self.connection.backlog()
    }

    /// Whether something is to be sent.
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Fills in the data digests of what is to be sent.
    pub fn fill_digests(&mut self) {
        let memory = &self.memory;
        self.connection.fill_digests(|payload| memory.digest(payload));
    }

    /// The same for what is sent next; once that is [sent](Self::sent), it is called again. For `at_once` see
    /// [`Transmit::fill_next_digests`](nvme_tcp::proto::Transmit::fill_next_digests).
    pub fn fill_next_digests(&mut self, at_once: impl Fn(u32) -> usize) {
        let memory = &self.memory;
        self.connection.fill_next_digests(at_once, |payload| memory.digest(payload));
    }

    /// What to send, in order, as far as digests are filled in.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> + Clone {
        self.connection.segments()
    }

    /// The first `n` bytes of [`segments`](Self::segments) were sent.
    pub fn sent(&mut self, n: usize) {
        self.connection.sent(n);
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Open(_) => {}
            Event::Want { slot, sqe, len } => {
                let may_have = self.arrived(slot, &sqe).and_then(|()| self.may_have(&sqe, len));
                match may_have {
                    Ok(()) => {
                        if self.goes_to_pages(&sqe, len) {
                            self.memory.prepare_pages(slot, len as usize);
                        } else {
                            self.memory.prepare(slot, len as usize);
                        }
                        self.connection.grant(slot);
                    }
                    Err(status) => {
                        self.refuse(slot, &sqe, status);
                        self.over(slot);
                    }
                }
            }
            Event::Data { to, bytes } => {
                debug_assert_eq!(to.len as usize, bytes.len(), "a payload is as long as it says");
                self.memory.fill(to, bytes);
            }
            Event::CheckDigest { of, digest } => {
                if self.memory.digest(of) != digest {
                    self.hub.counters.digest_errors.add(1);
                    self.connection.digest_mismatch(of.slot);
                }
            }
            Event::Command { slot, sqe } => {
                let wanted = is_write(&sqe) && sqe.sgl.length.get() > 0;
                let arrived = if wanted { Ok(()) } else { self.arrived(slot, &sqe) };
                match arrived {
                    Ok(()) if self.fused.contains(slot) => self.execute_fused(slot, &sqe, now),
                    Ok(()) => self.execute(slot, &sqe, now),
                    Err(status) => self.refuse(slot, &sqe, status),
                }
            }
            Event::Free(slot) => {
                self.memory.free(slot);
                self.over(slot);
            }
            Event::Terminated(fes, fei) => self.end = Some(SessionEnd::Terminated { fes, fei }),
        }
    }

    fn answer(&mut self, slot: u16, answer: Answer) {
        if !answer.status.is_success() {
            self.hub.counters.failed_commands.add(1);
        }
        self.connection.respond(slot, answer.status, answer.result, answer.data);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Role::Queue { controller, qid, token, .. } = &self.role {
            controller.disconnected(*qid, token);
            if *qid == 0 {
                self.hub.remove_controller(controller);
            }
        }
    }
}
