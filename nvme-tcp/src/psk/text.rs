//! The interchange text of a configured PSK: `NVMeTLSkey-1:hh:Base64(PSK || CRC-32 of the PSK):`.

use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine};
use thiserror::Error;
use zeroize::Zeroizing;

use super::key::{ConfiguredKey, KeyHash};

const PREFIX: &str = "NVMeTLSkey-";
const VERSION: &str = "1";
const CRC_LEN: usize = 4;

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
    pub fn hint(&self) -> String {
        match self {
            Self::Prefix | Self::Version { .. } => {
                "give the configured key in its interchange form, NVMeTLSkey-1:hh:...:, as `nvme-tcp key generate` prints it"
            }
            Self::DerivedKey => {
                "give the configured key that this TLS PSK was derived from: identity and TLS PSK are made from it"
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

impl FromStr for ConfiguredKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| other_text(text))?;
        let (version, rest) = field(rest, "version")?;
        if version != VERSION {
            return Err(KeyTextError::Version { found: shown(version) });
        }
        let (hash, rest) = field(rest, "hash")?;
        let hash = KeyHash::ALL
            .into_iter()
            .find(|known| hash_text(*known) == hash)
            .ok_or_else(|| KeyTextError::Hash { found: shown(hash) })?;
        let (encoded, after) = field(rest, "key")?;
        if !after.is_empty() {
            return Err(KeyTextError::Trailing { len: after.len() });
        }

        let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
        let len = BASE64_STANDARD.decode_slice(encoded, &mut decoded).map_err(base64_error)?;
        let (psk, crc) = decoded
            .get(..len)
            .and_then(|bytes| bytes.split_last_chunk::<CRC_LEN>())
            .ok_or(KeyTextError::Length { found: 0 })?;
        if !KeyHash::ALL.iter().any(|hash| hash.key_len() == Some(psk.len())) {
            return Err(KeyTextError::Length { found: psk.len() });
        }
        let (expected, found) = (crc32(psk), u32::from_le_bytes(*crc));
        if expected != found {
            return Err(KeyTextError::Crc { expected, found });
        }
        Self::new(hash, psk)
    }
}

impl ConfiguredKey {
    /// The interchange text, without a line's end. It is the key: keep it out of logs.
    pub fn to_text(&self) -> Zeroizing<String> {
        let psk = self.psk().expose();
        let mut bytes = Zeroizing::new(Vec::with_capacity(psk.len() + CRC_LEN));
        bytes.extend_from_slice(psk);
        bytes.extend_from_slice(&crc32(psk).to_le_bytes());
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*bytes));
        Zeroizing::new(format!("{PREFIX}{VERSION}:{}:{}:", hash_text(self.hash()), *encoded))
    }
}

/// The field before the next colon, and the rest after it.
fn field<'a>(text: &'a str, field: &'static str) -> Result<(&'a str, &'a str), KeyTextError> {
    text.split_once(':').ok_or(KeyTextError::Truncated { field })
}

fn hash_text(hash: KeyHash) -> String {
    format!("{:02}", hash.id())
}

/// A field as an error may show it: longer ones could be a key that slipped out of its place.
fn shown(field: &str) -> String {
    match field.len() {
        0..=2 => format!("{field:?}"),
        len => format!("of {len} bytes"),
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

fn base64_error(error: base64::DecodeSliceError) -> KeyTextError {
    use base64::{DecodeError, DecodeSliceError};
    let at = match error {
        DecodeSliceError::DecodeError(
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _),
        ) => Some(at),
        // The buffer is made for the text, so what remains are lengths and padding.
        DecodeSliceError::DecodeError(_) | DecodeSliceError::OutputSliceTooSmall => None,
    };
    KeyTextError::Base64 { at }
}

/// CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320), as zlib has it: not the CRC-32C of the
/// transport's digests.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        CRC_TABLE[index as usize] ^ (crc >> 8)
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_zlibs() {
        // The check value of the CRC catalogue's CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
