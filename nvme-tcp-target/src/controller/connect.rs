//! Connect: who may have which queue of which controller (Base, section 6.3).

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, RwLock};
use std::task::Waker;
use std::time::Instant;

use nvme_tcp::nqn;
use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::fabrics::{
    CATTR_DISABLE_SQFC, CNTLID_DYNAMIC, CONNECT_DATA_LEN, ConnectData, ConnectFields, InvalidParameter,
};
use nvme_tcp::spec::completion::Status;
use zerocopy::FromBytes;

use super::error_log::ErrorLog;
use super::event::Events;
use super::{Answer, Controller, Queue, QueueToken, State, keep_alive};
use crate::channel::Channel;
use crate::hub::{ADMIN_ENTRIES, Hub};

/// What is known of a connection that asks for a queue.
#[derive(Debug)]
pub(crate) struct Connecting<'a> {
    /// Which port it came in by.
    pub(crate) port: u16,
    /// What secures it.
    pub(crate) channel: &'a Channel,
    pub(crate) waker: &'a Waker,
    pub(crate) now: Instant,
}

/// A queue that was granted.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) controller: Arc<Controller>,
    pub(crate) qid: u16,
    pub(crate) token: QueueToken,
    pub(crate) entries: u32,
    pub(crate) flow_control: bool,
}

fn invalid(parameter: InvalidParameter) -> Answer {
    let result = parameter.to_dw0().into();
    Answer { result, ..Answer::refused(Status::CONNECT_INVALID_PARAMETERS) }
}

/// The NQN in a field of Connect's data: up to its NUL, and valid.
fn name(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(field.get(..end)?).ok()?;
    nqn::validate(name).ok().map(|()| name)
}

impl Connected {
    /// Carries out a Connect command with its `data`.
    pub(crate) fn new(hub: &Hub, sqe: &Sqe, data: &[u8], by: &Connecting<'_>) -> Result<Self, Answer> {
        let fields = ConnectFields::read(sqe);
        if fields.recfmt != 0 {
            return Err(Answer::refused(Status::CONNECT_INCOMPATIBLE_FORMAT));
        }
        let data = data
            .get(..CONNECT_DATA_LEN)
            .filter(|_| data.len() == CONNECT_DATA_LEN)
            .and_then(|data| ConnectData::ref_from_bytes(data).ok())
            .ok_or(Answer::refused(Status::SGL_LENGTH_INVALID))?;
        let entries = u32::from(fields.sqsize) + 1;
        // What is offered for I/O queues is no bound for the admin queue.
        let most = match fields.qid {
            0 => hub.config.queue_entries.max(ADMIN_ENTRIES.into()),
            _ => hub.config.queue_entries,
        };
        if fields.sqsize == 0 || entries > most {
            return Err(invalid(InvalidParameter::SQSIZE));
        }
        let subsystem_nqn = name(&data.subnqn).ok_or(invalid(InvalidParameter::SUBNQN))?;
        let host_nqn = name(&data.hostnqn).ok_or(invalid(InvalidParameter::HOSTNQN))?;
        if !by.channel.allows(host_nqn, subsystem_nqn) {
            return Err(Answer::refused(Status::CONNECT_INVALID_HOST));
        }
        let subsystem = if subsystem_nqn == nqn::DISCOVERY_NQN {
            None
        } else {
            let found = hub.subsystem(subsystem_nqn).ok_or(invalid(InvalidParameter::SUBNQN))?;
            if !found.allows(host_nqn) {
                return Err(Answer::refused(Status::CONNECT_INVALID_HOST));
            }
            Some(found)
        };
        // In plain, such a listener takes nobody that it could not agree on a key with.
        let secret = subsystem.as_ref().and_then(|subsystem| subsystem.authentication(host_nqn));
        let concat = matches!(by.channel, Channel::Concat);
        if concat && secret.is_none() {
            return Err(Answer::refused(Status::CONNECT_INVALID_HOST));
        }
        if concat && fields.qid != 0 {
            return Err(invalid(InvalidParameter::QID));
        }
        let (controller, token) = if fields.qid == 0 {
            if data.cntlid.get() != CNTLID_DYNAMIC {
                return Err(invalid(InvalidParameter::CNTLID));
            }
            let (queue, token) = Queue::new(by.waker);
            let controller = hub
                .add_controller(|cntlid| Controller {
                    cntlid,
                    subsystem,
                    subsystem_nqn: subsystem_nqn.to_owned(),
                    host_nqn: host_nqn.to_owned(),
                    host_id: data.hostid,
                    port: by.port,
                    channel: by.channel.clone(),
                    running: RwLock::default(),
                    started: by.now,
                    last_seen: AtomicU64::new(0),
                    alive: AtomicBool::new(true),
                    ready: AtomicBool::new(false),
                    state: State {
                        cc: 0,
                        csts: 0,
                        kato: keep_alive(fields.kato),
                        granted: hub.config.io_queues,
                        queues: [(0, queue)].into(),
                        events: Events::default(),
                        errors: ErrorLog::default(),
                    }
                    .into(),
                })
                .ok_or(Answer { status: Status::CONNECT_CONTROLLER_BUSY, ..Answer::SUCCESS })?;
            (controller, token)
        } else {
            let controller = hub
                .controller(data.cntlid.get())
                .filter(|found| {
                    found.host_nqn == host_nqn
                        && found.host_id == data.hostid
                        && found.subsystem_nqn == subsystem_nqn
                        && found.port == by.port
                        && by.channel.may_join(&found.channel)
                })
                .ok_or(invalid(InvalidParameter::CNTLID))?;
            let token = controller.add_queue(fields.qid, by.waker)?;
            (controller, token)
        };
        let flow_control = fields.attributes & CATTR_DISABLE_SQFC == 0;
        Ok(Self { controller, qid: fields.qid, token, entries, flow_control })
    }
}

impl Controller {
    fn add_queue(&self, qid: u16, waker: &Waker) -> Result<QueueToken, Answer> {
        let mut state = self.lock();
        if self.subsystem.is_none() || qid > state.granted {
            return Err(invalid(InvalidParameter::QID));
        }
        if !state.is_ready() || state.queues.contains_key(&qid) {
            return Err(Answer::refused(Status::COMMAND_SEQUENCE_ERROR));
        }
        let (queue, token) = Queue::new(waker);
        state.queues.insert(qid, queue);
        Ok(token)
    }
}
