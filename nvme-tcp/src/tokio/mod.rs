//! The same controller and namespaces on tokio: calls are futures, and I/O is done by tasks.
//!
//! # Who does what
//! Each I/O queue is a connection and a task that owns it: the driver. Futures hand commands to it and wait for
//! their results. It would be cheaper by two wake-ups if the waiting futures moved the bytes themselves; but then
//! nobody would finish the write whose future was dropped, drain the read that was given up, or notice a deadline,
//! until some other future came along.
//!
//! Each controller has one task more, which sends its keep-alives, takes its events, minds the record budgets, sees to
//! it that a lost association is brought up again, and shuts down what has drained; and each path of a
//! [`Subsystem`] one that keeps what is known of it. There is no thread of this library's own: a thousand controllers
//! are a thousand such tasks. They run when the runtime does. A runtime whose tasks do not yield for half of
//! [`Options::keep_alive`], or that nobody drives, sends its keep-alives late, and the controller may give this host up.
//!
//! What takes a while and is seldom runs on tokio's threads for that (`spawn_blocking`): connecting with its
//! handshakes, reconnecting, admin commands, and shutting down, which needs no runtime to come to its end. Reads,
//! writes and their neighbours never do, nor does waiting for a path, for the next association or for a fence.
//!
//! # Futures that are dropped
//! Every future can be given up, and leaked too: memory is handed over for as long as its commands are in flight, to
//! the driver and not to the future. What of a read is not sent yet is then never sent; what is, is received and
//! thrown away, and its memory is free at once. What of a write is not sent is not sent either, but a command that
//! was begun is finished, and its memory is free only then. Which blocks such a write changed is not known; the queue
//! is as good as before in any case.
//!
//! A runtime that is shut down drops its drivers: connections end, and what was handed over is freed.
//!
//! ```no_run
//! use nvme_tcp::{Options, host::HostIdentity, psk::ConfiguredKey, tokio::Controller};
//!
//! # async fn example() -> nvme_tcp::Result<()> {
//! let key = ConfiguredKey::from_file("/etc/nvme/image.key")?;
//! let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?);
//! let controller = Controller::connect(options.tls(key).io_queues(4)).await?;
//! let namespace = controller.namespace(1).await?;
//! let (result, block) = namespace.read_at(vec![0; 4096], 0).await;
//! result?;
//! let (result, _) = namespace.write_at(block, 4096).await;
//! result?;
//! namespace.flush().await?;
//! controller.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod active;
mod driver;
mod lanes;
mod namespace;
mod socket;
mod subsystem;
mod work;

use std::sync::Arc;

use ::tokio::runtime::Handle;
use ::tokio::task::{JoinHandle, spawn_blocking};

use crate::controller::ControllerInfo;
use crate::discovery::{Discovered, Discovery};
use crate::error::{ErrorKind, Result};
use crate::events::Events;
use crate::options::Options;
use crate::rotation::Rotation;
use crate::runner::Runner;
use lanes::Paths;

pub use namespace::Namespace;
pub(crate) use socket::register;
pub use subsystem::Subsystem;

/// Asks discovery controllers, as [`Discovery::run`] does, on one of the runtime's threads for that. What it finds is
/// connected to by [`Controller::connect`] with [`Entry::options`](crate::discovery::Entry::options).
///
/// ```no_run
/// use nvme_tcp::{Options, discovery::Discovery, host::HostIdentity, nqn::DISCOVERY_NQN, tokio};
///
/// # async fn example() -> nvme_tcp::Result<()> {
/// let options = Options::new("10.0.0.5:8009", DISCOVERY_NQN, HostIdentity::load()?);
/// for entry in tokio::discover(Discovery::new(options.clone())).await?.subsystems() {
///     let controller = tokio::Controller::connect(entry.options(&options)?).await?;
///     println!("{}: {}", entry.subsystem_nqn, controller.info().traits.model_number);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As the blocking call.
pub async fn discover(discovery: Discovery) -> Result<Discovered> {
    blocking(move || discovery.run()).await
}

/// A connected controller. Dropping it shuts it down, on one of the runtime's threads for blocking calls; its
/// namespaces then fail with [`ErrorKind::ShutDown`].
#[derive(Debug)]
pub struct Controller {
    /// `None` only while it is dropped.
    inner: Option<Arc<crate::Controller>>,
    paths: Arc<Paths>,
}

