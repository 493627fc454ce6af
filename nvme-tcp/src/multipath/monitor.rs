//! What watches a path: it connects it where it did not come up at first, and keeps what is known of it. It is a
//! thread, or a task that leaves what may wait to the runtime's threads for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Group, Identity, Shared, connect_path};
use crate::controller::Controller;
use crate::error::Result;
use crate::events::{AsyncEvent, Event, NoEvent};
use crate::generations::without_waiting;
use crate::proto::{Recoverer, RecoveryStep};
use crate::spec::completion::Status;
use crate::spec::log_page::AnaState;

/// How often the log is read of a path whose change state has lasted for too long.
const OVERDUE: Duration = Duration::from_secs(1);

/// What a monitor wants next.
enum Step {
    /// The subsystem is shut down, or the path given up.
    Over,
    /// [`Monitor::work`], which may wait.
    Work,
    /// Wait for the time, or the end.
    Wait(Option<Instant>),
    /// Wait for an event of the path, until then.
    Event(Option<Instant>),
}

/// Watches a path until the subsystem is shut down.
pub(super) struct Monitor {
    shared: Arc<Shared>,
    path: usize,
    /// Where it has not been connected yet.
    recoverer: Recoverer,
    looked: Instant,
    /// That the path is to be looked at, and whether all of it.
    due: Option<bool>,
}

impl Monitor {
    pub(super) fn new(shared: Arc<Shared>, path: usize) -> Self {
        let recovery = shared.entries.get(path).and_then(|entry| entry.options.recovery);
        let mut recoverer = Recoverer::new(recovery.unwrap_or_default());
        let now = Instant::now();
        recoverer.lost(now, 0);
        Self { shared, path, recoverer, looked: now, due: None }
    }

    /// Does so on this thread.
    pub(super) fn run(mut self) {
        loop {
            match self.step() {
                Step::Over => return,
                Step::Work => self.work(),
                Step::Wait(until) => drop(self.shared.wait_until(until)),
                Step::Event(until) => {
                    let entry = self.shared.entries.get(self.path);
                    let Some(link) = entry.and_then(|entry| entry.link.get()) else { return };
                    let event = match until {
                        None => link.events.recv().ok_or(NoEvent::Ever),
                        Some(at) => link.events.recv_timeout(at.saturating_duration_since(Instant::now())),
                    };
                    if !self.take(event) {
                        return;
                    }
                }
            }
        }
    }

    /// The same for a task.
    #[cfg(feature = "tokio")]
    pub(super) async fn run_as_task(mut self) {
        use std::ops::ControlFlow::{Break, Continue};

        loop {
            match self.step() {
                Step::Over => return,
                Step::Work => {
                    let worked = crate::tokio::blocking(move || {
                        self.work();
                        Ok(self)
                    });
                    match worked.await {
                        Ok(same) => self = same,
                        // The runtime is shut down.
                        Err(_) => return,
                    }
                }
                Step::Wait(until) => {
                    let over =
                        || self.shared.is_ended() || until.is_some_and(|until| until <= Instant::now());
                    let look = || if over() { Break(()) } else { Continue(until) };
                    self.shared.changed.look_until(look).await;
                }
                Step::Event(until) => {
                    let entry = self.shared.entries.get(self.path);
                    let Some(link) = entry.and_then(|entry| entry.link.get()) else { return };
                    let event = match until {
                        None => link.events.next().await.ok_or(NoEvent::Ever),
                        Some(at) => match ::tokio::time::timeout_at(at.into(), link.events.next()).await {
                            Ok(event) => event.ok_or(NoEvent::Ever),
                            Err(_) => Err(NoEvent::Yet),
                        },
                    };
                    if !self.take(event) {
                        return;
                    }
                }
            }
        }
    }

