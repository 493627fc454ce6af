//! What a controller does by itself, on one thread or, for controllers on tokio, in one task. It never waits in a
//! queue, nor for a connection: it serves the admin queue of each association as far as that goes at once, and rests
//! between, in poll(2) or on the reactor. What takes long, bringing up the next association, is done elsewhere
//! meanwhile ([`Runner`]).

#[cfg(feature = "tokio")]
mod task;
mod tender;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::tender::{Tender, Turn};
use crate::association::Association;
use crate::auth::AuthError;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Replacement};
use crate::generations::Generations;
use crate::key_source::FileWatch;
use crate::options::Security;
use crate::proto::{BringUpError, Recoverer, Recovery, RecoveryStep};
use crate::runner::Runner;

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// How often an old association is looked at: the commands on it end without ringing.
const DRAINING: Duration = Duration::from_millis(50);

/// How long to wait after a next association did not come up.
const REPLACE_AGAIN: Duration = Duration::from_millis(500);

/// How long a controller may take to shut down.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// The housekeeping of a controller, as long as it goes on.
#[derive(Debug)]
pub(crate) enum Housekeeping {
    Thread(JoinHandle<()>),
    #[cfg(feature = "tokio")]
    Task(task::Slot),
}

impl Housekeeping {
    /// Begins it.
    pub(crate) fn start(generations: Arc<Generations>, runner: &Runner) -> Result<Self> {
        let mut housekeeper = Housekeeper::new(generations, runner.clone());
        match runner {
            Runner::Threads => {
                Runner::thread("nvme-tcp-keep-alive", move || housekeeper.run()).map(Self::Thread)
            }
            #[cfg(feature = "tokio")]
            Runner::Tasks(runtime) => Ok(Self::Task(task::start(housekeeper, runtime))),
        }
    }

    /// Waits for its end, once the bell said stop: [`SHUTDOWN_LIMIT`] at most.
    pub(crate) fn end(self) {
        match self {
            // It does not panic; if it did, the connections are closed all the same.
            Self::Thread(thread) => drop(thread.join()),
            // The runtime may not run any more, or be waiting for this thread.
            #[cfg(feature = "tokio")]
            Self::Task(slot) => task::end_here(&slot),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Housekeeper {
    generations: Arc<Generations>,
    runner: Runner,
    tenders: HashMap<u64, Tender>,
    /// When the next association is to be brought up, since a record budget runs low.
    replace_at: Option<Instant>,
    /// What tells what came of it.
    replacing: Option<mpsc::Receiver<Result<()>>>,
    /// Where lost associations are brought up again.
    recoverer: Option<Recoverer>,
    /// The generation that was the present one at the last look.
    seen: u64,
    /// It was told that there will be no other association.
    gone: bool,
    stopping: bool,
    /// Why the next association is brought up.
    why: Replacement,
    /// What tells that the file with the key may have changed.
    watch: Option<FileWatch>,
}

/// Whether another attempt to bring up an association would fail in the same way.
fn fails_for_good(error: &Error, policy: Recovery) -> bool {
    use BringUpError::{Authentication, AuthenticationRequired, SecureChannelRequired};
    let expired = matches!(error.kind(), ErrorKind::BringUp(error) if error.is_of_expired_controller());
    let refused = !expired && error.status().is_some_and(|status| policy.is_final(status));
    let secret = match error.kind() {
        // Or it was the network.
        ErrorKind::BringUp(Authentication(AuthError::Closed)) => false,
        kind => {
            matches!(
                kind,
                ErrorKind::BringUp(Authentication(_) | AuthenticationRequired | SecureChannelRequired)
            )
        }
    };
    refused || secret || matches!(error.kind(), ErrorKind::Key(_) | ErrorKind::ShutDown)
}

/// Any number.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without random bytes there is no jitter.
    let filled = ktls::crypto::random(&mut bytes);
    filled.map_or(0, |()| u32::from_le_bytes(bytes))
}

/// What a housekeeper rests for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Bell,
    KeyFile,
    /// The admin queue of this generation.
    Admin(u64),
}

/// Wakes the housekeeper when what was begun for it is done, even by a panic.
struct RingAtEnd(Arc<Generations>);

impl Drop for RingAtEnd {
    fn drop(&mut self) {
        self.0.ring(|calls| calls.look = true);
    }
}

impl Housekeeper {
    fn new(generations: Arc<Generations>, runner: Runner) -> Self {
        let options = generations.connector.options();
        let watch = match &options.security {
            Security::TlsFrom { source, .. } => source.watch(),
            _ => None,
        };
        let recoverer = options.recovery.map(Recoverer::new);
        Self {
            generations,
            runner,
            tenders: HashMap::new(),
            replace_at: None,
            replacing: None,
            recoverer,
            seen: 0,
            gone: false,
            stopping: false,
            why: Replacement::RecordBudget,
            watch,
        }
    }

