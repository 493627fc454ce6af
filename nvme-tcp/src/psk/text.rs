//! The interchange text of a configured PSK: `NVMeTLSkey-1:hh:Base64(PSK || CRC-32 of the PSK):`.

use std::path::Path;
use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

use super::key::{ConfiguredKey, KeyHash};
use crate::key_file::{self, KeyFileError};
use crate::key_text::{self, Fault};

const PREFIX: &str = "NVMeTLSkey-";
const VERSION: &str = "1";

/// What is wrong with a key's text. No variant holds a byte of the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyTextError {
    /// The text is something else.
    #[error("the key text does not begin with \"NVMeTLSkey-1:\"")]
    Prefix,
    /// The text is a line of `/etc/nvme/tls-keys`: an identity, then a derived TLS PSK.
    #[error("the text begins with a PSK identity: it holds a derived TLS PSK, not a configured key")]
    DerivedKey,
    /// The text is a secret for DH-HMAC-CHAP.
    #[error("the text begins with \"DHHC-1:\": it is a DH-HMAC-CHAP secret, not a TLS key")]
    AuthenticationSecret,
    /// The format's version is not the one there is.
    #[error("the key text has version {found}, expected \"1\"")]
    Version {
        /// The version in quotes, or how long the field is.
        found: String,
    },
    /// The hash field is none of `00`, `01`, `02`.
    #[error("the key text has hash {found}, expected \"00\" (none), \"01\" (SHA-256) or \"02\" (SHA-384)")]
    Hash {
        /// The hash field in quotes, or how long it is.
        found: String,
    },
    /// A colon is missing at the end of one of the three fields.
    #[error("the key text ends inside its {field} field: the colon after it is missing")]
    Truncated {
        /// Which field.
        field: &'static str,
    },
    /// Something follows the last colon.
    #[error("the key text goes on for {len} bytes after its last colon")]
    Trailing {
        /// How many bytes.
        len: usize,
    },
    /// The key field is not Base64 (RFC 4648, section 4, with padding).
    #[error("the key text's Base64 field is wrong{}", at.map(|at| format!(" at its byte {at}")).unwrap_or_default())]
    Base64 {
        /// The first wrong byte, counted from the field's start; `None` where the length or the padding is.
        at: Option<usize>,
    },
    /// The key is neither 32 nor 48 bytes long.
    #[error("the key is {found} bytes long, expected 32 or 48")]
    Length {
        /// Its length in bytes, the CRC not counted.
        found: usize,
    },
    /// The key's length is not that of its hash.
    #[error("the key is {found} bytes long, but its hash {hash:02} asks for {expected}")]
    HashLength {
        /// The number in the hash field.
        hash: u8,
        /// The length of that hash in bytes.
        expected: usize,
        /// The key's length in bytes.
        found: usize,
    },
    /// The CRC-32 in the text is not that of the key.
    #[error("the key text's CRC-32 is {found:08x}, but the key's is {expected:08x}")]
    Crc {
        /// The CRC-32 of the key.
        expected: u32,
        /// The one in the text.
        found: u32,
    },
}

impl KeyTextError {
    /// What an operator can do about it.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, KeyTextError};
    ///
    /// let error = "DHHC-1:01:".parse::<ConfiguredKey>().unwrap_err();
    /// assert_eq!(error, KeyTextError::AuthenticationSecret);
    /// assert!(error.hint().contains("`nvme-tcp key generate`"));
    /// ```
    pub fn hint(&self) -> String {
        match self {
            Self::Prefix | Self::Version { .. } => {
                "give the configured key in its interchange form, NVMeTLSkey-1:hh:...:, as `nvme-tcp key generate` prints it"
            }
            Self::DerivedKey => {
                "give the configured key that this TLS PSK was derived from, or take the line from its file \
                 (KeySource::tls_keys)"
            }
            Self::AuthenticationSecret => {
                "a TLS key begins with NVMeTLSkey-1: and is made by `nvme-tcp key generate`"
            }
            Self::Hash { .. } | Self::HashLength { .. } => {
                "32-byte keys go with 01, 48-byte keys with 02: take the text exactly as it was generated"
            }
            Self::Truncated { .. } | Self::Trailing { .. } => {
                "copy the whole text and nothing more: it begins with NVMeTLSkey-1: and ends with a colon"
            }
            Self::Base64 { .. } | Self::Length { .. } | Self::Crc { .. } => {
                "a character was lost or changed: copy the text again from where the key was generated"
            }
        }
        .to_owned()
    }
}

