//! Associations in generations: one for new commands, earlier ones that drain.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use crate::association::Association;
use crate::changed::Changed;
use crate::connector::Connector;
use crate::driver::bell::{Bell, Calls};
use crate::driver::transport::TransportError;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Bulletin, Event};
use crate::options::Options;

/// The generation of no association.
const NONE: u64 = u64::MAX;

/// While it is there, no new command begins.
#[derive(Debug)]
pub(crate) struct Held<'a>(&'a Generations);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let generations = self.0;
        let current = generations.current.read().unwrap_or_else(PoisonError::into_inner);
        generations.present.store(current.generation, Ordering::SeqCst);
        drop(current);
        generations.held.store(false, Ordering::SeqCst);
        // Under the lock that they wait with, so that none is missed.
        let _waiting = generations.unheld.lock().unwrap_or_else(PoisonError::into_inner);
        generations.changed.notify_all();
        // The association may be lost, with no other in its place.
        generations.ring(|calls| calls.look = true);
    }
}

/// The associations of one controller: what its namespaces, queues and housekeeper share.
#[derive(Debug)]
pub(crate) struct Generations {
    pub(crate) connector: Connector,
    /// The association that new commands go to.
    current: RwLock<Arc<Association>>,
    /// Earlier ones that still have commands outstanding.
    draining: Mutex<Vec<Arc<Association>>>,
    /// How many were begun.
    begun: AtomicU64,
    /// Which of them is `current`.
    present: AtomicU64,
    /// Held while the next association is brought up: one at a time.
    replacing: Mutex<()>,
    bell: Arc<Bell>,
    pub(crate) bulletin: Bulletin,
    /// No new command begins until the next association is up.
    held: AtomicBool,
    /// The controller was shut down.
    ended: AtomicBool,
    /// Why commands are not held any more while there is no association.
    unheld: Mutex<Option<Error>>,
    /// An association is up, or `unheld` or `ended` changed.
    changed: Changed,
}

impl Generations {
    /// Brings up the first.
    pub(crate) fn begin(options: Options) -> Result<Self> {
        let bell =
            Bell::new().map_err(|e| Error::invalid(format!("cannot make an event descriptor: {e}")))?;
        let bell = Arc::new(bell);
        let connector = Connector::new(options, bell.clone())?;
        let first = Association::establish(&connector, 0)?;
        Ok(Self {
            connector,
            current: RwLock::new(Arc::new(first)),
            draining: Mutex::default(),
            begun: AtomicU64::new(0),
            present: AtomicU64::new(0),
            replacing: Mutex::default(),
            bell,
            bulletin: Bulletin::default(),
            held: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            unheld: Mutex::default(),
            changed: Changed::default(),
        })
    }

    /// Wakes the housekeeper.
    pub(crate) fn ring(&self, change: impl FnOnce(&mut Calls)) {
        self.bell.ring(change);
    }

    /// What wakes the housekeeper.
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Whether new commands still go to `association`.
    pub(crate) fn is_current(&self, association: &Association) -> bool {
        self.present.load(Ordering::SeqCst) == association.generation
    }

    /// The association for new commands.
    pub(crate) fn current(&self) -> Arc<Association> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// While it is held, nobody else brings up an association.
    pub(crate) fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.replacing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of an association that is about to be brought up.
    pub(crate) fn next_generation(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Sends new commands to `next`, and lets the present association drain; `told` is what is to be told of it.
    pub(crate) fn take_over(&self, next: Association, told: impl FnOnce() -> Option<Event>) -> Result<()> {
        let generation = next.generation;
        {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if self.ended.load(Ordering::Acquire) {
                let error = ErrorKind::ShutDown.into();
                next.close(&error);
                return Err(error);
            }
            let told = told();
            let old = std::mem::replace(&mut *current, Arc::new(next));
            self.present.store(generation, Ordering::SeqCst);
            if let Some(event) = told {
                self.bulletin.tell(|| event.clone());
            }
            // Before anybody can lose it.
            self.bulletin.tell(|| Event::AssociationUp { generation });
            self.draining().push(old);
        }
        self.hold(None);
        self.ring(|calls| calls.look = true);
        Ok(())
    }

    /// Lets no new command begin on any association, until the guard is dropped.
    pub(crate) fn hold_commands(&self) -> Held<'_> {
        self.held.store(true, Ordering::SeqCst);
        self.present.store(NONE, Ordering::SeqCst);
        Held(self)
    }

