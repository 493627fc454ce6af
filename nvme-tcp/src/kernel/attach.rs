//! One namespace by either initiator: which, is a setting.

use std::ops::Deref;
use std::time::Duration;

use super::{Connect, Connected, Kernel};
use crate::controller::Controller;
use crate::error::{ErrorKind, Result};
use crate::namespace::Namespace;
use crate::options::{Options, Security};
use crate::psk::{ConfiguredKey, Derivation, IdentityVersion, Policy, TlsPsk};

/// Who speaks NVMe to the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// This library, in the process.
    #[default]
    Library,
    /// The kernel: it wants root, and its module nvme-tcp.
    Kernel,
}

/// A namespace with what keeps it connected; dropping it disconnects.
#[derive(Debug)]
pub struct Attached {
    namespace: Namespace,
    link: Link,
}

#[derive(Debug)]
enum Link {
    Library(Controller),
    Kernel(Kernel, Connected),
}

impl Options {
    /// Connects by this initiator, and opens the namespace `nsid`: the same type with the same calls, whichever it is.
    /// By the library it has as many queues as [`Options::io_queues`] says.
    ///
    /// The kernel's initiator has a recovery and paths of its own and takes one command at a time of each caller here;
    /// a fused compare and write it has not. Its TLS takes one identity: version 1 of the first key, unless the policy
    /// wants another.
    ///
    /// ```no_run
    /// use nvme_tcp::{Options, host::HostIdentity, kernel::Initiator};
    ///
    /// # fn main() -> nvme_tcp::Result<()> {
    /// let by = if std::env::var_os("BY_KERNEL").is_some() { Initiator::Kernel } else { Initiator::Library };
    /// let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?);
    /// let namespace = options.attach(1, by)?;
    /// let mut first = vec![0; 4096];
    /// namespace.read_at(&mut first, 0)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Options::connect`] and [`Controller::namespace`](crate::Controller::namespace), or [`Kernel::connect`] and
    /// [`Kernel::wait_for_namespace`]; an option that the kernel does not have.
    pub fn attach(self, nsid: u32, by: Initiator) -> Result<Attached> {
        match by {
            Initiator::Library => {
                let controller = self.connect()?;
                let namespace = controller.namespace(nsid)?;
                Ok(Attached { namespace, link: Link::Library(controller) })
            }
            Initiator::Kernel => self.attach_by(Kernel::new(), nsid),
        }
    }

    fn attach_by(self, kernel: Kernel, nsid: u32) -> Result<Attached> {
        self.check()?;
        let made = kernel.connect(&Connect::of(&self)?)?;
        let found = kernel.wait_for_namespace(&made, nsid, self.connect_timeout);
        match found.and_then(super::Namespace::into_namespace) {
            Ok(namespace) => Ok(Attached { namespace, link: Link::Kernel(kernel, made) }),
            Err(error) => {
                // The first error is the one to tell of.
                drop(kernel.disconnect(&made.name()));
                Err(error)
            }
        }
    }
}

