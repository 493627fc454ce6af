//! The codes of authentication messages (NVMe Base, 8.3.4.5): which message, which hash, why it failed.

use ktls::crypto::Hash;

/// SC_C: what authentication is to leave behind for TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SecureChannel {
    /// NOSC: nothing.
    #[default]
    None = 0,
    /// NEWTLSPSK: a TLS PSK, for connections that follow this one. Only on a plain admin queue.
    NewTlsPsk = 2,
}

/// Which message it is: AUTH_TYPE and AUTH_ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// AUTH_Negotiate, from the host.
    Negotiate,
    /// DH-HMAC-CHAP_Challenge, from the controller.
    Challenge,
    /// DH-HMAC-CHAP_Reply, from the host.
    Reply,
    /// DH-HMAC-CHAP_Success1, from the controller.
    Success1,
    /// DH-HMAC-CHAP_Success2, from the host.
    Success2,
    /// AUTH_Failure2, from the host.
    Failure2,
    /// AUTH_Failure1, from the controller.
    Failure1,
    /// None of these.
    Other {
        /// AUTH_TYPE.
        auth_type: u8,
        /// AUTH_ID.
        auth_id: u8,
    },
}

/// AUTH_TYPE: messages common to all protocols.
const COMMON: u8 = 0;
/// AUTH_TYPE and AuthID: DH-HMAC-CHAP.
pub(super) const DHCHAP: u8 = 1;

impl Kind {
    pub(super) fn from_codes(auth_type: u8, auth_id: u8) -> Self {
        match (auth_type, auth_id) {
            (COMMON, 0x00) => Self::Negotiate,
            (DHCHAP, 0x01) => Self::Challenge,
            (DHCHAP, 0x02) => Self::Reply,
            (DHCHAP, 0x03) => Self::Success1,
            (DHCHAP, 0x04) => Self::Success2,
            (COMMON, 0xf0) => Self::Failure2,
            (COMMON, 0xf1) => Self::Failure1,
            (auth_type, auth_id) => Self::Other { auth_type, auth_id },
        }
    }

    pub(super) fn codes(self) -> (u8, u8) {
        match self {
            Self::Negotiate => (COMMON, 0x00),
            Self::Challenge => (DHCHAP, 0x01),
            Self::Reply => (DHCHAP, 0x02),
            Self::Success1 => (DHCHAP, 0x03),
            Self::Success2 => (DHCHAP, 0x04),
            Self::Failure2 => (COMMON, 0xf0),
            Self::Failure1 => (COMMON, 0xf1),
            Self::Other { auth_type, auth_id } => (auth_type, auth_id),
        }
    }
}

/// RCE: why a transaction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// 01h: a response is not that of the secret.
    Failed,
    /// 02h: there is no protocol that both ends know.
    ProtocolUnusable,
    /// 03h: one end wants secure channel concatenation and the other does not.
    SecureChannelMismatch,
    /// 04h: there is no hash that both ends allow.
    HashUnusable,
    /// 05h: there is no Diffie-Hellman group that both ends allow.
    DhGroupUnusable,
    /// 06h: a field of a message is wrong.
    IncorrectPayload,
    /// 07h: a message came that was not due.
    IncorrectMessage,
    /// Another one.
    Other(u8),
}

impl Reason {
    /// Its number on the wire.
    ///
    /// ```
    /// use nvme_tcp::auth::AuthError;
    ///
    /// // RCE of the AUTH_Failure that a wrong response is answered by.
    /// assert_eq!(AuthError::HostUnverified.reason().code(), 0x01);
    /// ```
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::ProtocolUnusable => 2,
            Self::SecureChannelMismatch => 3,
            Self::HashUnusable => 4,
            Self::DhGroupUnusable => 5,
            Self::IncorrectPayload => 6,
            Self::IncorrectMessage => 7,
            Self::Other(code) => code,
        }
    }

    /// The reason with this number.
    ///
    /// ```
    /// use nvme_tcp::auth::Reason;
    ///
    /// assert_eq!(Reason::from_code(4), Reason::HashUnusable);
    /// // What is not assigned yet is kept, to be shown.
    /// assert_eq!(Reason::from_code(0x42).to_string(), "reason 0x42");
    /// ```
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Failed,
            2 => Self::ProtocolUnusable,
            3 => Self::SecureChannelMismatch,
            4 => Self::HashUnusable,
            5 => Self::DhGroupUnusable,
            6 => Self::IncorrectPayload,
            7 => Self::IncorrectMessage,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Failed => "authentication failed",
            Self::ProtocolUnusable => "authentication protocol not usable",
            Self::SecureChannelMismatch => "secure channel concatenation mismatch",
            Self::HashUnusable => "hash function not usable",
            Self::DhGroupUnusable => "Diffie-Hellman group not usable",
            Self::IncorrectPayload => "incorrect payload",
            Self::IncorrectMessage => "incorrect protocol message",
            Self::Other(code) => return write!(f, "reason {code:#04x}"),
        })
    }
}

/// The number that a hash has in these messages.
///
/// ```
/// use ktls::crypto::Hash;
/// use nvme_tcp::auth::message::hash_id;
///
/// // As AUTH_Negotiate lists them, the preferred first.
/// let hashes = [Hash::Sha384, Hash::Sha256].map(hash_id);
/// assert_eq!(hashes, [Some(2), Some(1)]);
/// ```
pub fn hash_id(hash: Hash) -> Option<u8> {
    match hash {
        Hash::Sha256 => Some(1),
        Hash::Sha384 => Some(2),
        Hash::Sha512 => Some(3),
        _ => None,
    }
}

/// The hash with this number.
///
/// ```
/// use ktls::crypto::Hash;
/// use nvme_tcp::auth::message::hash_from_id;
///
/// assert_eq!(hash_from_id(3), Some(Hash::Sha512));
/// // 0 is the hash of a secret's text that has none, and no hash of a transaction.
/// assert_eq!(hash_from_id(0), None);
/// ```
pub fn hash_from_id(id: u8) -> Option<Hash> {
    [Hash::Sha256, Hash::Sha384, Hash::Sha512].into_iter().find(|hash| hash_id(*hash) == Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_numbers() {
        for code in 0..=255 {
            assert_eq!(Reason::from_code(code).code(), code);
        }
    }
}
