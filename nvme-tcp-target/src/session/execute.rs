//! Commands carried out, one by one or two at once.

use std::time::Instant;

use nvme_tcp::auth::SecureChannel;
use nvme_tcp::proto::Payload;
use nvme_tcp::spec::command::fabrics::AuthenticationFields;
use nvme_tcp::spec::command::nvm::WRITE;
use nvme_tcp::spec::command::{Sqe, fabrics};
use nvme_tcp::spec::completion::Status;

use super::{Origin, Role, Session, fused};
use crate::channel::Channel;
use crate::controller::{
    Answer, AssociationEnd, Connected, Connecting, Context, Controller, MAX_EVENT_REQUESTS, NOT_ABORTED,
    Outcome, compare_and_write, execute_io,
};
use crate::hub::Hub;
use crate::login::{Login, MAX_MESSAGE, Outcome as LoginOutcome};
use crate::memory::Memory;
use crate::namespace::Page;

impl Session {
    /// A command came, of which there may be data still to come: a fused one finds its partner.
    pub(super) fn arrived(&mut self, slot: u16, sqe: &Sqe) -> Result<(), Status> {
        match &self.role {
            Role::Queue { qid, .. } if *qid > 0 && sqe.opcode != fabrics::OPCODE => {
                let (other, arrived) = self.fused.arrived(slot, sqe);
                self.refuse_fused(other);
                arrived
            }
            _ if sqe.flags & fused::FUSE != 0 => Err(Status::INVALID_FIELD),
            _ => Ok(()),
        }
    }

    /// The command in this slot is over; what is fused with it is so, too.
    pub(super) fn over(&mut self, slot: u16) {
        let other = self.fused.over(slot);
        self.refuse_fused(other);
    }

    fn refuse_fused(&mut self, other: Option<fused::Refused>) {
        if let Some((slot, status)) = other {
            self.hub.counters.commands.add(1);
            self.answer(slot, Answer::refused(status));
        }
    }

    /// Answers a command without carrying it out.
    pub(super) fn refuse(&mut self, slot: u16, sqe: &Sqe, status: Status) {
        self.hub.counters.commands.add(1);
        let answer = Answer::refused(status);
        self.note(sqe, answer.status);
        self.answer(slot, answer);
    }

    /// Puts a failure into the error log.
    fn note(&self, sqe: &Sqe, status: Status) {
        if let Role::Queue { controller, qid, .. } = &self.role {
            if !status.is_success() {
                controller.failed(*qid, sqe, status);
            }
        }
    }

    /// All data of a fused command is there.
    pub(super) fn execute_fused(&mut self, slot: u16, sqe: &Sqe, now: Instant) {
        let commands = match self.fused.complete(slot) {
            fused::Due::Nothing => return,
            fused::Due::Refuse(status) => return self.refuse(slot, sqe, status),
            fused::Due::Execute(commands) => commands,
        };
        self.hub.counters.commands.add(2);
        let answers = self.io(now, |memory, context| {
            let [first, second] = commands.each_ref().map(|(slot, sqe)| {
                let len = sqe.sgl.length.get();
                (sqe, memory.bytes(Payload { slot: *slot, offset: 0, len }))
            });
            compare_and_write(context, first, second)
        });
        let answers = match answers {
            Some(Ok(answers)) => answers,
            Some(Err(status)) => [Answer::refused(status); 2],
            None => return,
        };
        for ((slot, sqe), answer) in commands.into_iter().zip(answers) {
            self.note(&sqe, answer.status);
            self.answer(slot, answer);
        }
    }

    /// Whether a command's data may come at all: before there is memory for it.
    pub(super) fn may_have(&self, sqe: &Sqe, len: u32) -> Result<(), Status> {
        match &self.role {
            _ if len > self.hub.config.max_transfer => Err(Status::INVALID_FIELD),
            Role::New if !is_connect(sqe) => Err(Status::COMMAND_SEQUENCE_ERROR),
            Role::New if len as usize != fabrics::CONNECT_DATA_LEN => Err(Status::SGL_LENGTH_INVALID),
            Role::Queue { .. } if is_authentication(sqe) && len > MAX_MESSAGE => Err(Status::INVALID_FIELD),
            Role::Queue { login, .. } if !login.is_open() && !is_authentication(sqe) => {
                Err(Status::AUTHENTICATION_REQUIRED)
            }
            _ => Ok(()),
        }
    }

