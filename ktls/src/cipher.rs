//! The ciphers, as one table: what TLS calls them, what the kernel calls them, how long their parts are.

use crate::crypto::Hash;

/// A TLS 1.3 cipher suite that this library can negotiate by itself (RFC 8446, appendix B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CipherSuite {
    /// TLS_AES_128_GCM_SHA256, 0x1301: mandatory for NVMe/TCP.
    Aes128GcmSha256,
    /// TLS_AES_256_GCM_SHA384, 0x1302.
    Aes256GcmSha384,
}

struct Row {
    suite: CipherSuite,
    id: u16,
    name: &'static str,
    hash: Hash,
    key_len: usize,
}

/// One row for each suite, in the order of [`CipherSuite`]'s variants.
const TABLE: [Row; 2] = [
    Row {
        suite: CipherSuite::Aes128GcmSha256,
        id: 0x1301,
        name: "TLS_AES_128_GCM_SHA256",
        hash: Hash::Sha256,
        key_len: 16,
    },
    Row {
        suite: CipherSuite::Aes256GcmSha384,
        id: 0x1302,
        name: "TLS_AES_256_GCM_SHA384",
        hash: Hash::Sha384,
        key_len: 32,
    },
];

impl CipherSuite {
    /// Every suite there is.
    pub const ALL: [Self; 2] = [Self::Aes128GcmSha256, Self::Aes256GcmSha384];

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The suite with this number on the wire, if it is one of ours.
    pub fn from_id(id: u16) -> Option<Self> {
        TABLE.iter().find(|row| row.id == id).map(|row| row.suite)
    }

    /// The suite that belongs to a pre-shared key with this hash: NVMe/TCP ties the two together.
    pub fn for_hash(hash: Hash) -> Option<Self> {
        TABLE.iter().find(|row| row.hash == hash).map(|row| row.suite)
    }

    /// Its number on the wire.
    pub fn id(self) -> u16 {
        self.row().id
    }

    /// Its name in IANA's registry.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The hash of its key schedule.
    pub fn hash(self) -> Hash {
        self.row().hash
    }

    /// The length of its AEAD key in bytes.
    pub fn key_len(self) -> usize {
        self.row().key_len
    }
}

/// The length of an AEAD tag in bytes, for every suite.
pub const TAG_LEN: usize = 16;
/// The length of an AEAD nonce in bytes, for every suite.
pub const NONCE_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for suite in CipherSuite::ALL {
            assert_eq!(suite.row().suite, suite);
            assert_eq!(CipherSuite::from_id(suite.id()), Some(suite));
            assert_eq!(CipherSuite::for_hash(suite.hash()), Some(suite));
        }
        assert_eq!(CipherSuite::from_id(0x1303), None);
        assert_eq!(CipherSuite::for_hash(Hash::Sha512), None);
    }
}
