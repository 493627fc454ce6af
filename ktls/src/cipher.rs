//! The ciphers, as one table: what TLS calls them, what the kernel calls them, how long their parts are
//! and where they lie in the kernel's structs.

use std::fmt;
use std::mem::offset_of;
use std::ops::Range;

use ktls_sys::tls;

use crate::crypto::Hash;

/// A version of TLS that the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// TLS 1.2 (RFC 5246), with AEAD ciphers only.
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    /// Its number on the wire, and in the kernel's structs.
    pub fn id(self) -> u16 {
        match self {
            Self::Tls12 => tls::TLS_1_2_VERSION,
            Self::Tls13 => tls::TLS_1_3_VERSION,
        }
    }

    /// "TLS 1.2" or "TLS 1.3".
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cipher of linux/tls.h. This library itself seals with AES-GCM and ChaCha20-Poly1305; the others exist
/// only with a kernel that has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cipher {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// AES-128-CCM with a tag of 16 bytes; only with the kernel.
    Aes128Ccm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
    /// SM4-GCM (RFC 8998); only with the kernel.
    Sm4Gcm,
    /// SM4-CCM (RFC 8998); only with the kernel.
    Sm4Ccm,
    /// ARIA-128-GCM (RFC 6209), TLS 1.2 alone; only with the kernel.
    Aria128Gcm,
    /// ARIA-256-GCM (RFC 6209), TLS 1.2 alone; only with the kernel.
    Aria256Gcm,
}

/// A row of the table. The kernel's struct is a head of version and cipher, the iv, the key, the salt and the
/// record number, without gaps.
struct Row {
    cipher: Cipher,
    name: &'static str,
    /// TLS_CIPHER_*
    kernel: u16,
    key_len: usize,
    /// The salt begins the 12-byte IV, the rest is the struct's iv.
    salt_len: usize,
    /// Its suite's name in TLS 1.3; ARIA has none.
    tls13: Option<&'static str>,
    in_process: bool,
}

/// The head of the kernel's structs: version and cipher, 16 bits each.
const HEAD_LEN: usize = size_of::<tls::tls_crypto_info>();
/// The length of a record number in bytes, for every cipher.
const SEQUENCE_LEN: usize = 8;
/// The length of the kernel's longest struct in bytes.
pub(crate) const MAX_INFO_LEN: usize = 56;

/// Makes the table, and has the compiler compare each row with the kernel's struct.
macro_rules! table {
    ($($cipher:ident $name:literal $kernel:ident $info:ident key $key:literal salt $salt:literal
       tls13 $tls13:expr, in_process $process:literal;)*) => {
        /// One row for each cipher, in the order of [`Cipher`]'s variants.
        const TABLE: [Row; 8] = [$(Row {
            cipher: Cipher::$cipher,
            name: $name,
            kernel: tls::$kernel,
            key_len: $key,
            salt_len: $salt,
            tls13: $tls13,
            in_process: $process,
        }),*];

        const _: () = {
            $({
                let row = Cipher::$cipher.row();
                assert!(row.cipher as u16 == Cipher::$cipher as u16, "the rows are in the variants' order");
                assert!(row.iv().start == offset_of!(tls::$info, iv));
                assert!(row.key().start == offset_of!(tls::$info, key));
                assert!(row.salt().start == offset_of!(tls::$info, salt));
                assert!(row.sequence().start == offset_of!(tls::$info, rec_seq));
                assert!(row.sequence().end == size_of::<tls::$info>());
                assert!(row.sequence().end <= MAX_INFO_LEN);
            })*
        };
    };
}

table! {
    Aes128Gcm "AES-128-GCM" TLS_CIPHER_AES_GCM_128 tls12_crypto_info_aes_gcm_128 key 16 salt 4
        tls13 Some("TLS_AES_128_GCM_SHA256"), in_process true;
    Aes256Gcm "AES-256-GCM" TLS_CIPHER_AES_GCM_256 tls12_crypto_info_aes_gcm_256 key 32 salt 4
        tls13 Some("TLS_AES_256_GCM_SHA384"), in_process true;
    Aes128Ccm "AES-128-CCM" TLS_CIPHER_AES_CCM_128 tls12_crypto_info_aes_ccm_128 key 16 salt 4
        tls13 Some("TLS_AES_128_CCM_SHA256"), in_process false;
    ChaCha20Poly1305 "ChaCha20-Poly1305" TLS_CIPHER_CHACHA20_POLY1305 tls12_crypto_info_chacha20_poly1305
        key 32 salt 0 tls13 Some("TLS_CHACHA20_POLY1305_SHA256"), in_process true;
    Sm4Gcm "SM4-GCM" TLS_CIPHER_SM4_GCM tls12_crypto_info_sm4_gcm key 16 salt 4
        tls13 Some("TLS_SM4_GCM_SM3"), in_process false;
    Sm4Ccm "SM4-CCM" TLS_CIPHER_SM4_CCM tls12_crypto_info_sm4_ccm key 16 salt 4
        tls13 Some("TLS_SM4_CCM_SM3"), in_process false;
    Aria128Gcm "ARIA-128-GCM" TLS_CIPHER_ARIA_GCM_128 tls12_crypto_info_aria_gcm_128 key 16 salt 4
        tls13 None, in_process false;
    Aria256Gcm "ARIA-256-GCM" TLS_CIPHER_ARIA_GCM_256 tls12_crypto_info_aria_gcm_256 key 32 salt 4
        tls13 None, in_process false;
}

