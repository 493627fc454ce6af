//! One namespace behind several paths: which one each call takes, and what it waits for.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use crate::association::Association;
use crate::changed::Changed;
use crate::controller::Controller;
use crate::error::{ErrorKind, Result};
use crate::events::{AsyncEvent, Event};
use crate::generations::Generations;
use crate::proto::{Choice, Paths};
use crate::spec::completion::Status;
use crate::spec::identify::IdentifyNamespace;
use crate::spec::log_page::AnaState;

/// What a namespace is known by, whichever controller shows it. Absent is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    uuid: [u8; 16],
    nguid: [u8; 16],
    eui64: [u8; 8],
}

impl Identity {
    /// As this controller shows it.
    pub(super) fn of(controller: &Controller, nsid: u32, identify: &IdentifyNamespace) -> Result<Self> {
        let uuid = match controller.namespace_ids(nsid) {
            Ok(ids) => ids.uuid.unwrap_or_default(),
            // Controllers of before 1.3 have no such descriptors.
            Err(error) if error.status().is_some() => [0; 16],
            Err(error) => return Err(error),
        };
        Ok(Self { uuid, nguid: identify.nguid, eui64: identify.eui64 })
    }

    pub(super) fn is_known(&self) -> bool {
        *self != Self::default()
    }
}

/// The paths to one namespace, shared by all handles of it.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) nsid: u32,
    pub(super) identity: Identity,
    /// ANAGRPID.
    pub(super) ana_group: u32,
    /// The controller that it was found at.
    first: Arc<Generations>,
    shared: Arc<Shared>,
    state: Mutex<State>,
    changed: Changed,
}

#[derive(Debug)]
struct State {
    paths: Paths,
    ended: bool,
}

impl State {
    fn rest_until(&self, until: Instant) -> ControlFlow<Result<()>, Option<Instant>> {
        match self.ended {
            true => Break(Err(ErrorKind::ShutDown.into())),
            false if Instant::now() >= until => Break(Ok(())),
            false => Continue(Some(until)),
        }
    }
}

/// A path that was chosen for a call.
#[derive(Debug)]
pub(crate) struct Turn {
    path: usize,
    since: Instant,
}

impl Turn {
    /// Which one, counted from 0.
    #[cfg(feature = "tokio")]
    pub(crate) fn path(&self) -> usize {
        self.path
    }
}

type Chosen = (Turn, Arc<Generations>);

impl Group {
    pub(super) fn new(
        shared: &Arc<Shared>,
        first: &Arc<Generations>,
        nsid: u32,
        identity: Identity,
        ana_group: u32,
    ) -> Arc<Self> {
        let paths = Paths::new(shared.options.policy, shared.entries.len());
        Arc::new(Self {
            nsid,
            identity,
            ana_group,
            first: first.clone(),
            shared: shared.clone(),
            state: Mutex::new(State { paths, ended: false }),
            changed: Changed::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of the paths, and wakes whoever waits for one.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Paths) -> T) -> T {
        let result = change(&mut self.lock().paths);
        self.changed.notify_all();
        result
    }

    /// No call takes a path any more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// The ANA state on a path, and whether the path is refused.
    pub(super) fn seen(&self, path: usize) -> (AnaState, bool) {
        let state = self.lock();
        (state.paths.ana_state(path).unwrap_or(AnaState::Optimized), state.paths.is_refused(path))
    }

    /// When a change state has lasted for too long.
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        self.lock().paths.next_overdue()
    }

    /// A controller for what all of them say alike; that of the best path where one is up.
    pub(crate) fn any(&self) -> Arc<Generations> {
        let choice = self.lock().paths.choose(Instant::now());
        let links = || self.shared.entries.iter().filter_map(|entry| entry.link.get());
        let chosen = match choice {
            Choice::Path(path) => self.shared.entries.get(path).and_then(|entry| entry.link.get()),
            _ => None,
        };
        let link = chosen.or_else(|| links().find(|link| link.generations.current().death().is_none()));
        link.map_or(&self.first, |link| &link.generations).clone()
    }

    /// The path for a call; waits for one where none can be used now.
    pub(crate) fn choose(&self) -> Result<Chosen> {
        let since = Instant::now();
        let mut state = self.lock();
        loop {
            match self.try_choose(&mut state, since) {
                Break(chosen) => return chosen,
                Continue(until) => state = self.changed.wait(state, until),
            }
        }
    }

    /// As [`choose`](Self::choose), for tasks.
    #[cfg(feature = "tokio")]
    pub(crate) async fn chosen(&self) -> Result<Chosen> {
        let since = Instant::now();
        self.changed.look_until(|| self.try_choose(&mut self.lock(), since)).await
    }

    /// The path for a call that wants one since then, or until when to wait for something to happen.
    fn try_choose(&self, state: &mut State, since: Instant) -> ControlFlow<Result<Chosen>, Option<Instant>> {
        if state.ended {
            return Break(Err(ErrorKind::ShutDown.into()));
        }
        let now = Instant::now();
        let limit = self.shared.options.no_path_timeout.map(|limit| since + limit);
        match state.paths.choose(now) {
            Choice::Path(path) => {
                let link = self.shared.entries.get(path).and_then(|entry| entry.link.get());
                let Some(link) = link else { return Break(Err(self.no_path("it was never connected"))) };
                state.paths.begun(path);
                Break(Ok((Turn { path, since: now }, link.generations.clone())))
            }
            Choice::Never => Break(Err(self.no_path("each is gone, lost for good or refused"))),
            Choice::Wait(_) if limit.is_some_and(|limit| limit <= now) => {
                Break(Err(self.no_path("none came back in time")))
            }
            Choice::Wait(at) => Continue([at, limit].into_iter().flatten().min()),
        }
    }

    /// A call is over: how long it took, where it succeeded.
    pub(crate) fn over(&self, turn: &Turn, succeeded: bool) {
        let took = succeeded.then(|| turn.since.elapsed());
        self.lock().paths.ended(turn.path, took);
    }

    /// The association that a call took is lost.
    pub(crate) fn lost(&self, turn: &Turn, association: &Association) {
        self.change(|paths| paths.lost(turn.path, association.generation));
    }

    /// A command of a call came back with this status; whether it can take another path at once.
    pub(crate) fn failed(&self, turn: &Turn, status: Status) -> bool {
        let Some(link) = self.shared.entries.get(turn.path).and_then(|entry| entry.link.get()) else {
            return false;
        };
        let anatt = link.anatt.unwrap_or(Duration::ZERO);
        let is_path = self.change(|paths| paths.failed(turn.path, status, Instant::now(), anatt));
        if is_path {
            // Has its monitor read the log.
            link.events.inject(Event::Reported(AsyncEvent::AnaChanged));
        }
        is_path
    }

    /// Waits until `until`, as long as the subsystem is used.
    pub(crate) fn wait_until(&self, until: Instant) -> Result<()> {
        let mut state = self.lock();
        loop {
            match state.rest_until(until) {
                Break(over) => return over,
                Continue(until) => state = self.changed.wait(state, until),
            }
        }
    }

    /// As [`wait_until`](Self::wait_until), for tasks.
    #[cfg(feature = "tokio")]
    pub(crate) async fn until_time(&self, until: Instant) -> Result<()> {
        self.changed.look_until(|| self.lock().rest_until(until)).await
    }

    fn no_path(&self, why: &'static str) -> crate::error::Error {
        ErrorKind::NoPath { nsid: self.nsid, why }.into()
    }
}
