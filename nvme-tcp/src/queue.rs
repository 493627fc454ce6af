//! A queue that one thread owns: submit many, poll, wait with the caller's own event loop.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::association::{Association, check};
use crate::driver::wire::Intake;
use crate::driver::{Engine, Loan};
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::namespace::Namespace;
use crate::proto::Wants;
use crate::spec::command::{Sqe, nvm};

/// A command that is done.
#[derive(Debug)]
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
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub error: Error,
    /// The caller's memory.
    pub buffer: Option<Vec<u8>>,
}

/// A queue with a connection of its own, for one thread.
///
/// Commands are submitted with the memory they use, which comes back with their completion. Nothing here
/// waits but [`poll`](Self::poll) with a time to wait; an event loop of the caller's waits for
/// [`AsFd`] in the direction that [`wants`](Self::wants) says and then polls.
///
/// When the controller's association is replaced, commands already submitted end on the old connection and new
/// ones go to a new one: ask for the descriptor again after each poll.
#[derive(Debug)]
pub struct Queue {
    generations: Arc<Generations>,
    lane: Lane,
    /// The connection before, while commands are outstanding on it.
    draining: Option<Lane>,
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
}

impl Queue {
    pub(crate) fn open(generations: Arc<Generations>) -> Result<Self> {
        let lane = Lane::open(&generations)?;
        Ok(Self { generations, lane, draining: None })
    }

    /// How many commands can be submitted now.
    pub fn room(&self) -> usize {
        if self.lane.dead.is_some() { 0 } else { self.lane.engine.room() }
    }

    /// How many commands are outstanding.
    pub fn outstanding(&self) -> usize {
        self.lane.engine.outstanding() + self.draining.as_ref().map_or(0, |lane| lane.engine.outstanding())
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

    fn range(&self, namespace: &Namespace, offset: u64, len: usize) -> Result<(u64, u32)> {
        let (slba, count) = namespace.blocks_at(offset, len as u64)?;
        let most = namespace.max_transfer();
        if len == 0 || len > most {
            return Err(Error::invalid(format!("a command moves 1 block to {most} bytes, not {len} bytes")));
        }
        Ok((slba, count as u32))
    }

    fn submit(&mut self, name: &'static str, sqe: Sqe, loan: Loan, cookie: u64) -> Result<(), Rejected> {
        if let Err(error) = self.follow() {
            return Err(Rejected { error, buffer: loan.into_owned() });
        }
        self.lane.submit(name, &sqe, loan, cookie, self.generations.connector.options().timeout)
    }

    /// Goes over to the controller's present association.
    fn follow(&mut self) -> Result<()> {
        if self.draining.is_none() && !self.generations.is_current(&self.lane.association) {
            let next = Lane::open(&self.generations)?;
            let old = std::mem::replace(&mut self.lane, next);
            self.draining = (old.engine.outstanding() > 0).then_some(old);
        }
        Ok(())
    }

    /// Sends and receives what can be now, and adds what is done to `completions`; how many that were. Where
    /// nothing is done yet, waits for at most `wait`.
    ///
    /// # Errors
    /// The connection is lost: each command that was outstanding is completed with the same error, at this
    /// call or the next.
    pub fn poll(&mut self, completions: &mut Vec<QueueCompletion>, wait: Duration) -> Result<usize> {
        let before = completions.len();
        // A wait beyond the end of time is one without an end.
        let until = Instant::now().checked_add(wait);
        loop {
            if let Some(old) = &mut self.draining {
                // Its end is told by its commands.
                drop(old.progress(completions));
                if old.engine.outstanding() == 0 {
                    self.draining = None;
                }
            }
            let result = self.lane.progress(completions);
            let done = completions.len() - before;
            if done > 0 {
                return Ok(done);
            }
            result?;
            let now = Instant::now();
            if self.fail_expired(now) {
                continue;
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
            if left.is_zero() || self.outstanding() == 0 {
                return Ok(0);
            }
            let deadline = self.next_deadline().map(|at| at.saturating_duration_since(now));
            self.wait_for_sockets(left.min(deadline.unwrap_or(Duration::MAX)));
        }
    }

    fn wait_for_sockets(&self, left: Duration) {
        let lanes = [Some(&self.lane), self.draining.as_ref()];
        let mut fds: Vec<_> = lanes.into_iter().flatten().map(Lane::poll_fd).collect();
        // Rounded up, so that a wait of less than a millisecond does not become a spin.
        let limit =
            PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        // Whatever it says, the sockets are tried next.
        let _ = poll(&mut fds, limit);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let lanes = [Some(&self.lane), self.draining.as_ref()];
        lanes.into_iter().flatten().filter_map(|lane| lane.engine.next_deadline()).min()
    }

    /// Ends each connection with a command whose time is up; whether there was one.
    fn fail_expired(&mut self, now: Instant) -> bool {
        let after = self.generations.connector.options().timeout;
        let mut failed = false;
        for lane in [Some(&mut self.lane), self.draining.as_mut()].into_iter().flatten() {
            if lane.engine.connection_mut().expired(now).is_some() {
                lane.fail(ErrorKind::Timeout { what: "a command", after }.into());
                failed = true;
            }
        }
        failed
    }

    /// Which way the descriptor is wanted.
    pub fn wants(&self) -> Wants {
        Wants { write: self.lane.engine.wants_write(), read: self.lane.engine.outstanding() > 0 }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lane.intake.half().as_fd()
    }
}

impl Lane {
    fn open(generations: &Generations) -> Result<Self> {
        let association = generations.current();
        let (opened, qid) = association.open_io_queue(&generations.connector)?;
        let depth = association.traits.io_entries.saturating_sub(1) as usize;
        let (engine, intake) = (opened.engine, opened.intake);
        Ok(Self { association, qid, engine, intake, cookies: vec![(0, ""); depth], dead: None })
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

    fn poll_fd(&self) -> PollFd<'_> {
        let mut events = PollFlags::POLLIN;
        if self.engine.wants_write() {
            events |= PollFlags::POLLOUT;
        }
        PollFd::new(self.intake.half().as_fd(), events)
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
        self.engine.outlet_mut().half_mut().close_notify();
        self.engine.outlet().half().shutdown();
        self.association.give_back(self.qid);
    }
}
