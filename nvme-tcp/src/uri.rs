//! Where a target, a subsystem or a namespace is:
//! `nvme+tcp://HOST[:PORT][/SUBNQN[/NSID]]`, with IPv6 addresses in brackets.
//!
//! ```
//! use nvme_tcp::uri::{Address, NamespaceUri};
//!
//! let uri: NamespaceUri = "nvme+tcp://[2001:db8::5]/nqn.2024-01.io.example:images/1".parse()?;
//! assert_eq!(uri.namespace_id, 1);
//! assert_eq!("10.0.0.5".parse::<Address>()?.port, 4420);
//! # Ok::<(), nvme_tcp::uri::UriError>(())
//! ```

use std::fmt;
use std::str::FromStr;

use crate::nqn::{self, NqnError};
use thiserror::Error;

/// The port of I/O controllers (NVMe TCP Transport; IANA "nvme").
pub const DEFAULT_PORT: u16 = 4420;
/// What every URI begins with.
pub const SCHEME: &str = "nvme+tcp://";
/// The NSID that stands for every namespace, and so for none in particular (NVMe Base, 3.2.1.1).
const BROADCAST_NSID: u32 = u32::MAX;

/// What is wrong with a URI.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// It begins with something else.
    #[error("a URI begins with {SCHEME}")]
    Scheme,
    /// No host, or one that no resolver takes.
    #[error("{0:?} is neither a host name nor an address (IPv6 addresses stand in brackets, as [::1])")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("port {0:?} is no number from 1 to 65535")]
    Port(String),
    /// The subsystem's name is none.
    #[error("subsystem NQN: {0}")]
    SubsystemNqn(#[source] NqnError),
    /// The namespace's number is none.
    #[error("namespace {0:?} is no number from 1 to 4294967294")]
    NamespaceId(String),
    /// There is more after the namespace.
    #[error("nothing follows the namespace: NQNs hold no slash")]
    Trailing,
    /// The URI names no subsystem where one is needed.
    #[error("the URI names no subsystem: expected {SCHEME}HOST:PORT/SUBNQN/NSID")]
    NoSubsystem,
    /// The URI names no namespace where one is needed.
    #[error("the URI names no namespace: expected {SCHEME}HOST:PORT/SUBNQN/NSID")]
    NoNamespace,
}

/// A listener of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// Checks both. A host is a name, or an IPv4 or IPv6 address without brackets.
    ///
    /// ```
    /// use nvme_tcp::uri::{Address, UriError};
    ///
    /// assert_eq!(Address::new("2001:db8::5", 8009)?.to_string(), "[2001:db8::5]:8009");
    /// assert_eq!(Address::new("10.0.0.5", 0), Err(UriError::Port("0".to_owned())));
    /// # Ok::<(), UriError>(())
    /// ```
    ///
    /// # Errors
    /// The host is none, or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, UriError> {
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        // With a colon it is an IPv6 address, perhaps with a zone.
        let valid = match host.split_once('%') {
            Some((address, zone)) => is_ipv6(address) && !zone.is_empty() && zone.chars().all(name),
            None => (!host.is_empty() && host.chars().all(name)) || is_ipv6(host),
        };
        match (valid, port) {
            (false, _) => Err(UriError::Host(host.to_owned())),
            (true, 0) => Err(UriError::Port(port.to_string())),
            (true, _) => Ok(Self { host: host.to_owned(), port }),
        }
    }
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

impl FromStr for Address {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let host = || UriError::Host(text.to_owned());
                let (address, after) = rest.split_once(']').ok_or_else(host)?;
                if !is_ipv6(address.split('%').next().unwrap_or_default()) {
                    return Err(host());
                }
                match after.strip_prefix(':') {
                    None if after.is_empty() => (address, None),
                    None => return Err(host()),
                    port => (address, port),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                Some(_) => return Err(UriError::Host(text.to_owned())),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => number(port).ok_or_else(|| UriError::Port(port.to_owned()))?,
            None => DEFAULT_PORT,
        };
        Self::new(host, port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A URI, as far as it goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetUri {
    /// The listener.
    pub address: Address,
    /// The subsystem, if one is named.
    pub subsystem_nqn: Option<String>,
    /// The namespace, if one is named.
    pub namespace_id: Option<u32>,
}

impl FromStr for TargetUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let rest = text.strip_prefix(SCHEME).ok_or(UriError::Scheme)?;
        let mut parts = rest.split('/');
        let address = parts.next().unwrap_or_default().parse()?;
        let mut uri = Self { address, subsystem_nqn: None, namespace_id: None };
        let (nqn, nsid) = (parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(UriError::Trailing);
        }
        // A slash at the end names nothing.
        if nsid.is_some() || nqn.is_some_and(|nqn| !nqn.is_empty()) {
            let nqn = nqn.unwrap_or_default();
            nqn::validate(nqn).map_err(UriError::SubsystemNqn)?;
            uri.subsystem_nqn = Some(nqn.to_owned());
        }
        if let Some(nsid) = nsid.filter(|nsid| !nsid.is_empty()) {
            let id = number(nsid).filter(|id| !matches!(*id, 0 | BROADCAST_NSID));
            uri.namespace_id = Some(id.ok_or_else(|| UriError::NamespaceId(nsid.to_owned()))?);
        }
        Ok(uri)
    }
}

