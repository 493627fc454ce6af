//! What a caller wants of a controller.

mod queues;
mod route;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::route::Route;

use crate::auth::{Authentication, SecureChannel};
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostIdentity;
use crate::key_source::KeySource;
use crate::nqn;
use crate::proto::Recovery;
use crate::psk::{ConfiguredKey, Policy};
use crate::trace::Dump;

/// Whether the connections are TLS. Nothing falls back to plain text.
///
/// ```no_run
/// use nvme_tcp::psk::{ConfiguredKey, IdentityVersion, Policy};
/// use nvme_tcp::{Options, Security, host::HostIdentity};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Two keys, while the old one is being replaced; version-1 identities only.
/// let keys = ["new.key", "old.key"].map(ConfiguredKey::from_file).into_iter().collect::<Result<Vec<_>, _>>()?;
/// let policy = Policy::default().only_version(IdentityVersion::V1);
/// let controller = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?)
///     .security(Security::Tls { keys: keys.into(), policy })
///     .connect()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum Security {
    /// Plain NVMe/TCP.
    Plain,
    /// TLS 1.3 with one of these keys on every connection.
    Tls {
        /// The configured keys, the preferred first.
        keys: Arc<[ConfiguredKey]>,
        /// Which identities may be tried.
        policy: Policy,
    },
    /// TLS 1.3 with one of the keys that this source gives, asked anew for each association: they can change while
    /// the controller is used.
    TlsFrom {
        /// Where the configured keys come from.
        source: KeySource,
        /// Which identities may be tried.
        policy: Policy,
    },
    /// TLS 1.3 with a key that authentication agrees on (secure channel concatenation), which
    /// [`Options::authentication`] is needed for. A plain admin connection carries ICReq, Connect and
    /// authentication and nothing else; every connection after it is TLS with that key.
    ///
    /// Only with a controller secret does this keep out whoever can change what goes over the network: the key
    /// comes from the Diffie-Hellman exchange alone, and one way nothing shows who the other end of that is.
    Concat,
}

/// How to connect, and to what. The defaults do for a copy over a local network.
///
/// ```no_run
/// use nvme_tcp::{Options, host::HostIdentity, psk::ConfiguredKey};
///
/// # fn main() -> nvme_tcp::Result<()> {
/// let key = ConfiguredKey::from_file("/etc/nvme/image.key")?;
/// let controller = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?)
///     .tls(key)
///     .io_queues(4)
///     .connect()?;
/// let namespace = controller.namespace(1)?;
/// let mut first = vec![0; 4096];
/// namespace.read_at(&mut first, 0)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) address: String,
    pub(crate) alternatives: Vec<String>,
    pub(crate) subsystem_nqn: String,
    pub(crate) host: HostIdentity,
    pub(crate) security: Security,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) tls_options: ktls::Options,
    pub(crate) io_queues: u16,
    pub(crate) owned_queues: u16,
    pub(crate) queue_size: u32,
    pub(crate) sq_flow_control: bool,
    pub(crate) header_digest: bool,
    pub(crate) data_digest: bool,
    pub(crate) digests_optional: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) busy_poll: Duration,
    pub(crate) private_memory: bool,
    pub(crate) maxr2t: u32,
    pub(crate) hpda: u8,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) route: Route,
    pub(crate) dump: Option<Dump>,
    #[cfg(feature = "io-uring")]
    pub(crate) io_uring: bool,
}

/// The most commands that one queue can have outstanding: a command ID has 12 bits for the slot.
const MAX_QUEUE_SIZE: u32 = 4096;

/// The longest of any duration, about 49 days: KATO has 32 bits for milliseconds.
const MAX_DURATION: Duration = Duration::from_millis(u32::MAX as u64);

