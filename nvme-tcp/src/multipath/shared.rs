//! What a subsystem, its monitors and its namespaces share: the paths.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::group::Group;
use super::options::MultipathOptions;
use crate::changed::Changed;
use crate::controller::Controller;
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::generations::Generations;
use crate::options::Options;
use crate::proto::Recovery;
use crate::runner::Runner;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) entries: Vec<Entry>,
    pub(super) groups: Mutex<HashMap<u32, Arc<Group>>>,
    pub(super) options: MultipathOptions,
    pub(super) ended: AtomicBool,
    pub(super) runner: Runner,
    /// How many monitors are doing something that may wait. Held to wait for `changed`.
    pub(super) working: Mutex<usize>,
    pub(super) changed: Changed,
}

/// A path.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) options: Options,
    pub(super) link: OnceLock<Link>,
    pub(super) controller: Mutex<Option<Arc<Controller>>>,
    /// Why the first association did not come up.
    pub(super) error: Mutex<Option<Error>>,
}

/// What a path has once its first association was up.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) generations: Arc<Generations>,
    pub(super) events: Events,
    /// ANATT; `None` without ANA.
    pub(super) anatt: Option<Duration>,
}

/// Paths as they may be used together.
pub(crate) fn checked(paths: impl IntoIterator<Item = Options>) -> Result<Vec<Options>> {
    let paths: Vec<Options> = paths
        .into_iter()
        .map(|path| Options { recovery: path.recovery.or(Some(Recovery::default())), ..path })
        .collect();
    let first = paths.first().ok_or_else(|| Error::invalid("a subsystem needs at least one path"))?;
    for path in &paths {
        path.check()?;
        if (&path.subsystem_nqn, &path.host) != (&first.subsystem_nqn, &first.host) {
            return Err(Error::invalid("all paths lead one host to one subsystem"));
        }
    }
    Ok(paths)
}

/// What a path is as soon as it is up.
pub(crate) type FirstLink = (Controller, Link);

/// Connects a path and finds out what it needs to be watched.
pub(crate) fn connect_path(options: Options, runner: &Runner) -> Result<FirstLink> {
    let controller = options.connect_on(runner)?;
    let events = controller.events()?;
    let identify = controller.identify_controller()?;
    let has_ana = identify.cmic & crate::spec::identify::CMIC_ANA != 0;
    let anatt = has_ana.then(|| Duration::from_secs(identify.anatt.into()));
    let generations = controller.generations().clone();
    Ok((controller, Link { generations, events, anatt }))
}

/// Something that the end waits for.
pub(super) struct Working<'a>(&'a Shared);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        *self.0.lock_working() -= 1;
        self.0.changed.notify_all();
    }
}

impl Shared {
    pub(super) fn new(entries: Vec<Entry>, options: MultipathOptions, runner: Runner) -> Self {
        Self {
            entries,
            groups: Mutex::default(),
            options,
            ended: AtomicBool::new(false),
            runner,
            working: Mutex::default(),
            changed: Changed::default(),
        }
    }

    pub(super) fn lock_groups(&self) -> MutexGuard<'_, HashMap<u32, Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn groups(&self) -> Vec<Arc<Group>> {
        self.lock_groups().values().cloned().collect()
    }

    /// Has each monitor look at its path.
    pub(super) fn wake_monitors(&self) {
        for link in self.entries.iter().filter_map(|entry| entry.link.get()) {
            link.events.inject(Event::Missed(0));
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Waits until `until`, or until the end; whether it is the end.
    pub(super) fn wait_until(&self, until: Option<Instant>) -> bool {
        let mut working = self.lock_working();
        while !self.is_ended() && until.is_none_or(|until| until > Instant::now()) {
            working = self.changed.wait(working, until);
        }
        self.is_ended()
    }

    pub(super) fn lock_working(&self) -> MutexGuard<'_, usize> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While it is there, the end waits; `None` where that has come.
    pub(super) fn begin_work(&self) -> Option<Working<'_>> {
        let mut working = self.lock_working();
        if self.is_ended() {
            return None;
        }
        *working += 1;
        Some(Working(self))
    }
}

impl Entry {
    /// A path, with what came of connecting it.
    pub(super) fn new(options: Options, connected: Result<FirstLink>) -> Self {
        let entry =
            Self { options, link: OnceLock::new(), controller: Mutex::default(), error: Mutex::default() };
        entry.connected(connected);
        entry
    }

    pub(super) fn lock_controller(&self) -> MutexGuard<'_, Option<Arc<Controller>>> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn controller(&self) -> Option<Arc<Controller>> {
        self.lock_controller().clone()
    }

    /// Why it is not there; `None` where it is.
    pub(super) fn error(&self) -> Option<Error> {
        let first = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        first.or_else(|| self.controller()?.check().err())
    }

    pub(super) fn connected(&self, connected: Result<FirstLink>) {
        let error = connected.map(|(controller, link)| {
            *self.lock_controller() = Some(Arc::new(controller));
            // It is connected once.
            drop(self.link.set(link));
        });
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error.err();
    }
}
