//! A queue that one thread owns: submit many, poll, wait with the caller's own event loop.

#[cfg(feature = "tokio")]
mod driven;
mod lane;
mod raw;
mod submit;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::Loan;
use crate::driver::shared::TICK;
use crate::driver::transport::Wait;
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::proto::Wants;
use crate::spec::command::Sqe;

use self::lane::{Lane, Ticket};

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

/// A queue with a connection of its own, for one thread, to one controller: its owner holds the memory of its commands
/// and their order, so it is its owner's to send what one path failed by another, each with a queue of its own
/// ([`multipath::Subsystem::controller`](crate::multipath::Subsystem::controller)). [`Namespace`](crate::Namespace) does all
/// that by itself.
///
/// Commands are submitted with the memory they use, which comes back with their completion. Nothing here
/// waits but [`poll`](Self::poll) with a time to wait; an event loop of the caller's waits for [`AsFd`] in
/// the direction that [`wants`](Self::wants) says and then polls.
///
/// When the controller's association is replaced, or one of the connection's keys is nearly spent and the next
/// association not up yet, [`room`](Self::room) is zero until the commands already submitted are done; the next command
/// then goes to a new connection. (What is submitted all the same still goes to the old one.) Ask for the descriptor
/// again after each submission.
///
/// A connection that is lost alone, while the association lives, fails what was outstanding on it; the next command
/// goes to a new connection. The controller may still be carrying out a write that failed so, and nothing says until
/// when, since its keep-alive goes on: before writing to the same place again, replace the association
/// ([`Controller::reconnect`](crate::Controller::reconnect)), or read back what stands there.
///
/// ```no_run
/// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
/// let namespace = controller.namespace(1)?;
/// // One of those that `Options::owned_queues` reserved.
/// let mut queue = controller.queue()?;
/// queue.submit_read(&namespace, vec![0; 4096], 0, 1).map_err(|rejected| rejected.error)?;
/// let mut done = Vec::new();
/// while done.is_empty() {
///     queue.poll(&mut done, std::time::Duration::from_secs(1))?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Queue {
    generations: Arc<Generations>,
    lane: Lane,
}

impl Queue {
    pub(crate) fn open(generations: Arc<Generations>) -> Result<Self> {
        let lane = Lane::open(&generations)?;
        Ok(Self { generations, lane })
    }

