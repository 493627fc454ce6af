//! A queue that one thread owns: submit many, poll, wait with the caller's own event loop.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::association::{Association, check};
use crate::driver::transport::TransportError;
use crate::driver::wire::Intake;
use crate::driver::{Engine, Loan};
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::namespace::Namespace;
use crate::proto::Wants;
use crate::spec::command::{Sqe, nvm};

/// A command that is done.
#[non_exhaustive]
pub struct QueueCompletion {
    /// What the caller gave along with the command.
    pub cookie: u64,
    /// Whether it succeeded.
    pub result: Result<()>,
    /// The memory that was lent to it: for a read, with the data in it.
    pub buffer: Option<Vec<u8>>,
}

/// A command that was not taken, with the memory that came along.
pub struct Rejected {
    /// Why.
    pub error: Error,
    /// The caller's memory.
    pub buffer: Option<Vec<u8>>,
}

// Written by hand, since a payload has no place in a log.
impl fmt::Debug for QueueCompletion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.buffer.as_ref().map(Vec::len);
        f.debug_struct("QueueCompletion")
            .field("cookie", &self.cookie)
            .field("result", &self.result)
            .field("buffer_len", &bytes)
            .finish()
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.buffer.as_ref().map(Vec::len);
        f.debug_struct("Rejected").field("error", &self.error).field("buffer_len", &bytes).finish()
    }
}

/// A queue with a connection of its own, for one thread.
///
/// Commands are submitted with the memory they use, which comes back with their completion. Nothing here
/// waits but [`poll`](Self::poll) with a time to wait; an event loop of the caller's waits for
/// [`AsFd`] in the direction that [`wants`](Self::wants) says and then polls.
///
/// When the controller's association is replaced, [`room`](Self::room) is zero until the commands already
/// submitted are done; the next command then goes to a new connection. (What is submitted all the same still goes
/// to the old one.) Ask for the descriptor again after each submission.
///
/// A connection that is lost alone, while the association lives, fails what was outstanding on it; the next command
/// goes to a new connection. The controller may still be carrying out a write that failed so, and nothing says until
/// when, since its keep-alive goes on: before writing to the same place again, replace the association
/// ([`Controller::reconnect`](crate::Controller::reconnect)), or read back what stands there.
#[derive(Debug)]
pub struct Queue {
    generations: Arc<Generations>,
    lane: Lane,
}

/// One connection of a queue.
#[derive(Debug)]
struct Lane {
    association: Arc<Association>,
    qid: u16,
    engine: Engine,
    intake: Intake,
    /// By slot: the caller's cookie, and the command's name.
    cookies: Vec<(u64, &'static str)>,
    dead: Option<Error>,
    /// Whether the association counts it among its busy ones.
    busy: bool,
    closed: bool,
}

impl Queue {
    pub(crate) fn open(generations: Arc<Generations>) -> Result<Self> {
        let lane = Lane::open(&generations)?;
        Ok(Self { generations, lane })
    }

    /// How many commands can be submitted now.
    pub fn room(&self) -> usize {
        match (self.generations.is_current(&self.lane.association), self.outstanding()) {
            (false, 0) => self.lane.cookies.len(),
            (false, _) => 0,
            (true, 0) if self.lane.dead.is_some() && self.lane.association.death().is_none() => {
                self.lane.cookies.len()
            }
            (true, _) if self.lane.dead.is_some() => 0,
            (true, _) => self.lane.engine.room(),
        }
    }

    /// How many commands are outstanding.
    pub fn outstanding(&self) -> usize {
        self.lane.engine.outstanding()
    }

    /// Reads into `buffer` (at most [`Namespace::max_transfer`] bytes, whole blocks) from `offset`.
    ///
    /// # Errors
    /// Wrong offset or length, a full queue, or a lost connection.
    pub fn submit_read(
        &mut self,
        namespace: &Namespace,
        buffer: Vec<u8>,
        offset: u64,
        cookie: u64,
    ) -> Result<(), Rejected> {
        match self.range(namespace, offset, buffer.len()) {
            Ok((slba, count)) => {
                let sqe = nvm::read(namespace.id(), slba, count);
                self.submit("Read", sqe, Loan::owned_read(buffer), cookie)
            }
            Err(error) => Err(Rejected { error, buffer: Some(buffer) }),
        }
    }