impl Options {
    /// Connects to `address` (`host:port`, `[v6]:port`, `[v6%interface]:port`) for the subsystem `subsystem_nqn` as `host`, in plain.
    ///
    /// ```
    /// use nvme_tcp::{Options, Scope, host::HostIdentity};
    ///
    /// let options = Options::new("[2001:db8::5]:4420", "two words", HostIdentity::load()?);
    /// // All is looked at by `connect`, before anything is sent.
    /// assert_eq!(options.connect().unwrap_err().scope(), Scope::Configuration);
    /// # Ok::<(), nvme_tcp::Error>(())
    /// ```
    pub fn new(address: impl Into<String>, subsystem_nqn: impl Into<String>, host: HostIdentity) -> Self {
        Self {
            address: address.into(),
            alternatives: Vec::new(),
            subsystem_nqn: subsystem_nqn.into(),
            host,
            security: Security::Plain,
            authentication: None,
            tls_options: ktls::Options::default(),
            io_queues: 1,
            owned_queues: 0,
            queue_size: 128,
            sq_flow_control: true,
            header_digest: false,
            data_digest: false,
            digests_optional: false,
            keep_alive: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            busy_poll: Duration::ZERO,
            private_memory: true,
            maxr2t: 0,
            hpda: 0,
            recovery: None,
            route: Route::default(),
            dump: None,
            #[cfg(feature = "io-uring")]
            io_uring: false,
        }
    }

    /// Lets each [`Queue`](crate::Queue) that one thread owns send and wait in one system call, by io_uring(7), where
    /// the kernel allows it (5.11 or later, and no sandbox that refuses); elsewhere, and where the kernel has the keys
    /// of a TLS connection, it goes on by itself with sendmsg(2) and recvmsg(2). Off by default: it saves one system
    /// call of two at queue depth 1, and less the more commands are in flight.
    ///
    /// Queues that are shared ([`Namespace`](crate::Namespace)) and those of tasks do the same with it as without: of a
    /// shared queue others may send while one waits, which one call for both would keep them from; and tasks do not
    /// wait in system calls.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// let controller = options.io_uring(true).owned_queues(1).connect()?;
    /// println!("allowed here: {}", controller.queue()?.uses_io_uring());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "io-uring")]
    #[must_use]
    pub fn io_uring(self, io_uring: bool) -> Self {
        Self { io_uring, ..self }
    }