/// Where the parts lie in the kernel's struct.
impl Row {
    const fn iv(&self) -> Range<usize> {
        HEAD_LEN..HEAD_LEN + NONCE_LEN - self.salt_len
    }

    const fn key(&self) -> Range<usize> {
        let start = self.iv().end;
        start..start + self.key_len
    }

    const fn salt(&self) -> Range<usize> {
        let start = self.key().end;
        start..start + self.salt_len
    }

    const fn sequence(&self) -> Range<usize> {
        let start = self.salt().end;
        start..start + SEQUENCE_LEN
    }
}

impl Cipher {
    /// Every cipher there is.
    pub const ALL: [Self; 8] = [
        Self::Aes128Gcm,
        Self::Aes256Gcm,
        Self::Aes128Ccm,
        Self::ChaCha20Poly1305,
        Self::Sm4Gcm,
        Self::Sm4Ccm,
        Self::Aria128Gcm,
        Self::Aria256Gcm,
    ];

    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The length of its key in bytes.
    pub fn key_len(self) -> usize {
        self.row().key_len
    }

    /// Whether this library can seal and open records with it, so that it works without a kernel that can.
    pub fn in_process(self) -> bool {
        self.row().in_process
    }

    /// `TLS_CIPHER_*` of linux/tls.h.
    pub(crate) fn kernel_id(self) -> u16 {
        self.row().kernel
    }

    pub(crate) fn iv_range(self) -> Range<usize> {
        self.row().iv()
    }

    pub(crate) fn key_range(self) -> Range<usize> {
        self.row().key()
    }

    pub(crate) fn salt_range(self) -> Range<usize> {
        self.row().salt()
    }

    pub(crate) fn sequence_range(self) -> Range<usize> {
        self.row().sequence()
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the records of a connection are protected: a version and one of its ciphers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordCipher {
    version: Version,
    cipher: Cipher,
}

impl RecordCipher {
    /// The two together; `None` where that version has no such cipher, as TLS 1.3 has no ARIA.
    pub fn new(version: Version, cipher: Cipher) -> Option<Self> {
        let exists = version == Version::Tls12 || cipher.row().tls13.is_some();
        exists.then_some(Self { version, cipher })
    }

    /// Every combination there is.
    pub fn all() -> impl Iterator<Item = Self> {
        [Version::Tls13, Version::Tls12]
            .into_iter()
            .flat_map(|version| Cipher::ALL.into_iter().filter_map(move |cipher| Self::new(version, cipher)))
    }

    /// The version.
    pub fn version(self) -> Version {
        self.version
    }

    /// The cipher.
    pub fn cipher(self) -> Cipher {
        self.cipher
    }

    /// The name of TLS 1.3's cipher suite, or the name of the cipher alone in TLS 1.2, whose suites name the
    /// key exchange too.
    pub fn name(self) -> &'static str {
        match (self.version, self.cipher.row().tls13) {
            (Version::Tls13, Some(suite)) => suite,
            _ => self.cipher.name(),
        }
    }

    /// Whether each record carries 8 bytes of its nonce (RFC 5288, RFC 6655): in TLS 1.2 all but ChaCha20
    /// (RFC 7905).
    pub(crate) fn has_explicit_nonce(self) -> bool {
        self.version == Version::Tls12 && self.cipher.row().salt_len > 0
    }
}

impl From<CipherSuite> for RecordCipher {
    fn from(suite: CipherSuite) -> Self {
        Self { version: Version::Tls13, cipher: suite.cipher() }
    }
}

impl PartialEq<CipherSuite> for RecordCipher {
    fn eq(&self, suite: &CipherSuite) -> bool {
        *self == Self::from(*suite)
    }
}

impl fmt::Debug for RecordCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RecordCipher {
    /// As "TLS_AES_128_GCM_SHA256" or "AES-128-GCM of TLS 1.2".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::Tls13 => f.write_str(self.name()),
            Version::Tls12 => write!(f, "{} of {}", self.cipher, self.version),
        }
    }
}

