//! Opens connections: TCP, TLS with one identity at a time, ICReq and ICResp.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use std::{io, iter};

use ktls::handshake::{ClientConfig, Psk};

use crate::auth::{Entropy, Host, SecureChannel};
use crate::dial::{dial, dial_again};
use crate::driver::bell::Bell;
use crate::driver::shared::TICK;
use crate::driver::transport::{self, TransportError, Wait};
use crate::driver::wire::{Intake, Outlet};
use crate::driver::{Engine, Flush};
use crate::error::{Error, ErrorKind, Result, TriedIdentities};
use crate::options::{Options, Security};
use crate::proto::{Connection, ConnectionConfig, Negotiated, Settings};
use crate::psk::{ConfiguredKey, Derivation, IdentityVersion, Origin, Policy, TlsPsk, candidates, chosen};
use crate::trace::Watcher;

/// What TLS turned out to be on a connection.
///
/// ```no_run
/// # fn example(controller: &nvme_tcp::Controller) {
/// use nvme_tcp::psk::{IdentityVersion, Origin};
///
/// let Some(tls) = controller.info().tls else { return println!("plain") };
/// if tls.origin == Origin::Retained && tls.identity_version == IdentityVersion::V0 {
///     println!("this target can know one key of this host's at a time");
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsFacts {
    /// Version, suite, group, PSK identity, and who seals the records of each direction, and why.
    pub info: ktls::Info,
    /// Which version of the PSK identity the target took.
    pub identity_version: IdentityVersion,
    /// Which derivation of the key it was.
    pub derivation: Derivation,
    /// Whether the key was configured or came from authentication.
    pub origin: Origin,
}

/// A connection that takes commands.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) intake: Intake,
    pub(crate) negotiated: Negotiated,
    pub(crate) tls: Option<TlsFacts>,
    /// Where it leads to.
    pub(crate) peer: SocketAddr,
}

/// Opens every connection of one controller, the first and those of each later association.
#[derive(Debug)]
pub(crate) struct Connector {
    options: Options,
    keyset: RwLock<Arc<Keyset>>,
    bell: Arc<Bell>,
}

/// What can be tried with the configured keys of a time.
#[derive(Debug, Default)]
pub(crate) struct Keyset {
    candidates: Vec<TlsPsk>,
    /// The candidate that the target took last: it is tried first.
    winner: AtomicUsize,
}

impl Connector {
    pub(crate) fn new(options: Options, bell: Arc<Bell>) -> Result<Self> {
        let keyset = RwLock::new(Arc::new(Keyset::of(&options)?));
        if let Security::TlsFrom { source, .. } = &options.security {
            source.subscribe(&bell);
        }
        Ok(Self { options, keyset, bell })
    }

