//! What secures a connection, and which connections may belong to one controller.

use crate::keys::{KeyRing, PskNames};

/// What secures a connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Channel {
    /// Nothing.
    #[default]
    Plain,
    /// Nothing, and it is there to agree on a TLS PSK: it takes Connect and authentication and nothing else.
    Concat,
    /// TLS with a configured PSK.
    Tls {
        /// The PSK identity.
        identity: String,
        /// The keys of the listener.
        keys: KeyRing,
    },
    /// TLS with a PSK that authentication left behind, so that the host need not authenticate itself again.
    Generated {
        /// The PSK identity.
        identity: String,
    },
}

impl Channel {
    /// The PSK identity, with TLS.
    pub fn identity(&self) -> Option<&str> {
        match self {
            Self::Plain | Self::Concat => None,
            Self::Tls { identity, .. } | Self::Generated { identity } => Some(identity),
        }
    }

    /// Whether the connection may name this host and this subsystem: with TLS, those of its PSK identity only.
    pub(crate) fn allows(&self, host_nqn: &str, subsystem_nqn: &str) -> bool {
        self.identity().is_none_or(|identity| {
            PskNames::parse(identity)
                .is_some_and(|names| names.host == host_nqn && names.subsystem == subsystem_nqn)
        })
    }

    /// Whether an I/O queue on this connection may belong to the controller whose admin queue is on `admin`.
    ///
    /// | admin queue | I/O queue |
    /// |---|---|
    /// | plain | plain |
    /// | configured PSK | the same identity; or, while keys are rotated, another one of the same host and subsystem, as long as the listener still has a key for the admin queue's |
    /// | generated PSK | the same identity: each association agrees on one of its own |
    /// | for concatenation | none |
    pub(crate) fn may_join(&self, admin: &Self) -> bool {
        match (admin, self) {
            (Self::Plain, Self::Plain) => true,
            (Self::Tls { identity: admin, .. }, Self::Tls { identity, keys }) => {
                identity == admin
                    || PskNames::parse(identity) == PskNames::parse(admin)
                        && !keys.lookup(admin.as_bytes()).is_empty()
            }
            (Self::Generated { identity: admin }, Self::Generated { identity }) => identity == admin,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use nvme_tcp::psk::{ConfiguredKey, KeyHash, Policy, candidates};

    use super::*;

    #[test]
    fn an_io_queue_needs_the_security_of_its_admin_queue() {
        let key = |fill: u8| ConfiguredKey::new(KeyHash::Sha256, &[fill; 32]).unwrap();
        let ring = KeyRing::new().key(key(1)).key(key(2));
        let tls = |fill: u8, subsystem: &str| {
            let psks = candidates(&[key(fill)], "nqn.host", subsystem, Policy::ALL).unwrap();
            Channel::Tls { identity: psks[0].identity().to_owned(), keys: ring.clone() }
        };
        let generated = |digest: &str| Channel::Generated { identity: format!("NVMe1G01 a b {digest}") };
        let all = [
            Channel::Plain,
            Channel::Concat,
            tls(1, "nqn.one"),
            tls(2, "nqn.one"),
            tls(1, "nqn.two"),
            generated("x"),
            generated("y"),
        ];
        let joins: Vec<Vec<bool>> =
            all.iter().map(|admin| all.iter().map(|io| io.may_join(admin)).collect()).collect();
        let [x, o] = [true, false];
        assert_eq!(
            joins,
            [
                [x, o, o, o, o, o, o],
                [o, o, o, o, o, o, o],
                [o, o, x, x, o, o, o],
                [o, o, x, x, o, o, o],
                [o, o, o, o, x, o, o],
                [o, o, o, o, o, x, o],
                [o, o, o, o, o, o, x],
            ]
        );
        // The old key is gone from the listener: what it opened gets no more queues with the new one.
        ring.remove(&key(1));
        assert!(!tls(2, "nqn.one").may_join(&tls(1, "nqn.one")));
        assert!(tls(2, "nqn.one").may_join(&tls(2, "nqn.one")));
    }
}
