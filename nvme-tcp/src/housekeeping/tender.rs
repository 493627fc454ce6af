//! What the housekeeper does for one association: keep-alives, events, and its shutdown.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::LONGEST_REST;
use crate::association::{Association, check};
use crate::driver::shared::{Done, Task, Watch};
use crate::error::{Error, ErrorKind};
use crate::events::Event;
use crate::generations::Generations;
use crate::proto::{AsyncEvents, EventStep, KeepAlive, KeepAliveAction, Shutdown, ShutdownStep};
use crate::spec::async_event::AsyncEvent;
use crate::spec::command::admin;

#[derive(Debug)]
pub(super) struct Tender {
    /// Of the admin queue's socket; without one the queue is served at each turn only.
    fd: Option<OwnedFd>,
    kato: Duration,
    keep_alive: KeepAlive,
    events: AsyncEvents,
    shutdown: Option<Shutdown>,
    watch: Watch,
    lost: bool,
}

/// What came of a turn.
pub(super) struct Turn {
    /// When the next is due, unless something happens.
    pub(super) next: Instant,
    /// The association is lost, or its shutdown is done.
    pub(super) is_over: bool,
}

impl Tender {
    pub(super) fn new(association: &Association, kato: Duration) -> Self {
        let traits = &association.traits;
        let kato = if traits.keep_alive { kato } else { Duration::ZERO };
        Self {
            fd: association.admin.as_owned_fd().ok(),
            kato,
            keep_alive: KeepAlive::new(kato, traits.traffic_based_keep_alive, association.connected),
            events: AsyncEvents::new(traits.event_requests),
            shutdown: None,
            watch: Watch::default(),
            lost: false,
        }
    }

    /// Begins to shut the controller down.
    pub(super) fn shut_down(&mut self, now: Instant, limit: Duration) {
        self.shutdown.get_or_insert_with(|| Shutdown::new(now, limit));
    }

    /// What the admin queue's descriptor is wanted for, which may be nothing.
    pub(super) fn wants(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, self.watch.read);
        flags.set(PollFlags::POLLOUT, self.watch.write);
        self.fd.as_ref().map(|fd| (fd.as_fd(), flags))
    }

    /// Serves the association as far as that goes at once.
    pub(super) fn turn(
        &mut self,
        association: &Association,
        generations: &Generations,
        now: Instant,
    ) -> Turn {
        let mut done = Vec::new();
        self.watch = association.admin.serve(&mut done);
        for done in done {
            if let Some(event) = self.finished(association, done, now) {
                generations.bulletin.tell(|| Event::Reported(event.clone()));
            }
        }
        let next = match &mut self.shutdown {
            Some(shutdown) => match shutdown.next(now) {
                ShutdownStep::Done => return Turn { next: now, is_over: true },
                ShutdownStep::Wait(until) => until,
                ShutdownStep::Admin(sqe) => {
                    drop(association.admin.begin(Task::Shutdown, &sqe, 0, None));
                    now
                }
            },
            None => self.watch_over(association, now),
        };
        if let Some(error) = association.death() {
            self.lose(association, generations, &error);
            return Turn { next: now + LONGEST_REST, is_over: true };
        }
        let soon = [self.watch.deadline, self.watch.again.then_some(now)];
        Turn { next: soon.into_iter().flatten().fold(next, Instant::min), is_over: false }
    }

    /// A command is done; what the controller reported by it.
    fn finished(&mut self, association: &Association, done: Done, now: Instant) -> Option<AsyncEvent> {
        let Done { task, outcome, data } = done;
        match task {
            Task::KeepAlive => {
                match outcome.and_then(|(cqe, fault)| check("Keep Alive", &cqe, fault)) {
                    Ok(()) => self.keep_alive.answered(),
                    Err(error) => association.close(&error),
                }
                None
            }
            Task::EventRequest => outcome.ok().and_then(|(cqe, _)| self.events.completed(&cqe, now)),
            Task::EventLog => {
                let read = matches!(&outcome, Ok((cqe, None)) if cqe.status().is_success());
                self.events.log_read(read.then_some(&data))
            }
            Task::Shutdown => {
                let answer = outcome.ok().map(|(cqe, _)| cqe);
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.completed(answer.as_ref(), now);
                }
                None
            }
        }
    }

    /// Sends the keep-alive and the event commands that are due; when to look again. A command that cannot be
    /// begun says that the queue died, which the caller looks for.
    fn watch_over(&mut self, association: &Association, now: Instant) -> Instant {
        if association.take_traffic() {
            self.keep_alive.traffic();
        }
        let mut next = match self.keep_alive.poll(now) {
            KeepAliveAction::Wait(until) => until,
            KeepAliveAction::Send => {
                self.keep_alive.sent(now);
                drop(association.admin.begin(Task::KeepAlive, &admin::keep_alive(), 0, None));
                now + self.kato
            }
            KeepAliveAction::Lost => {
                let lost = ErrorKind::Timeout { what: "Keep Alive", after: self.kato };
                association.close(&lost.into());
                now
            }
        };
        loop {
            let begun = match self.events.next(now) {
                EventStep::Rest => return next,
                EventStep::Wait(until) => {
                    next = next.min(until);
                    return next;
                }
                EventStep::Request(sqe) => association.admin.begin(Task::EventRequest, &sqe, 0, None),
                EventStep::ReadLog(command) => {
                    let limit = Some(association.admin.timeout());
                    association.admin.begin(Task::EventLog, &command.sqe, command.read, limit)
                }
            };
            if begun.is_err() {
                return next;
            }
        }
    }

    fn lose(&mut self, association: &Association, generations: &Generations, error: &Error) {
        if std::mem::replace(&mut self.lost, true) {
            return;
        }
        association.close(error);
        if generations.is_current(association) && !matches!(error.kind(), ErrorKind::ShutDown) {
            let generation = association.generation;
            generations.bulletin.tell(|| Event::AssociationLost { generation, error: error.clone() });
        }
    }
}
