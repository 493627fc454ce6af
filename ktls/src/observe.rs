//! What the kernel tells of its TLS: counters of the network namespace, the state of one socket, the features and
//! counters of a network card; and all of it as text for Prometheus.

mod counters;
mod device;
mod metrics;
mod stat;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use ktls_sys::tls;
use thiserror::Error;

pub use counters::DeviceCounters;
pub use device::{DeviceTls, DeviceTlsError, Offload};
pub use metrics::Metrics;
pub use stat::{NoPad, TLS_STAT, TlsStat, TlsStatError};

use crate::sys::netlink::ask_sock_diag;

/// Where the records of a direction are sealed or opened (`TLS_CONF_*` in include/net/tls.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Conf {
    /// `TLS_BASE`: the kernel has no key for it.
    Base,
    /// `TLS_SW`: in the kernel, on the processor.
    Software,
    /// `TLS_HW`: in the network card.
    Hardware,
    /// Another number.
    Other(u16),
}

impl Conf {
    fn from_number(number: u16) -> Self {
        match number {
            tls::TLS_CONF_BASE => Self::Base,
            tls::TLS_CONF_SW => Self::Software,
            tls::TLS_CONF_HW => Self::Hardware,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("no key"),
            Self::Software => f.write_str("software"),
            Self::Hardware => f.write_str("hardware"),
            Self::Other(number) => write!(f, "configuration {number}"),
        }
    }
}

/// What sock_diag tells of a socket's kernel TLS (`TLS_INFO_*` in linux/tls.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketTls {
    /// 0x0304 is TLS 1.3.
    pub version: Option<u16>,
    /// `TLS_CIPHER_*`
    pub cipher: Option<u16>,
    /// Where this end's records are sealed.
    pub tx: Option<Conf>,
    /// Where the peer's records are opened.
    pub rx: Option<Conf>,
    /// `TLS_TX_ZEROCOPY_RO` is in force, which only a network card can do.
    pub tx_zerocopy: bool,
    /// `TLS_RX_EXPECT_NO_PAD` is set.
    pub rx_no_pad: bool,
    /// `TLS_TX_MAX_PAYLOAD_LEN`, where this kernel has it, in bytes.
    pub tx_max_payload: Option<u16>,
}

/// Why sock_diag could not tell.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketTlsError {
    /// The kernel does not answer such questions, or not to this user.
    #[error("sock_diag: {0}")]
    Io(#[from] io::Error),
    /// The kernel knows the socket but says nothing of TLS: older kernels tell only `CAP_NET_ADMIN`.
    #[error("sock_diag says nothing of TLS to this user")]
    Silent,
    /// The answer is not what sock_diag(7) says.
    #[error("sock_diag's answer cannot be read")]
    Malformed,
}

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `INET_DIAG_INFO` of linux/inet_diag.h: the extension that brings the ULP's state with it.
const INET_DIAG_INFO: u8 = 2;
/// `INET_DIAG_ULP_INFO` of linux/inet_diag.h.
const INET_DIAG_ULP_INFO: u16 = 19;
/// `INET_ULP_INFO_TLS` of linux/inet_diag.h.
const INET_ULP_INFO_TLS: u16 = 2;
/// The length of `struct nlmsghdr`.
const NLMSGHDR: usize = 16;
/// The length of `struct inet_diag_msg`.
const INET_DIAG_MSG: usize = 72;

impl SocketTls {
    /// Asks for the TCP connection from `local` to `peer` in this network namespace (sock_diag(7)).
    ///
    /// # Errors
    /// [`SocketTlsError`]: `Io` with ENOENT where there is no such connection.
    pub fn ask(local: SocketAddr, peer: SocketAddr) -> Result<Self, SocketTlsError> {
        let mut answer = [0; 4096];
        let len = ask_sock_diag(&request(local, peer), &mut answer)?;
        Self::parse(answer.get(..len).unwrap_or_default())
    }

