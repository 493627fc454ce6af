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

mod fused;

use std::collections::VecDeque;
use std::iter::Peekable;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::engine::{Engine, Finished, Flush};
use super::loan::Loan;
use super::transport::Wait;
use super::wire::{Intake, Received};
use crate::error::{Error, ErrorKind};
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

/// What became of a command: its completion and what its data had to say, or why its queue died.
pub(crate) type Outcome = Result<(Cqe, Option<DataFault>), Error>;

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
    owners: Vec<Option<usize>>,
    calls: Vec<Call>,
    dead: Option<Error>,
    /// Whether anything completed since [`SharedQueue::take_traffic`] was last asked.
    traffic: bool,
    /// When deadlines were last looked at.
    looked: Instant,
}

/// One call of [`SharedQueue::execute`].
#[derive(Debug)]
struct Call {
    active: bool,
    waiting: bool,
    /// Waits with nothing outstanding: the next slot that comes free is for such a call.
    starved: bool,
    outstanding: usize,
    results: VecDeque<Outcome>,
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

    /// Whether a command has completed since this was last asked.
    pub(crate) fn take_traffic(&self) -> bool {
        std::mem::take(&mut self.lock().traffic)
    }

    /// Why the queue died, if it did.
    pub(crate) fn death(&self) -> Option<Error> {
        self.lock().dead.clone()
    }

    /// Ends the queue: every outstanding command fails with `error`.
    pub(crate) fn close(&self, error: Error) {
        self.lock().fail(error);
    }

    /// Runs all of `requests`: see [`execute_while`](Self::execute_while).
    pub(crate) fn execute<'b>(
        &self,
        requests: impl IntoIterator<Item = Request<'b>>,
        done: impl FnMut(&Cqe, Option<DataFault>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.execute_while(&mut requests.into_iter().peekable(), || true, done)
    }