impl Controller {
    /// Connects: brings up a controller with its I/O queues, and starts a task for each. Where the future is given
    /// up, the controller is shut down as soon as it is up.
    ///
    /// [`Options::io_queues`] counts the queues of the tasks, [`Options::owned_queues`] those that are left for
    /// [`Controller::queue`](crate::Controller::queue).
    ///
    /// ```no_run
    /// # async fn example() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{Options, host::HostIdentity, tokio::Controller};
    ///
    /// let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?);
    /// // Eight connections, each with a task that drives it.
    /// let controller = Controller::connect(options.io_queues(8)).await?;
    /// println!("{} I/O queues granted", controller.info().traits.io_queues);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Options::connect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn connect(options: Options) -> Result<Self> {
        let paths = Paths::new([options.io_queues]);
        let options = for_tasks(options);
        let runner = Runner::Tasks(Handle::current());
        let inner = blocking(move || options.connect_on(&runner)).await?;
        let controller = Self { inner: Some(Arc::new(inner)), paths };
        controller.paths.lanes(0, controller.inner().generations()).await.map_err(|(_, error)| error)?;
        Ok(controller)
    }

    /// What the controller and the connections to it turned out to be.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::tokio::Controller) {
    /// let info = controller.info();
    /// println!("{} {}", info.traits.model_number, info.traits.firmware_revision);
    /// println!("associations before this one: {}", info.generation);
    /// # }
    /// ```
    ///
    /// # Panics
    /// Never while it can be called.
    pub fn info(&self) -> ControllerInfo {
        self.inner().info()
    }

    /// A namespace, to read and write.
    ///
    /// ```no_run
    /// # async fn example(controller: &nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// let namespace = controller.namespace(1).await?;
    /// println!("{} GiB in blocks of {} bytes", namespace.size() >> 30, namespace.block_size());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Controller::namespace`](crate::Controller::namespace).
    pub async fn namespace(&self, nsid: u32) -> Result<Namespace> {
        let inner = self.with(move |controller| controller.namespace(nsid)).await?;
        Ok(Namespace::new(inner, self.paths.clone()))
    }

    /// Brings up a new association with new keys and sends new commands there, as
    /// [`Controller::reconnect`](crate::Controller::reconnect) does.
    ///
    /// ```no_run
    /// # async fn example(controller: &nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// // What is in flight is completed on the old association; namespaces go over by themselves.
    /// controller.reconnect().await?;
    /// println!("association {}", controller.info().generation);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The new one did not come up; the old one is still used.
    pub async fn reconnect(&self) -> Result<()> {
        self.with(crate::Controller::reconnect).await
    }

    /// Rotates the keys while the controller is used, as
    /// [`Controller::rotate_keys`](crate::Controller::rotate_keys) does. Where the future is given up, it is done all
    /// the same.
    ///
    /// ```no_run
    /// # async fn rotate(controller: nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// let rotation = controller.rotate_keys().await?;
    /// println!("another key: {}", rotation.key_changed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn rotate_keys(&self) -> Result<Rotation> {
        self.with(crate::Controller::rotate_keys).await
    }

    /// Authenticates both ends of the admin queue once more, as
    /// [`Controller::reauthenticate`](crate::Controller::reauthenticate) does.
    ///
    /// ```no_run
    /// # async fn example(controller: &nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// // Once an hour, say: the I/O queues work on meanwhile.
    /// if let Err(error) = controller.reauthenticate().await {
    ///     eprintln!("not authenticated any more: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As the blocking call.
    pub async fn reauthenticate(&self) -> Result<()> {
        self.with(crate::Controller::reauthenticate).await
    }

    /// Whether the controller is there, as far as is known. It waits for nothing.
    ///
    /// ```no_run
    /// # fn example(controllers: &[nvme_tcp::tokio::Controller]) {
    /// // It costs next to nothing, so a health check may ask for thousands.
    /// let lost = controllers.iter().filter(|controller| controller.check().is_err()).count();
    /// println!("{lost} of {} lost", controllers.len());
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why its association was lost.
    pub fn check(&self) -> Result<()> {
        self.inner().check()
    }

    /// What happens to the controller from now on: [`Events::next`] is for tasks.
    ///
    /// ```no_run
    /// # async fn example(controller: &nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::Event;
    ///
    /// let events = controller.events()?;
    /// while let Some(event) = events.next().await {
    ///     if let Event::AssociationLost { error, .. } = event {
    ///         eprintln!("lost: {error}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// This process has no descriptor left.
    pub fn events(&self) -> Result<Events> {
        self.inner().events()
    }

    /// Calls `call` with the blocking controller, on one of the runtime's threads for that: everything that has no
    /// method here. Where the future is given up, the call still goes on to its end.
    ///
    /// ```no_run
    /// # async fn example(controller: &nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// // A log page, which has no method here.
    /// let smart = controller.with(|controller| controller.smart_log(None)).await?;
    /// println!("{} % used", smart.percentage_used);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `call`; [`ErrorKind::ShutDown`] where the runtime is shut down before it ran.
    pub async fn with<T: Send + 'static>(
        &self,
        call: impl FnOnce(&crate::Controller) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner().clone();
        blocking(move || call(&inner)).await
    }

    /// Shuts the controller down, as [`Controller::shutdown`](crate::Controller::shutdown) does.
    ///
    /// ```no_run
    /// # async fn example(controller: nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// controller.namespace(1).await?.flush().await?;
    /// // The target knows of it at once, and need not wait for the keep-alive to run out.
    /// controller.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(mut self) {
        end(self.inner.take(), &self.paths).await;
    }

    fn inner(&self) -> &Arc<crate::Controller> {
        self.inner.as_ref().expect("a controller that is not being dropped")
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        end_later(self.inner.take(), &self.paths);
    }
}

/// Leaves no I/O queue to threads: as many as they had wanted are the tasks'.
fn for_tasks(options: Options) -> Options {
    let owned_queues = options.io_queues.saturating_add(options.owned_queues);
    Options { io_queues: 0, owned_queues, ..options }
}

/// Drops what shuts down when it is dropped, where that may take its time.
async fn end<T: Send + 'static>(inner: Option<T>, paths: &Paths) {
    let end = move || {
        drop(inner);
        Ok(())
    };
    // It gives no error, but for a runtime that is shut down, and then it was dropped.
    drop(blocking(end).await);
    paths.look();
}

/// As [`end`], without waiting for it where there is a runtime.
fn end_later<T: Send + 'static>(inner: Option<T>, paths: &Arc<Paths>) {
    let Some(inner) = inner else { return };
    let paths = paths.clone();
    let end = move || {
        drop(inner);
        paths.look();
    };
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(end)),
        Err(_) => end(),
    }
}

/// Calls `call` where it may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(spawn_blocking(call)).await
}

/// What comes of something that was begun, a panic included.
async fn joined<T>(begun: JoinHandle<Result<T>>) -> Result<T> {
    match begun.await {
        Ok(result) => result,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ErrorKind::ShutDown.into()),
        },
    }
}
