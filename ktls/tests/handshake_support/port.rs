//! A port for a server that is not there yet, or not all the time.

use std::fmt::{self, Display, Formatter};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt,
};

/// A port of the loopback address, kept for a server that is yet to start: nobody who asks for any port gets it
/// before, nor after. It is bound and never listens; with SO_REUSEADDR, that lets a server which asks for this very
/// number have it (`inet_csk_find_open_port` and `inet_csk_get_port` in the kernel's
/// net/ipv4/inet_connection_sock.c).
pub(crate) struct Port {
    number: u16,
    _held: OwnedFd,
}

impl Port {
    pub(crate) fn hold() -> Self {
        loop {
            let held = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
            setsockopt(&held, sockopt::ReuseAddr, &true).unwrap();
            bind(held.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
            let number = getsockname::<SockaddrIn>(held.as_raw_fd()).unwrap().port();
            if number > 20_000 {
                return Self { number, _held: held };
            }
        }
    }

    /// Where that is.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}
