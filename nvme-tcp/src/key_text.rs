//! What the texts of TLS keys and of authentication secrets share: `hh:Base64(key || CRC-32 of the key):`.

use base64::prelude::{BASE64_STANDARD, Engine};
use zeroize::Zeroizing;

const CRC_LEN: usize = 4;

/// What is wrong with the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The hash field is none of those allowed; it in quotes, or how long it is.
    Hash(String),
    /// The colon after this field is missing.
    Truncated(&'static str),
    /// So many bytes follow the last colon.
    Trailing(usize),
    /// The first wrong byte of the Base64 field; `None` where its length or padding is wrong.
    Base64(Option<usize>),
    /// The key is so many bytes long.
    Length(usize),
    /// The CRC-32 of the key, and the one in the text.
    Crc { expected: u32, found: u32 },
}

/// Takes `hh:Base64(key || CRC-32):` apart: the hash field's number, up to `max_hash`, and the key, of one of
/// `lengths`.
pub(crate) fn parse(text: &str, max_hash: u8, lengths: &[usize]) -> Result<(u8, Zeroizing<Vec<u8>>), Fault> {
    let (hash, rest) = field(text, "hash")?;
    let hash = (0..=max_hash).find(|id| hash_text(*id) == hash).ok_or_else(|| Fault::Hash(shown(hash)))?;
    let (encoded, after) = field(rest, "key")?;
    if !after.is_empty() {
        return Err(Fault::Trailing(after.len()));
    }
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
    let len = BASE64_STANDARD.decode_slice(encoded, &mut decoded).map_err(base64_fault)?;
    decoded.truncate(len);
    let (key, crc) = decoded.split_last_chunk::<CRC_LEN>().ok_or(Fault::Length(0))?;
    if !lengths.contains(&key.len()) {
        return Err(Fault::Length(key.len()));
    }
    let (expected, found) = (crc32(key), u32::from_le_bytes(*crc));
    if expected != found {
        return Err(Fault::Crc { expected, found });
    }
    let len = key.len();
    decoded.truncate(len);
    Ok((hash, decoded))
}

/// `prefix`, then the fields.
pub(crate) fn format(prefix: &str, hash: u8, key: &[u8]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(key.len() + CRC_LEN));
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&crc32(key).to_le_bytes());
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*bytes));
    Zeroizing::new(format!("{prefix}{}:{}:", hash_text(hash), *encoded))
}

/// The field before the next colon, and the rest after it.
pub(crate) fn field<'a>(text: &'a str, field: &'static str) -> Result<(&'a str, &'a str), Fault> {
    text.split_once(':').ok_or(Fault::Truncated(field))
}

fn hash_text(hash: u8) -> String {
    format!("{hash:02}")
}

/// A field as an error may show it: longer ones could be a key that slipped out of its place.
pub(crate) fn shown(field: &str) -> String {
    match field.len() {
        0..=2 => format!("{field:?}"),
        len => format!("of {len} bytes"),
    }
}

fn base64_fault(error: base64::DecodeSliceError) -> Fault {
    use base64::{DecodeError, DecodeSliceError};
    Fault::Base64(match error {
        DecodeSliceError::DecodeError(
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _),
        ) => Some(at),
        // The buffer is made for the text, so what remains are lengths and padding.
        DecodeSliceError::DecodeError(_) | DecodeSliceError::OutputSliceTooSmall => None,
    })
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

/// The texts in what holds one a line; empty lines do not count.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

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