    /// Writes `buffer` (at most [`Namespace::max_transfer`] bytes, whole blocks) to `offset`.
    ///
    /// # Errors
    /// As [`submit_read`](Self::submit_read).
    pub fn submit_write(
        &mut self,
        namespace: &Namespace,
        buffer: Vec<u8>,
        offset: u64,
        cookie: u64,
    ) -> Result<(), Rejected> {
        match self.range(namespace, offset, buffer.len()) {
            Ok((slba, count)) => {
                let sqe = nvm::write(namespace.id(), slba, count);
                self.submit("Write", sqe, Loan::owned_write(buffer), cookie)
            }
            Err(error) => Err(Rejected { error, buffer: Some(buffer) }),
        }
    }

    /// Flushes the namespace.
    ///
    /// # Errors
    /// A full queue, or a lost connection.
    pub fn submit_flush(&mut self, namespace: &Namespace, cookie: u64) -> Result<(), Rejected> {
        self.submit("Flush", nvm::flush(namespace.id()), Loan::default(), cookie)
    }

    fn range(&mut self, namespace: &Namespace, offset: u64, len: usize) -> Result<(u64, u32)> {
        let (slba, count) = namespace.blocks_at(offset, len as u64)?;
        // What counts is the limit of the association that the command goes to.
        self.follow()?;
        let most = namespace.max_transfer_on(&self.lane.association);
        if len == 0 || len > most {
            return Err(Error::invalid(format!("a command moves 1 block to {most} bytes, not {len} bytes")));
        }
        Ok((slba, count as u32))
    }

    fn submit(&mut self, name: &'static str, sqe: Sqe, loan: Loan, cookie: u64) -> Result<(), Rejected> {
        if let Err(error) = self.follow() {
            return Err(Rejected { error, buffer: loan.into_owned() });
        }
        // Before the last look: an association that ends before the next one begins waits for it.
        self.lane.occupy();
        if self.outstanding() == 0 && self.is_stale() {
            self.lane.vacate();
            if let Err(error) = self.follow() {
                return Err(Rejected { error, buffer: loan.into_owned() });
            }
            self.lane.occupy();
        }
        let timeout = self.generations.connector.options().timeout;
        let submitted = self.lane.submit(name, &sqe, loan, cookie, timeout);
        if self.outstanding() == 0 {
            self.lane.vacate();
        }
        submitted
    }

    /// Goes over to the controller's present association, once nothing is outstanding on the one before; to another
    /// connection, where this one was lost and the association was not. A caller that saw room just before the
    /// change is still served by the old one, which is alive until then.
    fn follow(&mut self) -> Result<()> {
        if self.outstanding() == 0 && (self.is_stale() || self.lane.dead.is_some()) {
            if let (false, Some(error)) = (self.is_stale(), self.lane.association.death()) {
                // There is no other association yet.
                return Err(error);
            }
            // Its queue ID is free again for the next.
            self.lane.close();
            self.lane = Lane::open(&self.generations)?;
        }
        Ok(())
    }

    fn is_stale(&self) -> bool {
        !self.generations.is_current(&self.lane.association)
    }

    /// Sends and receives what can be now, and adds what is done to `completions`; how many that were. Where
    /// nothing is done yet, waits for at most `wait`.
    ///
    /// # Errors
    /// The connection is lost: each command that was outstanding is completed with the same error, at this
    /// call or the next.
    pub fn poll(&mut self, completions: &mut Vec<QueueCompletion>, wait: Duration) -> Result<usize> {
        let before = completions.len();
        let until = Instant::now().checked_add(wait);
        loop {
            let result = self.lane.progress(completions);
            let done = completions.len() - before;
            if done > 0 {
                return Ok(done);
            }
            result?;
            if self.outstanding() == 0 {
                return Ok(0);
            }
            if self.lane.check_deadline(self.generations.connector.options().timeout) {
                continue;
            }
            let now = Instant::now();
            let ends = [until, self.lane.engine.next_deadline()].into_iter().flatten().min();
            if until.is_some_and(|until| until <= now) {
                return Ok(0);
            }
            self.lane.wait(ends.map(|at| at.saturating_duration_since(now)));
        }
    }

    /// When a command of this queue will have taken too long: an event loop polls by then.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.lane.engine.next_deadline()
    }

