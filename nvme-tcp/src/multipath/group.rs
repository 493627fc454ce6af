//! One namespace behind several paths: which one each call takes, and what it waits for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use crate::association::Association;
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
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    paths: Paths,
    ended: bool,
}

/// A path that was chosen for a call.
#[derive(Debug)]
pub(crate) struct Turn {
    path: usize,
    since: Instant,
}

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
            changed: Condvar::new(),
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
    pub(crate) fn choose(&self) -> Result<(Turn, Arc<Generations>)> {
        let since = Instant::now();
        let limit = self.shared.options.no_path_timeout.map(|limit| since + limit);
        let mut state = self.lock();
        loop {
            if state.ended {
                return Err(ErrorKind::ShutDown.into());
            }
            let now = Instant::now();
            let until = match state.paths.choose(now) {
                Choice::Path(path) => {
                    let link = self.shared.entries.get(path).and_then(|entry| entry.link.get());
                    let link = link.ok_or_else(|| self.no_path("it was never connected"))?;
                    state.paths.begun(path);
                    return Ok((Turn { path, since: now }, link.generations.clone()));
                }
                Choice::Never => return Err(self.no_path("each is gone, lost for good or refused")),
                Choice::Wait(_) if limit.is_some_and(|limit| limit <= now) => {
                    return Err(self.no_path("none came back in time"));
                }
                Choice::Wait(at) => [at, limit].into_iter().flatten().min(),
            };
            state = self.wait(state, until);
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
        while !state.ended {
            if Instant::now() >= until {
                return Ok(());
            }
            state = self.wait(state, Some(until));
        }
        Err(ErrorKind::ShutDown.into())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        match until {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn no_path(&self, why: &'static str) -> crate::error::Error {
        ErrorKind::NoPath { nsid: self.nsid, why }.into()
    }
}
