//! Several controllers of one subsystem as one: its namespaces are there as long as one path to them is.
//!
//! ```no_run
//! use nvme_tcp::multipath::{MultipathOptions, Subsystem};
//! use nvme_tcp::{Options, host::HostIdentity};
//!
//! # fn main() -> nvme_tcp::Result<()> {
//! # let image = vec![0; 1 << 20];
//! let host = HostIdentity::load()?;
//! let paths = ["10.0.0.5:4420", "10.0.1.5:4420"]
//!     .map(|portal| Options::new(portal, "nqn.2024-01.io.example:images", host.clone()));
//! let subsystem = Subsystem::connect(paths, MultipathOptions::default())?;
//! // It is used as any other; what a lost path leaves undone is done by another.
//! let namespace = subsystem.namespace(1)?;
//! namespace.write_at(&image, 0)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of commands
//! Each call takes one path, and what of it fails for the path's reasons takes another at once: reads when the path
//! is lost, and everything that comes back with a path-related status. A command that changes something and was
//! outstanding on a path that is lost has an unknown fate: it is held until that path's controller is fenced (KATO
//! and CQT have passed), and then sent by another; or reported, by
//! [`Recovery::unknown_writes`](crate::Recovery::unknown_writes) of the path's options. A fused compare and write is
//! never sent again, since it would compare with what itself may have written. Without any path
//! commands wait, as long as one may come back.

mod group;
mod monitor;
mod options;
mod shared;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use crate::controller::Controller;
use crate::error::{Error, ErrorKind, Result};
use crate::namespace::{Namespace, Route};
use crate::options::Options;
use crate::rotation::Rotation;
use crate::runner::Runner;
use crate::spec::log_page::AnaState;

pub use crate::proto::PathPolicy;
use group::Identity;
pub(crate) use group::{Group, Turn};
use monitor::Monitor;
pub use options::MultipathOptions;
use shared::{Entry, Shared};
pub(crate) use shared::{FirstLink, checked, connect_path};

/// How a path to a namespace is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PathState {
    /// Where it leads to.
    pub address: String,
    /// The state of the namespace's ANA group there, as it is known; optimized where the controller has no ANA.
    pub ana: AnaState,
    /// Whether it leads to another namespace of the same number, and is never used.
    pub refused: bool,
    /// Why it is not connected.
    pub error: Option<Error>,
}

/// Several paths to one subsystem, each a [`Controller`] with a recovery of its own. Dropping it shuts all of them
/// down.
#[derive(Debug)]
pub struct Subsystem {
    shared: Arc<Shared>,
    /// Where paths are watched by threads.
    monitors: Vec<JoinHandle<()>>,
}

impl Subsystem {
    /// Connects each of these paths. Those that do not come up are tried again in the background, as their
    /// [`Recovery`](crate::Recovery) says, and join when they do. A path without [`Options::recovery`] gets its defaults.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::multipath::{MultipathOptions, Subsystem};
    /// use nvme_tcp::{Options, Recovery, host::HostIdentity};
    ///
    /// let (host, for_ever) = (HostIdentity::load()?, Recovery::default().controller_loss_timeout(None));
    /// let path = |portal| Options::new(portal, "nqn.2024-01.io.example:images", host.clone()).recovery(for_ever);
    /// // Up with one of the two; the other is tried as long as it takes.
    /// let paths = ["10.0.0.5:4420", "10.0.1.5:4420"].map(path);
    /// println!("{:?}", Subsystem::connect(paths, MultipathOptions::default())?.paths(1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// They are not paths to one subsystem for one host, or none of them came up: the first path's error.
    pub fn connect(paths: impl IntoIterator<Item = Options>, options: MultipathOptions) -> Result<Self> {
        let paths = checked(paths)?;
        let runner = Runner::Threads;
        // At once, since one that does not answer takes its time.
        let connected: Vec<_> = thread::scope(|scope| {
            let one = |path: &Options| {
                scope.spawn({
                    let (path, runner) = (path.clone(), &runner);
                    move || connect_path(path, runner)
                })
            };
            let paths: Vec<_> = paths.iter().map(one).collect();
            let panicked = || Err(Error::invalid("the thread that connects a path panicked"));
            paths.into_iter().map(|path| path.join().unwrap_or_else(|_| panicked())).collect()
        });
        Self::of(paths, connected, options, runner)
    }

    /// Of paths that are [`checked`], each with what came of connecting it.
    pub(crate) fn of(
        paths: Vec<Options>,
        connected: Vec<Result<FirstLink>>,
        options: MultipathOptions,
        runner: Runner,
    ) -> Result<Self> {
        if connected.iter().all(Result::is_err) {
            let first = connected.into_iter().find_map(Result::err);
            return Err(first.unwrap_or_else(|| Error::invalid("no path")));
        }
        let entries =
            paths.into_iter().zip(connected).map(|(options, connected)| Entry::new(options, connected));
        let shared = Arc::new(Shared::new(entries.collect(), options, runner));
        let mut subsystem = Self { shared: shared.clone(), monitors: Vec::new() };
        for path in 0..shared.entries.len() {
            let monitor = Monitor::new(shared.clone(), path);
            match &shared.runner {
                Runner::Threads => {
                    subsystem.monitors.push(Runner::thread("nvme-tcp-path", move || monitor.run())?);
                }
                #[cfg(feature = "tokio")]
                Runner::Tasks(runtime) => drop(runtime.spawn(monitor.run_as_task())),
            }
        }
        Ok(subsystem)
    }

