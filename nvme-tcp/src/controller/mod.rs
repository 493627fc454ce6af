//! A controller: generations of associations behind one handle. One file for each family of admin commands.

mod erase;
mod feature;
mod firmware;
mod identify;
mod log;
mod manage;
mod passthrough;

use std::sync::Arc;
use std::time::Duration;

use crate::auth::Agreed;
use crate::connector::TlsFacts;
use crate::driver::shared::{Buffer, Request};
use crate::error::{Error, ErrorKind, NamespaceRefusal, Result};
use crate::events::{Events, Replacement};
use crate::generations::{Generations, may_wait};
use crate::housekeeping::Housekeeping;
use crate::namespace::{Namespace, Route};
use crate::options::{Options, Security};
use crate::proto::{ControllerTraits, DataFault, Negotiated};
use crate::queue::Queue;
use crate::rotation::Rotation;
use crate::runner::Runner;
use crate::spec::command::Sqe;
use crate::spec::completion::{Cqe, Status};

pub use erase::{EraseConsent, FormatOptions};
pub use feature::{AsyncEvents, HostBehavior, NumberOfQueues, PowerManagement};
pub use firmware::{Activation, FirmwareCommit};
pub use identify::NamespaceIds;
pub use manage::NewNamespace;
pub use passthrough::{RawCommand, RawCompletion, RawData};

/// A connected controller. It may be shared between threads; one thread of its own (on tokio, a task) sends keep-alives
/// and replaces the association when a key's record budget runs low. Dropping it shuts the controller down.
///
/// ```no_run
/// use nvme_tcp::{Options, host::HostIdentity};
///
/// # fn main() -> nvme_tcp::Result<()> {
/// let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?);
/// let controller = options.io_queues(4).connect()?;
/// println!("{} has {:?}", controller.info().traits.model_number, controller.namespaces()?);
/// controller.shutdown();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Controller {
    generations: Arc<Generations>,
    housekeeping: Option<Housekeeping>,
}

/// What a controller and the connections to it turned out to be, as of its present association.
///
/// ```no_run
/// # fn example(controller: &nvme_tcp::Controller) {
/// let info = controller.info();
/// println!("data digests: {}", info.negotiated.data_digest);
/// match info.tls {
///     Some(tls) => println!("TLS by a {:?} identity: {:?}", tls.identity_version, tls.info),
///     None => println!("plain"),
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ControllerInfo {
    /// What the controller says of itself.
    pub traits: ControllerTraits,
    /// What ICReq and ICResp agreed.
    pub negotiated: Negotiated,
    /// What TLS is, on a connection that has it.
    pub tls: Option<TlsFacts>,
    /// What DH-HMAC-CHAP came to on the admin queue, if there was any.
    pub authentication: Option<Agreed>,
    /// How many associations there were before this one.
    pub generation: u64,
}

impl Controller {
    fn connect(options: Options, runner: &Runner) -> Result<Self> {
        let generations = Arc::new(Generations::begin(options)?);
        let housekeeping = Some(Housekeeping::start(generations.clone(), runner)?);
        Ok(Self { generations, housekeeping })
    }

    /// What its namespaces and queues share with it.
    pub(crate) fn generations(&self) -> &Arc<Generations> {
        &self.generations
    }

    /// What the controller and the connections to it turned out to be.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) {
    /// let traits = controller.info().traits;
    /// let (major, minor) = (traits.version >> 16, traits.version >> 8 & 0xff);
    /// println!("{}, NVMe {major}.{minor}, {} I/O queues", traits.model_number, traits.io_queues);
    /// # }
    /// ```
    pub fn info(&self) -> ControllerInfo {
        let association = self.generations.current();
        ControllerInfo {
            traits: association.traits.clone(),
            negotiated: association.negotiated,
            tls: association.tls.clone(),
            authentication: association.agreed(),
            generation: association.generation,
        }
    }

