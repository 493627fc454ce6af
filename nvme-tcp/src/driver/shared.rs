//! A queue that many threads share, without a thread of its own.
//!
//! # Who receives
//! The receiving end is a role. A caller that has to wait takes it if it is free, receives for everybody
//! without holding the lock, and hands every command's result to its own caller; the others sleep. When its
//! own commands are done it leaves the role and wakes one that still waits. At queue depth 1 a command thus
//! costs its caller one send and one receive, and no hand-over to another thread.
//!
//! # The lock
//! It is held across a send, which never waits, so that PDUs go out whole and in order; never across a
//! receive or a poll.
#![allow(unsafe_code)]

mod background;
mod fused;
mod state;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::background::Background;
pub(crate) use self::background::{Done, Task, Watch};
use super::engine::{Engine, Flush};
use super::transport::Wait;
use super::wire::{Intake, Received};
use crate::error::Error;
use crate::proto::DataFault;
use crate::spec::command::Sqe;
use crate::spec::completion::Cqe;

/// Memory that a command borrows until it is done.
#[derive(Debug)]
pub(crate) enum Buffer<'b> {
    None,
    Read(&'b mut [u8]),
    Write(&'b [u8]),
}

/// A command and its memory.
#[derive(Debug)]
pub(crate) struct Request<'b> {
    pub(crate) sqe: Sqe,
    pub(crate) buffer: Buffer<'b>,
}

impl Request<'_> {
    /// The same once more, for as long as this one is not used.
    pub(crate) fn again(&mut self) -> Request<'_> {
        let buffer = match &mut self.buffer {
            Buffer::None => Buffer::None,
            Buffer::Read(memory) => Buffer::Read(memory),
            Buffer::Write(memory) => Buffer::Write(memory),
        };
        Request { sqe: self.sqe, buffer }
    }
}

/// What became of a command: its completion and what its data had to say, or why its queue died.
pub(crate) type Outcome = Result<(Cqe, Option<DataFault>), Error>;

/// Whose command is in a slot.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// A call's, which numbers its own.
    Call { call: usize, number: usize },
    /// The housekeeper's.
    Task(Task),
}

#[derive(Debug)]
pub(crate) struct SharedQueue {
    state: Mutex<State>,
    timeout: Duration,
}

#[derive(Debug)]
struct State {
    engine: Engine,
    /// The receiving role; `None` while somebody has it.
    intake: Option<Intake>,
    /// Whose command is in each slot.
    owners: Vec<Option<Owner>>,
    calls: Vec<Call>,
    dead: Option<Error>,
    /// Whether a caller's command completed since [`SharedQueue::take_traffic`] was last asked; what the
    /// housekeeper sends is no sign of traffic.
    traffic: bool,
    /// When deadlines were last looked at.
    looked: Instant,
    background: Background,
}

/// One call of [`SharedQueue::execute`].
#[derive(Debug)]
struct Call {
    active: bool,
    waiting: bool,
    /// Waits with nothing outstanding: the next slot that comes free is for such a call.
    starved: bool,
    outstanding: usize,
    /// By the command's number among the call's own.
    results: VecDeque<(usize, Outcome)>,
    begun: usize,
    wake: Arc<Condvar>,
}

impl SharedQueue {
    /// A queue whose commands have `timeout` to complete.
    pub(crate) fn new(engine: Engine, intake: Intake, depth: u32, timeout: Duration) -> Self {
        let state = State {
            engine,
            intake: Some(intake),
            owners: vec![None; depth as usize],
            calls: Vec::new(),
            dead: None,
            traffic: false,
            looked: Instant::now(),
            background: Background::default(),
        };
        Self { state: Mutex::new(state), timeout }
    }

