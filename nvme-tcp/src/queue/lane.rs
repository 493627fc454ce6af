//! One connection of an owned queue: what goes out and comes in, and who waits for which command.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{QueueCompletion, Rejected};
use crate::association::{Association, check};
#[cfg(feature = "io-uring")]
use crate::driver::shared::TICK;
use crate::driver::transport::{TransportError, Wait};
#[cfg(feature = "io-uring")]
use crate::driver::uring::Uring;
use crate::driver::wire::Intake;
use crate::driver::{Engine, Loan};
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::proto::{CommandId, Transfer};
use crate::spec::command::Sqe;

/// While more seems to be here already, so many commands are taken before they are given to the caller: what is submitted
/// in their places goes out together, and wakes the other end once.
const TOGETHER: usize = 8;

/// One connection of a queue.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) association: Arc<Association>,
    qid: u16,
    /// How long a command may take.
    timeout: Duration,
    pub(super) engine: Engine,
    pub(super) intake: Intake,
    /// By slot, while it is in use and its caller waits for it.
    pub(super) tickets: Vec<Option<Ticket>>,
    /// Completions of what was cancelled, for the next poll.
    pub(super) cancelled: Vec<QueueCompletion>,
    #[cfg(feature = "io-uring")]
    pub(super) uring: Option<Uring>,
    pub(super) dead: Option<Error>,
    /// When the first of the commands was submitted that no flush has tried to send: the time of all of them, since
    /// asking for it takes a fifth as long as all else that the protocol core does for a command.
    submitted: Option<Instant>,
    /// The last receive has brought all that was here.
    pub(super) dry: bool,
    /// Set once a key is nearly spent: until when the next association is waited for.
    pub(super) nearly_spent_until: Option<Instant>,
    /// Whether the association counts it among its busy ones.
    busy: bool,
    closed: bool,
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) cookie: u64,
    name: &'static str,
    pub(super) id: CommandId,
    pub(super) reads: bool,
}

impl Lane {
    pub(super) fn open(generations: &Generations) -> Result<Self> {
        let association = generations.for_commands()?;
        let (opened, qid) = association.open_io_queue(&generations.connector)?;
        let depth = association.traits.io_entries.saturating_sub(1) as usize;
        let (engine, intake) = (opened.engine, opened.intake);
        Ok(Self {
            association,
            qid,
            timeout: generations.connector.options().timeout,
            engine,
            intake,
            tickets: vec![None; depth],
            cancelled: Vec::new(),
            #[cfg(feature = "io-uring")]
            uring: generations.connector.options().io_uring.then(Uring::new).and_then(Result::ok),
            dead: None,
            submitted: None,
            dry: false,
            nearly_spent_until: None,
            busy: false,
            closed: false,
        })
    }

    /// Submits to the association as it is: from here on, if it ends before the next one begins, that waits for this.
    pub(super) fn submit(
        &mut self,
        name: &'static str,
        sqe: &Sqe,
        loan: Loan,
        cookie: u64,
    ) -> Result<(), Rejected> {
        self.occupy();
        let submitted = self.queue(name, sqe, loan, cookie);
        if self.engine.outstanding() == 0 {
            self.vacate();
        }
        submitted
    }

    fn queue(&mut self, name: &'static str, sqe: &Sqe, loan: Loan, cookie: u64) -> Result<(), Rejected> {
        if let Some(error) = &self.dead {
            return Err(Rejected { error: error.clone(), buffer: loan.into_owned() });
        }
        let deadline = self.submitted.get_or_insert_with(Instant::now).checked_add(self.timeout);
        let reads = matches!(loan.transfer(), Transfer::Read(_));
        match self.engine.submit(sqe, loan, deadline) {
            Ok(id) => {
                if let Some(room) = self.tickets.get_mut(usize::from(id.slot())) {
                    *room = Some(Ticket { cookie, name, id, reads });
                }
                Ok(())
            }
            Err((error, loan)) => {
                Err(Rejected { error: Error::invalid(error.to_string()), buffer: loan.into_owned() })
            }
        }
    }

