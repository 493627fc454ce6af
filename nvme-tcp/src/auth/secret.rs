//! The secrets of DH-HMAC-CHAP and their text, `DHHC-1:hh:Base64(key || CRC-32 of the key):`.

use std::path::Path;
use std::str::FromStr;

use ktls::crypto::{self, CryptoError, Hash};
use ktls::secret::Secret;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key_file::{self, KeyFileError};
use crate::key_text::{self, Fault};

const PREFIX: &str = "DHHC-1:";
/// What the key is transformed with, after the NQN.
const LABEL: &[u8] = b"NVMe-over-Fabrics";
/// The lengths that a key may have, in bytes: those of the hashes.
const KEY_LENS: [usize; 3] = [32, 48, 64];

/// The hash that the `hh` of a secret's text names: how the key is tied to the NQN of its owner before it is
/// used (NVMe Base, 8.3.4.5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretHash {
    /// `00`: the key is used as it is.
    None = 0,
    /// `01`: SHA-256.
    Sha256 = 1,
    /// `02`: SHA-384.
    Sha384 = 2,
    /// `03`: SHA-512.
    Sha512 = 3,
}

impl SecretHash {
    /// Every value there is, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::None, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The number in the text.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// let text = DhchapSecret::generate(SecretHash::Sha512)?.to_text();
    /// assert!(text.starts_with(&format!("DHHC-1:{:02}:", SecretHash::Sha512.id())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The value with this number, if there is one.
    ///
    /// ```
    /// use nvme_tcp::auth::SecretHash;
    ///
    /// assert_eq!(SecretHash::from_id(0), Some(SecretHash::None));
    /// assert_eq!(SecretHash::from_id(4), None);
    /// ```
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.id() == id)
    }

    fn hash(self) -> Option<Hash> {
        match self {
            Self::None => None,
            Self::Sha256 => Some(Hash::Sha256),
            Self::Sha384 => Some(Hash::Sha384),
            Self::Sha512 => Some(Hash::Sha512),
        }
    }
}

/// A secret of one host or one subsystem, which both ends know. It prints as its length only.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use nvme_tcp::auth::{DhchapSecret, SecretHash};
///
/// DhchapSecret::generate(SecretHash::Sha256)?.write_file("/etc/nvme/host.secret")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhchapSecret {
    hash: SecretHash,
    key: Secret,
}

impl DhchapSecret {
    /// Takes the key's bytes.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// // Any of the three lengths goes with any hash.
    /// let secret = DhchapSecret::new(SecretHash::Sha256, &[7; 64])?;
    /// assert_eq!(secret.key().len(), 64);
    /// assert!(DhchapSecret::new(SecretHash::Sha256, &[7; 33]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SecretTextError::Length`] unless they are 32, 48 or 64.
    pub fn new(hash: SecretHash, key: &[u8]) -> Result<Self, SecretTextError> {
        let length = SecretTextError::Length { found: key.len() };
        let key = Secret::new(key).filter(|key| KEY_LENS.contains(&key.len())).ok_or(length)?;
        Ok(Self { hash, key })
    }