    /// A namespace, to read and write.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// for nsid in controller.namespaces()? {
    ///     match controller.namespace(nsid) {
    ///         Ok(namespace) => println!("{nsid}: {} bytes", namespace.size()),
    ///         // One with metadata, for example: the others can be used.
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is none of this ID, or it has metadata or protection information, which would be misread.
    pub fn namespace(&self, nsid: u32) -> Result<Namespace> {
        let identify = self.identify_namespace(nsid).map_err(|error| match error.status() {
            Some(status) if status.is(Status::INVALID_NAMESPACE) => {
                ErrorKind::Namespace { nsid, refusal: NamespaceRefusal::Missing }.into()
            }
            _ => error,
        })?;
        Namespace::new(Route::Controller(self.generations.clone()), nsid, &identify)
    }

    /// A queue of its own for one thread, on one of the I/O queues that
    /// [`Options::owned_queues`] reserved.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// # fn serve(_worker: usize, _queue: nvme_tcp::Queue) {}
    /// // As many threads as `owned_queues` reserved queues.
    /// for worker in 0..4 {
    ///     let queue = controller.queue()?;
    ///     std::thread::spawn(move || serve(worker, queue));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// All of them are in use, or the connection failed.
    pub fn queue(&self) -> Result<Queue> {
        Queue::open(self.generations.clone())
    }

    /// Brings up a new association with new keys, sends new commands there and shuts the old one down when
    /// its last command is done. A dead association is replaced in the same way.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let namespace = controller.namespace(1)?;
    /// if let Err(lost) = controller.check() {
    ///     eprintln!("{lost}");
    ///     controller.reconnect()?;
    /// }
    /// // The namespace from before goes on with the new association.
    /// namespace.write_at(&[7; 4096], 0)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The new one did not come up; the old one is still used.
    pub fn reconnect(&self) -> Result<()> {
        self.generations.replace(Replacement::Asked).map(drop)
    }

    /// Rotates the keys while the controller is used, in one call: asks the
    /// [`KeySource`](crate::KeySource) for its keys, brings up the next association with them, sends new
    /// commands there, and shuts the old one down when its last command is done. No command fails and none is
    /// carried out twice. Give the target the new key before, and take the old one from it after.
    ///
    /// Where the target grants this host no second controller, new commands are held while the old association
    /// drains and ends and the next is brought up; [`Rotation::held`] says for how long.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let rotation = controller.rotate_keys()?;
    /// if rotation.gap {
    ///     eprintln!("the target knows version-0 identities only: it can have one key at a time");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The connections are plain; the source gives no key; the next association did not come up, because the target
    /// does not know the new key, for example. The old association is used on then, unless it had to end first.
    pub fn rotate_keys(&self) -> Result<Rotation> {
        if matches!(self.generations.connector.options().security, Security::Plain) {
            return Err(Error::invalid("the connections are plain: there is no key to rotate"));
        }
        self.generations.replace(Replacement::Asked)
    }

    /// Authenticates both ends of the admin queue once more by DH-HMAC-CHAP, with the secrets that
    /// [`Options::authentication`] gave. It works while the queues are in use.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // From time to time, so that whoever has lost its secret is found out.
    /// controller.reauthenticate()?;
    /// println!("both ways: {:?}", controller.info().authentication.map(|agreed| agreed.mutual));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no secret, or authentication failed: then the association is over, and every command on it fails.
    pub fn reauthenticate(&self) -> Result<()> {
        self.generations.current().authenticate_again(&self.generations.connector)
    }

    /// Whether the controller is there, as far as is known: its keep-alives are answered, and no queue that
    /// is shared is lost. It asks nobody and waits for nothing, so whoever waits for something else can look
    /// from time to time.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) {
    /// // For a health page, however often it is asked for.
    /// match controller.check() {
    ///     Ok(()) => println!("up"),
    ///     Err(error) => println!("down: {error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why its association was lost.
    pub fn check(&self) -> Result<()> {
        self.generations.current().death().map_or(Ok(()), Err)
    }

    /// What happens to the controller from now on: what it reports by itself, and what becomes of the association
    /// with it. Each receiver gets every event.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::events::{AsyncEvent, Event};
    ///
    /// let events = controller.events()?;
    /// while let Some(event) = events.recv() {
    ///     if let Event::Reported(AsyncEvent::NamespacesChanged(which)) = event {
    ///         println!("changed: {which:?}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// This process has no descriptor left.
    pub fn events(&self) -> Result<Events> {
        self.generations.bulletin.listen()
    }

