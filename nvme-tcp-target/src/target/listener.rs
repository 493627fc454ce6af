//! Where a target listens, and what it speaks there.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpCongestion;

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
    pub(super) congestion_control: Option<String>,
}

impl Listener {
    /// Plain NVMe/TCP. Port 0 lets the system choose.
    pub fn plain(address: impl Into<SocketAddr>) -> Self {
        Self::new(address.into(), Security::Plain)
    }

    /// TLS 1.3 by pre-shared key: no byte of NVMe before the handshake is done.
    pub fn tls(address: impl Into<SocketAddr>, keys: KeyRing) -> Self {
        Self::new(address.into(), Security::Tls { keys, options: ktls::Options::new() })
    }

    /// Secure channel concatenation: a plain connection takes Connect on the admin queue and DH-HMAC-CHAP, of hosts
    /// that [`Subsystem::allow_host_with`](crate::Subsystem::allow_host_with) names, and nothing else; everything else is TLS 1.3 with the key that
    /// authentication left behind.
    pub fn concat(address: impl Into<SocketAddr>) -> Self {
        Self::new(address.into(), Security::Concat { options: ktls::Options::new() })
    }

    fn new(address: SocketAddr, security: Security) -> Self {
        Self { address, security, congestion_control: None }
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

    /// How TCP reacts to the network on connections of this listener (`TCP_CONGESTION`), by the kernel's name for it, as
    /// [`nvme_tcp::Options::congestion_control`] at the other end; the system's own without.
    #[must_use]
    pub fn congestion_control(mut self, name: impl Into<String>) -> Self {
        self.congestion_control = Some(name.into());
        self
    }

    /// The socket that listens.
    pub(super) fn bind(&self) -> io::Result<TcpListener> {
        let socket = TcpListener::bind(self.address)?;
        socket.set_nonblocking(true)?;
        if let Some(name) = &self.congestion_control {
            // Connections inherit it.
            setsockopt(&socket, TcpCongestion, &OsString::from(name)).map_err(|errno| {
                let error = io::Error::from(errno);
                io::Error::new(error.kind(), format!("congestion control {name:?}: {error}"))
            })?;
        }
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpStream;

    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn connections_have_the_listener_s_congestion_control() {
        // Another one than the system's, where everybody may have another.
        let setting = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{name}")).unwrap();
        let (usual, allowed) = (setting("congestion_control"), setting("allowed_congestion_control"));
        let name = allowed.split_whitespace().find(|name| *name != usual.trim()).unwrap_or("reno");
        let listener = Listener::plain(([127, 0, 0, 1], 0));
        let socket = listener.clone().congestion_control(name).bind().unwrap();
        socket.set_nonblocking(false).unwrap();
        let _near = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let (far, _) = socket.accept().unwrap();
        let found = getsockopt(&far, TcpCongestion).unwrap();
        assert_eq!(found.to_string_lossy().trim_end_matches('\0'), name);

        let error = listener.congestion_control("nvme-none").bind().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("congestion control \"nvme-none\": "), "{error}");
    }
}
