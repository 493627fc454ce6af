//! Where a target listens, and what it speaks there.

use std::net::SocketAddr;

use crate::keys::KeyRing;

/// What a listener speaks.
#[derive(Clone, Debug)]
pub(crate) enum Security {
    /// NVMe/TCP as it is.
    Plain,
    /// TLS 1.3 with keys of this ring, and nothing else.
    Tls {
        /// The keys.
        keys: KeyRing,
        /// Who seals and opens the records.
        options: ktls::Options,
    },
    /// Authentication in plain, and then TLS 1.3 with the key that it left behind.
    Concat {
        /// Who seals and opens the records.
        options: ktls::Options,
    },
}

/// An address to listen on, with TLS or without.
#[derive(Clone, Debug)]
pub struct Listener {
    pub(super) address: SocketAddr,
    pub(super) security: Security,
}

impl Listener {
    /// Plain NVMe/TCP. Port 0 lets the system choose.
    pub fn plain(address: impl Into<SocketAddr>) -> Self {
        Self { address: address.into(), security: Security::Plain }
    }

    /// TLS 1.3 by pre-shared key: no byte of NVMe before the handshake is done.
    pub fn tls(address: impl Into<SocketAddr>, keys: KeyRing) -> Self {
        let security = Security::Tls { keys, options: ktls::Options::new() };
        Self { address: address.into(), security }
    }

    /// Secure channel concatenation: a plain connection takes Connect on the admin queue and DH-HMAC-CHAP, of hosts
    /// that [`Subsystem::allow_host_with`](crate::Subsystem::allow_host_with) names, and nothing else; everything else is TLS 1.3 with the key that
    /// authentication left behind.
    pub fn concat(address: impl Into<SocketAddr>) -> Self {
        Self { address: address.into(), security: Security::Concat { options: ktls::Options::new() } }
    }

    /// Who seals and opens the records of a TLS listener; nothing to a plain one.
    #[must_use]
    pub fn tls_options(mut self, tls_options: ktls::Options) -> Self {
        match &mut self.security {
            Security::Plain => {}
            Security::Tls { options, .. } | Security::Concat { options } => *options = tls_options,
        }
        self
    }
}