    /// A namespace, to read and write by whichever path is best.
    ///
    /// ```no_run
    /// # fn example(subsystem: &nvme_tcp::multipath::Subsystem) -> nvme_tcp::Result<()> {
    /// let namespace = subsystem.namespace(1)?;
    /// let mut first = vec![0; 4096];
    /// namespace.read_at(&mut first, 0)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// No path is up, or as [`Controller::namespace`]. With several paths, it has neither UUID nor NGUID nor EUI64,
    /// so that nothing says that they lead to the same.
    pub fn namespace(&self, nsid: u32) -> Result<Namespace> {
        let shared = &self.shared;
        let entries = shared.entries.iter().enumerate();
        let controllers = entries.filter_map(|(path, entry)| Some((path, entry.controller()?)));
        let mut missing: Error = ErrorKind::NoPath { nsid, why: "none is connected" }.into();
        for (path, controller) in controllers {
            if let Err(error) = controller.check() {
                missing = error;
                continue;
            }
            let identify = match controller.namespace(nsid).and_then(|_| controller.identify_namespace(nsid))
            {
                Ok(identify) => identify,
                Err(error) => {
                    missing = error;
                    continue;
                }
            };
            let identity = Identity::of(&controller, nsid, &identify)?;
            if shared.entries.len() > 1 && !identity.is_known() {
                return Err(ErrorKind::NamespaceId { nsid }.into());
            }
            let group = Group::new(shared, controller.generations(), nsid, identity, identify.anagrpid.get());
            let group = shared.lock_groups().entry(nsid).or_insert(group).clone();
            monitor::refresh(shared, path, true);
            // The others join when they can: one whose association is just lost is not waited for.
            shared.wake_monitors();
            return Namespace::new(Route::Paths(group), nsid, &identify);
        }
        Err(missing)
    }

    /// The controller that a path has at its end, counted from 0 in the order that they were given in; `None` as
    /// long as it has not been connected.
    ///
    /// ```no_run
    /// # fn example(subsystem: &nvme_tcp::multipath::Subsystem) -> nvme_tcp::Result<()> {
    /// // Admin commands go to one controller, which the caller chooses.
    /// if let Some(controller) = subsystem.controller(0) {
    ///     println!("{} % used", controller.smart_log(None)?.percentage_used);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn controller(&self, path: usize) -> Option<Arc<Controller>> {
        self.shared.entries.get(path)?.controller()
    }

    /// How each path to a namespace is that was asked for by [`namespace`](Self::namespace); for another, how it is
    /// to the subsystem.
    ///
    /// ```no_run
    /// # fn example(subsystem: &nvme_tcp::multipath::Subsystem) -> nvme_tcp::Result<()> {
    /// let namespace = subsystem.namespace(1)?;
    /// for path in subsystem.paths(namespace.id()).iter().filter(|path| path.error.is_none()) {
    ///     println!("{}: {:?}", path.address, path.ana);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn paths(&self, nsid: u32) -> Vec<PathState> {
        let group = self.shared.lock_groups().get(&nsid).cloned();
        let entries = self.shared.entries.iter().enumerate();
        let state = |(path, entry): (usize, &Entry)| {
            let seen = group.as_ref().map(|group| group.seen(path));
            let (ana, refused) = seen.unwrap_or((AnaState::Optimized, false));
            PathState { address: entry.options.address.clone(), ana, refused, error: entry.error() }
        };
        entries.map(state).collect()
    }

    /// [`Controller::rotate_keys`] of each path that is connected, one after the other.
    ///
    /// ```no_run
    /// # fn example(subsystem: &nvme_tcp::multipath::Subsystem) {
    /// let failed = subsystem.rotate_keys().into_iter().filter_map(Result::err);
    /// // Most often a target that does not know the new key yet.
    /// failed.for_each(|error| eprintln!("{error}"));
    /// # }
    /// ```
    pub fn rotate_keys(&self) -> Vec<Result<Rotation>> {
        let controllers = self.shared.entries.iter().filter_map(Entry::controller);
        controllers.map(|controller| controller.rotate_keys()).collect()
    }

    /// Shuts all controllers down in good order, as dropping it does. Commands that are outstanding or wait then
    /// fail with [`ErrorKind::ShutDown`].
    ///
    /// ```no_run
    /// # fn example(subsystem: nvme_tcp::multipath::Subsystem) -> nvme_tcp::Result<()> {
    /// let namespace = subsystem.namespace(1)?;
    /// namespace.flush()?;
    /// subsystem.shutdown();
    /// // No path comes back, so that this waits for none.
    /// assert!(namespace.read_at(&mut [0; 4096], 0).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Subsystem {
    fn drop(&mut self) {
        let shared = &self.shared;
        {
            let _working = shared.lock_working();
            shared.ended.store(true, Ordering::SeqCst);
        }
        shared.changed.notify_all();
        for group in shared.lock_groups().values() {
            group.end();
        }
        for link in shared.entries.iter().filter_map(|entry| entry.link.get()) {
            // Whatever waits for another association waits no longer.
            link.generations.end();
        }
        shared.wake_monitors();
        for monitor in self.monitors.drain(..) {
            // A panic there was reported when it happened.
            drop(monitor.join());
        }
        let mut working = shared.lock_working();
        while *working > 0 {
            working = shared.changed.wait(working, None);
        }
        drop(working);
        for entry in &shared.entries {
            drop(entry.lock_controller().take());
        }
    }
}