    fn step(&mut self) -> Step {
        let shared = &self.shared;
        let Some(entry) = shared.entries.get(self.path).filter(|_| !shared.is_ended()) else {
            return Step::Over;
        };
        if self.due.is_some() {
            return Step::Work;
        }
        if entry.link.get().is_some() {
            let overdue = shared.groups().iter().filter_map(|group| group.next_overdue()).min();
            return Step::Event(overdue.map(|at| at.max(self.looked + OVERDUE)));
        }
        match self.recoverer.next(Instant::now()) {
            RecoveryStep::GiveUp => {
                each(shared, |group| group.change(|paths| paths.gone(self.path)));
                Step::Over
            }
            // What it would say next is the same at once.
            RecoveryStep::FailFast => self.step(),
            RecoveryStep::Wait(until) => Step::Wait(until),
            RecoveryStep::Connect => Step::Work,
        }
    }

    /// Connects the path, or looks at it. What is lost meanwhile is told by an event, and not waited for.
    fn work(&mut self) {
        without_waiting(|| self.work_at_once());
    }

    fn work_at_once(&mut self) {
        let Some(_working) = self.shared.begin_work() else { return };
        let Some(entry) = self.shared.entries.get(self.path) else { return };
        if entry.link.get().is_none() {
            let connected = connect_path(entry.options.clone(), &self.shared.runner);
            let up = connected.is_ok();
            entry.connected(connected);
            if !up {
                self.recoverer.failed(Instant::now(), false, 0);
                return;
            }
            self.due = Some(true);
        }
        if let Some(whole) = self.due.take() {
            refresh(&self.shared, self.path, whole);
        }
    }

    /// Takes an event, or that there was none; whether to go on.
    fn take(&mut self, event: std::result::Result<Event, NoEvent>) -> bool {
        let (shared, path) = (&self.shared, self.path);
        match event {
            Err(NoEvent::Ever) => return false,
            Err(NoEvent::Yet) => {
                self.looked = Instant::now();
                self.due = Some(false);
            }
            Ok(Event::AssociationUp { .. } | Event::Missed(_)) => self.due = Some(true),
            Ok(Event::Reported(AsyncEvent::NamespacesChanged(_))) => self.due = Some(true),
            Ok(Event::Reported(AsyncEvent::AnaChanged)) => self.due = Some(false),
            Ok(Event::AssociationLost { generation, .. }) => {
                each(shared, |group| group.change(|paths| paths.lost(path, generation)));
            }
            Ok(Event::Gone { .. }) => each(shared, |group| group.change(|paths| paths.gone(path))),
            Ok(_) => {}
        }
        true
    }
}

fn each(shared: &Shared, act: impl Fn(&Group)) {
    shared.groups().iter().for_each(|group| act(group));
}

/// Reads the ANA log of a path; with `whole`, finds out as well whether it leads to the namespaces that it should
/// lead to, and has it used if so.
pub(super) fn refresh(shared: &Shared, path: usize, whole: bool) {
    let Some(entry) = shared.entries.get(path) else { return };
    let (Some(link), Some(controller)) = (entry.link.get(), entry.controller()) else { return };
    let association = link.generations.current();
    if association.death().is_some() {
        // The next one brings what there is to know.
        return;
    }
    let generation = association.generation;
    drop(association);
    let log = match link.anatt.map(|_| controller.ana_log()) {
        None => None,
        Some(Ok(log)) => Some(log),
        // The next association brings its own.
        Some(Err(_)) => return,
    };
    for group in shared.groups() {
        let now = Instant::now();
        if let (Some(log), Some(anatt)) = (&log, link.anatt) {
            let found = log.groups.iter().find(|found| found.id == group.ana_group);
            let state = found.map_or(AnaState::Inaccessible, |found| found.state);
            group.change(|paths| paths.ana(path, state, now, anatt));
        }
        if whole {
            match leads_there(&controller, &group) {
                Ok(true) => group.change(|paths| paths.up(path, generation)),
                Ok(false) => group.change(|paths| paths.refuse(path)),
                // It is not attached there, or the association is lost again.
                Err(_) => group.change(|paths| paths.lost(path, generation)),
            }
        }
    }
}

/// Whether a controller shows the namespace of a group under its number.
fn leads_there(controller: &Controller, group: &Group) -> Result<bool> {
    let identify = match controller.identify_namespace(group.nsid) {
        Err(error) if error.status().is_some_and(|status| status.is(Status::ANA_INACCESSIBLE)) => {
            return Ok(true);
        }
        identify => identify?,
    };
    Ok(Identity::of(controller, group.nsid, &identify)? == group.identity)
}
