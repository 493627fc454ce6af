//! Controllers: what a host's association is on this side, without I/O.

mod admin;
mod connect;
mod error_log;
mod event;
mod identify;
mod io;
mod log_page;
mod property;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::completion::Status;

use crate::channel::Channel;
use crate::subsystem::Exported;
use error_log::ErrorLog;
use event::Events;

pub(crate) use admin::{NOT_ABORTED, Outcome};
pub(crate) use connect::{Connected, Connecting};
pub(crate) use identify::{MAX_EVENT_REQUESTS, MAX_NSID};
pub(crate) use io::{Context, compare_and_write, execute as execute_io};

/// What a command is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) result: u64,
    /// How many bytes of the command's memory go to the host.
    pub(crate) data: u32,
}

impl Answer {
    pub(crate) const SUCCESS: Self = Self { status: Status::SUCCESS, result: 0, data: 0 };

    pub(crate) fn result(result: u64) -> Self {
        Self { result, ..Self::SUCCESS }
    }

    /// A failure that the same command would meet again; but for one of this path, which is no reason not to try
    /// another.
    pub(crate) fn refused(status: Status) -> Self {
        let path = status.code_type() == Status::INTERNAL_PATH.code_type();
        Self { status: if path { status } else { status.with_do_not_retry() }, ..Self::SUCCESS }
    }
}

/// One association: a host, a subsystem, and the queues between them.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) cntlid: u16,
    /// `None` for a discovery controller.
    pub(crate) subsystem: Option<Arc<Exported>>,
    pub(crate) subsystem_nqn: String,
    pub(crate) host_nqn: String,
    pub(crate) host_id: [u8; 16],
    /// The port its queues come in by.
    pub(crate) port: u16,
    /// What secures the admin queue, and so each I/O queue.
    channel: Channel,
    /// Held while an I/O command runs, and alone by what ends the queues: a host that was told of a reset will find
    /// no trace of an older command any more.
    running: RwLock<()>,
    started: Instant,
    /// When the last command came, in ms since `started`.
    last_seen: AtomicU64,
    alive: AtomicBool,
    /// CSTS.RDY, as in the state, for each I/O command to look at.
    ready: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// CC and CSTS.
    cc: u32,
    csts: u32,
    /// Zero for none.
    kato: Duration,
    /// How many I/O queues the host may connect.
    granted: u16,
    /// Which queues are connected, the admin queue among them.
    queues: BTreeMap<u16, Queue>,
    events: Events,
    errors: ErrorLog,
}

/// A queue's own, which no other has that takes its number after a reset: whether the controller still has it.
#[derive(Clone, Debug)]
pub(crate) struct QueueToken(Arc<AtomicBool>);

/// A queue that is connected.
#[derive(Debug)]
struct Queue {
    token: QueueToken,
    /// Wakes its owner.
    waker: Waker,
}

impl Queue {
    fn new(waker: &Waker) -> (Self, QueueToken) {
        let token = QueueToken(Arc::new(AtomicBool::new(true)));
        (Self { token: token.clone(), waker: waker.clone() }, token)
    }

    /// Its owner finds it gone, and is woken up for that.
    fn end(self) {
        let waker = self.waker.clone();
        drop(self);
        waker.wake();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.token.0.store(false, Ordering::Release);
    }
}

/// Why a controller's queue is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssociationEnd {
    /// No command came within KATO.
    #[error("no keep-alive came within {} ms", .0.as_millis())]
    KeepAliveExpired(Duration),
    /// The admin queue is gone, the controller was reset, or its subsystem was removed.
    #[error("the association is over")]
    Ended,
}

impl Controller {
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Ends the association: each of its queues finds out at its next command, and is woken up for it.
    pub(crate) fn end(&self) {
        self.alive.store(false, Ordering::Release);
        drop(self.running.write().unwrap_or_else(PoisonError::into_inner));
        for queue in self.lock().queues.values() {
            queue.waker.wake_by_ref();
        }
    }

    /// Keeps the controller as it is while a command of an I/O queue runs; `None` where that queue is over.
    pub(crate) fn run(&self, token: &QueueToken) -> Option<RwLockReadGuard<'_, ()>> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        self.has_queue(token).then_some(running)
    }

    /// Whether the controller still has this queue, and the association is alive.
    pub(crate) fn has_queue(&self, token: &QueueToken) -> bool {
        self.is_alive() && token.0.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command came: with traffic based keep-alive, each counts.
    pub(crate) fn seen(&self, now: Instant) {
        let ms = now.saturating_duration_since(self.started).as_millis() as u64;
        self.last_seen.fetch_max(ms, Ordering::Relaxed);
    }

    /// When the keep-alive timer runs out; `None` without one.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let kato = self.lock().kato;
        let seen = self.started + Duration::from_millis(self.last_seen.load(Ordering::Relaxed));
        (!kato.is_zero()).then(|| seen + kato)
    }

    /// Whether queue `qid` has to end.
    pub(crate) fn check(&self, qid: u16, token: &QueueToken, now: Instant) -> Result<(), AssociationEnd> {
        if !self.has_queue(token) {
            return Err(AssociationEnd::Ended);
        }
        // The admin queue's end is every other's.
        match (qid == 0).then(|| self.deadline()).flatten() {
            Some(deadline) if now >= deadline => Err(AssociationEnd::KeepAliveExpired(self.lock().kato)),
            _ => Ok(()),
        }
    }

    /// Queue `qid` is gone.
    pub(crate) fn disconnected(&self, qid: u16, token: &QueueToken) {
        let mut state = self.lock();
        if state.queues.get(&qid).is_some_and(|held| Arc::ptr_eq(&held.token.0, &token.0)) {
            state.queues.remove(&qid);
        }
    }

    /// A command of queue `qid` failed.
    pub(crate) fn failed(&self, qid: u16, sqe: &Sqe, status: Status) {
        self.lock().errors.record(qid, sqe, status);
    }

    /// Whether it is enabled and ready, as commands besides Fabrics commands need it.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// KATO counts in these steps: KAS.
const KEEP_ALIVE_STEP: Duration = Duration::from_millis(100);

/// KATO of `ms`, rounded up to what this controller counts in.
fn keep_alive(ms: u32) -> Duration {
    let step = KEEP_ALIVE_STEP.as_millis() as u32;
    Duration::from_millis(u64::from(ms.div_ceil(step)) * u64::from(step))
}
