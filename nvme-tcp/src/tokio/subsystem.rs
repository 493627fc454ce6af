//! Several controllers of one subsystem as one, on tokio.

use std::sync::Arc;

use ::tokio::runtime::Handle;
use ::tokio::task::{spawn, spawn_blocking};

use super::lanes::Paths;
use super::{Namespace, blocking, end, end_later, for_tasks, joined};
use crate::error::Result;
use crate::multipath::{self, MultipathOptions, PathState};
use crate::options::Options;
use crate::rotation::Rotation;
use crate::runner::Runner;

/// Several paths to one subsystem, as [`multipath::Subsystem`]: its namespaces are there as long as one path to them
/// is. Dropping it shuts all of its controllers down, on one of the runtime's threads for blocking calls.
///
/// ```no_run
/// use nvme_tcp::multipath::MultipathOptions;
/// use nvme_tcp::{Options, host::HostIdentity, tokio::Subsystem};
///
/// # async fn example() -> nvme_tcp::Result<()> {
/// let host = HostIdentity::load()?;
/// let paths = ["10.0.0.5:4420", "10.0.1.5:4420"]
///     .map(|portal| Options::new(portal, "nqn.2024-01.io.example:images", host.clone()));
/// let subsystem = Subsystem::connect(paths, MultipathOptions::default()).await?;
/// let namespace = subsystem.namespace(1).await?;
/// let (result, block) = namespace.read_at(vec![0; 4096], 0).await;
/// result?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subsystem {
    /// `None` only while it is dropped.
    inner: Option<Arc<multipath::Subsystem>>,
    paths: Arc<Paths>,
}

impl Subsystem {
    /// Connects each of these paths, as [`multipath::Subsystem::connect`] does; [`Options::io_queues`] of each counts
    /// the queues of the tasks, which are connected when the path is first taken. Where the future is given up, the
    /// subsystem is shut down as soon as it is up.
    ///
    /// ```no_run
    /// # async fn example() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::multipath::{MultipathOptions, PathPolicy};
    /// use nvme_tcp::{Options, host::HostIdentity, tokio::Subsystem};
    ///
    /// let host = HostIdentity::load()?;
    /// let path = |portal| Options::new(portal, "nqn.2024-01.io.example:images", host.clone()).io_queues(4);
    /// // One portal that answers is enough: the other joins when it can.
    /// let options = MultipathOptions::default().policy(PathPolicy::QueueDepth);
    /// let subsystem = Subsystem::connect(["10.0.0.5:4420", "10.0.1.5:4420"].map(path), options).await?;
    /// println!("{} paths", subsystem.paths(1).len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As the blocking call.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn connect(
        paths: impl IntoIterator<Item = Options>,
        options: MultipathOptions,
    ) -> Result<Self> {
        let all: Vec<Options> = paths.into_iter().collect();
        let paths = Paths::new(all.iter().map(|path| path.io_queues));
        let all = multipath::checked(all.into_iter().map(for_tasks))?;
        // A task of its own, so that what is up is shut down as it should be where this future is given up.
        joined(spawn(async move {
            let runner = Runner::Tasks(Handle::current());
            // At once, since one that does not answer takes its time.
            let one = |path: &Options| {
                let (path, runner) = (path.clone(), runner.clone());
                spawn_blocking(move || multipath::connect_path(path, &runner))
            };
            let begun: Vec<_> = all.iter().map(one).collect();
            let mut connected = Vec::new();
            for one in begun {
                connected.push(joined(one).await);
            }
            let inner = blocking(move || multipath::Subsystem::of(all, connected, options, runner)).await?;
            Ok(Self { inner: Some(Arc::new(inner)), paths })
        }))
        .await
    }

    /// A namespace, to read and write by whichever path is best.
    ///
    /// ```no_run
    /// # async fn example(subsystem: &nvme_tcp::tokio::Subsystem) -> nvme_tcp::Result<()> {
    /// let namespace = subsystem.namespace(1).await?;
    /// // By one path, or by another where that fails.
    /// let (result, _) = namespace.write_at(vec![0; 1 << 20], 0).await;
    /// result?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`multipath::Subsystem::namespace`].
    pub async fn namespace(&self, nsid: u32) -> Result<Namespace> {
        let inner = self.with(move |subsystem| subsystem.namespace(nsid)).await?;
        Ok(Namespace::new(inner, self.paths.clone()))
    }

    /// How each path to a namespace is, as [`multipath::Subsystem::paths`]. It waits for nothing.
    ///
    /// ```no_run
    /// # fn example(subsystem: &nvme_tcp::tokio::Subsystem) {
    /// for path in subsystem.paths(1) {
    ///     match path.error {
    ///         None => println!("{}: {:?}", path.address, path.ana),
    ///         Some(error) => println!("{}: {error}", path.address),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn paths(&self, nsid: u32) -> Vec<PathState> {
        self.inner().paths(nsid)
    }

    /// [`Controller::rotate_keys`](crate::Controller::rotate_keys) of each path that is connected, one after the
    /// other. Where the future is given up, it is done all the same.
    ///
    /// ```no_run
    /// # async fn example(subsystem: &nvme_tcp::tokio::Subsystem) -> nvme_tcp::Result<()> {
    /// for (path, rotation) in subsystem.rotate_keys().await?.into_iter().enumerate() {
    ///     // A path that fails does not keep the others from being rotated.
    ///     if let Err(error) = rotation {
    ///         eprintln!("connected path {path}: {error}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The runtime is shut down; what becomes of each path is in the list.
    pub async fn rotate_keys(&self) -> Result<Vec<Result<Rotation>>> {
        self.with(|subsystem| Ok(subsystem.rotate_keys())).await
    }

    /// Calls `call` with the blocking subsystem, on one of the runtime's threads for that: everything that has no
    /// method here. Where the future is given up, the call still goes on to its end.
    ///
    /// ```no_run
    /// # async fn example(subsystem: &nvme_tcp::tokio::Subsystem) -> nvme_tcp::Result<()> {
    /// // The controller of the first path, for an admin command.
    /// let health = subsystem.with(|subsystem| {
    ///     subsystem.controller(0).map(|controller| controller.smart_log(None)).transpose()
    /// });
    /// println!("{:?} % used", health.await?.map(|log| log.percentage_used));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `call`; [`ErrorKind::ShutDown`](crate::ErrorKind::ShutDown) where the runtime is shut down before it
    /// ran.
    pub async fn with<T: Send + 'static>(
        &self,
        call: impl FnOnce(&multipath::Subsystem) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner().clone();
        blocking(move || call(&inner)).await
    }

    /// Shuts all controllers down in good order.
    ///
    /// ```no_run
    /// # async fn example(subsystem: nvme_tcp::tokio::Subsystem, namespace: nvme_tcp::tokio::Namespace) {
    /// subsystem.shutdown().await;
    /// // What is left of it is only a handle.
    /// assert!(namespace.read_at(vec![0; 4096], 0).await.0.is_err());
    /// # }
    /// ```
    pub async fn shutdown(mut self) {
        end(self.inner.take(), &self.paths).await;
    }

    fn inner(&self) -> &Arc<multipath::Subsystem> {
        self.inner.as_ref().expect("a subsystem that is not being dropped")
    }
}

impl Drop for Subsystem {
    fn drop(&mut self) {
        end_later(self.inner.take(), &self.paths);
    }
}
