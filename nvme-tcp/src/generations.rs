//! Associations in generations: one for new commands, earlier ones that drain.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::association::Association;
use crate::connector::Connector;
use crate::driver::bell::{Bell, Calls};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Bulletin, Event, Replacement};
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
    pub(crate) bulletin: Bulletin,
    /// The controller was shut down.
    ended: AtomicBool,
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
            ended: AtomicBool::new(false),
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
        self.present.load(Ordering::Acquire) == association.generation
    }

    /// The association for new commands.
    pub(crate) fn current(&self) -> Arc<Association> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings up the next association, sends new commands there, and lets the old one drain.
    pub(crate) fn replace(&self, why: Replacement) -> Result<()> {
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let next = Arc::new(Association::establish(&self.connector, generation)?);
        {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if self.ended.load(Ordering::Acquire) {
                let error = ErrorKind::ShutDown.into();
                next.close(&error);
                return Err(error);
            }
            let old = std::mem::replace(&mut *current, next);
            self.present.store(generation, Ordering::Release);
            if old.death().is_none() {
                let generation = old.generation;
                self.bulletin.tell(|| Event::Replaced { generation, why });
            }
            self.draining().push(old);
        }
        self.bulletin.tell(|| Event::AssociationUp { generation });
        self.ring(|calls| calls.look = true);
        Ok(())
    }

    /// Earlier associations, which still have commands outstanding or are not shut down yet.
    pub(crate) fn draining(&self) -> MutexGuard<'_, Vec<Arc<Association>>> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No association takes the present one's place any more.
    pub(crate) fn end(&self) {
        let _current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        self.ended.store(true, Ordering::Release);
    }
}
