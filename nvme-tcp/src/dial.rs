//! TCP connections: names and scoped addresses, one address after the other.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, setsockopt, socket,
    sockopt,
};

use crate::error::{Error, ErrorKind, Result};
use crate::options::Route;

/// Why there is no connection.
enum Failure {
    /// To this address; another may do.
    Remote(io::Error),
    /// To none at all.
    Here(Error),
}

impl From<nix::Error> for Failure {
    fn from(error: nix::Error) -> Self {
        Self::Remote(error.into())
    }
}

/// Connects to the first of `names` that there is, to each of its addresses in turn, in the time until `deadline`:
/// none of them takes all of it while there are others. The stream, and where it leads to.
///
/// # Errors
/// The first name's: it is the one that should have worked.
pub(crate) fn dial(names: &[&str], route: &Route, deadline: Instant) -> Result<(TcpStream, SocketAddr)> {
    let mut first: Option<(usize, io::Error)> = None;
    // Of one name's addresses the last one's error is told.
    let mut failed = |index, error| {
        if first.as_ref().is_none_or(|(earliest, _)| index <= *earliest) {
            first = Some((index, error));
        }
    };
    let mut candidates = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match resolve(name) {
            Ok(found) => candidates.extend(found.into_iter().map(|address| (index, address))),
            Err(error) => failed(index, error),
        }
    }
    for (number, (index, candidate)) in candidates.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / (candidates.len() - number) as u32;
        match route.connect(*candidate, Instant::now() + share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok((stream, *candidate)),
            Err(Failure::Here(error)) => return Err(error),
            Err(Failure::Remote(error)) => failed(*index, error),
        }
    }
    let (index, source) = first.unwrap_or_else(|| (0, no_address()));
    let address = names.get(index).map_or_else(String::new, ToString::to_string);
    Err(ErrorKind::Connect { address, source }.into())
}

/// Connects to where another connection leads already.
pub(crate) fn dial_again(address: SocketAddr, route: &Route, deadline: Instant) -> Result<TcpStream> {
    route.connect(address, deadline).map_err(|failure| match failure {
        Failure::Remote(source) => ErrorKind::Connect { address: address.to_string(), source }.into(),
        Failure::Here(error) => error,
    })
}

/// The first address of a name.
pub(crate) fn first(address: &str) -> Result<SocketAddr> {
    let failed = |source| Error::from(ErrorKind::Connect { address: address.to_owned(), source });
    let none = || failed(no_address());
    resolve(address).map_err(failed)?.first().copied().ok_or_else(none)
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// The addresses of `host:port`, `[v6]:port` and `[v6%scope]:port`, where the scope is an interface's name or number.
fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let scoped = address.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    let Some(((host, scope), port)) = scoped.and_then(|(host, port)| Some((host.split_once('%')?, port)))
    else {
        return Ok(address.to_socket_addrs()?.collect());
    };
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let host: Ipv6Addr = host.parse().map_err(|_| wrong(format!("{host} is no IPv6 address")))?;
    let port = port.parse().map_err(|_| wrong(format!("{port} is no port")))?;
    let scope = match scope.parse() {
        Ok(number) => number,
        Err(_) => if_nametoindex(scope).map_err(|_| wrong(format!("there is no interface {scope}")))?,
    };
    Ok(vec![SocketAddrV6::new(host, port, 0, scope).into()])
}