    /// Takes the queue apart again, with nothing outstanding on it.
    pub(crate) fn into_parts(self) -> Result<(Engine, Intake), Error> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (state.dead, state.intake) {
            (Some(error), _) => Err(error),
            (None, Some(intake)) => Ok((state.engine, intake)),
            (None, None) => Err(Error::invalid("a call is under way on the queue")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No caller's code runs under the lock but closures of this crate; if one of those panicked, the
        // state is still whole, since each step below leaves it so.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a command may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether a caller's command has completed since this was last asked.
    pub(crate) fn take_traffic(&self) -> bool {
        std::mem::take(&mut self.lock().traffic)
    }

    /// Whether no caller's command is outstanding.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().calls.iter().all(|call| call.outstanding == 0)
    }

    /// Why the queue died, if it did.
    pub(crate) fn death(&self) -> Option<Error> {
        self.lock().dead.clone()
    }

    /// Ends the queue: every outstanding command fails with `error`.
    pub(crate) fn close(&self, error: Error) {
        self.lock().fail(error);
    }

    /// Runs all of `requests`: see [`run`](Self::run).
    pub(crate) fn execute<'b>(
        &self,
        requests: impl IntoIterator<Item = Request<'b>>,
        mut done: impl FnMut(&Cqe, Option<DataFault>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let done = |_, outcome: Outcome| outcome.and_then(|(cqe, fault)| done(&cqe, fault));
        self.drive(requests, None::<fn() -> bool>, self.timeout, done).1
    }

    /// Runs one request that has `limit` to complete, instead of the queue's own time.
    pub(crate) fn execute_within(&self, limit: Duration, request: Request<'_>) -> Outcome {
        let mut answer = None;
        let done = |_, outcome: Outcome| {
            answer = Some(outcome?);
            Ok(())
        };
        self.drive([request], None::<fn() -> bool>, limit, done).1?;
        answer.ok_or_else(|| Error::invalid("a command was not begun"))
    }

    /// Runs `requests` with as many of them outstanding as the queue has room for, and gives what became of
    /// each to `done`, with its number. No more are begun after the first error, `done`'s or the queue's, and
    /// when `stay` says no; none while a key of the queue's is nearly spent, for as long as a command may take, since
    /// `stay` will soon say so. All that were begun are waited for, so no memory is in use any more on return. How
    /// many were begun, and the first error.
    pub(crate) fn run<'b>(
        &self,
        requests: impl IntoIterator<Item = Request<'b>>,
        stay: impl Fn() -> bool,
        done: impl FnMut(usize, Outcome) -> Result<(), Error>,
    ) -> (usize, Result<(), Error>) {
        self.drive(requests, Some(stay), self.timeout, done)
    }