    /// Until the end, on this thread.
    fn run(&mut self) {
        while let Some(next) = self.look() {
            self.rest(next);
        }
    }

    /// Does what there is to do now; when to look again, unless something happens. `None` at the end.
    fn look(&mut self) -> Option<Instant> {
        let calls = self.generations.bell().take();
        if calls.stop && !self.stopping {
            self.stop();
        }
        if calls.budget_low && self.replace_at.is_none() && self.replacing.is_none() {
            self.generations.bulletin.tell(|| Event::RecordBudgetLow);
            self.why = Replacement::RecordBudget;
            self.replace_at = Some(Instant::now());
        }
        let file_changed = self.watch.as_ref().is_some_and(FileWatch::changed);
        if calls.keys_changed || file_changed {
            self.why = Replacement::KeysChanged;
            // A rotation that is under way may have asked for the keys already.
            self.replace_at = Some(Instant::now());
        }
        self.replace();
        let now = Instant::now();
        let mut next = self.replace_at.unwrap_or(now + LONGEST_REST);
        let current = self.generations.current();
        let turn = self.tend(&current, now);
        if self.stopping && turn.is_over {
            return None;
        }
        next = next.min(turn.next);
        if let Some(at) = self.recover(&current, now) {
            next = next.min(at);
        }
        let mut watched = vec![current];
        // Cloned, so that nothing is held while they are served.
        let draining = self.generations.draining().clone();
        for association in draining {
            let idle = Arc::strong_count(&association) <= 2;
            if let Some(tender) = self.tenders.get_mut(&association.generation).filter(|_| idle) {
                tender.shut_down(now, SHUTDOWN_LIMIT);
            }
            let turn = self.tend(&association, now);
            if turn.is_over {
                association.close(&ErrorKind::ShutDown.into());
                self.generations.draining().retain(|other| !Arc::ptr_eq(other, &association));
            } else {
                next = next.min(turn.next).min(now + DRAINING);
                watched.push(association);
            }
        }
        self.tenders.retain(|generation, _| watched.iter().any(|a| a.generation == *generation));
        Some(next)
    }

    /// Serves one association.
    fn tend(&mut self, association: &Association, now: Instant) -> Turn {
        let options = self.generations.connector.options();
        let tender = self
            .tenders
            .entry(association.generation)
            .or_insert_with(|| Tender::new(association, options.keep_alive));
        tender.turn(association, &self.generations, now)
    }

    /// Brings up the next association where that is due, elsewhere.
    fn replace(&mut self) {
        if let Some(result) = self.replacing.as_ref().map(mpsc::Receiver::try_recv) {
            if matches!(result, Err(mpsc::TryRecvError::Empty)) {
                return;
            }
            self.replacing = None;
            let error = match result {
                Ok(result) => result.err(),
                Err(_) => Some(Error::invalid("bringing up an association panicked")),
            };
            if let Some(error) = error {
                self.not_replaced(&error);
            }
        }
        if self.stopping || self.replace_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.replace_at = None;
        self.connect(self.why);
    }

