//! What a connection turned out to be.

use std::fmt;
use std::io;

use crate::cipher::{Cipher, RecordCipher};
use crate::crypto::Group;
use crate::observe::Conf;

/// Who seals or opens the records of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SealedBy {
    /// The kernel, on the processor.
    Kernel,
    /// The network card.
    Nic,
    /// This process.
    Process,
}

impl fmt::Display for SealedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "the kernel",
            Self::Nic => "the network card",
            Self::Process => "this process",
        })
    }
}

/// Why it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The kernel took the key, and says itself who uses it.
    Told,
    /// The kernel took the key; whether a network card uses it could not be asked, so it is assumed that
    /// none does.
    SoftwareAssumed {
        /// Why it could not be asked.
        reason: String,
    },
    /// The caller wanted it so.
    Asked,
    /// The kernel has no TLS, or may not load it: `TCP_ULP` gave ENOENT.
    NoModule,
    /// The kernel refused `TCP_ULP` for another reason.
    UlpRefused {
        /// errno
        errno: i32,
    },
    /// What the kernel's TLS can do could not be tried: no connection on loopback.
    NotTried {
        /// errno
        errno: i32,
    },
    /// The kernel has TLS, but did not take the key.
    KeyRefused {
        /// The cipher that it was for.
        cipher: RecordCipher,
        /// errno
        errno: i32,
    },
    /// The kernel has TLS, but does not tell how many records a key was used for, so nobody could keep to
    /// the key's limit.
    NoRecordCount,
    /// This end has announced that it takes short records only (RFC 8449), and the kernel takes any.
    RecordSizeLimit,
}

impl Why {
    /// What an operator can do so that the kernel does it.
    pub fn mend(&self) -> Option<&'static str> {
        match self {
            Self::NoModule => Some("modprobe tls"),
            Self::KeyRefused { cipher, errno: libc::ENOENT } => Some(match cipher.cipher() {
                Cipher::Aes128Gcm | Cipher::Aes256Gcm => "modprobe gcm",
                Cipher::Aes128Ccm => "modprobe ccm",
                Cipher::ChaCha20Poly1305 => "modprobe chacha20poly1305",
                Cipher::Sm4Gcm | Cipher::Sm4Ccm => "modprobe sm4_generic gcm ccm",
                Cipher::Aria128Gcm | Cipher::Aria256Gcm => "modprobe aria_generic gcm",
            }),
            Self::NotTried { .. } => Some("ip link set lo up"),
            Self::NoRecordCount => Some("Linux 6.0 or later tells"),
            Self::RecordSizeLimit => Some("announce none, or ask for the kernel with Layer::Kernel"),
            _ => None,
        }
    }

    pub(crate) fn from_ulp(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::NoModule,
            errno => Self::UlpRefused { errno: errno.unwrap_or(0) },
        }
    }

    pub(crate) fn not_tried(error: &io::Error) -> Self {
        Self::NotTried { errno: error.raw_os_error().unwrap_or(0) }
    }

    pub(crate) fn from_key(cipher: RecordCipher, error: &io::Error) -> Self {
        Self::KeyRefused { cipher, errno: error.raw_os_error().unwrap_or(0) }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = |errno: &i32| io::Error::from_raw_os_error(*errno);
        match self {
            Self::Told => f.write_str("as the kernel itself says")?,
            Self::SoftwareAssumed { reason } => {
                write!(f, "in software, as far as can be told: {reason}")?;
            }
            Self::Asked => f.write_str("as configured")?,
            Self::NoModule => f.write_str("the kernel has no TLS: module tls is not loaded")?,
            Self::UlpRefused { errno } => write!(f, "the kernel refused TLS: {}", error(errno))?,
            Self::NotTried { errno } => {
                write!(f, "kernel TLS could not be tried on loopback: {}", error(errno))?;
            }
            Self::KeyRefused { cipher, errno: libc::ENOENT } => {
                write!(f, "the kernel has TLS but not the cipher {cipher}")?;
            }
            Self::KeyRefused { cipher, errno } => {
                write!(f, "the kernel refused a key of {cipher}: {}", error(errno))?;
            }
            Self::NoRecordCount => {
                f.write_str("the kernel does not tell how many records a key has sealed")?
            }
            Self::RecordSizeLimit => {
                f.write_str(
                    "this end has announced a record_size_limit, and the kernel takes longer records",
                )?;
            }
        }
        match self.mend() {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}

/// Who seals or opens the records of one direction, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Who does it.
    pub by: SealedBy,
    /// Why it is so.
    pub why: Why,
}

impl Direction {
    pub(crate) fn process(why: Why) -> Self {
        Self { by: SealedBy::Process, why }
    }

    /// In the kernel, and there as `conf` says.
    pub(crate) fn kernel(conf: Result<Conf, &str>) -> Self {
        match conf {
            Ok(Conf::Hardware) => Self { by: SealedBy::Nic, why: Why::Told },
            Ok(Conf::Software) => Self { by: SealedBy::Kernel, why: Why::Told },
            Ok(other) => {
                let reason = format!("sock_diag says {other}");
                Self { by: SealedBy::Kernel, why: Why::SoftwareAssumed { reason } }
            }
            Err(reason) => {
                Self { by: SealedBy::Kernel, why: Why::SoftwareAssumed { reason: reason.to_owned() } }
            }
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Why::Told => write!(f, "{}", self.by),
            _ => write!(f, "{} ({})", self.by, self.why),
        }
    }
}

/// What a connection turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// How records are protected.
    pub suite: RecordCipher,
    /// The group of the key agreement, where this library did it.
    pub group: Option<Group>,
    /// The PSK identity that both ends use; empty where there is none.
    pub psk_identity: Vec<u8>,
    /// The application protocol agreed on (ALPN, RFC 7301), where the handshake had one.
    pub alpn: Option<Vec<u8>>,
    /// The peer's certificates in DER, its own first.
    pub peer_certificates: Vec<Vec<u8>>,
    /// Who seals what this end sends.
    pub send: Direction,
    /// Who opens what the peer sends.
    pub receive: Direction,
    /// `TLS_TX_ZEROCOPY_RO` is in force: see [`Options::send_zerocopy`](crate::Options::send_zerocopy).
    pub send_zerocopy: bool,
}

impl Info {
    pub(crate) fn new(suite: RecordCipher, send: Direction, receive: Direction) -> Self {
        Self {
            suite,
            group: None,
            psk_identity: Vec::new(),
            alpn: None,
            peer_certificates: Vec::new(),
            send,
            receive,
            send_zerocopy: false,
        }
    }

    /// The version of TLS: "TLS 1.2" or "TLS 1.3".
    pub fn version(&self) -> &'static str {
        self.suite.version().name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_card_is_called_a_card() {
        assert_eq!(Direction::kernel(Ok(Conf::Hardware)).by, SealedBy::Nic);
        for conf in [Ok(Conf::Software), Ok(Conf::Base), Ok(Conf::Other(4)), Err("sock_diag: refused")] {
            assert_eq!(Direction::kernel(conf).by, SealedBy::Kernel, "{conf:?}");
        }
        let Why::SoftwareAssumed { reason } = Direction::kernel(Err("refused")).why else {
            panic!("not said why")
        };
        assert_eq!(reason, "refused");
    }
}