    /// A new random secret, as long as the hash's output; 32 bytes for [`SecretHash::None`].
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// let secret = DhchapSecret::generate(SecretHash::Sha384)?;
    /// assert_eq!(secret.key().len(), 48);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate(hash: SecretHash) -> Result<Self, CryptoError> {
        let len = hash.hash().unwrap_or(Hash::Sha256).output_len();
        let mut key = Secret::zeroed(len).ok_or(CryptoError)?;
        crypto::random(key.expose_mut())?;
        Ok(Self { hash, key })
    }

    /// Reads a secret from a file that holds its text; white space around it does not count. A pipe is as
    /// good as a file.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nvme_tcp::auth::DhchapSecret;
    ///
    /// // Written by `nvme gen-dhchap-key --hmac=1 > host.secret`, and `chmod 600 host.secret`.
    /// let secret = DhchapSecret::from_file("/etc/nvme/host.secret")?;
    /// println!("tied to its owner by {:?}", secret.hash());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Group or others have access to the file, or it cannot be read, or does not hold a secret.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let wrong = |source| KeyFileError::Secret { path: path.to_owned(), source };
        key_file::read(path, |text| text.parse().map_err(wrong))
    }

    /// Writes the text to a new file of mode 0600.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, KeyFileError, SecretHash};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("host.secret");
    /// let secret = DhchapSecret::generate(SecretHash::Sha256)?;
    /// secret.write_file(&path)?;
    /// assert_eq!(DhchapSecret::from_file(&path)?, secret);
    /// // One that may be in use is not written over.
    /// assert!(matches!(secret.write_file(&path), Err(KeyFileError::Exists { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`KeyFileError::Exists`] if there is such a file already, which is left as it is;
    /// [`KeyFileError::Io`] if it cannot be written, and then there is no file.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<(), KeyFileError> {
        key_file::write(path.as_ref(), &self.to_text())
    }

    /// Its text, without a line's end. It is the secret: keep it out of logs.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// let secret = DhchapSecret::generate(SecretHash::Sha256)?;
    /// // For the target's configuration; its memory is overwritten when it is dropped.
    /// assert_eq!(secret.to_text().parse::<DhchapSecret>()?, secret);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_text(&self) -> Zeroizing<String> {
        key_text::format(PREFIX, self.hash.id(), self.key.expose())
    }

    /// Which hash ties it to its owner.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// let secret: DhchapSecret = "DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:".parse()?;
    /// assert_eq!(secret.hash(), SecretHash::Sha256);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash(&self) -> SecretHash {
        self.hash
    }

    /// The key itself.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// let secret = DhchapSecret::new(SecretHash::None, &[7; 32])?;
    /// // Only `expose` shows it, which is easy to look for in a program.
    /// assert_eq!(secret.key().expose(), [7; 32]);
    /// assert_eq!(format!("{:?}", secret.key()), "Secret(32 bytes)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// The transformed key, which responses are made with: tied to `owner`, the NQN of the host or the
    /// subsystem whose secret it is.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// let secret = DhchapSecret::generate(SecretHash::Sha256)?;
    /// // It is of no use for another host: a target may keep it in the secret's place.
    /// let [one, other] = ["nqn.2024-01.io.example:one", "nqn.2024-01.io.example:other"];
    /// assert_ne!(secret.transformed(one), secret.transformed(other));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transformed(&self, owner: &str) -> Secret {
        match self.hash.hash() {
            None => self.key.clone(),
            Some(hash) => crypto::hmac(hash, self.key.expose(), &[owner.as_bytes(), LABEL]),
        }
    }
}

impl FromStr for DhchapSecret {
    type Err = SecretTextError;

    fn from_str(text: &str) -> Result<Self, SecretTextError> {
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| other_text(text))?;
        let (hash, key) = key_text::parse(rest, SecretHash::Sha512.id(), &KEY_LENS)?;
        let hash =
            SecretHash::from_id(hash).ok_or_else(|| SecretTextError::Hash { found: hash.to_string() })?;
        Self::new(hash, &key)
    }
}

/// Names the text that is often taken for a secret.
fn other_text(text: &str) -> SecretTextError {
    if text.starts_with("NVMeTLSkey-") { SecretTextError::TlsKey } else { SecretTextError::Prefix }
}

/// What is wrong with a secret's text. No variant holds a byte of the secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretTextError {
    /// The text is something else.
    #[error("the secret's text does not begin with \"DHHC-1:\"")]
    Prefix,
    /// The text is a TLS key.
    #[error("the text begins with \"NVMeTLSkey-\": it is a TLS key, not a DH-HMAC-CHAP secret")]
    TlsKey,
    /// The hash field is none of `00` to `03`.
    #[error(
        "the secret's text has hash {found}, expected \"00\" (none), \"01\" (SHA-256), \"02\" (SHA-384) or \"03\" (SHA-512)"
    )]
    Hash {
        /// The hash field in quotes, or how long it is.
        found: String,
    },
    /// A colon is missing at the end of a field.
    #[error("the secret's text ends inside its {field} field: the colon after it is missing")]
    Truncated {
        /// Which field.
        field: &'static str,
    },
    /// Something follows the last colon.
    #[error("the secret's text goes on for {len} bytes after its last colon")]
    Trailing {
        /// How many bytes.
        len: usize,
    },
    /// The key field is not Base64 (RFC 4648, section 4, with padding).
    #[error("the secret's Base64 field is wrong{}", at.map(|at| format!(" at its byte {at}")).unwrap_or_default())]
    Base64 {
        /// The first wrong byte, counted from the field's start; `None` where the length or the padding is.
        at: Option<usize>,
    },
    /// The secret is not 32, 48 or 64 bytes long.
    #[error("the secret is {found} bytes long, expected 32, 48 or 64")]
    Length {
        /// Its length in bytes, the CRC not counted.
        found: usize,
    },
    /// The CRC-32 in the text is not that of the secret.
    #[error("the secret's CRC-32 is given as {found:08x}, but is {expected:08x}")]
    Crc {
        /// The CRC-32 of the secret.
        expected: u32,
        /// The one in the text.
        found: u32,
    },
}

