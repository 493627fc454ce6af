//! The task that owns a queue.
#![allow(unsafe_code, reason = "commands borrow memory of jobs, and both are kept here")]

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::tokio::io::unix::AsyncFd;
use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::{Sleep, sleep_until};

use super::active::{Active, Part};
use super::blocking;
use super::socket::register;
use super::work::{Done, Job};
use crate::association::Association;
use crate::driver::shared::TICK;
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::namespace::says_why;
use crate::queue::{Queue, QueueCompletion};

/// What futures tell a driver.
pub(super) enum Message {
    Begin {
        id: u64,
        job: Box<Job>,
        reply: oneshot::Sender<Done>,
    },
    /// The future that waited for this job is gone.
    GiveUp(u64),
    /// The association may have been replaced.
    Look,
}

pub(super) struct Driver {
    /// Before `jobs`: its commands borrow their memory. `None` only while it catches up on another thread.
    queue: Option<Queue>,
    /// A descriptor of the same socket.
    socket: AsyncFd<OwnedFd>,
    mail: mpsc::UnboundedReceiver<Message>,
    /// Nobody can send anything any more.
    deserted: bool,
    jobs: HashMap<u64, Active>,
    /// Jobs with commands to begin, each in its turn.
    turns: VecDeque<u64>,
    /// By cookie.
    parts: HashMap<u64, Part>,
    next_cookie: u64,
    completions: Vec<QueueCompletion>,
    timer: Pin<Box<Sleep>>,
    /// Go over to the present association even with nothing to do.
    look: bool,
    generations: Arc<Generations>,
    /// The generation at the last look for others.
    seen: u64,
}

impl Driver {
    pub(super) fn new(queue: Queue, mail: mpsc::UnboundedReceiver<Message>) -> Result<Self> {
        Ok(Self {
            socket: on_reactor(&queue)?,
            seen: queue.association().generation,
            generations: queue.generations().clone(),
            queue: Some(queue),
            mail,
            deserted: false,
            jobs: HashMap::new(),
            turns: VecDeque::new(),
            parts: HashMap::new(),
            next_cookie: 0,
            completions: Vec::new(),
            timer: Box::pin(sleep_until(Instant::now().into())),
            look: false,
        })
    }

    /// Until nobody has a use for it any more.
    pub(super) async fn run(mut self) {
        let generations = self.generations.clone();
        loop {
            while let Ok(message) = self.mail.try_recv() {
                self.take(message);
            }
            if self.catch_up().await.is_err() {
                return;
            }
            let Some(mut queue) = self.queue.take() else { return };
            see_to_death(&mut queue);
            self.begin(&mut queue);
            // What it fails with is told to every job, and kept by the queue.
            drop(queue.poll(&mut self.completions, Duration::ZERO));
            see_to_loss(&queue);
            self.deliver(queue.association());
            // With nothing to do it leaves a replaced association at once, since only then that one ends.
            let idle = queue.outstanding() == 0;
            let mut changed = pin!(idle.then(|| generations.changed().next()));
            if let Some(changed) = changed.as_mut().as_pin_mut() {
                changed.enable();
            }
            if let Some(present) = generations.present().filter(|present| idle && *present != self.seen) {
                self.seen = present;
                self.look = true;
            }
            // Readiness told of this, too, and does not tell again.
            let unseen = queue.may_have_more();
            let (outstanding, behind, held) = (queue.outstanding(), queue.is_left(), queue.held_until());
            let due = self.turns.front().and_then(|id| self.jobs.get(id));
            let more = match behind {
                true => outstanding == 0 && (due.is_some() || self.look),
                false => {
                    held.is_none() && due.is_some_and(|active| queue.room() >= active.job.work.together())
                }
            };
            // Or the next association is up: `changed` tells.
            let resumes = held.filter(|_| due.is_some() && outstanding == 0);
            let (writes, deadline) = (queue.wants().write, queue.next_deadline());
            // It is in place again before anything is awaited, or dropped.
            self.queue = Some(queue);
            if self.deserted && self.jobs.is_empty() && outstanding == 0 {
                return;
            }
            if more || unseen {
                // Others on this thread are served all the same.
                ::tokio::task::yield_now().await;
                continue;
            }
            let limit = Instant::now() + TICK;
            let limit = (outstanding > 0).then(|| deadline.map_or(limit, |at| at.min(limit))).or(resumes);
            if let Some(at) = limit {
                self.timer.as_mut().reset(at.into());
            }
            let watch = !behind || outstanding > 0;
            let rested = poll_fn(|cx| match changed.as_mut().as_pin_mut().map(|changed| changed.poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(Ok(())),
                _ => self.rest(cx, watch, writes, limit.is_some()),
            });
            if rested.await.is_err() {
                return;
            }
        }
    }