    /// Shuts the controller down in good order and closes every connection, as dropping it does. Associations that
    /// still drain are closed at once; the present one is given 5 s to say that its shutdown is complete, and less
    /// where it answers. Commands that are outstanding then fail with [`ErrorKind::ShutDown`]. An association that
    /// is just being brought up is closed when it is up, without being waited for.
    ///
    /// ```no_run
    /// # fn example(controller: nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let namespace = controller.namespace(1)?;
    /// namespace.write_at(&[7; 4096], 0)?;
    /// // What was written is durable before the target is told that this host goes.
    /// namespace.flush()?;
    /// controller.shutdown();
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.generations.end();
        self.generations.ring(|calls| calls.stop = true);
        if let Some(housekeeping) = self.housekeeping.take() {
            housekeeping.end();
        }
        self.generations.current().close(&ErrorKind::ShutDown.into());
        self.generations.bulletin.end();
    }
}

/// What became of an admin command, whatever its status says.
pub(crate) type Answer = (Cqe, Option<DataFault>);

/// The most data of one admin command where the controller sets no limit, in bytes.
const MAX_ADMIN_TRANSFER: u64 = 1 << 20;

/// The most data that one admin command moves, in bytes: MDTS, a multiple of 4 KiB.
pub(crate) fn max_admin_transfer(generations: &Generations) -> usize {
    let limit = generations.current().traits.max_transfer.unwrap_or(MAX_ADMIN_TRANSFER);
    limit.clamp(4096, MAX_ADMIN_TRANSFER) as usize & !4095
}

/// Runs an admin command, in the time that every command has; an unsuccessful status is an error.
pub(crate) fn admin(
    generations: &Generations,
    name: &'static str,
    sqe: Sqe,
    buffer: Buffer<'_>,
) -> Result<Cqe> {
    generations.for_commands()?.admin(name, sqe, buffer)
}

/// Runs an admin command that may take `limit`, and gives back what became of it, whatever its status says.
pub(crate) fn admin_within(
    generations: &Generations,
    limit: Duration,
    sqe: Sqe,
    buffer: Buffer<'_>,
) -> Result<Answer> {
    generations.for_commands()?.admin.execute_within(limit, Request { sqe, buffer })
}

/// Runs an admin command that fills `buffer` and changes nothing: where the association is lost meanwhile, it is
/// sent again to the next, as [`Options::recovery`] says.
pub(crate) fn admin_read(
    generations: &Generations,
    name: &'static str,
    sqe: Sqe,
    buffer: &mut [u8],
) -> Result<()> {
    let mut tries = 0;
    loop {
        let association = generations.for_commands()?;
        let Err(error) = association.admin(name, sqe, Buffer::Read(&mut *buffer)) else { return Ok(()) };
        let policy = generations.connector.options().recovery;
        let again = policy.is_some_and(|policy| tries < policy.retries) && association.death().is_some();
        if !again || !may_wait() {
            return Err(error);
        }
        tries += 1;
        generations.wait_for_next(&association, None)?;
    }
}

/// Runs an admin command without data, for its result.
pub(crate) fn admin_value(generations: &Generations, name: &'static str, sqe: Sqe) -> Result<u64> {
    admin(generations, name, sqe, Buffer::None).map(|cqe| cqe.result.get())
}

impl Options {
    /// Connects: brings up a controller with its I/O queues.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) {
    /// match options.connect() {
    ///     Ok(controller) => println!("connected to {}", controller.info().traits.subsystem_nqn),
    ///     Err(error) => eprintln!("{error}; {}", error.hint().unwrap_or_default()),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Wrong options; no connection; TLS failed with every identity; the controller refused this host or
    /// subsystem, or did not come up.
    pub fn connect(self) -> Result<Controller> {
        self.connect_on(&Runner::Threads)
    }

    /// The same, with what the controller does by itself done elsewhere.
    pub(crate) fn connect_on(self, runner: &Runner) -> Result<Controller> {
        self.check()?;
        Controller::connect(self, runner)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if self.housekeeping.is_some() {
            self.end();
        }
    }
}
