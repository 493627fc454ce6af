//! What can go wrong on a connection.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use thiserror::Error as ThisError;

use crate::alert::Alert;
use crate::cipher::RecordCipher;
use crate::event::Flow;
use crate::handshake;
use crate::record::BadRecord;
use crate::socket::Why;

/// Why a call on a [`Socket`](crate::Socket) or one of its halves failed.
///
/// Every variant but a retryable [`Error::Io`] (see [`Error::is_retryable`]), [`Error::RecordSize`] and
/// [`Error::SendClosed`] ends its direction: the same call gives the same error from then on. After
/// [`Error::BudgetExhausted`], and [`Error::RekeyUnsupported`] to send, close_notify still goes.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The socket itself: also `WouldBlock` and `TimedOut`, after which the call may be repeated.
    #[error(transparent)]
    Io(#[from] io::Error),

    /// The handshake failed, or the peer sent a handshake message after it that RFC 8446 does not allow.
    #[error(transparent)]
    Handshake(#[from] handshake::Error),

    /// The peer ended the connection with an alert.
    #[error("the peer ended the connection with the alert {0}")]
    Alert(Alert),

    /// The peer's bytes ended without its close_notify (RFC 8446, section 6.1): what came may not be all.
    #[error("the connection ended without close_notify: data may be missing")]
    Truncated,

    /// The peer, or somebody on the way, sent a record that is not valid.
    #[error("a record from the peer is not valid: {0}")]
    BadRecord(#[from] BadRecord),

    /// The receiving half found the peer at fault, so the sending half has sent this alert and stopped.
    #[error("the connection was ended with the alert {0}, for what the peer had sent")]
    PeerAtFault(Alert),

    /// The key of one direction was used for as many records as it may be.
    #[error("the {direction} key was used for {limit} records, its limit")]
    BudgetExhausted {
        /// Whose key it is.
        direction: Flow,
        /// Its limit in records.
        limit: u64,
    },

    /// A new key cannot be given to this kernel.
    #[error("the {direction} key must change, and this kernel cannot change the key of a connection")]
    RekeyUnsupported {
        /// Whose key it is.
        direction: Flow,
    },

    /// There is no key after this one: it is one of TLS 1.2, or was given without its traffic secret.
    #[error("the {direction} key cannot change: {why}")]
    NoNextKey {
        /// Whose key it is.
        direction: Flow,
        /// Why there is none.
        why: &'static str,
    },

    /// This library itself has not the cipher, only AES-GCM and ChaCha20-Poly1305; and the kernel does not
    /// seal or open with it here.
    #[error("{cipher} exists only with the kernel, which does not do it: {why}")]
    KernelOnly {
        /// Which cipher.
        cipher: RecordCipher,
        /// Why the kernel does not.
        why: Why,
    },

    /// Another TLS stack, which did the handshake or keeps the secrets, gave up. It is its own error.
    #[error(transparent)]
    Stack(Arc<dyn StdError + Send + Sync>),

    /// The kernel's record layer was required and cannot be had.
    #[error("kernel TLS was required to {direction}: {why}")]
    KernelTlsUnavailable {
        /// For which direction.
        direction: Flow,
        /// Why not.
        why: Why,
    },

    /// A record of its own may hold no more than the peer takes.
    #[error("{len} bytes do not fit one record of at most {max}")]
    RecordSize {
        /// What was asked for.
        len: usize,
        /// What the peer takes.
        max: usize,
    },

    /// This end has sent its close_notify, so it can send nothing more.
    #[error("nothing can be sent after close_notify")]
    SendClosed,

    /// The AEAD refused to seal. It has no reason to.
    #[error("sealing a record failed")]
    SealingFailed,
}

impl Error {
    /// Whether the same call may succeed later on this very connection.
    pub fn is_retryable(&self) -> bool {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        matches!(self, Self::Io(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted))
    }

    /// Whether nothing could be done without waiting.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer's data ended where it should not have.
    pub fn is_unexpected_eof(&self) -> bool {
        match self {
            Self::Truncated => true,
            Self::Io(error) => error.kind() == io::ErrorKind::UnexpectedEof,
            _ => false,
        }
    }

    /// Whether a new connection, with new keys, is the mend.
    pub fn needs_new_connection(&self) -> bool {
        matches!(self, Self::BudgetExhausted { .. } | Self::RekeyUnsupported { .. } | Self::NoNextKey { .. })
    }

    /// What an operator or a caller can do about it, where that can be said.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Handshake(error) => error.hint(),
            Self::Truncated => Some("the peer, or something between, closed the connection early"),
            Self::BadRecord(BadRecord::NotAuthentic { .. }) => {
                Some("something between the two ends changes bytes, or the two ends have different keys")
            }
            Self::BadRecord(BadRecord::OuterType { .. }) => Some("the peer sends something that is not TLS"),
            Self::BudgetExhausted { .. } | Self::RekeyUnsupported { .. } | Self::NoNextKey { .. } => {
                Some("go on over a new connection: it has new keys")
            }
            Self::KernelTlsUnavailable { why, .. } | Self::KernelOnly { why, .. } => why.mend(),
            _ => None,
        }
    }

    /// The alert that the peer is told, where the peer is at fault.
    pub(crate) fn alert_for_peer(&self) -> Option<Alert> {
        match self {
            Self::BadRecord(bad) => Some(bad.alert()),
            Self::Handshake(error) => error.alert(),
            Self::Stack(_) => Some(Alert::INTERNAL_ERROR),
            _ => None,
        }
    }

    /// The same error once more: a direction that has failed stays failed.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Io(error) => Self::Io(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::from(error.kind()),
            }),
            Self::Handshake(error) => Self::Handshake(error.clone()),
            Self::Alert(alert) => Self::Alert(*alert),
            Self::Truncated => Self::Truncated,
            Self::BadRecord(bad) => Self::BadRecord(bad.clone()),
            Self::PeerAtFault(alert) => Self::PeerAtFault(*alert),
            Self::BudgetExhausted { direction, limit } => {
                Self::BudgetExhausted { direction: *direction, limit: *limit }
            }
            Self::RekeyUnsupported { direction } => Self::RekeyUnsupported { direction: *direction },
            Self::NoNextKey { direction, why } => Self::NoNextKey { direction: *direction, why },
            Self::KernelOnly { cipher, why } => Self::KernelOnly { cipher: *cipher, why: why.clone() },
            Self::Stack(error) => Self::Stack(Arc::clone(error)),
            Self::KernelTlsUnavailable { direction, why } => {
                Self::KernelTlsUnavailable { direction: *direction, why: why.clone() }
            }
            Self::RecordSize { len, max } => Self::RecordSize { len: *len, max: *max },
            Self::SendClosed => Self::SendClosed,
            Self::SealingFailed => Self::SealingFailed,
        }
    }

    /// Whether a later call on the same direction could still make sense: after the budget is used up,
    /// what was sealed before can still be sent, and close_notify too.
    pub(crate) fn is_passing(&self) -> bool {
        self.is_retryable()
            || matches!(self, Self::RecordSize { .. } | Self::SendClosed | Self::BudgetExhausted { .. })
    }
}

impl From<Error> for io::Error {
    /// Keeps the kind of an I/O error, and the typed error inside every other.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(_) => {
                let Error::Io(inner) = error else { unreachable!("matched above") };
                return inner;
            }
            Error::Truncated => io::ErrorKind::UnexpectedEof,
            Error::Alert(_) | Error::PeerAtFault(_) => io::ErrorKind::ConnectionAborted,
            Error::BadRecord(_) | Error::Handshake(_) => io::ErrorKind::InvalidData,
            Error::KernelTlsUnavailable { .. }
            | Error::RekeyUnsupported { .. }
            | Error::NoNextKey { .. }
            | Error::KernelOnly { .. } => io::ErrorKind::Unsupported,
            Error::RecordSize { .. } => io::ErrorKind::InvalidInput,
            Error::SendClosed => io::ErrorKind::BrokenPipe,
            Error::BudgetExhausted { .. } | Error::SealingFailed | Error::Stack(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
