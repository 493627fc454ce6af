//! The configured PSK: the secret that host and subsystem were both given.

use ktls::crypto::{self, CryptoError, Hash};
use ktls::secret::Secret;

use super::text::KeyTextError;

/// The hash that the `hh` of a key's text names: how the retained PSK is made from the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyHash {
    /// `00`: the key is used as it is, as its own retained PSK.
    None = 0,
    /// `01`: SHA-256, for keys of 32 bytes.
    Sha256 = 1,
    /// `02`: SHA-384, for keys of 48 bytes.
    Sha384 = 2,
}

impl KeyHash {
    /// Every value there is, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::None, Self::Sha256, Self::Sha384];

    /// The number in the text.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// let text = ConfiguredKey::generate(KeyHash::Sha384)?.to_text();
    /// assert!(text.starts_with(&format!("NVMeTLSkey-1:{:02}:", KeyHash::Sha384.id())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The value with this number, if there is one.
    ///
    /// ```
    /// use nvme_tcp::psk::KeyHash;
    ///
    /// assert_eq!(KeyHash::from_id(1), Some(KeyHash::Sha256));
    /// // SHA-512 is for the secrets of DH-HMAC-CHAP only.
    /// assert_eq!(KeyHash::from_id(3), None);
    /// ```
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.id() == id)
    }

    /// The length of a key with this hash in bytes; `None` where both 32 and 48 are allowed.
    ///
    /// ```
    /// use nvme_tcp::psk::KeyHash;
    ///
    /// assert_eq!(KeyHash::Sha384.key_len(), Some(48));
    /// assert_eq!(KeyHash::None.key_len(), None);
    /// ```
    pub fn key_len(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Sha256 => Some(Hash::Sha256.output_len()),
            Self::Sha384 => Some(Hash::Sha384.output_len()),
        }
    }
}

/// A configured PSK, as its interchange text `NVMeTLSkey-1:hh:Base64(PSK || CRC-32):` holds it.
///
/// It is parsed by [`str::parse`], never printed, and overwritten with zeros when it is dropped.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
///
/// ConfiguredKey::generate(KeyHash::Sha256)?.write_file("/etc/nvme/image.key")?;
/// let key = ConfiguredKey::from_file("/etc/nvme/image.key")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredKey {
    hash: KeyHash,
    psk: Secret,
    /// The hash with the PSK's length, which names the cipher suite as well.
    psk_hash: Hash,
}

impl ConfiguredKey {
    /// Takes a copy of the key's bytes.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// let error = ConfiguredKey::new(KeyHash::Sha384, &[7; 32]).unwrap_err();
    /// assert_eq!(error.to_string(), "the key is 32 bytes long, but its hash 02 asks for 48");
    /// ```
    ///
    /// # Errors
    /// [`KeyTextError::Length`] unless they are 32 or 48, [`KeyTextError::HashLength`] when that is not
    /// the length that `hash` asks for.
    pub fn new(hash: KeyHash, psk: &[u8]) -> Result<Self, KeyTextError> {
        let found = psk.len();
        let (psk_hash, psk) = [Hash::Sha256, Hash::Sha384]
            .into_iter()
            .find(|candidate| candidate.output_len() == found)
            .zip(Secret::new(psk))
            .ok_or(KeyTextError::Length { found })?;
        match hash.key_len() {
            Some(expected) if expected != found => {
                Err(KeyTextError::HashLength { hash: hash.id(), expected, found })
            }
            _ => Ok(Self { hash, psk, psk_hash }),
        }
    }

    /// A new random key; 32 bytes for [`KeyHash::None`].
    ///
    /// [`KeyHash::Sha256`] is what every peer understands. GnuTLS before 3.8.11, and so the kernel's
    /// targets that use it, cannot do a handshake with a 48-byte key.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// let key = ConfiguredKey::generate(KeyHash::Sha256)?;
    /// // Two that are generated are never the same, and neither is shown by a log.
    /// assert_ne!(key, ConfiguredKey::generate(KeyHash::Sha256)?);
    /// assert!(format!("{key:?}").contains("Secret(32 bytes)"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate(hash: KeyHash) -> Result<Self, CryptoError> {
        let psk_hash = match hash {
            KeyHash::None | KeyHash::Sha256 => Hash::Sha256,
            KeyHash::Sha384 => Hash::Sha384,
        };
        let mut psk = Secret::zeroed(psk_hash.output_len()).ok_or(CryptoError)?;
        crypto::random(psk.expose_mut())?;
        Ok(Self { hash, psk, psk_hash })
    }

    /// Which hash makes the retained PSK from it.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// let key: ConfiguredKey = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:".parse()?;
    /// assert_eq!(key.hash(), KeyHash::Sha256);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash(&self) -> KeyHash {
        self.hash
    }

    /// The hash of everything derived from it, and of the cipher suite: by its length, SHA-256 for
    /// 32 bytes and SHA-384 for 48.
    ///
    /// ```
    /// use ktls::crypto::Hash;
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// // Its text says no hash, and its length does.
    /// let key = ConfiguredKey::new(KeyHash::None, &[7; 48])?;
    /// assert_eq!(key.psk_hash(), Hash::Sha384);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn psk_hash(&self) -> Hash {
        self.psk_hash
    }

    /// The key itself.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// let [tied, bare] = [KeyHash::Sha256, KeyHash::None].map(|hash| ConfiguredKey::new(hash, &[7; 32]));
    /// // The same key in two texts; comparing takes as long whatever differs.
    /// assert_eq!(tied?.psk(), bare?.psk());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn psk(&self) -> &Secret {
        &self.psk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_as_long_as_its_hash_says() {
        for (hash, len) in
            [(KeyHash::None, 32), (KeyHash::None, 48), (KeyHash::Sha256, 32), (KeyHash::Sha384, 48)]
        {
            assert_eq!(ConfiguredKey::new(hash, &vec![7; len]).unwrap().psk_hash().output_len(), len);
        }
        for len in [0, 31, 33, 47, 49, 64, 65] {
            assert_eq!(
                ConfiguredKey::new(KeyHash::None, &vec![7; len]),
                Err(KeyTextError::Length { found: len })
            );
        }
        assert_eq!(
            ConfiguredKey::new(KeyHash::Sha384, &[7; 32]),
            Err(KeyTextError::HashLength { hash: 2, expected: 48, found: 32 })
        );
    }

    #[test]
    fn generated_keys_differ() {
        for hash in KeyHash::ALL {
            let key = ConfiguredKey::generate(hash).unwrap();
            assert_eq!(key.hash(), hash);
            assert_eq!(key.psk().len(), hash.key_len().unwrap_or(32));
            assert_ne!(key, ConfiguredKey::generate(hash).unwrap());
        }
    }

    #[test]
    fn prints_no_byte_of_the_key() {
        let key = ConfiguredKey::new(KeyHash::Sha256, &[0xa5; 32]).unwrap();
        let printed = format!("{key:?}");
        assert!(printed.contains("Secret(32 bytes)"), "{printed}");
        assert!(!printed.contains("165") && !printed.to_lowercase().contains("a5"), "{printed}");
    }
}
