//! The driver: listeners, a thread for each connection, and an orderly end.

mod bell;
mod event;
mod listener;
mod secure;
mod serve;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::fault::FaultPlan;
use crate::hub::{Config, Hub, Port};
use crate::statistics::Statistics;
use crate::subsystem::{Subsystem, SubsystemError};
use bell::Bell;
pub use event::{Close, Refusal, TargetEvent};
pub use listener::Listener;
pub(crate) use listener::Security;

/// How long a listener rests that cannot accept, because descriptors are short for example.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// The most connections at once, unless the builder says otherwise.
const MAX_CONNECTIONS: usize = 1024;

/// Why a target did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener's congestion control is not to be had.
    #[error("congestion control {name:?}: {source}")]
    CongestionControl {
        /// The one that was asked for.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no address to listen on.
    #[error("a target needs at least one listener")]
    NoListener,
    /// A subsystem cannot be served.
    #[error(transparent)]
    Subsystem(#[from] SubsystemError),
    /// A thread cannot be had.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

type EventListener = dyn Fn(&TargetEvent) + Send + Sync;

/// Whoever hears of [`TargetEvent`]s.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Option<Arc<EventListener>>);

impl Reporter {
    fn report(&self, event: &TargetEvent) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reporter" } else { "no reporter" })
    }
}

/// Says what a [`Target`] serves, and where.
#[derive(Debug, Default)]
pub struct TargetBuilder {
    subsystems: Vec<Subsystem>,
    listeners: Vec<Listener>,
    config: Config,
    faults: FaultPlan,
    reporter: Reporter,
    max_connections: Option<usize>,
}

impl TargetBuilder {
    /// Adds a subsystem.
    #[must_use]
    pub fn subsystem(mut self, subsystem: Subsystem) -> Self {
        self.subsystems.push(subsystem);
        self
    }

    /// Adds an address to listen on.
    #[must_use]
    pub fn listen(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Changes what is offered to hosts.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// At most this many connections at once; 1,024 by default. Each has a thread, and another one while its TLS
    /// handshake is under way.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = Some(count);
        self
    }

    /// Hears of what happens, on the thread it happens on.
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&TargetEvent) + Send + Sync + 'static) -> Self {
        self.reporter = Reporter(Some(Arc::new(listener)));
        self
    }

    /// For tests of initiators: what this target is to do wrong, and when.
    #[must_use]
    pub fn faults(mut self, faults: FaultPlan) -> Self {
        self.faults = faults.armed();
        self
    }

    /// Opens the namespaces and listens.
    ///
    /// # Errors
    /// A subsystem or a namespace of it is wrong, or an address cannot be listened on.
    pub fn start(self) -> Result<Target, StartError> {
        if self.listeners.is_empty() {
            return Err(StartError::NoListener);
        }
        let hub = Hub::new(self.config);
        for subsystem in self.subsystems {
            hub.add_subsystem(subsystem)?;
        }
        let bell = Bell::new().map_err(StartError::Thread)?;
        let shared = Arc::new(Shared {
            hub,
            bell,
            connections: Mutex::default(),
            max_connections: self.max_connections.unwrap_or(MAX_CONNECTIONS),
            faults: self.faults,
            reporter: self.reporter,
        });
        let mut target = Target { shared, addresses: Vec::new(), threads: Vec::new() };
        for (port, listener) in (0..).zip(self.listeners) {
            let failed = |source| StartError::Listen { address: listener.address, source };
            let socket = listener.bind()?;
            let address = socket.local_addr().map_err(failed)?;
            target.addresses.push(address);
            let tls = !matches!(listener.security, Security::Plain);
            target.shared.hub.add_port(Port { address, tls });
            let shared = target.shared.clone();
            let accept = move || shared.accept(&socket, port, address, &listener.security);
            let thread = thread::Builder::new().name("nvme-accept".into()).spawn(accept);
            target.threads.push(thread.map_err(StartError::Thread)?);
        }
        Ok(target)
    }
}

/// A running target. Dropping it shuts it down.
///
/// What it serves can be changed while it runs: it is a [`Hub`] as well.
///
/// ```
/// use nvme_tcp_target::{Listener, Namespace, Subsystem, Target};
///
/// let target = Target::builder()
///     .subsystem(Subsystem::new("nqn.2024-01.org.example:images").namespace(1, Namespace::ram(1 << 30)))
///     .listen(Listener::plain(([127, 0, 0, 1], 0)))
///     .start()?;
/// assert_eq!(target.local_addrs().len(), 1);
/// target.shutdown();
/// # Ok::<(), nvme_tcp_target::StartError>(())
/// ```
#[derive(Debug)]
pub struct Target {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

impl Target {
    /// A target that serves nothing yet.
    pub fn builder() -> TargetBuilder {
        TargetBuilder::default()
    }