    fn keyset(&self) -> Arc<Keyset> {
        self.keyset.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens with these keys from now on; those before.
    pub(crate) fn set_keyset(&self, keyset: Arc<Keyset>) -> Arc<Keyset> {
        std::mem::replace(&mut *self.keyset.write().unwrap_or_else(PoisonError::into_inner), keyset)
    }

    /// Asks the source for its keys; `None` where there is none, and where they are the same as before.
    pub(crate) fn changed_keyset(&self) -> Result<Option<Arc<Keyset>>> {
        match &self.options.security {
            Security::TlsFrom { .. } => {
                let keyset = Keyset::of(&self.options)?;
                let changed = keyset.candidates != self.keyset().candidates;
                Ok(changed.then(|| Arc::new(keyset)))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// What an association asks of the controller.
    pub(crate) fn settings(&self) -> Settings {
        let options = &self.options;
        Settings {
            host_nqn: options.host.nqn.clone(),
            host_id: options.host.id,
            subsystem_nqn: options.subsystem_nqn.clone(),
            keep_alive: options.keep_alive,
            admin_entries: 32,
            io_queues: options.io_queues.saturating_add(options.owned_queues),
            io_entries: options.queue_size,
            sq_flow_control: options.sq_flow_control,
        }
    }

    /// This end of an authentication transaction, where there is a secret.
    pub(crate) fn authenticator(&self, channel: SecureChannel) -> Result<Option<Host>> {
        let options = &self.options;
        let Some(settings) = &options.authentication else { return Ok(None) };
        let entropy = Entropy::gather().map_err(|_| Error::invalid("the system gives no random bytes"))?;
        let (host, subsystem) = (&*options.host.nqn, &*options.subsystem_nqn);
        Ok(Some(Host::new(settings.clone(), host, subsystem, channel, entropy)))
    }

    /// Opens a connection for a queue of `entries`, ready for Connect: to where another of the association leads
    /// already, if there is one. With secure channel concatenation it is TLS by `generated`.
    pub(crate) fn open(
        &self,
        entries: u32,
        generated: Option<&TlsPsk>,
        to: Option<SocketAddr>,
    ) -> Result<Opened> {
        let deadline = Instant::now() + self.options.connect_timeout;
        let (halves, tls, peer) = match (&self.options.security, generated) {
            (Security::Plain, _) => {
                let (stream, peer) = self.tcp(to, deadline)?;
                (transport::plain(stream), None, peer)
            }
            (Security::Tls { .. } | Security::TlsFrom { .. }, _) => {
                let keyset = self.keyset();
                self.tls(&keyset.candidates, &keyset.winner, to, deadline)?
            }
            (Security::Concat, Some(psk)) => {
                self.tls(std::slice::from_ref(psk), &AtomicUsize::new(0), to, deadline)?
            }
            (Security::Concat, None) => {
                return Err(Error::invalid("authentication agreed on no key for TLS"));
            }
        };
        self.ready(entries, halves, tls, peer, deadline)
    }

    /// Opens the plain connection that secure channel concatenation begins with: ICReq, Connect and authentication
    /// go over it, and nothing else.
    pub(crate) fn open_to_authenticate(&self, entries: u32) -> Result<Opened> {
        let deadline = Instant::now() + self.options.connect_timeout;
        let (stream, peer) = self.tcp(None, deadline)?;
        self.ready(entries, transport::plain(stream), None, peer, deadline)
    }

    /// Makes a queue of a connection: ICReq and ICResp.
    fn ready(
        &self,
        entries: u32,
        halves: (transport::SendHalf, transport::RecvHalf),
        tls: Option<TlsFacts>,
        peer: SocketAddr,
        deadline: Instant,
    ) -> Result<Opened> {
        let (send, recv) = halves;
        let options = &self.options;
        let depth = entries.saturating_sub(1).max(1);
        let mut connection = Connection::new(ConnectionConfig {
            depth,
            header_digest: options.header_digest,
            data_digest: options.data_digest,
            digests_optional: options.digests_optional,
            maxr2t: options.maxr2t,
            hpda: options.hpda,
        });
        if let Some(watcher) = Watcher::new(options) {
            connection.watch(watcher);
        }
        let mut engine = Engine::new(connection, depth, Outlet::new(send), self.bell.clone());
        let mut intake =
            Intake::new(recv).busy_poll(options.busy_poll).private_memory(options.private_memory);
        let taken =
            tls.as_ref().map(|tls| TriedIdentities::of(iter::once((tls.identity_version, tls.origin))));
        let negotiated = self.initialize(&mut engine, &mut intake, deadline, taken)?;
        Ok(Opened { engine, intake, negotiated, tls, peer })
    }

    fn tcp(&self, to: Option<SocketAddr>, deadline: Instant) -> Result<(TcpStream, SocketAddr)> {
        let options = &self.options;
        let names: Vec<&str> =
            [&options.address].into_iter().chain(&options.alternatives).map(String::as_str).collect();
        let (stream, peer) = match to {
            None => dial(&names, &options.route, deadline)?,
            Some(peer) => (dial_again(peer, &options.route, deadline)?, peer),
        };
        let failed = |source| Error::from(ErrorKind::Connect { address: peer.to_string(), source });
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(self.tick())).map_err(failed)?;
        Ok((stream, peer))
    }

    /// How long a receive waits before deadlines are looked at.
    fn tick(&self) -> Duration {
        let keep_alive = Some(self.options.keep_alive).filter(|kato| !kato.is_zero());
        TICK.min(self.options.timeout).min(keep_alive.unwrap_or(TICK)).max(Duration::from_millis(1))
    }

    /// One identity for each TCP connection: servers in the field give up at the first they do not know.
    fn tls(
        &self,
        candidates: &[TlsPsk],
        winner: &AtomicUsize,
        to: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<((transport::SendHalf, transport::RecvHalf), Option<TlsFacts>, SocketAddr)> {
        let count = candidates.len();
        let tried = TriedIdentities::of(candidates.iter().map(|psk| (psk.version(), psk.origin())));
        let first = winner.load(Ordering::Relaxed);
        let mut failure = None;
        for index in (0..count).map(|n| (first + n) % count) {
            let psk = &candidates[index];
            match self.handshake(psk, tried, to, deadline) {
                Ok((socket, peer)) => {
                    winner.store(index, Ordering::Relaxed);
                    let tls = TlsFacts {
                        info: socket.info().clone(),
                        identity_version: psk.version(),
                        derivation: psk.derivation(),
                        origin: psk.origin(),
                    };
                    return Ok((transport::tls(socket), Some(tls), peer));
                }
                Err(error) => {
                    let again =
                        matches!(error.kind(), ErrorKind::Tls { source, .. } if may_be_the_identity(source));
                    // The first candidate is the one that should have worked: its error tells most.
                    let error = failure.get_or_insert(error).clone();
                    if !again {
                        return Err(error);
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::invalid("there is no PSK identity to try")))
    }

    fn handshake(
        &self,
        psk: &TlsPsk,
        tried: TriedIdentities,
        to: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<(ktls::Socket, SocketAddr)> {
        let failed =
            |source| Error::from(ErrorKind::Tls { address: self.options.address.clone(), tried, source });
        let (stream, peer) = self.tcp(to, deadline)?;
        let identity = psk.identity().as_bytes().to_vec();
        let psk = Psk::new(identity, psk.secret().clone(), psk.hash()).map_err(|e| failed(e.into()))?;
        let socket =
            ktls::Socket::connect(stream, &ClientConfig::new(psk), &self.options.tls_options, Some(deadline));
        socket.map(|socket| (socket, peer)).map_err(failed)
    }

    fn initialize(
        &self,
        engine: &mut Engine,
        intake: &mut Intake,
        deadline: Instant,
        taken: Option<TriedIdentities>,
    ) -> Result<Negotiated> {
        let (address, tls) = (|| self.options.address.clone(), taken.is_some());
        loop {
            let flushed = engine.flush().map_err(|error| match error.kind() {
                ErrorKind::Lost(TransportError::Io(e)) if is_gone(e) => {
                    ErrorKind::NoIcResp { address: address(), tls }.into()
                }
                _ => error,
            })?;
            if let Some(negotiated) = engine.negotiated() {
                return Ok(negotiated);
            }
            if Instant::now() >= deadline {
                let after = self.options.connect_timeout;
                return Err(ErrorKind::Timeout { what: "ICReq", after }.into());
            }
            debug_assert_eq!(flushed, Flush::Done, "an ICReq fits every socket buffer");
            let received = match intake.receive(None, Wait::Block) {
                Ok(received) => received,
                Err(TransportError::Closed) => {
                    return Err(ErrorKind::NoIcResp { address: address(), tls }.into());
                }
                Err(TransportError::Io(e)) if is_gone(&e) => {
                    return Err(ErrorKind::NoIcResp { address: address(), tls }.into());
                }
                Err(TransportError::Tls(source)) => {
                    let tried = taken.unwrap_or(TriedIdentities::BothVersions);
                    return Err(ErrorKind::Tls { address: address(), tried, source }.into());
                }
                Err(error) => return Err(error.into()),
            };
            // A TLS record begins with its type, 20 to 23; no PDU has such a type.
            if !tls && matches!(intake.bytes(), [20..=23, ..]) {
                return Err(ErrorKind::PeerSpeaksTls { address: address() }.into());
            }
            engine.received(received, intake)?;
        }
    }
}

impl Keyset {
    /// Every identity that the configured keys give.
    fn of(options: &Options) -> Result<Self> {
        let (host, subsystem) = (&*options.host.nqn, &*options.subsystem_nqn);
        let from = |keys: &[ConfiguredKey], derived, policy: Policy| -> Result<Self> {
            let mut candidates = candidates(keys, host, subsystem, policy)?;
            candidates.extend(chosen(derived, host, subsystem, |version| {
                policy.allows(version, Derivation::Rfc8446)
            }));
            if candidates.is_empty() {
                return Err(Error::invalid(format!(
                    "no key gives a PSK identity that the policy allows, of host {host} and subsystem {subsystem}"
                )));
            }
            Ok(Self { candidates, winner: AtomicUsize::new(0) })
        };
        match &options.security {
            Security::Plain | Security::Concat => Ok(Self::default()),
            Security::Tls { keys, policy } => from(keys, Vec::new(), *policy),
            Security::TlsFrom { source, policy } => {
                let keys = source.load()?;
                from(&keys.configured, keys.derived, *policy)
            }
        }
    }
}

/// Whether the peer has closed the connection on us.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Whether another identity might fare better: the peer gave up during the handshake, by alert or without.
fn may_be_the_identity(error: &ktls::Error) -> bool {
    use ktls::handshake::Error as Handshake;
    match error {
        ktls::Error::Handshake(error) => matches!(
            error,
            Handshake::AlertReceived { .. }
                | Handshake::Closed { .. }
                | Handshake::FinishedMismatch
                | Handshake::BadRecordMac
        ),
        ktls::Error::Io(error) => is_gone(error),
        _ => false,
    }
}