/// A TLS 1.3 cipher suite that this library can negotiate by itself (RFC 8446, appendix B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CipherSuite {
    /// TLS_AES_128_GCM_SHA256, 0x1301: mandatory for NVMe/TCP.
    Aes128GcmSha256,
    /// TLS_AES_256_GCM_SHA384, 0x1302.
    Aes256GcmSha384,
    /// TLS_CHACHA20_POLY1305_SHA256, 0x1303: not for NVMe/TCP.
    ChaCha20Poly1305Sha256,
}

impl CipherSuite {
    /// Every suite there is. Where a hash has several, the first is the one that NVMe/TCP ties it to.
    pub const ALL: [Self; 3] = [Self::Aes128GcmSha256, Self::Aes256GcmSha384, Self::ChaCha20Poly1305Sha256];

    /// The suite with this number on the wire, if it is one of ours.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    /// The AES-GCM suite that belongs to a pre-shared key with this hash: NVMe/TCP ties the two together.
    pub fn for_hash(hash: Hash) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.hash() == hash)
    }

    /// Its number on the wire.
    pub fn id(self) -> u16 {
        match self {
            Self::Aes128GcmSha256 => 0x1301,
            Self::Aes256GcmSha384 => 0x1302,
            Self::ChaCha20Poly1305Sha256 => 0x1303,
        }
    }

    /// The cipher of its records.
    pub fn cipher(self) -> Cipher {
        match self {
            Self::Aes128GcmSha256 => Cipher::Aes128Gcm,
            Self::Aes256GcmSha384 => Cipher::Aes256Gcm,
            Self::ChaCha20Poly1305Sha256 => Cipher::ChaCha20Poly1305,
        }
    }

    /// Its name in IANA's registry.
    pub fn name(self) -> &'static str {
        RecordCipher::from(self).name()
    }

    /// The hash of its key schedule.
    pub fn hash(self) -> Hash {
        match self {
            Self::Aes128GcmSha256 | Self::ChaCha20Poly1305Sha256 => Hash::Sha256,
            Self::Aes256GcmSha384 => Hash::Sha384,
        }
    }

    /// The length of its AEAD key in bytes.
    pub fn key_len(self) -> usize {
        self.cipher().key_len()
    }
}

/// The length of an AEAD tag in bytes, for every cipher.
pub const TAG_LEN: usize = 16;
/// The length of an AEAD nonce in bytes, for every cipher.
pub const NONCE_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_numbers_are_in_the_order_of_the_variants() {
        // The numbers of linux/tls.h follow one another.
        assert_eq!(Cipher::ALL.map(Cipher::kernel_id), [51, 52, 53, 54, 55, 56, 57, 58]);
    }

    #[test]
    fn suites_are_found_by_number_and_by_hash() {
        for suite in CipherSuite::ALL {
            assert_eq!(CipherSuite::from_id(suite.id()), Some(suite));
            assert!(suite.cipher().in_process() && RecordCipher::from(suite) == suite);
        }
        assert_eq!(CipherSuite::from_id(0x1304), None);
        assert_eq!(CipherSuite::for_hash(Hash::Sha256), Some(CipherSuite::Aes128GcmSha256));
        assert_eq!(CipherSuite::for_hash(Hash::Sha384), Some(CipherSuite::Aes256GcmSha384));
        assert_eq!(CipherSuite::for_hash(Hash::Sha512), None);
    }

    #[test]
    fn aria_is_of_tls_1_2_alone() {
        assert_eq!(RecordCipher::all().count(), 14);
        assert!(RecordCipher::new(Version::Tls13, Cipher::Aria128Gcm).is_none());
        let aria = RecordCipher::new(Version::Tls12, Cipher::Aria256Gcm).unwrap();
        assert_eq!(aria.to_string(), "ARIA-256-GCM of TLS 1.2");
        assert!(aria.has_explicit_nonce());
        let chacha = RecordCipher::new(Version::Tls12, Cipher::ChaCha20Poly1305).unwrap();
        assert!(!chacha.has_explicit_nonce());
        assert_eq!(RecordCipher::from(CipherSuite::Aes128GcmSha256).name(), "TLS_AES_128_GCM_SHA256");
    }
}