    /// Begins to bring up the next association.
    fn connect(&mut self, why: Replacement) {
        let bell = RingAtEnd(self.generations.clone());
        let (result, replacing) = mpsc::channel();
        let begun = self.runner.begin("nvme-tcp-connect", move || {
            // The housekeeper may have ended meanwhile.
            drop(result.send(bell.0.replace(why).map(drop)));
            drop(result);
            // Last.
            drop(bell);
        });
        match begun {
            Ok(()) => self.replacing = Some(replacing),
            Err(error) => self.not_replaced(&error),
        }
    }

    /// No association came up.
    fn not_replaced(&mut self, error: &Error) {
        if self.generations.current().death().is_none() {
            // The old one serves until its key's limit, and then says so.
            self.generations.bulletin.tell(|| Event::NotReplaced { error: error.clone() });
            self.replace_at = Some(Instant::now() + REPLACE_AGAIN);
        } else if let Some(recoverer) = &mut self.recoverer {
            let policy = self.generations.connector.options().recovery.unwrap_or_default();
            let next = recoverer.failed(Instant::now(), fails_for_good(error, policy), random());
            self.tell_of_attempt(next);
        }
    }

    /// Sees to a lost association; when to look again.
    fn recover(&mut self, current: &Association, now: Instant) -> Option<Instant> {
        let recoverer = self.recoverer.as_mut().filter(|_| !self.stopping)?;
        if std::mem::replace(&mut self.seen, current.generation) != current.generation {
            // It may be lost again already.
            recoverer.connected();
            self.gone = false;
        }
        let death = current.death().filter(|_| !self.generations.is_held())?;
        if self.replacing.is_none() {
            self.replace_at = None;
            let first = recoverer.lost(now, random());
            self.tell_of_attempt(first);
        }
        match self.recoverer.as_mut()?.next(now) {
            RecoveryStep::Wait(at) => at,
            RecoveryStep::Connect => {
                self.connect(Replacement::Lost);
                Some(now)
            }
            RecoveryStep::FailFast => {
                self.generations.hold(Some(death));
                Some(now)
            }
            RecoveryStep::GiveUp => {
                if !std::mem::replace(&mut self.gone, true) {
                    self.generations.hold(Some(death.clone()));
                    self.generations.bulletin.tell(|| Event::Gone { error: death.clone() });
                }
                None
            }
        }
    }

    fn tell_of_attempt(&self, next: Option<(u32, Duration)>) {
        if let Some((attempt, delay)) = next {
            self.generations.bulletin.tell(|| Event::Reconnecting { attempt, delay });
        }
    }

    /// Closes what drains, and begins to shut down the present association.
    fn stop(&mut self) {
        self.stopping = true;
        for association in self.generations.draining().drain(..) {
            association.close(&ErrorKind::ShutDown.into());
        }
        let now = Instant::now();
        let current = self.generations.current();
        self.tend(&current, now);
        if let Some(tender) = self.tenders.get_mut(&current.generation) {
            tender.shut_down(now, SHUTDOWN_LIMIT);
        }
    }

    /// Sleeps until `next`, the bell, or something to do on a queue.
    fn rest(&self, next: Instant) {
        let mut fds: Vec<PollFd<'_>> = self
            .sources()
            .map(|(_, fd, flags)| PollFd::new(fd, flags))
            .filter(|fd| !fd.events().is_empty())
            .collect();
        // Rounded up, so that a wait of less than a millisecond does not become a spin.
        let left = next.saturating_duration_since(Instant::now());
        let left = if left.is_zero() { left } else { left + Duration::from_millis(1) };
        // Whatever it says, everything is looked at next.
        let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
    }

    /// Everything that may have to be rested for, and what of it is wanted now.
    fn sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>, PollFlags)> {
        let bell = (Source::Bell, self.generations.bell().as_fd(), PollFlags::POLLIN);
        let file = self.watch.iter().map(|watch| (Source::KeyFile, watch.as_fd(), PollFlags::POLLIN));
        let admin = self.tenders.iter().filter_map(|(generation, tender)| {
            let (fd, flags) = tender.wants()?;
            Some((Source::Admin(*generation), fd, flags))
        });
        [bell].into_iter().chain(file).chain(admin)
    }
}