    /// Requires TLS with this key.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// let key = nvme_tcp::psk::ConfiguredKey::from_file("/etc/nvme/image.key")?;
    /// println!("{:?}", options.tls(key).connect()?.info().tls.map(|tls| tls.identity_version));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tls(self, key: ConfiguredKey) -> Self {
        self.security(Security::Tls { keys: Arc::new([key]), policy: Policy::ALL })
    }

    /// Requires TLS with the keys that this source gives.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{KeySource, psk::ConfiguredKey};
    ///
    /// let keys = KeySource::memory([ConfiguredKey::from_file("today.key")?]);
    /// let controller = options.tls_from(keys.clone()).connect()?;
    /// // Once the target knows it as well; no I/O is stopped for it.
    /// keys.set([ConfiguredKey::from_file("tomorrow.key")?]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tls_from(self, source: KeySource) -> Self {
        self.security(Security::TlsFrom { source, policy: Policy::ALL })
    }

    /// Sets whether and how the connections are TLS.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::load()?;
    /// # let options = nvme_tcp::Options::new("127.0.0.1:1", "nqn.2024-01.io.example:images", host);
    /// // A TLS key that comes of authentication, and no secret to authenticate with.
    /// let error = options.security(nvme_tcp::Security::Concat).connect().unwrap_err();
    /// assert!(error.to_string().contains("needs a DH-HMAC-CHAP secret"));
    /// # Ok::<(), nvme_tcp::Error>(())
    /// ```
    #[must_use]
    pub fn security(self, security: Security) -> Self {
        Self { security, ..self }
    }

    /// Authenticates by DH-HMAC-CHAP with these secrets where the controller requires it; always, where there is
    /// a controller secret, since only so the controller is known to be the right one.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::auth::{Authentication, DhchapSecret};
    ///
    /// let secret = DhchapSecret::from_file("/etc/nvme/host.secret")?;
    /// let controller = options.authentication(Authentication::new(secret)).connect()?;
    /// println!("asked for: {}", controller.info().authentication.is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn authentication(self, authentication: Authentication) -> Self {
        Self { authentication: Some(authentication), ..self }
    }

    /// Sets who seals the records, and how many for each key.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // By the kernel, or not at all.
    /// let controller = options.tls_options(ktls::Options::new().layer(ktls::Layer::Kernel)).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tls_options(self, tls_options: ktls::Options) -> Self {
        Self { tls_options, ..self }
    }

    /// Brings a lost association up again by itself, and holds the commands of
    /// [`Namespace`](crate::Namespace) and the controller's own meanwhile; those that were outstanding are sent
    /// again, once that is safe. Without it, the default, they fail, and
    /// [`Controller::reconnect`](crate::Controller::reconnect) brings up the next association. The commands of a
    /// [`Queue`](crate::Queue), whose memory its owner holds, fail in either case; what is submitted next goes to the
    /// new association.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // It never gives up, but a command is not held for longer than a minute.
    /// let minute = Some(std::time::Duration::from_secs(60));
    /// let policy = nvme_tcp::Recovery::default().controller_loss_timeout(None).fast_fail_timeout(minute);
    /// let controller = options.recovery(policy).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn recovery(self, recovery: Recovery) -> Self {
        Self { recovery: Some(recovery), ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        for name in [&self.subsystem_nqn, &self.host.nqn] {
            nqn::validate(name).map_err(|e| Error::invalid(e.to_string()))?;
        }
        let durations = [
            ("the keep-alive timeout", self.keep_alive),
            ("the command timeout", self.timeout),
            ("the connect timeout", self.connect_timeout),
        ];
        let recovery = self.recovery.iter().flat_map(Recovery::durations);
        for (option, given) in durations.into_iter().chain(recovery) {
            if given > MAX_DURATION {
                return Err(ErrorKind::TooLong { option, given, most: MAX_DURATION }.into());
            }
        }
        if self.hpda > 31 {
            return Err(Error::invalid(format!("HPDA is {}, expected 0 to 31", self.hpda)));
        }
        if !(2..=MAX_QUEUE_SIZE).contains(&self.queue_size) {
            let size = self.queue_size;
            return Err(Error::invalid(format!("queue size is {size}, expected 2 to {MAX_QUEUE_SIZE}")));
        }
        if matches!(&self.security, Security::Tls { keys, .. } if keys.is_empty()) {
            return Err(Error::invalid("TLS is required and no key is given"));
        }
        let concat = matches!(self.security, Security::Concat);
        let Some(authentication) = &self.authentication else {
            return match concat {
                true => Err(Error::invalid("secure channel concatenation needs a DH-HMAC-CHAP secret")),
                false => Ok(()),
            };
        };
        let channel = if concat { SecureChannel::NewTlsPsk } else { SecureChannel::None };
        if authentication.hashes_for(channel).is_empty() || authentication.groups_for(channel).is_empty() {
            return Err(Error::invalid(
                "no hash or no Diffie-Hellman group is allowed; concatenation needs SHA-256 or SHA-384, and a group \
                 that is not null",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostSource;

    #[test]
    fn durations_that_no_clock_reaches_are_refused() {
        let host = HostIdentity {
            nqn: "nqn.2024-01.io.example:host".into(),
            id: [7; 16],
            source: HostSource::Given,
        };
        let options = || Options::new("127.0.0.1:1", "nqn.2024-01.io.example:tests", host.clone());
        let most = |d| options().keep_alive(d).timeout(d).connect_timeout(d);
        most(MAX_DURATION).check().unwrap();
        for wrong in [
            options().keep_alive(Duration::MAX),
            options().timeout(MAX_DURATION + Duration::from_millis(1)),
            options().connect_timeout(Duration::MAX),
        ] {
            let error = wrong.check().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TooLong { most: MAX_DURATION, .. }), "{error}");
        }
    }
}