impl Route {
    fn connect(&self, to: SocketAddr, deadline: Instant) -> Result<TcpStream, Failure> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Stream, flags, None)?;
        self.prepare(&socket, to)?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
            Err(nix::Error::EINPROGRESS) => wait(&socket, deadline)?,
            result => result?,
        }
        let flags = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL)?);
        fcntl(&socket, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
        Ok(TcpStream::from(socket))
    }

    /// Sets what must be set before connecting.
    fn prepare(&self, socket: &OwnedFd, to: SocketAddr) -> Result<(), Failure> {
        let here = |what: String| {
            |error: nix::Error| Failure::Here(ErrorKind::Route { what, source: error.into() }.into())
        };
        if let Some(name) = self.interface() {
            let set = setsockopt(socket, sockopt::BindToDevice, &OsString::from(name));
            set.map_err(here(format!("interface {name}")))?;
        }
        if let Some(tos) = self.type_of_service() {
            let set = match to {
                SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4Tos, &tos.into()),
                SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6TClass, &tos.into()),
            };
            set.map_err(here(format!("type of service {tos}")))?;
        }
        if let Some(priority) = self.priority() {
            // After the type of service, which sets one too.
            let set = setsockopt(socket, sockopt::Priority, &priority.into());
            set.map_err(here(format!("priority {priority}")))?;
        }
        if let Some(name) = self.congestion_control() {
            // Before the handshake: some agree in it that packets are to be marked.
            let set = setsockopt(socket, sockopt::TcpCongestion, &OsString::from(name));
            set.map_err(here(format!("congestion control {name:?}")))?;
        }
        let from = match (self.local(), to) {
            (None, _) => return Ok(()),
            // A link-local address is one only together with its link.
            (Some(IpAddr::V6(local)), SocketAddr::V6(to)) => {
                SocketAddrV6::new(local, 0, 0, to.scope_id()).into()
            }
            (Some(local @ IpAddr::V4(_)), SocketAddr::V4(_)) => SocketAddr::new(local, 0),
            (Some(local), _) => {
                let what = format!("{} cannot be reached from {local}", to.ip());
                return Err(Failure::Remote(io::Error::new(io::ErrorKind::InvalidInput, what)));
            }
        };
        let bound = bind(socket.as_raw_fd(), &SockaddrStorage::from(from));
        bound.map_err(here(format!("local address {}", from.ip())))
    }
}

