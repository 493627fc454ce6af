//! External pre-shared keys, and where a server finds them.

use super::error::Error;
use crate::cipher::CipherSuite;
use crate::crypto::Hash;
use crate::secret::Secret;

/// The longest PSK identity that this library takes, in bytes. NVMe/TCP's have at most some 550.
pub const MAX_IDENTITY_LEN: usize = 16_384;

/// A key that both ends have before the handshake, its name, and the hash that it belongs to: TLS 1.3 ties
/// a key to one hash, and with it to one cipher suite (RFC 8446, section 4.2.11).
#[derive(Clone, Debug)]
pub struct Psk {
    identity: Vec<u8>,
    secret: Secret,
    suite: CipherSuite,
}

impl Psk {
    /// Takes an identity of 1 to [`MAX_IDENTITY_LEN`] bytes and a secret that is not empty.
    ///
    /// # Errors
    /// [`Error::Config`] for other lengths, and for a hash that no suite of this library has.
    pub fn new(identity: Vec<u8>, secret: Secret, hash: Hash) -> Result<Self, Error> {
        let suite = CipherSuite::for_hash(hash).ok_or(Error::Config(
            "a pre-shared key belongs to SHA-256 or SHA-384: no suite has another hash",
        ))?;
        Self::with_suite(identity, secret, suite)
    }

    /// The same for a suite that [`new`](Self::new) would not choose: ChaCha20-Poly1305, where both ends are
    /// set up for it. NVMe/TCP is not.
    ///
    /// # Errors
    /// [`Error::Config`] for other lengths.
    pub fn with_suite(identity: Vec<u8>, secret: Secret, suite: CipherSuite) -> Result<Self, Error> {
        if identity.is_empty() || identity.len() > MAX_IDENTITY_LEN {
            return Err(Error::Config("a PSK identity has 1 to 16384 bytes"));
        }
        if secret.is_empty() {
            return Err(Error::Config("a pre-shared key is not empty"));
        }
        Ok(Self { identity, secret, suite })
    }

    /// Its name, as it goes over the wire in the clear.
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// The key itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The suite with its hash.
    pub fn suite(&self) -> CipherSuite {
        self.suite
    }
}

/// Where a server finds keys.
pub trait PskStore: Send + Sync {
    /// Every key with this identity. There may be several: an NVMe/TCP identity of version 0 does not say
    /// which key it names, so the server tries each against the client's binder. Keep the list short, for
    /// any peer can make the server try all of it.
    fn candidates(&self, identity: &[u8]) -> Vec<Psk>;
}

impl<F: Fn(&[u8]) -> Vec<Psk> + Send + Sync> PskStore for F {
    fn candidates(&self, identity: &[u8]) -> Vec<Psk> {
        self(identity)
    }
}