    /// Runs one request that has `limit` to complete, instead of the queue's own time.
    pub(crate) fn execute_within(
        &self,
        limit: Duration,
        request: Request<'_>,
        done: impl FnMut(&Cqe, Option<DataFault>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.drive(&mut [request].into_iter().peekable(), || true, limit, done)
    }

    /// Runs `requests` with as many of them outstanding as the queue has room for, and gives each completion
    /// to `done`. No more are begun after the first error, `done`'s or the queue's, and when `stay` says no,
    /// which leaves the rest in `requests`. All that were begun are waited for, so no memory is in use any more
    /// on return.
    pub(crate) fn execute_while<'b>(
        &self,
        requests: &mut Peekable<impl Iterator<Item = Request<'b>>>,
        stay: impl Fn() -> bool,
        done: impl FnMut(&Cqe, Option<DataFault>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.drive(requests, stay, self.timeout, done)
    }

    fn drive<'b>(
        &self,
        requests: &mut Peekable<impl Iterator<Item = Request<'b>>>,
        stay: impl Fn() -> bool,
        limit: Duration,
        mut done: impl FnMut(&Cqe, Option<DataFault>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut failed = None;
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
            while failed.is_none() && state.room_for(call) > 0 && stay() {
                let Some(request) = requests.next() else { break };
                if let Err(error) = state.submit(call, request, limit) {
                    failed = Some(error);
                }
            }
            let flushed = state.flush();
            while let Some(outcome) = state.calls[call].results.pop_front() {
                let result = outcome.and_then(|(cqe, fault)| done(&cqe, fault));
                failed = failed.or(result.err());
            }
            let finished = failed.is_some() || requests.peek().is_none() || !stay();
            if finished && state.calls[call].outstanding == 0 {
                break;
            }
            if state.calls[call].results.is_empty() && (finished || state.room_for(call) == 0) {
                state = self.wait(state, call, flushed);
            }
        }
        drop(state);
        drop(guard);
        failed.map_or(Ok(()), Err)
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

impl State {
    fn begin_call(&mut self) -> usize {
        let found = self.calls.iter().position(|call| !call.active);
        let index = found.unwrap_or_else(|| {
            self.calls.push(Call {
                active: false,
                waiting: false,
                starved: false,
                outstanding: 0,
                results: VecDeque::new(),
                wake: Arc::default(),
            });
            self.calls.len() - 1
        });
        self.calls[index].active = true;
        index
    }

    fn end_call(&mut self, call: usize) {
        let ended = &mut self.calls[call];
        ended.active = false;
        ended.waiting = false;
        ended.starved = false;
        ended.results.clear();
        // The role, and the slots that this call had, are free for the others.
        if self.intake.is_some() {
            self.wake_one();
        }
    }

    fn wake_one(&self) {
        if let Some(call) = self.calls.iter().find(|call| call.waiting) {
            call.wake.notify_one();
        }
    }

    fn submit(&mut self, call: usize, request: Request<'_>, timeout: Duration) -> Result<(), Error> {
        let loan = match request.buffer {
            Buffer::None => Loan::default(),
            // SAFETY: `execute`, which borrows the memory, returns only when the command is done and its loan
            // dropped.
            Buffer::Read(memory) => unsafe { Loan::read_into(memory) },
            // SAFETY: the same.
            Buffer::Write(memory) => unsafe { Loan::write_from(memory) },
        };
        let deadline = Instant::now().checked_add(timeout);
        let slot = self
            .engine
            .submit(&request.sqe, loan, deadline)
            .map_err(|(e, _)| Error::invalid(e.to_string()))?;
        self.owners[usize::from(slot)] = Some(call);
        self.calls[call].outstanding += 1;
        self.calls[call].starved = false;
        Ok(())
    }

    /// How many commands `call` may begin now: it leaves a slot for each call that has none.
    fn room_for(&self, call: usize) -> usize {
        let room = self.engine.room();
        if self.calls[call].outstanding == 0 {
            return room;
        }
        room.saturating_sub(self.calls.iter().filter(|call| call.starved).count())
    }

    fn flush(&mut self) -> Flush {
        if self.dead.is_some() {
            return Flush::Done;
        }
        match self.engine.flush().and_then(|flush| self.engine.settle().map(|()| flush)) {
            Ok(flush) => {
                self.deliver();
                flush
            }
            Err(error) => {
                self.fail(error);
                Flush::Done
            }
        }
    }

    /// Hands results to their calls.
    fn deliver(&mut self) {
        let Self { engine, owners, calls, traffic, .. } = self;
        let mut freed = false;
        for Finished { completion, loan } in engine.finished() {
            drop(loan);
            *traffic = true;
            freed = true;
            let owner = owners.get_mut(usize::from(completion.command.slot())).and_then(Option::take);
            if let Some(call) = owner.and_then(|owner| calls.get_mut(owner)) {
                call.outstanding -= 1;
                call.results.push_back(Ok((completion.cqe, completion.fault)));
                if call.waiting {
                    call.wake.notify_one();
                }
            }
        }
        if freed {
            // Calls that got no slot yet.
            for call in calls.iter().filter(|call| call.waiting && call.outstanding == 0) {
                call.wake.notify_one();
            }
        }
    }

    /// Looks at the deadlines when nothing came, and at every [`TICK`] when something always does.
    fn check_deadlines(&mut self, timeout: Duration, idle: bool) -> Result<(), Error> {
        let now = Instant::now();
        if !idle && now < self.looked + TICK.min(timeout) {
            return Ok(());
        }
        self.looked = now;
        match self.engine.connection_mut().expired(now) {
            Some(_) => Err(ErrorKind::Timeout { what: "a command", after: timeout }.into()),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: Error) {
        if self.dead.is_none() {
            // A TermReq may be waiting to tell the controller why; the connection ends either way.
            drop(self.engine.flush());
            self.dead = Some(error);
            // With TLS an end without it is a truncation to the controller.
            self.engine.outlet_mut().half_mut().close_notify();
        }
        self.engine.outlet().half().shutdown();
        if self.intake.is_some() {
            self.settle_dead();
        }
    }

    /// Fails what is outstanding on a dead queue. Only with the receiving role free: whoever has it may be
    /// receiving into the memory.
    fn settle_dead(&mut self) {
        let Some(error) = self.dead.clone() else { return };
        self.deliver();
        for (slot, loan) in self.engine.abandon() {
            drop(loan);
            let owner = self.owners.get_mut(usize::from(slot)).and_then(Option::take);
            if let Some(call) = owner.and_then(|owner| self.calls.get_mut(owner)) {
                call.outstanding -= 1;
                call.results.push_back(Err(error.clone()));
            }
        }
        for call in &mut self.calls {
            // No slot has a loan any more. A panic halfway through a delivery may have left a count behind.
            while call.outstanding > 0 {
                call.outstanding -= 1;
                call.results.push_back(Err(error.clone()));
            }
            call.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