/// Waits until a connection is up, or was refused.
fn wait(socket: &OwnedFd, deadline: Instant) -> Result<(), Failure> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Remote(io::ErrorKind::TimedOut.into()));
        }
        // Rounded up, so that the last fraction of a millisecond does not spin.
        let limit = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], limit) {
            Ok(0) | Err(nix::Error::EINTR) => {}
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
    }
    match getsockopt(socket, sockopt::SocketError)? {
        0 => Ok(()),
        error => Err(Failure::Remote(io::Error::from_raw_os_error(error))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;

    use super::*;
    use crate::options::Options;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn dialled(address: &str, route: &Route, deadline: Instant) -> Result<TcpStream> {
        dial(&[address], route, deadline).map(|(stream, _)| stream)
    }

    fn listener(address: &str) -> Option<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(address).ok()?;
        let address = listener.local_addr().ok()?;
        Some((listener, address))
    }

    fn options() -> Options {
        let host = crate::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]));
        Options::new("127.0.0.1:1", "nqn.2024-01.io.example:tests", host.unwrap())
    }

    #[test]
    fn a_connection_comes_from_where_it_should_with_what_it_should() {
        let (listener, address) = listener("127.0.0.1:0").unwrap();
        let options = options().host_address([127, 0, 0, 9].into()).type_of_service(0x48).socket_priority(5);
        let stream = dialled(&address.to_string(), &options.route, soon()).unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 9]));
        assert_eq!(from, stream.local_addr().unwrap());
        assert_eq!(getsockopt(&stream, sockopt::Ipv4Tos).unwrap(), 0x48);
        assert_eq!(getsockopt(&stream, sockopt::Priority).unwrap(), 5);
        let flags = OFlag::from_bits_retain(fcntl(&stream, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK));
    }

    #[test]
    fn an_interface_that_there_is_not_is_named() {
        let (_listener, address) = listener("127.0.0.1:0").unwrap();
        let route = options().host_interface("nvme-none0").route;
        let error = dialled(&address.to_string(), &route, soon()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Route { .. }), "{error}");
        assert!(error.to_string().contains("nvme-none0"), "{error}");
        assert!(error.hint().is_some());
        // That of an address is no other's turn either.
        let route = options().host_address([192, 0, 2, 1].into()).route;
        let error = dialled(&address.to_string(), &route, soon()).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1") && error.hint().is_some(), "{error}");
        assert!(!error.hint().unwrap().contains("congestion"), "{error}");
    }

    #[test]
    fn a_connection_has_the_congestion_control_that_it_should() {
        let (_listener, address) = listener("127.0.0.1:0").unwrap();
        let with =
            |name: &str| dialled(&address.to_string(), &options().congestion_control(name).route, soon());
        // Another one than the system's, where everybody may have another.
        let setting = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{name}")).unwrap_or_default();
        let (usual, allowed) = (setting("congestion_control"), setting("allowed_congestion_control"));
        if let Some(name) = allowed.split_whitespace().find(|name| *name != usual.trim()) {
            let found = getsockopt(&with(name).unwrap(), sockopt::TcpCongestion).unwrap();
            assert_eq!(found.to_string_lossy().trim_end_matches('\0'), name);
        } else {
            eprintln!(
                "SKIPPED a_connection_has_the_congestion_control_that_it_should: only one is allowed here"
            );
        }
        for wrong in ["nvme-none", ""] {
            let error = with(wrong).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Route { .. }), "{error}");
            assert!(error.to_string().contains(&format!("congestion control {wrong:?}")), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("tcp_available_congestion_control")));
        }
    }

    #[test]
    fn loopback_s_own_interface_leads_to_loopback() {
        let (_listener, address) = listener("127.0.0.1:0").unwrap();
        let route = options().host_interface("lo").route;
        match dialled(&address.to_string(), &route, soon()) {
            Ok(stream) => assert!(stream.peer_addr().unwrap().ip().is_loopback()),
            Err(error) => {
                // A kernel, or a sandbox, that does not let this process.
                assert!(matches!(error.kind(), ErrorKind::Route { .. }), "{error}");
                eprintln!("SKIPPED loopback_s_own_interface_leads_to_loopback: {error}");
            }
        }
    }

    #[test]
    fn ipv6_addresses_have_scopes_by_name_and_number() {
        let scoped = |text| resolve(text).map(|all| all[0]);
        let expected = SocketAddrV6::new("fe80::1".parse().unwrap(), 4420, 0, 7).into();
        assert_eq!(scoped("[fe80::1%7]:4420").unwrap(), expected);
        let index = if_nametoindex("lo").unwrap();
        let expected = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 8009, 0, index).into();
        assert_eq!(scoped("[::1%lo]:8009").unwrap(), expected);
        for wrong in ["[fe80::1%nvme-none0]:4420", "[fe80::1%lo]:x", "[10.0.0.1%lo]:1", "[fe80::1%lo]"] {
            assert!(scoped(wrong).is_err(), "{wrong}");
        }
        let Some((_listener, address)) = listener("[::1]:0") else {
            eprintln!("SKIPPED ipv6_addresses_have_scopes_by_name_and_number: no IPv6 here");
            return;
        };
        let address = format!("[::1%lo]:{}", address.port());
        let stream = dialled(&address, &options().type_of_service(0x20).route, soon()).unwrap();
        assert_eq!(getsockopt(&stream, sockopt::Ipv6TClass).unwrap(), 0x20);
    }

    #[test]
    fn a_refused_connection_says_so() {
        let (listener, address) = listener("127.0.0.1:0").unwrap();
        drop(listener);
        let error = dialled(&address.to_string(), &Route::default(), soon()).unwrap_err();
        let ErrorKind::Connect { source, .. } = error.kind() else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
        // Addresses of the other family are passed over.
        let route = options().host_address(Ipv6Addr::LOCALHOST.into()).route;
        let error = dialled(&address.to_string(), &route, soon()).unwrap_err();
        assert!(error.to_string().contains("cannot be reached from ::1"), "{error}");
    }

    #[test]
    fn the_first_name_that_there_is_is_taken_and_the_first_s_error_told() {
        let (gone, closed) = listener("127.0.0.1:0").unwrap();
        drop(gone);
        let (_listener, open) = listener("127.0.0.1:0").unwrap();
        let (closed, open) = (closed.to_string(), open.to_string());
        let route = Route::default();
        let (stream, to) = dial(&["no port", &closed, &open], &route, soon()).unwrap();
        assert_eq!((stream.peer_addr().unwrap(), to.to_string()), (to, open.clone()));
        let (_, to) = dial(&[&open, &closed], &route, soon()).unwrap();
        assert_eq!(to.to_string(), open);
        let error = dial(&[&closed, "no port"], &route, soon()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Connect { address, .. } if *address == closed), "{error}");
        assert!(dial_again(closed.parse().unwrap(), &route, soon()).is_err());
    }
}