impl fmt::Display for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.address)?;
        if let Some(nqn) = &self.subsystem_nqn {
            write!(f, "/{nqn}")?;
        }
        if let Some(id) = self.namespace_id {
            write!(f, "/{id}")?;
        }
        Ok(())
    }
}

/// A URI that names a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceUri {
    /// The listener.
    pub address: Address,
    /// The subsystem.
    pub subsystem_nqn: String,
    /// The namespace.
    pub namespace_id: u32,
}

impl FromStr for NamespaceUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let uri: TargetUri = text.parse()?;
        Ok(Self {
            address: uri.address,
            subsystem_nqn: uri.subsystem_nqn.ok_or(UriError::NoSubsystem)?,
            namespace_id: uri.namespace_id.ok_or(UriError::NoNamespace)?,
        })
    }
}

impl fmt::Display for NamespaceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.address, self.subsystem_nqn, self.namespace_id)
    }
}

/// Digits and nothing else: `FromStr` would take a plus sign as well.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NQN: &str = "nqn.2024-01.lab.test:tls";

    fn namespace(host: &str, port: u16) -> NamespaceUri {
        let address = Address { host: host.to_owned(), port };
        NamespaceUri { address, subsystem_nqn: NQN.to_owned(), namespace_id: 1 }
    }

    #[test]
    fn every_form_of_an_address() {
        let known = [
            ("127.0.0.1:4421", "127.0.0.1", 4421),
            ("gw-1.example.com", "gw-1.example.com", DEFAULT_PORT),
            ("[::1]:8009", "::1", 8009),
            ("[2001:db8::7]", "2001:db8::7", DEFAULT_PORT),
            ("[fe80::1%eth0]:4420", "fe80::1%eth0", 4420),
        ];
        for (text, host, port) in known {
            let uri = format!("{SCHEME}{text}/{NQN}/1");
            assert_eq!(uri.parse(), Ok(namespace(host, port)), "{uri}");
        }
    }

    #[test]
    fn a_target_may_leave_out_its_end() {
        for text in ["nvme+tcp://h", "nvme+tcp://h:4420", "nvme+tcp://h/"] {
            let uri: TargetUri = text.parse().unwrap();
            assert_eq!((uri.subsystem_nqn, uri.namespace_id), (None, None), "{text}");
        }
        for text in [format!("{SCHEME}h/{NQN}"), format!("{SCHEME}h/{NQN}/")] {
            let uri: TargetUri = text.parse().unwrap();
            assert_eq!((uri.subsystem_nqn.as_deref(), uri.namespace_id), (Some(NQN), None), "{text}");
            assert_eq!(text.parse::<NamespaceUri>(), Err(UriError::NoNamespace));
        }
        assert_eq!("nvme+tcp://h".parse::<NamespaceUri>(), Err(UriError::NoSubsystem));
    }

    #[test]
    fn every_error() {
        let error = |text: &str| text.parse::<TargetUri>().unwrap_err();
        for text in ["", "h:4420", "nvme+rdma://h", "NVME+TCP://h", "nvme://h"] {
            assert_eq!(error(text), UriError::Scheme, "{text}");
        }
        for host in [
            "", ":4420", "[", "[::1", "[]", "[h]", "[::1]x", "::1", "::1:4420", "a b", "u@h", "h%z", "[::1%]",
        ] {
            assert!(matches!(error(&format!("{SCHEME}{host}")), UriError::Host(_)), "{host}");
        }
        for port in ["", "0", "65536", "+1", "x", "-1"] {
            assert_eq!(error(&format!("{SCHEME}h:{port}")), UriError::Port(port.to_owned()));
        }
        for id in ["0", "4294967295", "4294967296", "+1", "x"] {
            assert_eq!(error(&format!("{SCHEME}h/{NQN}/{id}")), UriError::NamespaceId(id.to_owned()));
        }
        assert_eq!(error("nvme+tcp://h//1"), UriError::SubsystemNqn(NqnError::Empty));
        assert_eq!(error(&format!("{SCHEME}h/{NQN}/1/")), UriError::Trailing);
    }

    proptest! {
        #[test]
        fn a_uri_comes_back_as_it_went(
            host in prop_oneof!["[a-z0-9._-]{1,20}", any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string())],
            port in 1_u16..,
            nqn in "[!-.0-~]{1,223}",
            namespace_id in 1_u32..BROADCAST_NSID,
        ) {
            let uri = NamespaceUri { address: Address { host, port }, subsystem_nqn: nqn, namespace_id };
            prop_assert_eq!(uri.to_string().parse(), Ok(uri));
        }

        #[test]
        fn no_text_panics(text in "(nvme\\+tcp://)?\\PC{0,60}") {
            let _ = text.parse::<TargetUri>();
        }
    }
}