    /// Whether a command writes whole pages to a namespace that keeps them as they were received.
    pub(super) fn goes_to_pages(&self, sqe: &Sqe, len: u32) -> bool {
        let Role::Queue { controller, qid: 1.., .. } = &self.role else { return false };
        if sqe.opcode != WRITE || sqe.flags & fused::FUSE != 0 || len == 0 || len as usize % Page::LEN != 0 {
            return false;
        }
        let volume = controller.subsystem.as_ref().and_then(|subsystem| subsystem.volume(sqe.nsid.get()));
        volume.is_some_and(|volume| {
            let offset = sqe.slba().checked_mul(volume.shape.block_size.into());
            volume.backend.keeps_pages() && offset.is_some_and(|offset| offset % Page::LEN as u64 == 0)
        })
    }

    pub(super) fn execute(&mut self, slot: u16, sqe: &Sqe, now: Instant) {
        self.hub.counters.commands.add(1);
        let answer = match &self.role {
            Role::New if is_connect(sqe) => self.connect(slot, sqe, now),
            Role::New => Answer::refused(Status::COMMAND_SEQUENCE_ERROR),
            Role::Queue { controller, qid, token, login } => {
                if !controller.has_queue(token) {
                    self.end = Some(AssociationEnd::Ended.into());
                    return;
                }
                controller.seen(now);
                if is_authentication(sqe) {
                    return self.authenticate(slot, sqe, now);
                } else if !login.is_open() {
                    Answer::refused(Status::AUTHENTICATION_REQUIRED)
                } else if sqe.opcode == fabrics::OPCODE {
                    fabrics_command(controller, *qid, sqe, &self.hub)
                } else if *qid == 0 {
                    let outcome = controller.admin(sqe, &self.hub, self.origin.local);
                    match self.admin(slot, sqe, outcome) {
                        Some(answer) => answer,
                        None => return,
                    }
                } else {
                    let done = self.io(now, |memory, context| execute_io(context, sqe, memory.room(slot)));
                    match done {
                        Some(done) => done.unwrap_or_else(Answer::refused),
                        None => return,
                    }
                }
            }
        };
        self.note(sqe, answer.status);
        self.answer(slot, answer);
    }

