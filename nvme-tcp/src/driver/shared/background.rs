//! Commands that no caller waits for: the housekeeper's keep-alives, event requests, log pages and shutdowns.
//!
//! The housekeeper never waits in a queue. It begins a command, sleeps in poll(2) on the descriptors of all its
//! queues, and serves those that have something. Where a caller has the receiving role, that caller serves the
//! housekeeper's commands too, and rings.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{Outcome, Owner, SharedQueue};
use crate::driver::engine::Flush;
use crate::driver::loan::Loan;
use crate::driver::transport::Wait;
use crate::error::Error;
use crate::spec::command::Sqe;

/// What a command of the housekeeper's is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    KeepAlive,
    EventRequest,
    EventLog,
    Shutdown,
}

/// A command of the housekeeper's that is done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) task: Task,
    pub(crate) outcome: Outcome,
    /// What was read.
    pub(crate) data: Vec<u8>,
}

/// How a queue is to be watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// Something may have come: nobody else receives.
    pub(crate) read: bool,
    /// Something is to be sent that the socket did not take.
    pub(crate) write: bool,
    /// There is more than one turn took: serve again at once.
    pub(crate) again: bool,
    /// When a command will have taken too long.
    pub(crate) deadline: Option<Instant>,
}

/// The housekeeper's part of a queue's state.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// Slots that callers leave to the housekeeper.
    reserve: usize,
    outstanding: usize,
    done: Vec<Done>,
    /// The housekeeper itself delivers, and needs no bell.
    serving: bool,
    told: bool,
    /// The housekeeper found the receiving role taken, and waits for the bell.
    parked: bool,
}

impl Background {
    /// Slots that callers leave free now.
    pub(super) fn reserved(&self) -> usize {
        self.reserve.saturating_sub(self.outstanding)
    }

    pub(super) fn finished(&mut self, task: Task, outcome: Outcome, loan: Loan) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.done.push(Done { task, outcome, data: loan.into_owned().unwrap_or_default() });
    }

    /// Whether the housekeeper is to be told that something is done.
    pub(super) fn must_tell(&mut self) -> bool {
        let tell = !self.done.is_empty() && !self.serving && !self.told;
        self.told |= tell;
        tell
    }

    /// Whether the housekeeper waits for the receiving role; told once.
    pub(super) fn take_parked(&mut self) -> bool {
        std::mem::take(&mut self.parked)
    }
}

/// Receives in one turn, at most: the other queues have their turns too.
const TURN: usize = 32;

impl SharedQueue {
    /// Keeps `slots` free for the housekeeper.
    pub(crate) fn reserve(&self, slots: usize) {
        self.lock().background.reserve = slots;
    }

    /// A descriptor of the queue's socket, to wait on.
    pub(crate) fn as_owned_fd(&self) -> std::io::Result<OwnedFd> {
        self.lock().engine.outlet().half().as_fd().try_clone_to_owned()
    }

    /// Begins a command that reads `read` bytes; what becomes of it, [`serve`](Self::serve) says. With no
    /// `limit` it may take for ever.
    pub(crate) fn begin(
        &self,
        task: Task,
        sqe: &Sqe,
        read: u32,
        limit: Option<Duration>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(error) = &state.dead {
            return Err(error.clone());
        }
        let loan = if read == 0 { Loan::default() } else { Loan::owned_read(vec![0; read as usize]) };
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let id = state.engine.submit(sqe, loan, deadline).map_err(|(e, _)| Error::invalid(e.to_string()))?;
        if let Some(owner) = state.owners.get_mut(usize::from(id.slot())) {
            *owner = Some(Owner::Task(task));
        }
        state.background.outstanding += 1;
        state.flush();
        Ok(())
    }

    /// Sends and receives what can be now, without waiting, and adds what is done to `done`. Says what to watch
    /// the queue for.
    pub(crate) fn serve(&self, done: &mut Vec<Done>) -> Watch {
        let mut state = self.lock();
        state.background.serving = true;
        let mut watch = Watch::default();
        if state.dead.is_none() {
            watch.write = state.flush() == Flush::Blocked;
            let mut result = Ok(());
            let mut idle = true;
            let state = &mut *state;
            if let Some(intake) = &mut state.intake {
                for turn in 0..TURN {
                    match state.engine.receive(intake, Wait::Now) {
                        Ok(true) => (idle, watch.again) = (false, turn + 1 == TURN),
                        Ok(false) => break,
                        Err(error) => {
                            result = Err(error);
                            break;
                        }
                    }
                }
                watch.read = true;
            }
            state.deliver();
            state.background.parked = !watch.read;
            if watch.read && result.is_ok() {
                // What was received may have asked for data.
                watch.write = state.flush() == Flush::Blocked;
                result = state.check_deadlines(self.timeout, idle);
            }
            if let Err(error) = result {
                state.fail(error);
            }
            // Whoever else receives looks at the deadlines too.
            state.engine.connection_mut().look_for_deadlines(Instant::now());
            watch.deadline = state.engine.next_deadline().filter(|_| watch.read);
        }
        let background = &mut state.background;
        background.serving = false;
        background.told = false;
        done.append(&mut background.done);
        if state.dead.is_some() {
            return Watch::default();
        }
        watch
    }
}