    /// Whether commands are held because one association ends before the next is brought up.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// The association for new commands, once they are not held.
    pub(crate) fn for_commands(&self) -> Result<Arc<Association>> {
        if self.is_held() {
            if !may_wait() {
                return Err(ErrorKind::Lost(TransportError::Closed).into());
            }
            self.wait(None, || !self.is_held())?;
        }
        Ok(self.current())
    }

    /// Earlier associations, which still have commands outstanding or are not shut down yet.
    pub(crate) fn draining(&self) -> MutexGuard<'_, Vec<Arc<Association>>> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No association takes the present one's place any more.
    pub(crate) fn end(&self) {
        {
            let _current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            self.ended.store(true, Ordering::Release);
        }
        self.hold(Some(ErrorKind::ShutDown.into()));
    }

    /// Commands are held while there is no association; with an error they are not, and fail with it.
    pub(crate) fn hold(&self, unheld: Option<Error>) {
        *self.unheld.lock().unwrap_or_else(PoisonError::into_inner) = unheld;
        self.changed.notify_all();
    }

    /// Waits until there is an association after `old`, until `until` at most.
    pub(crate) fn wait_for_next(&self, old: &Association, until: Option<Instant>) -> Result<()> {
        self.wait(until, || !self.is_current(old) || until.is_some_and(|until| Instant::now() >= until))
    }

    /// Waits until `until`, as long as commands are held.
    pub(crate) fn wait_until(&self, until: Instant) -> Result<()> {
        self.wait(Some(until), || Instant::now() >= until)
    }

    fn wait(&self, until: Option<Instant>, done: impl Fn() -> bool) -> Result<()> {
        let mut unheld = self.unheld.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match outcome(&unheld, &done) {
                Some(outcome) => return outcome,
                None => unheld = self.changed.wait(unheld, until),
            }
        }
    }
}

thread_local! {
    static IMPATIENT: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may wait for the next association.
pub(crate) fn may_wait() -> bool {
    !IMPATIENT.get()
}

/// Does `work`, whose reads fail where they would wait for the next association: it may have the one thread that is
/// there to bring that up.
pub(crate) fn without_waiting<T>(work: impl FnOnce() -> T) -> T {
    struct Patient(bool);
    impl Drop for Patient {
        fn drop(&mut self) {
            IMPATIENT.set(self.0);
        }
    }
    let _before = Patient(IMPATIENT.replace(true));
    work()
}

/// What waiting came to, where it is over.
fn outcome(unheld: &Option<Error>, done: impl Fn() -> bool) -> Option<Result<()>> {
    if done() { Some(Ok(())) } else { unheld.clone().map(Err) }
}

/// The same for tasks.
#[cfg(feature = "tokio")]
mod tasks {
    use std::ops::ControlFlow;

    use super::*;

    impl Generations {
        /// A queue could not be connected: where lost associations are brought up again, this one is lost.
        pub(crate) fn takes_no_connection(&self, association: &Association, error: &Error) {
            let recovers = self.connector.options().recovery.is_some();
            if recovers && self.is_current(association) {
                association.close(error);
                self.ring(|calls| calls.look = true);
            }
        }

        /// As [`wait_for_next`](Self::wait_for_next).
        pub(crate) async fn until_next(&self, lost: &Association) -> Result<()> {
            self.until(None, || !self.is_current(lost)).await
        }

        /// As [`wait_until`](Self::wait_until).
        pub(crate) async fn until_time(&self, until: Instant) -> Result<()> {
            self.until(Some(until), || Instant::now() >= until).await
        }

        async fn until(&self, until: Option<Instant>, done: impl Fn() -> bool) -> Result<()> {
            let look = || {
                let unheld = self.unheld.lock().unwrap_or_else(PoisonError::into_inner);
                outcome(&unheld, &done).map_or(ControlFlow::Continue(until), ControlFlow::Break)
            };
            self.changed.look_until(look).await
        }

        /// The generation that new commands go to; `None` while they are held.
        pub(crate) fn present(&self) -> Option<u64> {
            Some(self.present.load(Ordering::SeqCst)).filter(|present| *present != NONE)
        }

        /// What tells of the next association.
        pub(crate) fn changed(&self) -> &Changed {
            &self.changed
        }
    }
}