    /// Carries out I/O commands; `None` where the queue is over, as after a reset of its controller.
    fn io<T>(
        &mut self,
        now: Instant,
        execute: impl FnOnce(&mut Memory, Context<'_>) -> T,
    ) -> Option<Result<T, Status>> {
        let Role::Queue { controller, token, login, .. } = &self.role else { return None };
        let Some(running) = controller.run(token) else {
            self.end = Some(AssociationEnd::Ended.into());
            return None;
        };
        controller.seen(now);
        let subsystem = controller.subsystem.as_ref().filter(|_| controller.is_ready());
        let Some(subsystem) = subsystem.filter(|_| login.is_open()) else {
            return Some(Err(Status::COMMAND_SEQUENCE_ERROR));
        };
        let max_transfer = self.hub.config.max_transfer;
        let done = execute(&mut self.memory, Context { controller, subsystem, max_transfer });
        drop(running);
        Some(Ok(done))
    }

    fn admin(&mut self, slot: u16, sqe: &Sqe, outcome: Outcome) -> Option<Answer> {
        Some(match outcome {
            Outcome::Answer(answer) => answer,
            Outcome::Data(data) => {
                self.memory.prepare(slot, data.len()).copy_from_slice(&data);
                Answer { data: data.len() as u32, ..Answer::SUCCESS }
            }
            Outcome::Hold if self.event_requests.len() == MAX_EVENT_REQUESTS => {
                Answer::refused(Status::AER_LIMIT_EXCEEDED)
            }
            Outcome::Hold => {
                self.event_requests.push((slot, sqe.cid.get()));
                // An event may wait for it already.
                self.waker.wake_by_ref();
                return None;
            }
            Outcome::Abort(cid) => {
                let held = self.event_requests.iter().position(|(_, held)| *held == cid);
                let Some(held) = held else { return Some(Answer::result(NOT_ABORTED)) };
                let (held, _) = self.event_requests.remove(held);
                self.answer(held, Answer { status: Status::ABORT_REQUESTED, ..Answer::SUCCESS });
                Answer::SUCCESS
            }
        })
    }

    /// Authentication Send and Authentication Receive. Where the transaction fails, the queue is over once that is
    /// answered.
    fn authenticate(&mut self, slot: u16, sqe: &Sqe, now: Instant) {
        let Role::Queue { login, .. } = &mut self.role else { return };
        let fields = AuthenticationFields::read(sqe);
        let len = sqe.sgl.length.get();
        let (answer, outcome) = if fabrics::kind(sqe) == fabrics::AUTHENTICATION_SEND {
            match login.send(fields, self.memory.bytes(Payload { slot, offset: 0, len })) {
                Ok(outcome) => (Answer::SUCCESS, outcome),
                Err(status) => (Answer::refused(status), LoginOutcome::Pending),
            }
        } else {
            match login.receive(fields, len) {
                Ok((message, outcome)) => {
                    self.memory.prepare(slot, message.len()).copy_from_slice(&message);
                    (Answer { data: len, ..Answer::SUCCESS }, outcome)
                }
                Err(status) => (Answer::refused(status), LoginOutcome::Pending),
            }
        };
        self.answer(slot, answer);
        match outcome {
            LoginOutcome::Pending | LoginOutcome::Passed(None) => {}
            LoginOutcome::Passed(Some(psk)) => self.hub.generated_keys.add(psk, now),
            LoginOutcome::Failed(error) => self.end = Some(error.into()),
        }
    }

    fn connect(&mut self, slot: u16, sqe: &Sqe, now: Instant) -> Answer {
        let Origin { port, channel, .. } = &self.origin;
        let by = Connecting { port: *port, channel, waker: &self.waker, now };
        let len = sqe.sgl.length.get();
        let data = self.memory.bytes(Payload { slot, offset: 0, len });
        match Connected::new(&self.hub, sqe, data, &by) {
            Ok(connected) => {
                let Connected { controller, qid, token, entries, flow_control } = connected;
                self.connection.connected(entries, flow_control, qid != 0);
                controller.seen(now);
                let host_nqn = &controller.host_nqn;
                let subsystem = controller.subsystem.as_ref();
                let secret = subsystem.and_then(|subsystem| subsystem.authentication(host_nqn)).cloned();
                let concat = matches!(channel, Channel::Concat);
                let to_agree = if concat { SecureChannel::NewTlsPsk } else { SecureChannel::None };
                let proven = matches!(channel, Channel::Generated { .. });
                let login = Login::new(secret, host_nqn, &controller.subsystem_nqn, to_agree, proven);
                let result = u32::from(controller.cntlid) | login.required();
                self.role = Role::Queue { controller, qid, token, login: login.into() };
                Answer::result(result.into())
            }
            Err(answer) => answer,
        }
    }
}

fn is_connect(sqe: &Sqe) -> bool {
    sqe.opcode == fabrics::OPCODE && fabrics::kind(sqe) == fabrics::CONNECT
}

fn is_authentication(sqe: &Sqe) -> bool {
    let kinds = [fabrics::AUTHENTICATION_SEND, fabrics::AUTHENTICATION_RECEIVE];
    sqe.opcode == fabrics::OPCODE && kinds.contains(&fabrics::kind(sqe))
}

/// Fabrics commands on a queue that is connected.
fn fabrics_command(controller: &Controller, qid: u16, sqe: &Sqe, hub: &Hub) -> Answer {
    match fabrics::kind(sqe) {
        fabrics::CONNECT => Answer::refused(Status::COMMAND_SEQUENCE_ERROR),
        fabrics::PROPERTY_GET if qid == 0 => controller.property_get(sqe, &hub.config),
        fabrics::PROPERTY_SET if qid == 0 => controller.property_set(sqe),
        _ => Answer::refused(Status::INVALID_OPCODE),
    }
}
