//! Associations in generations: one for new commands, earlier ones that drain.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::association::Association;
use crate::connector::Connector;
use crate::driver::bell::{Bell, Calls};
use crate::error::Result;
use crate::options::Options;

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
}

impl Generations {
    /// Brings up the first.
    pub(crate) fn begin(options: Options) -> Result<Self> {
        let bell = Arc::new(Bell::default());
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
        })
    }

    /// Wakes the housekeeper.
    pub(crate) fn ring(&self, change: impl FnOnce(&mut Calls)) {
        self.bell.ring(change);
    }

    /// The housekeeper's rest.
    pub(crate) fn rest(&self, limit: Duration) -> Calls {
        self.bell.wait(limit)
    }

    /// Whether new commands still go to `association`.
    pub(crate) fn is_current(&self, association: &Association) -> bool {
        self.present.load(Ordering::Acquire) == association.generation
    }

    /// The association for new commands.
    pub(crate) fn current(&self) -> Arc<Association> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings up the next association, sends new commands there, and lets the old one drain.
    pub(crate) fn replace(&self) -> Result<()> {
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let next = Arc::new(Association::establish(&self.connector, generation)?);
        let old = std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), next);
        self.present.store(generation, Ordering::Release);
        self.draining.lock().unwrap_or_else(PoisonError::into_inner).push(old);
        Ok(())
    }

    /// Every association there is, the present one last.
    pub(crate) fn associations(&self) -> Vec<Arc<Association>> {
        let mut all = self.draining.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.push(self.current());
        all
    }

    /// Shuts down the associations that nobody uses any more.
    pub(crate) fn reap(&self) {
        let idle: Vec<_> = {
            let mut draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
            let (idle, busy) =
                draining.drain(..).partition(|association| Arc::strong_count(association) == 1);
            *draining = busy;
            idle
        };
        for association in idle {
            association.shut_down();
        }
    }
}