    /// Says that a command is about to be outstanding.
    pub(super) fn occupy(&mut self) {
        if !std::mem::replace(&mut self.busy, true) {
            self.association.busy_lanes.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Says that none is outstanding any more.
    pub(super) fn vacate(&mut self) {
        if std::mem::take(&mut self.busy) {
            self.association.busy_lanes.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Ends the connection, and gives its queue ID back.
    pub(super) fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.vacate();
            self.engine.outlet_mut().half_mut().close_notify();
            self.engine.outlet().half().shutdown();
            self.association.give_back(self.qid);
            self.dead.get_or_insert(ErrorKind::Lost(TransportError::Closed).into());
        }
    }

    /// Waits for the socket, at most for `limit`.
    pub(super) fn wait(&self, limit: Option<Duration>) {
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
    pub(super) fn check_deadline(&mut self) -> bool {
        let overdue = self.engine.connection_mut().expired(Instant::now()).is_some();
        if overdue {
            self.fail(ErrorKind::Timeout { what: "a command", after: self.timeout }.into());
        }
        overdue
    }

    /// Sends and receives until something is done or the socket would block, or, with patience, until something is
    /// done or nothing came for a tick; whether it waited.
    pub(super) fn progress(
        &mut self,
        completions: &mut Vec<QueueCompletion>,
        patience: Wait,
    ) -> Result<bool> {
        let result = match &self.dead {
            Some(error) => Err(error.clone()),
            None => self.pump(patience),
        };
        if self.engine.is_nearly_spent() && self.nearly_spent_until.is_none() {
            self.nearly_spent_until = Instant::now().checked_add(self.timeout);
        }
        completions.append(&mut self.cancelled);
        for finished in self.engine.finished() {
            let slot = usize::from(finished.completion.command.slot());
            // That of a cancelled command was told already.
            let Some(ticket) = self.tickets.get_mut(slot).and_then(Option::take) else { continue };
            let result = check(ticket.name, &finished.completion.cqe, finished.completion.fault);
            let buffer = finished.loan.into_owned();
            completions.push(QueueCompletion { cookie: ticket.cookie, result, buffer });
        }
        if let Err(error) = &result {
            self.fail(error.clone());
            for (slot, loan) in self.engine.abandon() {
                let ticket = self.tickets.get_mut(usize::from(slot)).and_then(Option::take);
                let Some(Ticket { cookie, .. }) = ticket else { continue };
                let result = Err(error.clone());
                completions.push(QueueCompletion { cookie, result, buffer: loan.into_owned() });
            }
        }
        if self.engine.outstanding() == 0 {
            self.vacate();
        }
        result
    }

    /// Sends what the socket takes now.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.submitted = None;
        self.engine.flush().map(drop)
    }

    fn pump(&mut self, patience: Wait) -> Result<bool> {
        self.dry = false;
        loop {
            if let Some(came) = self.exchange(patience)? {
                if came {
                    continue;
                }
                return Ok(true);
            }
            self.flush()?;
            self.engine.settle()?;
            let has_buffered = self.intake.half().has_buffered();
            // What the descriptor does not show is taken before its owner waits for it.
            let done = self.engine.has_finished() || !self.cancelled.is_empty();
            let more = self.intake.is_brimful() && self.engine.finished_len() < TOGETHER;
            if done && !has_buffered && !more {
                return Ok(false);
            }
            let may_wait =
                !has_buffered && !done && !self.engine.wants_write() && self.engine.outstanding() > 0;
            let wait = if may_wait { patience } else { Wait::Now };
            let came = self.engine.receive_foreseeing(&mut self.intake, wait)?;
            // In the process, how much there was room for says little: only nothing does.
            let brimful = self.intake.is_brimful() || self.intake.half().opens_in_process();
            self.dry = !came || !brimful;
            if !came {
                return Ok(wait == Wait::Block);
            }
        }
    }

    /// Where there is something to send and then nothing to do but wait, and a ring: does both at once. Whether
    /// anything came.
    #[cfg(feature = "io-uring")]
    fn exchange(&mut self, patience: Wait) -> Result<Option<bool>> {
        let Some(uring) = &mut self.uring else { return Ok(None) };
        // What the descriptor does not show would be waited for in vain.
        let done = self.engine.has_finished() || !self.cancelled.is_empty();
        let waits = patience == Wait::Block && !done && !self.intake.half().has_buffered();
        if !waits || !self.engine.wants_write() {
            return Ok(None);
        }
        self.submitted = None;
        self.engine.exchange(&mut self.intake, uring, TICK)
    }

    #[cfg(not(feature = "io-uring"))]
    fn exchange(&mut self, _: Wait) -> Result<Option<bool>> {
        Ok(None)
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.dead.get_or_insert(error);
        self.engine.outlet().half().shutdown();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
    }
}
