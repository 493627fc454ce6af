//! Why a handshake failed, and what to tell the peer.

use std::fmt;

use crate::alert::Alert;
use crate::crypto::CryptoError;

/// Which end of the handshake this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends the ClientHello.
    Client,
    /// It answers it.
    Server,
}

impl Role {
    fn peer(self) -> &'static str {
        match self {
            Self::Client => "server",
            Self::Server => "client",
        }
    }
}

/// Bytes as they came, printed as hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header(pub [u8; super::RECORD_HEADER_LEN]);

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e] = self.0;
        write!(f, "{a:02x} {b:02x} {c:02x} {d:02x} {e:02x}")
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a handshake failed. Every one of them ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are not the header of a TLS record.
    #[error("the peer does not speak TLS: its bytes {header} are not the header of a TLS record")]
    NotTls {
        /// The five bytes that stand where a record header should.
        header: Header,
    },

    /// The peer gave up, and said so.
    #[error("the {} ended the TLS handshake with the alert {alert}", role.peer())]
    AlertReceived {
        /// What it said.
        alert: Alert,
        /// Which end this process is.
        role: Role,
    },

    /// The peer closed the connection in the middle of the handshake, without an alert.
    #[error("the {} closed the connection during the TLS handshake", role.peer())]
    Closed {
        /// Which end this process is.
        role: Role,
        /// Whether at least one whole record of the peer had come.
        answered: bool,
    },

    /// The peer sent what RFC 8446 does not allow at that place.
    #[error("the peer broke the TLS protocol: {field}: expected {expected}, got {got}")]
    Protocol {
        /// The alert that the standard asks for.
        alert: Alert,
        /// The message and field.
        field: &'static str,
        /// What may stand there.
        expected: String,
        /// What stood there.
        got: String,
    },

    /// The peer speaks no TLS 1.3.
    #[error("the peer speaks TLS only up to version {}.{}, this end TLS 1.3 only", .version >> 8, .version & 0xff)]
    OlderVersion {
        /// What it would take, as on the wire: 0x0303 is TLS 1.2.
        version: u16,
    },

    /// The server knows none of the PSK identities that the client offered.
    #[error("no key is known for the PSK identity {}", ShowIdentities(.identities))]
    UnknownIdentity {
        /// The identities, in the client's order.
        identities: Vec<Vec<u8>>,
    },

    /// The client offered no pre-shared key at all.
    #[error("the client offers no pre-shared key")]
    NoPskOffered,

    /// The identity is known, but the client's binder was not made with any of its keys.
    #[error("the client's key for the PSK identity {} is not the one known here", ShowIdentity(.identity))]
    BinderMismatch {
        /// The identity.
        identity: Vec<u8>,
    },

    /// The peer's Finished does not prove that it has the same key and saw the same handshake.
    #[error("the peer's Finished message does not verify")]
    FinishedMismatch,

    /// A protected record does not open.
    #[error("a record of the peer does not decrypt")]
    BadRecordMac,

    /// The client does not offer the suite that belongs to the key's hash.
    #[error("no cipher suite in common: the client offers {offered:04x?}, the key needs one of its own hash")]
    NoCommonSuite {
        /// What the client offers.
        offered: Vec<u16>,
    },

    /// The client supports none of the groups that the server is configured with.
    #[error("no key agreement group in common: the client supports {offered:04x?}")]
    NoCommonGroup {
        /// What the client supports.
        offered: Vec<u16>,
    },

    /// The system would not give random bytes, or a key could not be made.
    #[error("a cryptographic operation failed: the system gave no random bytes")]
    Crypto,

    /// What the caller configured cannot work.
    #[error("wrong TLS configuration: {0}")]
    Config(&'static str),

    /// The caller used a handshake in a way that its contract does not allow.
    #[error("wrong use of the handshake: {0}")]
    Misuse(&'static str),
}

impl From<CryptoError> for Error {
    fn from(_: CryptoError) -> Self {
        Self::Crypto
    }
}

impl Error {
    /// The alert that goes to the peer (RFC 8446, section 6.2); `None` where the peer has already
    /// gone, does not speak TLS, or is not to blame.
    pub fn alert(&self) -> Option<Alert> {
        match self {
            Self::NotTls { .. } | Self::AlertReceived { .. } | Self::Closed { .. } => None,
            Self::Config(_) | Self::Misuse(_) => None,
            Self::Protocol { alert, .. } => Some(*alert),
            Self::OlderVersion { .. } => Some(Alert::PROTOCOL_VERSION),
            Self::UnknownIdentity { .. } => Some(Alert::UNKNOWN_PSK_IDENTITY),
            Self::BinderMismatch { .. } | Self::FinishedMismatch => Some(Alert::DECRYPT_ERROR),
            Self::BadRecordMac => Some(Alert::BAD_RECORD_MAC),
            Self::NoPskOffered | Self::NoCommonSuite { .. } | Self::NoCommonGroup { .. } => {
                Some(Alert::HANDSHAKE_FAILURE)
            }
            Self::Crypto => Some(Alert::INTERNAL_ERROR),
        }
    }

    /// What an operator can do about it, where that can be said.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotTls { .. } => "another protocol, or plain text, is spoken at this port",
            Self::AlertReceived { alert, role: Role::Client } => match *alert {
                Alert::UNKNOWN_PSK_IDENTITY => "the server does not know this PSK identity",
                Alert::DECRYPT_ERROR | Alert::BAD_RECORD_MAC => {
                    "the keys differ: compare the key at both ends"
                }
                Alert::ILLEGAL_PARAMETER => {
                    "OpenSSL answers so when the keys differ: compare the key at both ends"
                }
                Alert::MISSING_EXTENSION => {
                    "OpenSSL answers so when the server does not know this PSK identity and looks for \
                     what a certificate needs"
                }
                Alert::HANDSHAKE_FAILURE => {
                    "the server does not know this PSK identity, or has no cipher suite or group in common"
                }
                Alert::PROTOCOL_VERSION => "the server has no TLS 1.3",
                _ => return None,
            },
            Self::AlertReceived {
                alert: Alert::DECRYPT_ERROR | Alert::BAD_RECORD_MAC,
                role: Role::Server,
            } => "the keys differ: compare the key at both ends",
            Self::Closed { role: Role::Client, .. } => {
                "tlshd closes without an alert when it does not know the PSK identity, when the keys differ, \
                 and when no cipher suite or group is in common"
            }
            Self::Closed { role: Role::Server, .. } => {
                "tlshd closes without an alert when the keys differ or when it gave up waiting"
            }
            Self::OlderVersion { .. } => "switch TLS 1.3 on at the peer",
            Self::UnknownIdentity { .. } => "give the server the key of this identity",
            Self::BinderMismatch { .. } | Self::FinishedMismatch => {
                "the keys differ: compare the key at both ends"
            }
            Self::NoPskOffered => "the client wants certificates: give it a pre-shared key",
            Self::NoCommonSuite { .. } => {
                "a key with SHA-256 needs TLS_AES_128_GCM_SHA256 at the client, one with SHA-384 \
                 TLS_AES_256_GCM_SHA384"
            }
            Self::NoCommonGroup { .. } => "enable x25519, secp256r1 or secp384r1 at both ends",
            _ => return None,
        })
    }

    pub(super) fn protocol(
        alert: Alert,
        field: &'static str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self::Protocol { alert, field, expected: expected.into(), got: got.into() }
    }

    pub(super) fn decode(field: &'static str, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::protocol(Alert::DECODE_ERROR, field, expected, got)
    }

    pub(super) fn illegal(field: &'static str, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::protocol(Alert::ILLEGAL_PARAMETER, field, expected, got)
    }

    pub(super) fn unexpected(
        field: &'static str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self::protocol(Alert::UNEXPECTED_MESSAGE, field, expected, got)
    }

    pub(super) fn missing(message: &'static str, extension: &str) -> Self {
        Self::protocol(Alert::MISSING_EXTENSION, message, format!("the extension {extension}"), "none")
    }
}

/// An identity for a person: its text where it is printable ASCII, else escaped, and never endless.
struct ShowIdentity<'a>(&'a [u8]);

impl fmt::Display for ShowIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // NVMe identities hold two NQNs of up to 223 bytes each and a digest.
        const SHOWN: usize = 600;
        let shown = self.0.get(..SHOWN).unwrap_or(self.0);
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, " and {} bytes more", self.0.len() - shown.len())?;
        }
        Ok(())
    }
}

struct ShowIdentities<'a>(&'a [Vec<u8>]);

impl fmt::Display for ShowIdentities<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for identity in self.0 {
            write!(f, "{separator}{}", ShowIdentity(identity))?;
            separator = ", ";
        }
        Ok(())
    }
}
