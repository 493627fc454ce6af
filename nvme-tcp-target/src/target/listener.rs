//! Where a target listens, and what it speaks there.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};

use super::StartError;
use crate::keys::KeyRing;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

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

    /// The socket that listens: connections inherit from it, so nothing comes in before it is as it should be.
    pub(super) fn bind(&self) -> Result<TcpListener, StartError> {
        let socket = self.prepare()?;
        let listened = bind(socket.as_raw_fd(), &SockaddrStorage::from(self.address));
        listened
            .and_then(|()| listen(&socket, Backlog::new(BACKLOG)?))
            .map_err(|errno| StartError::Listen { address: self.address, source: errno.into() })?;
        Ok(TcpListener::from(socket))
    }

    fn prepare(&self) -> Result<OwnedFd, StartError> {
        let failed = |errno: Errno| StartError::Listen { address: self.address, source: errno.into() };
        let family = if self.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Stream, flags, None).map_err(failed)?;
        // A target that starts again does not wait for the last one's connections to be forgotten.
        setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(failed)?;
        if let Some(name) = &self.congestion_control {
            let set = setsockopt(&socket, sockopt::TcpCongestion, &OsString::from(name));
            set.map_err(|errno| StartError::CongestionControl { name: name.clone(), source: errno.into() })?;
        }
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::{fs, io};

    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn connections_have_the_listener_s_congestion_control() {
        let listener = Listener::plain(([127, 0, 0, 1], 0));
        // Another one than the system's, where everybody may have another.
        let setting = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{name}")).unwrap_or_default();
        let (usual, allowed) = (setting("congestion_control"), setting("allowed_congestion_control"));
        if let Some(name) = allowed.split_whitespace().find(|name| *name != usual.trim()) {
            let socket = listener.clone().congestion_control(name).bind().unwrap();
            socket.set_nonblocking(false).unwrap();
            let _near = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
            let (far, _) = socket.accept().unwrap();
            let found = getsockopt(&far, sockopt::TcpCongestion).unwrap();
            assert_eq!(found.to_string_lossy().trim_end_matches('\0'), name);
        } else {
            eprintln!("SKIPPED connections_have_the_listener_s_congestion_control: only one is allowed here");
        }

        let error = listener.congestion_control("nvme-none").bind().unwrap_err();
        assert!(error.to_string().starts_with("congestion control \"nvme-none\": "), "{error}");
        assert!(
            matches!(error, StartError::CongestionControl { source, .. } if source.kind() == io::ErrorKind::NotFound)
        );
    }
}
