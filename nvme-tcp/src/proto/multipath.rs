//! Which of several paths a command for a namespace takes.

use std::time::{Duration, Instant};

use crate::spec::completion::Status;
use crate::spec::log_page::AnaState;

/// How a path is chosen among those that are equally good for asymmetric namespace access (ANA).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathPolicy {
    /// Each in its turn.
    #[default]
    RoundRobin,
    /// The one with the fewest calls outstanding.
    QueueDepth,
    /// The one whose calls took the shortest time of late, with those outstanding on it counted in. Each 64th call
    /// goes to a path in its turn, so that one that was slow once is found out to be fast again.
    Latency,
}

/// What [`Paths::choose`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one, counted from 0.
    Path(usize),
    /// None now; ask again at this time, or when something happens to a path.
    Wait(Option<Instant>),
    /// None now, and none will come by itself: each is gone for good or refused.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// There is no association (yet, or any more). Those up to this generation are lost.
    Down { lost: Option<u64> },
    /// This generation of its controller's associations works.
    Up { generation: u64 },
    /// There will be no association.
    Gone,
    /// It leads to something else.
    Refused,
}

#[derive(Debug)]
struct Path {
    link: Link,
    ana: AnaState,
    /// Until when the change state may last: ANATT.
    change_until: Option<Instant>,
    /// Until when others are preferred.
    avoid_until: Option<Instant>,
    outstanding: u32,
    /// How long calls took of late, in seconds.
    latency: f64,
}

/// How long a path is avoided that failed a command for its own reasons.
const AVOID: Duration = Duration::from_millis(100);
/// How much the last call counts in a path's latency.
const WEIGHT: f64 = 1.0 / 8.0;
/// How often a path has its turn whatever its latency.
const PROBE: u64 = 64;

/// The paths to one namespace, without I/O or clock:
///
/// ```text
///              up                      lost
///  Down ----------------> Up(ANA) -------------> Down         gone for good: Gone; another namespace: Refused
///                          |
///       optimized > non-optimized > (avoided) | change: wait, ANATT at most | inaccessible, persistent loss: not at all
/// ```
///
/// The driver tells it what happens to each path and asks it for one before each call.
#[derive(Debug)]
pub struct Paths {
    policy: PathPolicy,
    paths: Vec<Path>,
    /// The one that was chosen last.
    last: usize,
    chosen: u64,
}

impl Paths {
    /// So many paths, none of which is up.
    pub fn new(policy: PathPolicy, count: usize) -> Self {
        let path = || Path {
            link: Link::Down { lost: None },
            ana: AnaState::Optimized,
            change_until: None,
            avoid_until: None,
            outstanding: 0,
            latency: 0.0,
        };
        Self { policy, paths: (0..count).map(|_| path()).collect(), last: count.saturating_sub(1), chosen: 0 }
    }

    /// An association of a path's controller works, and leads to the namespace.
    pub fn up(&mut self, path: usize, generation: u64) {
        self.change(path, |path| {
            let newer = match path.link {
                Link::Down { lost } => lost.is_none_or(|lost| lost < generation),
                Link::Up { generation: present } => present < generation,
                Link::Gone => true,
                Link::Refused => false,
            };
            if newer {
                path.link = Link::Up { generation };
                path.avoid_until = None;
            }
        });
    }

    /// An association of a path's controller is lost. What is told of one that another has replaced changes nothing.
    pub fn lost(&mut self, path: usize, generation: u64) {
        self.change(path, |path| match path.link {
            Link::Up { generation: present } if present <= generation => {
                path.link = Link::Down { lost: Some(generation) };
            }
            Link::Down { lost } => path.link = Link::Down { lost: lost.max(Some(generation)) },
            _ => {}
        });
    }

    /// There will be no association with a path's controller by itself.
    pub fn gone(&mut self, path: usize) {
        self.change(path, |path| path.link = Link::Gone);
    }

    /// A path leads to another namespace: it is never used.
    pub fn refuse(&mut self, path: usize) {
        self.change(path, |path| path.link = Link::Refused);
    }

    /// Whether a path leads to another namespace.
    pub fn is_refused(&self, path: usize) -> bool {
        self.paths.get(path).is_some_and(|path| path.link == Link::Refused)
    }

