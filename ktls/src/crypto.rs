//! The one file that names ring: hashes, HMAC, HKDF, key agreement, AEAD and random bytes.
//!
//! ring zeroizes nothing, so what comes out of it as bytes goes straight into a [`Secret`].

use ring::{aead, agreement, digest, hkdf, hmac, rand};

use crate::cipher::{Cipher, CipherSuite, NONCE_LEN, TAG_LEN};
use crate::secret::{MAX_SECRET_LEN, Secret};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// The length of its output in bytes.
    pub fn output_len(self) -> usize {
        self.digest_algorithm().output_len()
    }

    fn digest_algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac_algorithm(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn hkdf_algorithm(self) -> hkdf::Algorithm {
        match self {
            Self::Sha256 => hkdf::HKDF_SHA256,
            Self::Sha384 => hkdf::HKDF_SHA384,
            Self::Sha512 => hkdf::HKDF_SHA512,
        }
    }
}

/// What a hash function made: public, unlike a [`Secret`].
#[derive(Clone, Copy)]
pub struct Digest(digest::Digest);

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// A hash over bytes that come in pieces; a copy of it gives the value so far.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Hasher {
    /// Starts with no byte.
    pub fn new(hash: Hash) -> Self {
        Self(digest::Context::new(hash.digest_algorithm()))
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that was added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finish())
    }
}

/// HMAC (RFC 2104) over the concatenation of `parts`.
pub fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Secret {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hash.hmac_algorithm(), key));
    for part in parts {
        context.update(part);
    }
    // An HMAC is as long as its hash, which a secret always holds.
    Secret::new(context.sign().as_ref()).unwrap_or_else(|| unreachable!("a hash fits a secret"))
}

/// A key from which others are expanded (RFC 5869's PRK).
pub struct Prk {
    hash: Hash,
    prk: hkdf::Prk,
}

/// The length that ring is asked to expand to.
struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Prk {
    /// HKDF-Extract (RFC 5869, section 2.2). An empty salt stands for HashLen zero bytes.
    pub fn extract(hash: Hash, salt: &[u8], ikm: &[u8]) -> Self {
        Self { hash, prk: hkdf::Salt::new(hash.hkdf_algorithm(), salt).extract(ikm) }
    }

    /// Takes `secret` as a PRK, as the TLS 1.3 key schedule does with each traffic secret.
    pub fn from_secret(hash: Hash, secret: &Secret) -> Self {
        Self { hash, prk: hkdf::Prk::new_less_safe(hash.hkdf_algorithm(), secret.expose()) }
    }

    /// Which hash it expands with.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// HKDF-Expand (RFC 5869, section 2.3) with the concatenation of `info`.
    ///
    /// # Panics
    /// When `len` is more than [`MAX_SECRET_LEN`]: lengths come from the standards, never from a peer.
    pub fn expand(&self, info: &[&[u8]], len: usize) -> Secret {
        assert!(len <= MAX_SECRET_LEN, "no key is longer than {MAX_SECRET_LEN} bytes");
        let mut secret = Secret::zeroed(len).unwrap_or_else(|| unreachable!("checked above"));
        let filled = self.prk.expand(info, Len(len)).and_then(|okm| okm.fill(secret.expose_mut()));
        assert!(filled.is_ok(), "HKDF can give 255 x HashLen bytes");
        secret
    }

    /// HKDF-Expand-Label (RFC 8446, section 7.1): `label` without its "tls13 ", at most 249 bytes;
    /// `context` at most 255.
    ///
    /// # Panics
    /// When a part is longer than its length byte can say.
    pub fn expand_label(&self, label: &str, context: &[u8], len: usize) -> Secret {
        let byte = |n: usize| [u8::try_from(n).unwrap_or_else(|_| panic!("{n} does not fit one byte"))];
        let out = u16::try_from(len).unwrap_or_else(|_| panic!("{len} does not fit two bytes"));
        let label_len = byte("tls13 ".len() + label.len());
        self.expand(
            &[&out.to_be_bytes(), &label_len, b"tls13 ", label.as_bytes(), &byte(context.len()), context],
            len,
        )
    }
}

/// A group for key agreement (RFC 8446, section 4.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// x25519, 0x001d.
    X25519,
    /// secp256r1, 0x0017.
    Secp256r1,
    /// secp384r1, 0x0018.
    Secp384r1,
}

impl Group {
    /// Every group there is, the preferred first.
    pub const ALL: [Self; 3] = [Self::X25519, Self::Secp256r1, Self::Secp384r1];

    /// Its number on the wire.
    pub fn id(self) -> u16 {
        match self {
            Self::X25519 => 0x001d,
            Self::Secp256r1 => 0x0017,
            Self::Secp384r1 => 0x0018,
        }
    }

    /// The group with this number on the wire, if it is one of ours.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.id() == id)
    }

    fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::X25519 => &agreement::X25519,
            Self::Secp256r1 => &agreement::ECDH_P256,
            Self::Secp384r1 => &agreement::ECDH_P384,
        }
    }
}

/// The system would not give random bytes, or a peer's public key is not a point of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes, or the peer's public key is not a point of its group")]
pub struct CryptoError;

impl From<ring::error::Unspecified> for CryptoError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self
    }
}

/// One end's half of a key agreement, used once.
pub struct KeyPair {
    group: Group,
    private: agreement::EphemeralPrivateKey,
    public: agreement::PublicKey,
}

