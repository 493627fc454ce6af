//! Why a transaction failed, and what the peer is told.

use thiserror::Error;

use super::dh::DhError;
use super::message::{Kind, Reason};
use crate::psk::PskError;

/// Why an authentication transaction failed. No variant holds a byte of a secret or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The peer ended it, and says why.
    #[error("the peer ended authentication: {0}")]
    Refused(Reason),
    /// The peer closed the connection instead of going on.
    #[error("the peer closed the connection during authentication")]
    Closed,
    /// R1 is not that of the host's secret.
    #[error("the host's response does not come from its secret")]
    HostUnverified,
    /// R2 is not that of the controller's secret.
    #[error("the controller's response does not come from its secret")]
    ControllerUnverified,
    /// The host asked the controller to authenticate itself, which has no secret to do it with.
    #[error("the host wants the controller to authenticate itself, and there is no secret for it")]
    NoControllerSecret,
    /// The controller let the host in without having been asked who it is itself.
    #[error("the controller did not authenticate itself")]
    NotMutual,
    /// The challenge is the one that was sent to its sender, or one of an earlier transaction.
    #[error("the challenge was used before")]
    ReplayedChallenge,
    /// The host does not offer DH-HMAC-CHAP.
    #[error("the host does not offer DH-HMAC-CHAP")]
    Protocol,
    /// SC_C is not what it has to be.
    #[error("SC_C is {found}, expected {expected}")]
    SecureChannel {
        /// What it has to be on this queue.
        expected: u8,
        /// What the host sent.
        found: u8,
    },
    /// There is no hash that both ends allow, or the controller chose another.
    #[error("the hash is not one that was offered{}", chosen(*.0))]
    Hash(Option<u8>),
    /// There is no group that both ends allow, or the controller chose another.
    #[error("the Diffie-Hellman group is not one that was offered{}", chosen(*.0))]
    DhGroup(Option<u8>),
    /// HL is not the length of the hash.
    #[error("HL is {found}, expected {expected}")]
    HashLength {
        /// The hash's length in bytes.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// A list of identifiers says that it is longer than its room.
    #[error("{field} is {found}, expected at most {max}")]
    ListLength {
        /// HALEN or DHLEN.
        field: &'static str,
        /// How many identifiers there is room for.
        max: usize,
        /// What came.
        found: usize,
    },
    /// The public value cannot be used.
    #[error("the Diffie-Hellman value {0}")]
    DhValue(#[from] DhError),
    /// A sequence number is zero where it must not be.
    #[error("the sequence number is zero")]
    Sequence,
    /// C2 is missing where it is needed.
    #[error("the host sent no challenge, which the TLS PSK is made from")]
    NoChallenge,
    /// T_ID is that of another transaction.
    #[error("T_ID is {found}, expected {expected}")]
    Transaction {
        /// This transaction's.
        expected: u16,
        /// The message's.
        found: u16,
    },
    /// It is another message than the one that was due.
    #[error("the message is {found:?}, expected {}", expected.map_or("one that there is".to_owned(), |kind| format!("{kind:?}")))]
    Message {
        /// The message that was due; `None` where none was.
        expected: Option<Kind>,
        /// The message that came.
        found: Kind,
    },
    /// The controller was asked for a message, and had none to give.
    #[error("a message was asked for that was not due")]
    NothingDue,
    /// The message ends too early.
    #[error("the message of {len} bytes ends before the end of its {field}")]
    Truncated {
        /// Which part of it is not whole.
        field: &'static str,
        /// The message's length in bytes.
        len: usize,
    },
    /// The TLS PSK cannot be derived.
    #[error("no TLS PSK: {0}")]
    Psk(#[from] PskError),
}

fn chosen(id: Option<u8>) -> String {
    id.map_or_else(String::new, |id| format!(" (identifier {id})"))
}

impl AuthError {
    /// What the peer is told; what the peer itself said, where it ended the transaction.
    ///
    /// ```
    /// use nvme_tcp::auth::{AuthError, Reason};
    ///
    /// // The peer learns the kind of fault, not which end's secret is wrong.
    /// assert_eq!(AuthError::ControllerUnverified.reason(), Reason::Failed);
    /// assert_eq!(AuthError::Sequence.reason(), Reason::IncorrectPayload);
    /// ```
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(reason) => *reason,
            Self::Closed
            | Self::HostUnverified
            | Self::ControllerUnverified
            | Self::NoControllerSecret
            | Self::NotMutual
            | Self::ReplayedChallenge => Reason::Failed,
            Self::Protocol => Reason::ProtocolUnusable,
            Self::SecureChannel { .. } => Reason::SecureChannelMismatch,
            Self::Hash(_) => Reason::HashUnusable,
            Self::DhGroup(_) => Reason::DhGroupUnusable,
            Self::HashLength { .. }
            | Self::ListLength { .. }
            | Self::DhValue(_)
            | Self::Sequence
            | Self::NoChallenge
            | Self::Transaction { .. }
            | Self::Truncated { .. }
            | Self::Psk(_) => Reason::IncorrectPayload,
            Self::Message { .. } | Self::NothingDue => Reason::IncorrectMessage,
        }
    }

    /// Whether a secret or a setting of this host may be at fault, and not the peer.
    ///
    /// ```
    /// use nvme_tcp::auth::{AuthError, Reason};
    ///
    /// assert!(AuthError::Refused(Reason::Failed).may_be_the_caller());
    /// // No secret makes a controller send this.
    /// assert!(!AuthError::Sequence.may_be_the_caller());
    /// ```
    pub fn may_be_the_caller(&self) -> bool {
        match self {
            Self::Refused(reason) => {
                !matches!(reason, Reason::IncorrectPayload | Reason::IncorrectMessage | Reason::Other(_))
            }
            Self::Closed | Self::ControllerUnverified | Self::NotMutual | Self::Psk(_) => true,
            _ => false,
        }
    }

    /// What an operator of the host can do about it.
    ///
    /// ```
    /// use nvme_tcp::auth::{AuthError, Reason};
    ///
    /// let error = AuthError::Refused(Reason::Failed);
    /// assert!(error.hint().is_some_and(|hint| hint.contains("compare both, and the host NQN")));
    /// // A fault of the peer's, which nothing here mends.
    /// assert_eq!(AuthError::Sequence.hint(), None);
    /// ```
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Refused(Reason::Failed) => {
                "the secret is not the one that the target has for this host NQN: compare both, and the host NQN"
            }
            Self::Closed => {
                "the target may have found the secret wrong (Linux 6.12 closes instead of saying so): compare it with the \
                 one that the target has for this host NQN"
            }
            Self::ControllerUnverified => {
                "the controller's secret is not the one that the target has, or this is another target: compare both"
            }
            Self::NotMutual | Self::NoControllerSecret => {
                "give the target a controller secret for this host, or connect without one"
            }
            Self::Refused(Reason::HashUnusable) | Self::Hash(_) => {
                "allow a hash that the target allows as well"
            }
            Self::Refused(Reason::DhGroupUnusable) | Self::DhGroup(_) => {
                "allow a Diffie-Hellman group that the target allows as well; concatenation needs one that is not null"
            }
            Self::Refused(Reason::SecureChannelMismatch) => {
                "the target does not concatenate a secure channel on this connection: SPDK's targets never do; use a configured TLS key instead"
            }
            _ => return None,
        })
    }
}