    /// The state of the namespace's ANA group on a path, by the log page. The change state lasts for `anatt` at
    /// most, from when it is first told of; after that the path is as good as inaccessible.
    pub fn ana(&mut self, path: usize, state: AnaState, now: Instant, anatt: Duration) {
        self.change(path, |path| {
            path.change_until = match state {
                AnaState::Change => path.change_until.or(Some(now + anatt)),
                _ => None,
            };
            path.ana = state;
        });
    }

    /// The state of the namespace's ANA group on a path, as far as it is known.
    pub fn ana_state(&self, path: usize) -> Option<AnaState> {
        self.paths.get(path).map(|path| path.ana)
    }

    /// A command came back from a path with this status. Whether that was for the path's reasons: then nothing was
    /// carried out, the command can be sent by another at once, and the ANA log is to be read anew.
    pub fn failed(&mut self, path: usize, status: Status, now: Instant, anatt: Duration) -> bool {
        let state = match status {
            _ if status.is(Status::ANA_INACCESSIBLE) => Some(AnaState::Inaccessible),
            _ if status.is(Status::ANA_PERSISTENT_LOSS) => Some(AnaState::PersistentLoss),
            _ if status.is(Status::ANA_TRANSITION) => Some(AnaState::Change),
            _ => None,
        };
        if let Some(state) = state {
            self.ana(path, state, now, anatt);
            return true;
        }
        let way = [Status::INTERNAL_PATH, Status::CONTROLLER_PATH, Status::HOST_PATH];
        let is_path = way.iter().any(|one| status.is(*one));
        if is_path {
            self.change(path, |path| path.avoid_until = Some(now + AVOID));
        }
        is_path
    }

    /// A call begins on a path.
    pub fn begun(&mut self, path: usize) {
        self.change(path, |path| path.outstanding += 1);
    }

    /// It is over, and `took` so long; `None` where it failed.
    pub fn ended(&mut self, path: usize, took: Option<Duration>) {
        self.change(path, |path| {
            path.outstanding = path.outstanding.saturating_sub(1);
            if let Some(took) = took.map(|took| took.as_secs_f64()) {
                let known = path.latency > 0.0;
                path.latency = if known { path.latency + (took - path.latency) * WEIGHT } else { took };
            }
        });
    }

    /// When the next change state has lasted for too long: its ANA log is to be read then.
    pub fn next_overdue(&self) -> Option<Instant> {
        self.paths.iter().filter_map(|path| path.change_until).min()
    }

    /// The path for the next call.
    pub fn choose(&mut self, now: Instant) -> Choice {
        let best = self.paths.iter().filter_map(|path| path.rank(now)).min();
        let Some(best) = best else { return self.wait(now) };
        self.chosen += 1;
        let count = self.paths.len();
        let in_turn = (1..=count).map(|step| (self.last + step) % count);
        let mut equals = in_turn.filter(|index| self.paths[*index].rank(now) == Some(best));
        let depth = |index: &usize| self.paths[*index].outstanding;
        let latency = |index: &usize| {
            let path = &self.paths[*index];
            path.latency * f64::from(path.outstanding + 1)
        };
        let chosen = match self.policy {
            PathPolicy::QueueDepth => equals.min_by_key(depth),
            PathPolicy::Latency if self.chosen % PROBE != 0 => {
                equals.min_by(|a, b| latency(a).total_cmp(&latency(b)))
            }
            PathPolicy::RoundRobin | PathPolicy::Latency => equals.next(),
        };
        match chosen {
            Some(index) => {
                self.last = index;
                Choice::Path(index)
            }
            None => Choice::Never,
        }
    }

    fn wait(&self, now: Instant) -> Choice {
        let hopeless = |path: &Path| match path.link {
            Link::Gone | Link::Refused => true,
            Link::Up { .. } => path.ana == AnaState::PersistentLoss,
            Link::Down { .. } => false,
        };
        if self.paths.iter().all(hopeless) {
            return Choice::Never;
        }
        Choice::Wait(self.next_overdue().filter(|at| *at > now))
    }

    fn change(&mut self, path: usize, change: impl FnOnce(&mut Path)) {
        if let Some(path) = self.paths.get_mut(path) {
            change(path);
        }
    }
}

impl Path {
    /// How good it is, the lower the better; `None` where it cannot be used.
    fn rank(&self, now: Instant) -> Option<u8> {
        if !matches!(self.link, Link::Up { .. }) {
            return None;
        }
        let avoided = if self.avoid_until.is_some_and(|until| now < until) { 2 } else { 0 };
        match self.ana {
            AnaState::Optimized => Some(avoided),
            AnaState::NonOptimized => Some(1 + avoided),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