impl KeyPair {
    /// A new pair.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate(group: Group) -> Result<Self, CryptoError> {
        let private =
            agreement::EphemeralPrivateKey::generate(group.algorithm(), &rand::SystemRandom::new())?;
        let public = private.compute_public_key()?;
        Ok(Self { group, private, public })
    }

    /// Which group it is of.
    pub fn group(&self) -> Group {
        self.group
    }

    /// What the peer gets, as it stands in a key share.
    pub fn public(&self) -> &[u8] {
        self.public.as_ref()
    }

    /// The shared secret with `peer`'s public key (RFC 8446, section 7.4.2).
    ///
    /// # Errors
    /// `peer` is no point of the group in its uncompressed form, or one with which the secret would be zero.
    pub fn agree(self, peer: &[u8]) -> Result<Secret, CryptoError> {
        let peer = agreement::UnparsedPublicKey::new(self.group.algorithm(), peer);
        agreement::agree_ephemeral(self.private, &peer, |shared| Secret::new(shared).ok_or(CryptoError))?
    }
}

/// An AEAD key of one direction with its IV.
pub struct RecordKey {
    key: aead::LessSafeKey,
    iv: [u8; NONCE_LEN],
}

/// How the nonce of a record is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonce {
    /// The IV with the record's sequence number mixed in: TLS 1.3 (RFC 8446, section 5.3), and ChaCha20 in
    /// TLS 1.2 (RFC 7905, section 2).
    Sequence(u64),
    /// The first 4 bytes of the IV, and these 8 that stand in the record: AES-GCM in TLS 1.2 (RFC 5288,
    /// section 3).
    Explicit(u64),
}

impl RecordKey {
    /// Takes a key and IV of the lengths that `suite` has; `None` for other lengths.
    pub fn new(suite: CipherSuite, key: &Secret, iv: &Secret) -> Option<Self> {
        Self::for_cipher(suite.cipher(), key, iv)
    }

    /// Takes a key and IV of the lengths that `cipher` has; `None` for other lengths, and for a cipher that
    /// only the kernel has.
    pub fn for_cipher(cipher: Cipher, key: &Secret, iv: &Secret) -> Option<Self> {
        let algorithm = match cipher {
            Cipher::Aes128Gcm => &aead::AES_128_GCM,
            Cipher::Aes256Gcm => &aead::AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
            Cipher::Aes128Ccm | Cipher::Sm4Gcm | Cipher::Sm4Ccm => return None,
            Cipher::Aria128Gcm | Cipher::Aria256Gcm => return None,
        };
        let key = aead::UnboundKey::new(algorithm, key.expose()).ok()?;
        Some(Self { key: aead::LessSafeKey::new(key), iv: iv.expose().try_into().ok()? })
    }

    fn nonce(&self, nonce: Nonce) -> aead::Nonce {
        let mut bytes = self.iv;
        let (_, end) = bytes.split_at_mut(NONCE_LEN - 8);
        match nonce {
            Nonce::Sequence(sequence) => {
                end.iter_mut().zip(sequence.to_be_bytes()).for_each(|(byte, counter)| *byte ^= counter);
            }
            Nonce::Explicit(explicit) => end.copy_from_slice(&explicit.to_be_bytes()),
        }
        aead::Nonce::assume_unique_for_key(bytes)
    }

    /// Seals `data` in place and gives its tag. One `sequence` is never used twice.
    ///
    /// # Errors
    /// `data` is longer than the cipher takes under one nonce: some 64 GiB with AES-GCM (RFC 5116, section 5.1).
    pub fn seal(&self, sequence: u64, aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        self.seal_with(Nonce::Sequence(sequence), aad, data)
    }

    /// The same with a nonce of either kind, of which none is used twice.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_with(&self, nonce: Nonce, aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        let tag = self.key.seal_in_place_separate_tag(self.nonce(nonce), aead::Aad::from(aad), data)?;
        tag.as_ref().try_into().map_err(|_| CryptoError)
    }

    /// Opens `data`, ciphertext and tag, in place; the plaintext is its beginning.
    ///
    /// # Errors
    /// `data` or `aad` is not what was sealed with this key and number; what `data` then holds is of no use.
    pub fn open<'a>(
        &self,
        sequence: u64,
        aad: &[u8],
        data: &'a mut [u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        self.open_with(Nonce::Sequence(sequence), aad, data)
    }

    /// The same with a nonce of either kind.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with<'a>(
        &self,
        nonce: Nonce,
        aad: &[u8],
        data: &'a mut [u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        Ok(self.key.open_in_place(self.nonce(nonce), aead::Aad::from(aad), data)?)
    }

    /// The same where the tag stands apart from `data`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_apart<'a>(
        &self,
        nonce: Nonce,
        aad: &[u8],
        data: &'a mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<&'a mut [u8], CryptoError> {
        let (nonce, aad) = (self.nonce(nonce), aead::Aad::from(aad));
        Ok(self.key.open_in_place_separate_tag(nonce, aad, tag.into(), data, 0..)?)
    }
}

/// Fills `bytes` from the system's random source.
///
/// # Errors
/// It gives none.
pub fn random(bytes: &mut [u8]) -> Result<(), CryptoError> {
    use rand::SecureRandom;
    Ok(rand::SystemRandom::new().fill(bytes)?)
}