impl From<Fault> for KeyTextError {
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

impl FromStr for ConfiguredKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| other_text(text))?;
        let (version, rest) = key_text::field(rest, "version")?;
        if version != VERSION {
            return Err(KeyTextError::Version { found: key_text::shown(version) });
        }
        let lengths: Vec<_> = KeyHash::ALL.iter().filter_map(|hash| hash.key_len()).collect();
        let (hash, psk) = key_text::parse(rest, KeyHash::Sha384.id(), &lengths)?;
        let hash = KeyHash::from_id(hash).ok_or_else(|| KeyTextError::Hash { found: hash.to_string() })?;
        Self::new(hash, &psk)
    }
}

impl ConfiguredKey {
    /// Reads a key from a file that holds its interchange text; white space around it does not count.
    /// A pipe is as good as a file.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// use nvme_tcp::psk::{ConfiguredKey, KeyFileError, KeyHash};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("image.key");
    /// ConfiguredKey::generate(KeyHash::Sha256)?.write_file(&path)?;
    /// // One that the group may read as well is no secret any more.
    /// std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640))?;
    /// let error = ConfiguredKey::from_file(&path).unwrap_err();
    /// assert!(matches!(error, KeyFileError::Permissions { mode: 0o640, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Group or others have access to the file, or it cannot be read, or does not hold a key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let wrong = |source| KeyFileError::Text { path: path.to_owned(), source };
        key_file::read(path, |text| text.parse().map_err(wrong))
    }

    /// Reads every key from a file that holds one interchange text a line, the preferred first; empty lines do not
    /// count. While a key is changed the file can so hold the new one and the one before.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nvme_tcp::psk::ConfiguredKey;
    ///
    /// // Tomorrow's key stands in the first line, today's in the second.
    /// let keys = ConfiguredKey::all_from_file("/etc/nvme/image.keys")?;
    /// println!("{} keys", keys.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file); one of the lines is no key. A file without a line holds no key.
    pub fn all_from_file(path: impl AsRef<Path>) -> Result<Vec<Self>, KeyFileError> {
        let path = path.as_ref();
        let wrong = |source| KeyFileError::Text { path: path.to_owned(), source };
        key_file::read(path, |text| match text {
            "" => "".parse().map(|key| vec![key]).map_err(wrong),
            text => key_text::lines(text).map(|line| line.parse().map_err(wrong)).collect(),
        })
    }

    /// Writes the interchange text to a new file of mode 0600.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, KeyFileError, KeyHash};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("image.key");
    /// let key = ConfiguredKey::generate(KeyHash::Sha256)?;
    /// key.write_file(&path)?;
    /// // A key that may be in use is not written over.
    /// assert!(matches!(key.write_file(&path), Err(KeyFileError::Exists { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`KeyFileError::Exists`] if there is such a file already, which is left as it is;
    /// [`KeyFileError::Io`] if it cannot be written, and then there is no file.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<(), KeyFileError> {
        key_file::write(path.as_ref(), &self.to_text())
    }

    /// The interchange text, without a line's end. It is the key: keep it out of logs.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// let key = ConfiguredKey::generate(KeyHash::Sha256)?;
    /// // For an administrator's tool to hand out; its memory is overwritten when it is dropped.
    /// assert_eq!(key.to_text().parse::<ConfiguredKey>()?, key);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_text(&self) -> Zeroizing<String> {
        key_text::format(&format!("{PREFIX}{VERSION}:"), self.hash().id(), self.psk().expose())
    }
}

/// Names the texts that are often taken for a key.
fn other_text(text: &str) -> KeyTextError {
    if text.starts_with("DHHC-1:") {
        KeyTextError::AuthenticationSecret
    } else if ["NVMe0R", "NVMe0G", "NVMe1R", "NVMe1G"].iter().any(|identity| text.starts_with(identity)) {
        KeyTextError::DerivedKey
    } else {
        KeyTextError::Prefix
    }
}