    fn drive<'b>(
        &self,
        requests: impl IntoIterator<Item = Request<'b>>,
        stay: Option<impl Fn() -> bool>,
        limit: Duration,
        mut done: impl FnMut(usize, Outcome) -> Result<(), Error>,
    ) -> (usize, Result<(), Error>) {
        let mut requests = requests.into_iter().peekable();
        let mut failed = None;
        let mut held_until = None;
        let may_leave = stay.is_some();
        let stay = || stay.as_ref().is_none_or(|stay| stay());
        // Before `state`, so that on unwinding the lock is free when this is dropped.
        let guard = CallGuard { queue: self, call: self.lock().begin_call() };
        let call = guard.call;
        let mut state = self.lock();
        loop {
            if failed.is_none() {
                if let Some(error) = &state.dead {
                    failed = Some(error.clone());
                }
            }
            let held = may_leave && state.engine.is_nearly_spent() && {
                let now = Instant::now();
                now < *held_until.get_or_insert(now + limit)
            };
            while failed.is_none() && !held && state.room_for(call) > 0 && stay() {
                let Some(request) = requests.next() else { break };
                if let Err(error) = state.submit(call, request, limit) {
                    failed = Some(error);
                }
            }
            let flushed = state.flush();
            while let Some((number, outcome)) = state.calls[call].results.pop_front() {
                failed = failed.or(done(number, outcome).err());
            }
            let finished = failed.is_some() || requests.peek().is_none() || !stay();
            if finished && state.calls[call].outstanding == 0 {
                break;
            }
            if state.calls[call].results.is_empty() && (finished || held || state.room_for(call) == 0) {
                state = self.wait(state, call, flushed);
            }
        }
        let begun = state.calls[call].begun;
        drop(state);
        drop(guard);
        (begun, failed.map_or(Ok(()), Err))
    }

    /// Waits until something changes for `call`: as the receiver if the role is free.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        call: usize,
        flushed: Flush,
    ) -> MutexGuard<'a, State> {
        let waiting = &mut state.calls[call];
        waiting.starved = waiting.outstanding == 0;
        let Some(intake) = state.intake.take() else {
            if flushed == Flush::Blocked && state.dead.is_none() {
                // The receiver may be asleep in its receive: this thread sees to the sending.
                let fd = state.engine.outlet().as_owned_fd();
                drop(state);
                if let Ok(fd) = fd {
                    wait_for(fd.as_fd(), PollFlags::POLLOUT, TICK);
                }
                return self.lock();
            }
            let wake = state.calls[call].wake.clone();
            state.calls[call].waiting = true;
            let mut state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.calls[call].waiting = false;
            return state;
        };
        let mut role = Role { queue: self, intake: Some(intake) };
        let mut place = state.engine.place();
        let writing = state.engine.wants_write();
        drop(state);
        let Some(intake) = &mut role.intake else { return self.lock() };
        let mode = if writing {
            let tick = TICK.min(self.timeout);
            // What is already here, the descriptor does not show.
            if !intake.half().has_buffered() {
                wait_for(intake.half().as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT, tick);
            }
            Wait::Now
        } else {
            Wait::Block
        };
        // SAFETY: a loan ends only with its command's completion, which this thread, holding the receiving
        // role, is the only one to process, or in `settle_dead`, which waits for the role to be free.
        let bytes = place.as_mut().map(|place| unsafe { place.bytes() });
        let received = intake.receive(bytes, mode);
        let mut state = self.lock();
        let result = match received {
            Ok(received) => state.engine.received(received, intake).and_then(|()| {
                state.deliver();
                state.check_deadlines(self.timeout, received == Received::Nothing)
            }),
            Err(error) => Err(error.into()),
        };
        state.intake = role.intake.take();
        if let Err(error) = result {
            state.deliver();
            state.fail(error);
        } else if state.dead.is_some() {
            state.settle_dead();
        }
        state
    }
}

/// Ends a call, and sees to it that nothing of its caller's memory is lent any more, even when one of the
/// caller's closures panics: the queue is then given up, since what is outstanding cannot be taken back.
#[derive(Debug)]
struct CallGuard<'q> {
    queue: &'q SharedQueue,
    call: usize,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        if state.calls[self.call].outstanding > 0 {
            state.fail(Error::invalid("a caller of the queue panicked"));
        }
        // Whoever has the receiving role settles the queue before leaving it.
        while state.calls[self.call].outstanding > 0 {
            let wake = state.calls[self.call].wake.clone();
            state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.end_call(self.call);
    }
}

/// The receiving role while a thread has it. Where that thread panics, the queue is given up and the role
/// freed, since the others would wait for it for ever.
#[derive(Debug)]
struct Role<'q> {
    queue: &'q SharedQueue,
    intake: Option<Intake>,
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        if let Some(intake) = self.intake.take() {
            let mut state = self.queue.lock();
            state.intake = Some(intake);
            state.fail(Error::invalid("the thread that received for the queue panicked"));
        }
    }
}

/// How long a wait lasts before deadlines are looked at again.
pub(crate) const TICK: Duration = Duration::from_millis(500);

fn wait_for(fd: std::os::fd::BorrowedFd<'_>, events: PollFlags, limit: Duration) {
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    // Whatever it says, the socket is tried next.
    let _ = poll(&mut [PollFd::new(fd, events)], limit);
}

#[cfg(test)]
pub(crate) mod tests;