    /// Waits for mail, the socket and the timer; an error where there is no reactor any more.
    fn rest(&mut self, cx: &mut Context<'_>, watch: bool, writes: bool, timed: bool) -> Poll<io::Result<()>> {
        if !self.deserted {
            match self.mail.poll_recv(cx) {
                Poll::Ready(Some(message)) => {
                    self.take(message);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(None) => {
                    self.deserted = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {}
            }
        }
        // Readiness is forgotten before the socket is tried, so that what comes meanwhile counts again.
        if watch {
            if let Poll::Ready(guard) = self.socket.poll_read_ready(cx) {
                guard?.clear_ready();
                return Poll::Ready(Ok(()));
            }
        }
        if watch && writes {
            if let Poll::Ready(guard) = self.socket.poll_write_ready(cx) {
                guard?.clear_ready();
                return Poll::Ready(Ok(()));
            }
        }
        match timed {
            true => self.timer.as_mut().poll(cx).map(Ok),
            false => Poll::Pending,
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Begin { id, job, reply } => {
                self.jobs.insert(id, Active::new(*job, reply));
                self.turns.push_back(id);
            }
            Message::GiveUp(id) => self.give_up(id),
            Message::Look => self.look = true,
        }
    }

    /// Begins no more of a job. Reads under way are given up, with their memory; anything else is finished first.
    fn give_up(&mut self, id: u64) {
        self.turns.retain(|other| *other != id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.job.work.reads() {
            let Some(queue) = &mut self.queue else { return };
            self.parts.retain(|cookie, part| {
                let given_up = part.id == id && queue.cancel(*cookie);
                job.outstanding -= usize::from(given_up);
                !given_up
            });
        }
        if job.outstanding == 0 {
            self.jobs.remove(&id);
        } else {
            job.error.get_or_insert_with(|| ErrorKind::Cancelled.into());
        }
    }

    /// Goes over to the next association, or to another connection, where that is due and nothing is outstanding.
    /// An error where the runtime is being shut down.
    async fn catch_up(&mut self) -> Result<(), ()> {
        let Some(queue) = &self.queue else { return Err(()) };
        let wanted = !self.turns.is_empty() || self.look;
        if !wanted || queue.outstanding() > 0 || !queue.is_left() {
            self.look = self.look && queue.outstanding() > 0;
            return Ok(());
        }
        self.look = false;
        let association = queue.association().clone();
        // What one association has begun ends with it; the rest is begun on the next.
        let begun: Vec<u64> = self.jobs.iter().filter(|(_, job)| job.begun > 0).map(|(id, _)| *id).collect();
        for id in begun {
            self.finish(id, &association);
        }
        drop(association);
        for job in self.jobs.values_mut() {
            job.pieces = None;
        }
        // Nothing is lent to it, so that it may be dropped anywhere.
        let Some(mut queue) = self.queue.take() else { return Err(()) };
        let moved = blocking(move || {
            let result = queue.catch_up();
            Ok((queue, result))
        });
        let (queue, result) = moved.await.map_err(drop)?;
        let result = result.and_then(|()| on_reactor(&queue).map_err(|e| (queue.association().clone(), e)));
        match result {
            Ok(socket) => self.socket = socket,
            Err((association, error)) => self.fail_all(&error, &association),
        }
        self.queue = Some(queue);
        Ok(())
    }

    /// Begins what there is room for, one command of each job at a time.
    fn begin(&mut self, queue: &mut Queue) {
        // A fused operation that has begun goes out whole.
        let mut within = false;
        while within || (!queue.is_behind() && queue.room() > 0) {
            within = false;
            let Some(id) = self.turns.pop_front() else { return };
            let Some(active) = self.jobs.get_mut(&id) else { continue };
            let Active { job, pieces, begun, .. } = active;
            let together = job.work.together();
            if *begun == 0 && queue.room() < together {
                // Alone, it would have room now.
                if queue.outstanding() > 0 {
                    self.turns.push_front(id);
                    return;
                }
                active.error = Some(Error::invalid("a fused operation needs a queue of at least 3 entries"));
                self.finish(id, queue.association());
                continue;
            }
            let pieces = pieces.get_or_insert_with(|| {
                let cut = job.work.cut(&job.namespace, queue.association());
                job.left.pieces(cut).collect()
            });
            let Some(piece) = pieces.get(*begun).cloned() else { continue };
            // SAFETY: the job stays in `jobs`, and its memory in the job, until none of its commands is
            // outstanding (`finish`, and `give_up` after `cancel`) or the queue is dropped, which comes first in
            // this struct. The pieces of a job are apart.
            let command = unsafe { job.command(piece) };
            let (name, number) = (job.name, *begun);
            let submitted = match command {
                Some((sqe, changes, loan)) => {
                    let cookie = self.next_cookie;
                    self.next_cookie += 1;
                    let submitted = queue.submit_here(name, sqe, loan, cookie);
                    self.parts.insert(cookie, Part { id, number, changes });
                    submitted.map_err(|rejected| {
                        self.parts.remove(&cookie);
                        rejected.error
                    })
                }
                None => Err(Error::invalid("the memory to be written has become shorter")),
            };
            match submitted {
                Ok(()) => {
                    *begun += 1;
                    active.outstanding += 1;
                }
                Err(error) => active.error = Some(error),
            }
            if active.has_more() && active.begun % together != 0 {
                within = true;
                self.turns.push_front(id);
            } else if active.has_more() {
                self.turns.push_back(id);
            } else if active.outstanding == 0 {
                self.finish(id, queue.association());
            }
        }
    }

    /// Takes what is done.
    fn deliver(&mut self, association: &Arc<Association>) {
        let mut completions = std::mem::take(&mut self.completions);
        for QueueCompletion { cookie, result, .. } in completions.drain(..) {
            // That of a read that was given up is not told.
            let Some(part) = self.parts.remove(&cookie) else { continue };
            let Some(active) = self.jobs.get_mut(&part.id) else { continue };
            active.outstanding -= 1;
            if let Err(error) = result {
                active.failed.push(part.number);
                let answered = matches!(error.kind(), ErrorKind::Status { .. } | ErrorKind::Data { .. });
                active.unknown |= part.changes && !answered;
                says_why(&mut active.error, error);
                self.turns.retain(|id| *id != part.id);
            }
            if active.outstanding == 0 && !active.has_more() {
                self.finish(part.id, association);
            }
        }
        self.completions = completions;
    }

    /// Fails every job that has begun nothing.
    fn fail_all(&mut self, error: &Error, association: &Arc<Association>) {
        self.turns.clear();
        let all: Vec<u64> = self.jobs.keys().copied().collect();
        for id in all {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.error.get_or_insert_with(|| error.clone());
            }
            self.finish(id, association);
        }
    }

    /// Gives a job back that ran on `association`; no command of it is outstanding.
    fn finish(&mut self, id: u64, association: &Arc<Association>) {
        self.turns.retain(|other| *other != id);
        let Some(Active { mut job, pieces, begun, failed, error, unknown, reply, .. }) =
            self.jobs.remove(&id)
        else {
            return;
        };
        let association = association.clone();
        if pieces.is_some() {
            let cut = job.work.cut(&job.namespace, &association);
            job.left.done(cut, begun, &failed);
        }
        let progress = begun > failed.len();
        // Where nobody waits any more, its memory is freed here.
        drop(reply.send(Done { job, progress, error, unknown, association }));
    }
}

/// Puts a queue's socket on the reactor.
fn on_reactor(queue: &Queue) -> Result<AsyncFd<OwnedFd>> {
    register(queue.as_fd())
        .map_err(|e| Error::invalid(format!("the reactor does not take the connection: {e}")))
}

/// An association that is lost takes its queues with it.
fn see_to_death(queue: &mut Queue) {
    if queue.is_left() && queue.outstanding() == 0 {
        return;
    }
    if let Some(death) = queue.association().death() {
        queue.fail(death);
    }
}

/// The queue is many callers': losing it ends its association, as with the queues of the blocking API.
fn see_to_loss(queue: &Queue) {
    let Some(error) = queue.death() else { return };
    if queue.association().death().is_none() {
        queue.association().close(error);
        queue.ring();
    }
}