    /// The listeners' addresses, with the ports that the system chose, in the order they were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it did so far.
    pub fn statistics(&self) -> Statistics {
        self.shared.hub.counters.read()
    }

    /// Ends all connections and waits for their threads. Commands that run are finished, but not answered.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Deref for Target {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        &self.shared.hub
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.shared.bell.stop();
        for thread in self.threads.drain(..) {
            // A panic there was reported when it happened.
            drop(thread.join());
        }
        let connections = std::mem::take(&mut *self.shared.connections());
        for open in connections.values() {
            open.bell.stop();
            // The host may have closed it already.
            drop(open.stream.as_ref().map(|stream| stream.shutdown(Shutdown::Both)));
        }
        for open in connections.into_values() {
            drop(open.thread.join());
        }
    }
}

/// A connection that has a thread.
#[derive(Debug)]
struct Open {
    /// To end it from outside; `None` once it is over, for another descriptor would keep it open.
    stream: Option<TcpStream>,
    bell: Arc<Bell>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    hub: Arc<Hub>,
    /// Stops the listeners.
    bell: Arc<Bell>,
    connections: Mutex<HashMap<u64, Open>>,
    max_connections: usize,
    faults: FaultPlan,
    reporter: Reporter,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A listener's thread.
    fn accept(self: &Arc<Self>, socket: &TcpListener, port: u16, local: SocketAddr, security: &Security) {
        while !self.bell.is_stopped() {
            match socket.accept() {
                Ok((stream, peer)) => {
                    if let Err(reason) = self.start(stream, port, peer, local, security) {
                        self.hub.counters.refused_connections.add(1);
                        self.reporter.report(&TargetEvent::Refused { peer, reason });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(Some(socket)),
                // The host was gone again before it was accepted.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => {
                    self.reporter.report(&TargetEvent::Listener { local, error });
                    self.wait(None);
                }
            }
        }
    }

    /// Waits for a connection, or, without a socket, for a while; and in any case for the bell.
    fn wait(&self, socket: Option<&TcpListener>) {
        let bell = PollFd::new(self.bell.as_fd(), PollFlags::POLLIN);
        // What poll(2) has against it shows at the next accept.
        let _ = match socket {
            Some(socket) => {
                poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN), bell], PollTimeout::NONE)
            }
            None => poll(&mut [bell], PollTimeout::try_from(ACCEPT_REST).unwrap_or(PollTimeout::ZERO)),
        };
    }

    /// Gives a connection its thread.
    fn start(
        self: &Arc<Self>,
        stream: TcpStream,
        port: u16,
        peer: SocketAddr,
        local: SocketAddr,
        security: &Security,
    ) -> Result<(), Refusal> {
        let counters = &self.hub.counters;
        let mut connections = self.connections();
        connections.retain(|_, open| !open.thread.is_finished());
        if connections.len() >= self.max_connections {
            return Err(Refusal::Full(connections.len()));
        }
        stream.set_nonblocking(false).map_err(Refusal::Resources)?;
        let bell = Bell::new().map_err(Refusal::Resources)?;
        let id = counters.read().connections;
        let connection = serve::Connection {
            hub: self.hub.clone(),
            stream: stream.try_clone().map_err(Refusal::Resources)?,
            port,
            peer,
            local,
            security: security.clone(),
            faults: self.faults.clone(),
            bell: bell.clone(),
            reporter: self.reporter.clone(),
        };
        counters.connections.add(1);
        counters.open_connections.add(1);
        let shared = self.clone();
        let run = move || {
            connection.run();
            if let Some(open) = shared.connections().get_mut(&id) {
                open.stream = None;
            }
            shared.hub.counters.open_connections.subtract(1);
        };
        match thread::Builder::new().name("nvme-queue".into()).spawn(run) {
            Ok(thread) => {
                connections.insert(id, Open { stream: Some(stream), bell, thread });
                Ok(())
            }
            Err(error) => {
                counters.open_connections.subtract(1);
                Err(Refusal::Resources(error))
            }
        }
    }
}