impl SecretTextError {
    /// What an operator can do about it.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhchapSecret, SecretTextError};
    ///
    /// let error = "NVMeTLSkey-1:01:".parse::<DhchapSecret>().unwrap_err();
    /// assert_eq!(error, SecretTextError::TlsKey);
    /// assert!(error.hint().contains("`nvme gen-dhchap-key`"));
    /// ```
    pub fn hint(&self) -> String {
        match self {
            Self::Prefix | Self::TlsKey | Self::Hash { .. } => {
                "give the secret as `nvme-tcp key generate-dhchap` or `nvme gen-dhchap-key` prints it, DHHC-1:hh:...:"
            }
            Self::Truncated { .. } | Self::Trailing { .. } => {
                "copy the whole text and nothing more: it begins with DHHC-1: and ends with a colon"
            }
            Self::Base64 { .. } | Self::Length { .. } | Self::Crc { .. } => {
                "a character was lost or changed: copy the text again from where the secret was generated"
            }
        }
        .to_owned()
    }
}

impl From<Fault> for SecretTextError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Hash(found) => Self::Hash { found },
            Fault::Truncated(field) => Self::Truncated { field },
            Fault::Trailing(len) => Self::Trailing { len },
            Fault::Base64(at) => Self::Base64 { at },
            Fault::Length(found) => Self::Length { found },
            Fault::Crc { expected, found } => Self::Crc { expected, found },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes 00 to 1f; the Base64 field is that of the TLS key over the same bytes, since the CRC is the same.
    const TEXT: &str = "DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";

    #[test]
    fn text_comes_back_as_it_went() {
        let secret: DhchapSecret = TEXT.parse().unwrap();
        assert_eq!((secret.hash(), secret.key().len()), (SecretHash::Sha256, 32));
        assert!(secret.key().expose().iter().copied().eq(0..32));
        assert_eq!(*secret.to_text(), TEXT);
        for hash in SecretHash::ALL {
            let secret = DhchapSecret::generate(hash).unwrap();
            assert_eq!(secret.to_text().parse(), Ok(secret.clone()));
            assert_ne!(secret, DhchapSecret::generate(hash).unwrap());
        }
        assert!(!format!("{secret:?}").contains("31"), "{secret:?}");
    }

    #[test]
    fn wrong_texts_are_named() {
        let error = |text: &str| text.parse::<DhchapSecret>().unwrap_err();
        assert_eq!(error("secret"), SecretTextError::Prefix);
        assert_eq!(error("NVMeTLSkey-1:01:x:"), SecretTextError::TlsKey);
        assert_eq!(error("DHHC-1:04:AA==:"), SecretTextError::Hash { found: "\"04\"".to_owned() });
        assert_eq!(error(&TEXT[..TEXT.len() - 1]), SecretTextError::Truncated { field: "key" });
        assert_eq!(error(&format!("{TEXT}x")), SecretTextError::Trailing { len: 1 });
        assert_eq!(error(&TEXT.replace("AAEC", "A*EC")), SecretTextError::Base64 { at: Some(1) });
        assert_eq!(error("DHHC-1:00:AAAAAAA=:"), SecretTextError::Length { found: 1 });
        assert!(matches!(error(&TEXT.replace("AAEC", "BAEC")), SecretTextError::Crc { .. }));
        assert_eq!(DhchapSecret::new(SecretHash::None, &[1; 33]), Err(SecretTextError::Length { found: 33 }));
    }

    #[test]
    fn a_key_is_tied_to_its_owner_unless_it_says_none() {
        let secret: DhchapSecret = TEXT.parse().unwrap();
        let expected = crypto::hmac(Hash::Sha256, secret.key().expose(), &[b"nqn.aNVMe-over-Fabrics"]);
        assert_eq!(secret.transformed("nqn.a"), expected);
        assert_ne!(secret.transformed("nqn.b"), expected);
        let as_it_is = DhchapSecret::new(SecretHash::None, secret.key().expose()).unwrap();
        assert_eq!(as_it_is.transformed("nqn.a"), *secret.key());
    }

    #[test]
    fn files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let secret = DhchapSecret::generate(SecretHash::Sha384).unwrap();
        secret.write_file(&path).unwrap();
        assert_eq!(DhchapSecret::from_file(&path).unwrap(), secret);
        assert!(matches!(secret.write_file(&path), Err(KeyFileError::Exists { .. })));
        std::fs::write(&path, "DHHC-1:01:").unwrap();
        assert!(matches!(DhchapSecret::from_file(&path), Err(KeyFileError::Secret { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(DhchapSecret::from_file(&path), Err(KeyFileError::Permissions { .. })));
    }
}