    /// Takes apart the answer to `SOCK_DIAG_BY_FAMILY`, from its `struct nlmsghdr` on.
    ///
    /// # Errors
    /// [`SocketTlsError`].
    pub fn parse(answer: &[u8]) -> Result<Self, SocketTlsError> {
        use SocketTlsError::{Malformed, Silent};
        if let Some(error) = refusal(answer).ok_or(Malformed)? {
            return Err(error.into());
        }
        let kind = u16_at(answer, 4).ok_or(Malformed)?;
        if kind != SOCK_DIAG_BY_FAMILY {
            return Err(Malformed);
        }
        let attributes = answer.get(NLMSGHDR + INET_DIAG_MSG..).ok_or(Malformed)?;
        let ulp = find(attributes, INET_DIAG_ULP_INFO).ok_or(Silent)?;
        let info = find(ulp, INET_ULP_INFO_TLS).ok_or(Silent)?;
        let number = |kind| find(info, kind).and_then(|value| u16_at(value, 0));
        Ok(Self {
            version: number(tls::TLS_INFO_VERSION),
            cipher: number(tls::TLS_INFO_CIPHER),
            tx: number(tls::TLS_INFO_TXCONF).map(Conf::from_number),
            rx: number(tls::TLS_INFO_RXCONF).map(Conf::from_number),
            tx_zerocopy: find(info, tls::TLS_INFO_ZC_RO_TX).is_some(),
            rx_no_pad: find(info, tls::TLS_INFO_RX_NO_PAD).is_some(),
            tx_max_payload: number(tls::TLS_INFO_TX_MAX_PAYLOAD_LEN),
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The error that an answer of netlink is, if it is one; `None` where it is too short to tell (netlink(7)).
#[allow(clippy::option_option)] // Two questions, one after the other.
fn refusal(answer: &[u8]) -> Option<Option<io::Error>> {
    if i32::from(u16_at(answer, 4)?) != libc::NLMSG_ERROR {
        return Some(None);
    }
    let code = i32::from_ne_bytes(answer.get(NLMSGHDR..NLMSGHDR + 4)?.try_into().ok()?);
    Some(Some(io::Error::from_raw_os_error(code.saturating_neg())))
}

/// The attributes of a list (netlink(7)), as far as it is well made.
fn attributes(mut list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const HEADER: usize = 4;
    /// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`
    const FLAGS: u16 = 0xc000;
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(list, 0)?);
        let kind = u16_at(list, 2)? & !FLAGS;
        let content = list.get(HEADER..len)?;
        // The last one need not be filled up.
        list = list.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

/// The content of the first attribute `kind`.
fn find(list: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(list).find(|&(found, _)| found == kind).map(|(_, content)| content)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`, for exactly one connection.
fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut bytes = Vec::with_capacity(NLMSGHDR + 56);
    bytes.extend_from_slice(&72_u32.to_ne_bytes()); // nlmsg_len
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]); // nlmsg_seq, nlmsg_pid
    bytes.extend_from_slice(&[family as u8, libc::IPPROTO_TCP as u8, 1 << (INET_DIAG_INFO - 1), 0]);
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes()); // idiag_states
    bytes.extend_from_slice(&local.port().to_be_bytes());
    bytes.extend_from_slice(&peer.port().to_be_bytes());
    for address in [local, peer] {
        let mut field = [0; 16];
        match address {
            SocketAddr::V4(v4) => field[..4].copy_from_slice(&v4.ip().octets()),
            SocketAddr::V6(v6) => field = v6.ip().octets(),
        }
        bytes.extend_from_slice(&field);
    }
    bytes.extend_from_slice(&0_u32.to_ne_bytes()); // idiag_if
    bytes.extend_from_slice(&[0xff; 8]); // INET_DIAG_NOCOOKIE
    bytes
}

#[cfg(test)]
mod tests {
    use super::device::attribute;
    use super::*;

    fn answer(kind: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.resize(NLMSGHDR, 0);
        bytes.extend_from_slice(rest);
        bytes
    }

    /// An answer whose TLS part is `tls`.
    fn answer_with(tls: &[u8]) -> Vec<u8> {
        let ulp = [attribute(1, b"tls\0"), attribute(0x8002, tls)].concat();
        let mut rest = vec![0; INET_DIAG_MSG];
        rest.extend_from_slice(&attribute(2, &[0; 7]));
        rest.extend_from_slice(&attribute(0x8013, &ulp));
        answer(SOCK_DIAG_BY_FAMILY, &rest)
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let tls = [
            attribute(1, &0x0304_u16.to_ne_bytes()),
            attribute(2, &51_u16.to_ne_bytes()),
            attribute(3, &2_u16.to_ne_bytes()),
            attribute(4, &3_u16.to_ne_bytes()),
            attribute(6, &[]),
        ]
        .concat();
        let whole = answer_with(&tls);
        let expected = SocketTls {
            version: Some(0x0304),
            cipher: Some(51),
            tx: Some(Conf::Software),
            rx: Some(Conf::Hardware),
            tx_zerocopy: false,
            rx_no_pad: true,
            tx_max_payload: None,
        };
        assert_eq!(SocketTls::parse(&whole).unwrap(), expected);
        for len in 0..whole.len() {
            // Cut anywhere, it is an error or less than the whole; it never panics.
            assert!(SocketTls::parse(&whole[..len]).is_err(), "{len}");
        }
    }

    /// As tls_get_info of net/tls/tls_main.c writes it for a socket on a card: no machine of ours has one.
    #[test]
    fn a_socket_on_a_card_is_seen() {
        let numbers = [(1, 0x0303), (2, 52), (3, 3), (4, 3)];
        let numbers =
            numbers.map(|(kind, number): (u16, u16)| attribute(kind, &number.to_ne_bytes())).concat();
        let with = |more: &[u8]| SocketTls::parse(&answer_with(&[&numbers, more].concat())).unwrap();
        let expected = SocketTls {
            version: Some(0x0303),
            cipher: Some(52),
            tx: Some(Conf::Hardware),
            rx: Some(Conf::Hardware),
            ..SocketTls::default()
        };
        assert_eq!(with(&[]), expected);
        assert_eq!(with(&attribute(5, &[])), SocketTls { tx_zerocopy: true, ..expected });
        let limited = attribute(7, &1400_u16.to_ne_bytes());
        assert_eq!(with(&limited), SocketTls { tx_max_payload: Some(1400), ..expected });
        let confs = [(1, Conf::Base), (2, Conf::Software), (3, Conf::Hardware), (4, Conf::Other(4))];
        for (number, conf) in confs {
            let tx = attribute(3, &u16::to_ne_bytes(number));
            assert_eq!(SocketTls::parse(&answer_with(&tx)).unwrap().tx, Some(conf));
        }
    }

    #[test]
    fn a_refusal_is_an_errno() {
        let refused = answer(libc::NLMSG_ERROR as u16, &(-libc::ENOENT).to_ne_bytes());
        let Err(SocketTlsError::Io(error)) = SocketTls::parse(&refused) else { panic!("not refused") };
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn the_request_has_the_kernel_s_length() {
        let local = "127.0.0.1:1".parse().unwrap();
        assert_eq!(request(local, local).len(), 72);
        let local = "[::1]:1".parse().unwrap();
        assert_eq!(request(local, local).len(), 72);
    }
}