    /// How many commands can be submitted now.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// for offset in (0..namespace.size()).step_by(4096).take(queue.room()) {
    ///     queue.submit_read(namespace, vec![0; 4096], offset, offset).map_err(|rejected| rejected.error)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn room(&self) -> usize {
        match (self.generations.is_current(&self.lane.association), self.outstanding()) {
            (false, 0) => self.lane.tickets.len(),
            (false, _) => 0,
            (true, 0) if self.lane.dead.is_some() && self.lane.association.death().is_none() => {
                self.lane.tickets.len()
            }
            (true, _) if self.lane.dead.is_some() => 0,
            (true, 0) if self.held_until().is_some() => self.lane.tickets.len(),
            (true, _) if self.held_until().is_some() => 0,
            (true, _) => self.lane.engine.room(),
        }
    }

    /// How many commands are outstanding, those that were cancelled and are not yet answered among them.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue) -> nvme_tcp::Result<()> {
    /// let mut done = Vec::new();
    /// while queue.outstanding() > 0 {
    ///     queue.poll(&mut done, std::time::Duration::MAX)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn outstanding(&self) -> usize {
        self.lane.engine.outstanding()
    }

    /// Whether its connection is lost, belongs to an association that was replaced, or has a key that is nearly spent:
    /// once nothing is outstanding, the next command goes to another connection, and its submission waits until that is
    /// up. Who must not wait there calls [`follow`](Self::follow) before, elsewhere.
    ///
    /// ```no_run
    /// # fn example(queue: &nvme_tcp::Queue) {
    /// if queue.is_behind() {
    ///     println!("after {} more completions it goes to another connection", queue.outstanding());
    /// }
    /// # }
    /// ```
    pub fn is_behind(&self) -> bool {
        self.is_left() || self.held_until().is_some()
    }

    /// Whether its connection has no future.
    pub(crate) fn is_left(&self) -> bool {
        self.lane.dead.is_some() || self.is_stale()
    }

    /// While one of its keys is nearly spent and the next association not up: until when no command is to begin. What
    /// is left of the key is for those that are outstanding; after that time the key goes on to its limit.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        let until = self.lane.nearly_spent_until.filter(|_| !self.is_left())?;
        (Instant::now() < until).then_some(until)
    }

    /// Gives up the read that was submitted with `cookie` (one of them, where there are several): the next
    /// [`poll`](Self::poll) completes it with [`ErrorKind::Cancelled`], with its memory, of which nothing is
    /// touched from here on. Its slot stays in use until the controller has answered; what that sends is
    /// thrown away.
    ///
    /// `false` where no read of this cookie waits. A write cannot be given up: it is completed as always,
    /// since its fate is known no earlier.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue) -> nvme_tcp::Result<()> {
    /// // Another replica has answered: this one's memory is wanted for the next read.
    /// let mut done = Vec::new();
    /// if queue.cancel(7) {
    ///     queue.poll(&mut done, std::time::Duration::ZERO)?;
    /// }
    /// let memory = done.into_iter().find(|read| read.cookie == 7).and_then(|read| read.buffer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(&mut self, cookie: u64) -> bool {
        let wanted = |ticket: &Ticket| ticket.reads && ticket.cookie == cookie;
        let found = self.lane.tickets.iter_mut().find(|ticket| ticket.as_ref().is_some_and(wanted));
        let Some(ticket) = found.and_then(Option::take) else { return false };
        let buffer = self.lane.engine.cancel_read(ticket.id).into_owned();
        let result = Err(ErrorKind::Cancelled.into());
        self.lane.cancelled.push(QueueCompletion { cookie, result, buffer });
        true
    }

    fn submit(&mut self, name: &'static str, sqe: Sqe, loan: Loan, cookie: u64) -> Result<(), Rejected> {
        match self.follow() {
            Ok(()) => self.submit_followed(name, sqe, loan, cookie),
            Err(error) => Err(Rejected { error, buffer: loan.into_owned() }),
        }
    }

    /// The same for a caller that has [followed](Self::follow).
    fn submit_followed(
        &mut self,
        name: &'static str,
        sqe: Sqe,
        loan: Loan,
        cookie: u64,
    ) -> Result<(), Rejected> {
        // Before the last look: an association that ends before the next one begins waits for it.
        self.lane.occupy();
        if self.outstanding() == 0 && self.is_stale() {
            self.lane.vacate();
            if let Err(error) = self.follow() {
                return Err(Rejected { error, buffer: loan.into_owned() });
            }
        }
        self.lane.submit(name, &sqe, loan, cookie)
    }

    /// Goes over to the controller's present association, once nothing is outstanding on the one before; to another
    /// connection, where this one was lost and the association was not: waits until that is up. Each submission does so
    /// by itself. A caller that saw room just before the change is still served by the old one, which is alive until
    /// then. Where a key is nearly spent, waits for the next association, as long as a command may take.
    ///
    /// ```no_run
    /// # fn example(mut queue: nvme_tcp::Queue) -> nvme_tcp::Result<()> {
    /// // The event loop goes on meanwhile, and gets the queue back.
    /// let following = std::thread::spawn(move || queue.follow().map(|()| queue));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The connection did not come up, or there is no association: the next call tries again.
    #[inline]
    pub fn follow(&mut self) -> Result<()> {
        if self.outstanding() > 0 { Ok(()) } else { self.follow_when_idle() }
    }

    fn follow_when_idle(&mut self) -> Result<()> {
        if let Some(until) = self.held_until() {
            self.generations.wait_for_next(&self.lane.association, Some(until))?;
        }
        if self.is_left() {
            if let (false, Some(error)) = (self.is_stale(), self.lane.association.death()) {
                // There is no other association yet.
                return Err(error);
            }
            // Its queue ID is free again for the next.
            self.lane.close();
            let cancelled = std::mem::take(&mut self.lane.cancelled);
            self.lane = Lane::open(&self.generations)?;
            self.lane.cancelled = cancelled;
        }
        Ok(())
    }

    fn is_stale(&self) -> bool {
        !self.generations.is_current(&self.lane.association)
    }

    /// Sends and receives what can be now, and adds what is done to `completions`; how many that were. Where
    /// nothing is done yet, waits for at most `wait`. More may be here than one call takes: an event loop that is told of
    /// each readiness once (`EPOLLET`) calls it until it gives 0.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue) -> nvme_tcp::Result<()> {
    /// let mut done = Vec::new();
    /// queue.poll(&mut done, std::time::Duration::from_millis(100))?;
    /// for completion in done {
    ///     match completion.result {
    ///         Ok(()) => println!("{} is done", completion.cookie),
    ///         Err(error) => eprintln!("{} failed: {error}", completion.cookie),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The connection is lost: each command that was outstanding is completed with the same error, at this
    /// call or the next.
    pub fn poll(&mut self, completions: &mut Vec<QueueCompletion>, wait: Duration) -> Result<usize> {
        let before = completions.len();
        let mut now = Instant::now();
        let until = now.checked_add(wait);
        loop {
            self.lane.engine.connection_mut().look_for_deadlines(now + TICK);
            let ends = [until, self.lane.engine.next_deadline()].into_iter().flatten().min();
            let left = ends.map(|at| at.saturating_duration_since(now));
            // A receive that waits saves poll(2), but it ends only with the socket's own time, a tick.
            let patience = if left.is_none_or(|left| left >= TICK) { Wait::Block } else { Wait::Now };
            let result = self.lane.progress(completions, patience);
            let done = completions.len() - before;
            if done > 0 {
                return Ok(done);
            }
            let waited = result?;
            if self.outstanding() == 0 {
                return Ok(0);
            }
            if self.lane.check_deadline() {
                continue;
            }
            now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(0);
            }
            if !waited {
                let ends = [until, self.lane.engine.next_deadline()].into_iter().flatten().min();
                self.lane.wait(ends.map(|at| at.saturating_duration_since(now)));
                now = Instant::now();
            }
        }
    }

    /// Sends what was submitted, as far as the socket takes it now; receives nothing. [`poll`](Self::poll) sends as
    /// well: an event loop that has just been given completions, and has submitted the next commands, saves the
    /// receive that would find nothing. [`wants`](Self::wants) says whether all is sent.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// let mut done = Vec::new();
    /// // The event loop says that the queue's descriptor is readable.
    /// queue.poll(&mut done, std::time::Duration::ZERO)?;
    /// for read in done.drain(..) {
    ///     read.result?;
    ///     let next = (read.cookie + 1) * 4096;
    ///     queue
    ///         .submit_read(namespace, read.buffer.unwrap_or_default(), next, read.cookie + 1)
    ///         .map_err(|rejected| rejected.error)?;
    /// }
    /// queue.send()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The connection is lost: the next [`poll`](Self::poll) completes each command that was outstanding with the same
    /// error.
    pub fn send(&mut self) -> Result<()> {
        if let Some(error) = &self.lane.dead {
            return Err(error.clone());
        }
        self.lane.flush().inspect_err(|error| self.lane.fail(error.clone()))
    }

    /// Whether it sends and waits by io_uring: where [`Options::io_uring`](crate::Options::io_uring) asks for that and
    /// the kernel lets it.
    ///
    /// ```no_run
    /// # fn example(queue: &nvme_tcp::Queue) {
    /// if !queue.uses_io_uring() {
    ///     eprintln!("two system calls for each command: see sysctl kernel.io_uring_disabled");
    /// }
    /// # }
    /// ```
    #[cfg(feature = "io-uring")]
    pub fn uses_io_uring(&self) -> bool {
        self.lane.uring.is_some()
    }

    /// By when an event loop polls, at the latest: no command of this queue will have taken too long before.
    ///
    /// ```no_run
    /// # fn example(queue: &nvme_tcp::Queue) {
    /// // The timeout for poll(2); without one, nothing is outstanding.
    /// let now = std::time::Instant::now();
    /// let left = queue.next_deadline().map(|at| at.saturating_duration_since(now));
    /// # }
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        self.lane.engine.next_deadline()
    }

    /// Which way the descriptor is wanted.
    ///
    /// ```no_run
    /// # fn example(queue: &nvme_tcp::Queue) {
    /// use nix::poll::PollFlags;
    ///
    /// let mut events = PollFlags::empty();
    /// events.set(PollFlags::POLLIN, queue.wants().read);
    /// // Only while something is left to send: a socket is writable nearly always.
    /// events.set(PollFlags::POLLOUT, queue.wants().write);
    /// # }
    /// ```
    pub fn wants(&self) -> Wants {
        Wants { write: self.lane.engine.wants_write(), read: self.outstanding() > 0 }
    }

    /// Whether more may be here than the last [`poll`](Self::poll) has taken.
    #[cfg(feature = "tokio")]
    pub(crate) fn may_have_more(&self) -> bool {
        self.outstanding() > 0 && !self.lane.dry
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lane.intake.half().as_fd()
    }
}