    /// Which way the descriptor is wanted.
    pub fn wants(&self) -> Wants {
        Wants { write: self.lane.engine.wants_write(), read: self.outstanding() > 0 }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lane.intake.half().as_fd()
    }
}

impl Lane {
    fn open(generations: &Generations) -> Result<Self> {
        let association = generations.for_commands()?;
        let (opened, qid) = association.open_io_queue(&generations.connector)?;
        let depth = association.traits.io_entries.saturating_sub(1) as usize;
        let (engine, intake) = (opened.engine, opened.intake);
        Ok(Self {
            association,
            qid,
            engine,
            intake,
            cookies: vec![(0, ""); depth],
            dead: None,
            busy: false,
            closed: false,
        })
    }

    fn submit(
        &mut self,
        name: &'static str,
        sqe: &Sqe,
        loan: Loan,
        cookie: u64,
        timeout: Duration,
    ) -> Result<(), Rejected> {
        if let Some(error) = &self.dead {
            return Err(Rejected { error: error.clone(), buffer: loan.into_owned() });
        }
        let deadline = Instant::now().checked_add(timeout);
        match self.engine.submit(sqe, loan, deadline) {
            Ok(slot) => {
                if let Some(room) = self.cookies.get_mut(usize::from(slot)) {
                    *room = (cookie, name);
                }
                Ok(())
            }
            Err((error, loan)) => {
                Err(Rejected { error: Error::invalid(error.to_string()), buffer: loan.into_owned() })
            }
        }
    }

    /// Says that a command is about to be outstanding.
    fn occupy(&mut self) {
        if !std::mem::replace(&mut self.busy, true) {
            self.association.busy_lanes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Says that none is outstanding any more.
    fn vacate(&mut self) {
        if std::mem::take(&mut self.busy) {
            self.association.busy_lanes.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Ends the connection, and gives its queue ID back.
    fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.vacate();
            self.engine.outlet_mut().half_mut().close_notify();
            self.engine.outlet().half().shutdown();
            self.association.give_back(self.qid);
            self.dead.get_or_insert(ErrorKind::Lost(TransportError::Closed).into());
        }
    }

    /// Waits for the socket, at most for `limit`.
    fn wait(&self, limit: Option<Duration>) {
        let mut events = PollFlags::POLLIN;
        if self.engine.wants_write() {
            events |= PollFlags::POLLOUT;
        }
        // Rounded up, so that a wait of less than a millisecond does not become a spin.
        let limit = limit.map(|limit| limit.saturating_add(Duration::from_millis(1)));
        let limit =
            limit.map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        // Whatever it says, the socket is tried next.
        let _ = poll(&mut [PollFd::new(self.intake.half().as_fd(), events)], limit);
    }

    /// Fails the connection if a command is overdue; whether one is.
    fn check_deadline(&mut self, after: Duration) -> bool {
        let overdue = self.engine.connection_mut().expired(Instant::now()).is_some();
        if overdue {
            self.fail(ErrorKind::Timeout { what: "a command", after }.into());
        }
        overdue
    }

    /// Sends and receives until the socket would block.
    fn progress(&mut self, completions: &mut Vec<QueueCompletion>) -> Result<()> {
        let result = match &self.dead {
            Some(error) => Err(error.clone()),
            None => self.pump(),
        };
        for finished in self.engine.finished() {
            let slot = usize::from(finished.completion.command.slot());
            let (cookie, name) = self.cookies.get(slot).copied().unwrap_or_default();
            let result = check(name, &finished.completion.cqe, finished.completion.fault);
            completions.push(QueueCompletion { cookie, result, buffer: finished.loan.into_owned() });
        }
        if let Err(error) = &result {
            self.fail(error.clone());
            for (slot, loan) in self.engine.abandon() {
                let (cookie, _) = self.cookies.get(usize::from(slot)).copied().unwrap_or_default();
                let result = Err(error.clone());
                completions.push(QueueCompletion { cookie, result, buffer: loan.into_owned() });
            }
        }
        if self.engine.outstanding() == 0 {
            self.vacate();
        }
        result
    }

    fn pump(&mut self) -> Result<()> {
        loop {
            self.engine.flush()?;
            self.engine.settle()?;
            if !self.engine.receive(&mut self.intake)? {
                return Ok(());
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.dead.get_or_insert(error);
        self.engine.outlet().half().shutdown();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
    }
}