impl Connect {
    /// What these options say to the kernel. A name among the addresses is resolved here, and its first address taken.
    ///
    /// ```
    /// use nvme_tcp::{Options, Recovery, host::HostIdentity, kernel::Connect};
    ///
    /// let host = HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", host);
    /// // Without a recovery the kernel removes the controller as soon as its connection is lost.
    /// assert!(Connect::of(&options)?.text(None)?.contains("ctrl_loss_tmo=0"));
    /// assert!(!Connect::of(&options.recovery(Recovery::default()))?.text(None)?.contains("ctrl_loss_tmo=0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An option that the kernel does not have; a key source that gives no key.
    pub fn of(options: &Options) -> Result<Self> {
        let refuse = |what| Err(ErrorKind::Unsupported(what).into());
        if options.hpda != 0 || options.maxr2t != 0 {
            return refuse("HPDA and MAXR2T by the kernel's initiator, which chooses them");
        }
        if options.route.priority().is_some() {
            return refuse("the socket's priority by the kernel's initiator");
        }
        if options.route.congestion_control().is_some() {
            return refuse(
                "a congestion control of its own by the kernel's initiator, which takes the system's",
            );
        }
        if options.dump.is_some() {
            return refuse("a dump of what the kernel's initiator sends");
        }
        let address = crate::dial::first(&options.address)?;
        let host = match address {
            std::net::SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        let mut connect = Self::tcp(host, &options.subsystem_nqn, &options.host)
            .port(address.port())
            .queue_size(options.queue_size)
            .digests(options.header_digest, options.data_digest)
            .keep_alive(options.keep_alive);
        connect = match options.recovery {
            // Without recovery a lost connection is the end.
            None => connect.controller_loss_timeout(Some(Duration::ZERO)),
            Some(recovery) => {
                let connect = connect.reconnect_delay(recovery.longest_delay());
                let connect = connect.controller_loss_timeout(recovery.gives_up_after());
                connect.fast_fail_timeout(recovery.fails_after())
            }
        };
        if let queues @ 1.. = options.io_queues.saturating_add(options.owned_queues) {
            connect = connect.io_queues(queues.into());
        }
        if let Some(local) = options.route.local() {
            connect = connect.host_address(local);
        }
        if let Some(interface) = options.route.interface() {
            connect = connect.host_interface(interface);
        }
        if let Some(tos) = options.route.type_of_service() {
            connect = connect.type_of_service(tos);
        }
        if let Some(authentication) = &options.authentication {
            let (host, controller) = authentication.secrets();
            connect = connect.authentication(host, controller);
        }
        match &options.security {
            Security::Plain => Ok(connect),
            Security::Concat => Ok(connect.concatenation()),
            Security::Tls { keys, policy } => connect.tls_by(keys, Vec::new(), *policy),
            Security::TlsFrom { source, policy } => {
                let keys = source.load()?;
                connect.tls_by(&keys.configured, keys.derived, *policy)
            }
        }
    }

    /// TLS by the first identity that the policy allows, of the first key.
    fn tls_by(self, keys: &[ConfiguredKey], derived: Vec<TlsPsk>, policy: Policy) -> Result<Self> {
        let Some(key) = keys.first() else {
            let none = "TLS is required and no key for this host and subsystem is given";
            let psk = self.first_of(derived, |version| policy.allows(version, Derivation::Rfc8446));
            return psk.map(|psk| self.tls_with(psk)).ok_or_else(|| crate::Error::invalid(none));
        };
        let order = [Derivation::Rfc8446, Derivation::Compat].into_iter().flat_map(|derivation| {
            [IdentityVersion::V1, IdentityVersion::V0].map(|version| (version, derivation))
        });
        let mut allowed = order.filter(|(version, derivation)| policy.allows(*version, *derivation));
        let none = || crate::Error::invalid("no key gives a PSK identity that the policy allows");
        let (version, derivation) = allowed.next().ok_or_else(none)?;
        self.tls_as(key, version, derivation)
    }
}

impl Attached {
    /// The namespace.
    ///
    /// ```no_run
    /// # fn example(attached: &nvme_tcp::kernel::Attached) -> nvme_tcp::Result<()> {
    /// // Where a reference is wanted; calls need none, since it derefs to it.
    /// fn size(namespace: &nvme_tcp::Namespace) -> u64 {
    ///     namespace.size()
    /// }
    /// assert_eq!(size(attached.namespace()), attached.size());
    /// # Ok(())
    /// # }
    /// ```
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Which initiator it is.
    ///
    /// ```no_run
    /// # fn example(attached: &nvme_tcp::kernel::Attached) {
    /// use nvme_tcp::kernel::Initiator;
    ///
    /// if attached.initiator() == Initiator::Kernel {
    ///     println!("a block device of this machine's, for `nvme list` to show");
    /// }
    /// # }
    /// ```
    pub fn initiator(&self) -> Initiator {
        match self.link {
            Link::Library(_) => Initiator::Library,
            Link::Kernel(..) => Initiator::Kernel,
        }
    }

    /// The library's controller, where it is that.
    ///
    /// ```no_run
    /// # fn example(attached: &nvme_tcp::kernel::Attached) -> nvme_tcp::Result<()> {
    /// // Only the library's rotates keys: the kernel's is to be connected anew.
    /// if let Some(controller) = attached.controller() {
    ///     println!("another key: {}", controller.rotate_keys()?.key_changed);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn controller(&self) -> Option<&Controller> {
        match &self.link {
            Link::Library(controller) => Some(controller),
            Link::Kernel(..) => None,
        }
    }
}

impl Deref for Attached {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Link::Kernel(kernel, made) = &self.link {
            // It may be gone already.
            drop(kernel.disconnect(&made.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostIdentity;
    use crate::proto::Recovery;
    use crate::psk::KeyHash;

    fn options() -> Options {
        let host = HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16])).unwrap();
        Options::new("127.0.0.9:4421", "nqn.2024-01.io.example:sub", host)
    }

    fn text(options: &Options) -> String {
        let text = Connect::of(options).unwrap().text(Some(77)).unwrap();
        text.as_str().to_owned()
    }

    #[test]
    fn the_kernel_is_told_what_the_options_say() {
        let told = text(&options());
        for part in
            ["traddr=127.0.0.9", "trsvcid=4421", "queue_size=128", "keep_alive_tmo=10", "ctrl_loss_tmo=0"]
        {
            assert!(told.split(',').any(|option| option == part), "{part} of {told}");
        }
        let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
        let recovery = Recovery::default()
            .reconnect_delay(Duration::from_secs(1), Duration::from_secs(3))
            .controller_loss_timeout(None);
        let told = text(&options().tls(key).io_queues(4).digests(true, false).recovery(recovery));
        for part in
            ["tls", "tls_key=77", "nr_io_queues=4", "hdr_digest", "reconnect_delay=3", "ctrl_loss_tmo=-1"]
        {
            assert!(told.split(',').any(|option| option == part), "{part} of {told}");
        }
        assert!(!told.contains("data_digest"), "{told}");
    }

    #[test]
    fn what_the_kernel_does_not_have_is_refused_by_name() {
        for (wrong, name) in [
            (options().hpda(3), "HPDA"),
            (options().socket_priority(3), "priority"),
            (options().congestion_control("reno"), "congestion control"),
            (options().dump(&crate::trace::Dump::new(1)), "dump"),
        ] {
            let error = Connect::of(&wrong).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_kernel_without_nvme_says_what_to_load() {
        let root = tempfile::tempdir().unwrap();
        let error = options().attach_by(Kernel::below(root.path()), 1).unwrap_err();
        assert!(error.hint().unwrap().contains("modprobe nvme-tcp"), "{error}");
    }
}
