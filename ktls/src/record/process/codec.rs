//! One record, in the three forms that AEAD gives it.
//!
//! ```text
//! TLS 1.3             header, sealed(content, content type)   tag   RFC 8446, section 5.2
//! TLS 1.2, AES-GCM    header, nonce, sealed(content)          tag   RFC 5288, section 3
//! TLS 1.2, ChaCha20   header, sealed(content)                 tag   RFC 7905, section 2
//! ```

use std::ops::Range;

use crate::cipher::{TAG_LEN, Version};
use crate::crypto::{CryptoError, Nonce, RecordKey};
use crate::error::Error;
use crate::event::Flow;
use crate::handshake::{MAX_CIPHERTEXT_LEN, RECORD_HEADER_LEN};
use crate::keys::{DirectionKey, TrafficSecret};
use crate::record::{BadRecord, ContentType};
use crate::socket::Why;

/// The explicit part of a nonce.
const EXPLICIT_LEN: usize = 8;
/// The most that a record of any form adds to its plaintext.
pub(super) const OVERHEAD: usize = RECORD_HEADER_LEN + EXPLICIT_LEN + TAG_LEN;
/// legacy_record_version of TLS 1.3, and the version of TLS 1.2.
const RECORD_VERSION: [u8; 2] = [3, 3];

/// What is authenticated beside a record's content.
enum Aad {
    Header([u8; RECORD_HEADER_LEN]),
    /// The sequence number before a header with the length of the plaintext (RFC 5246, section 6.2.3.3).
    Sequence([u8; 8 + RECORD_HEADER_LEN]),
}

impl Aad {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Header(bytes) => bytes,
            Self::Sequence(bytes) => bytes,
        }
    }
}

/// Seals and opens with one key.
pub(super) struct Codec {
    source: DirectionKey,
    key: RecordKey,
}

impl Codec {
    pub(super) fn new(source: DirectionKey) -> Result<Self, Error> {
        let cipher = source.cipher();
        let key = source.record_key().ok_or(Error::KernelOnly { cipher, why: Why::Asked })?;
        Ok(Self { source, key })
    }

    pub(super) fn from_secret(secret: TrafficSecret) -> Self {
        Self { key: secret.record_key(), source: secret.into() }
    }

    pub(super) fn key(&self) -> &DirectionKey {
        &self.source
    }

    pub(super) fn next(&self, direction: Flow) -> Result<Self, Error> {
        Self::new(self.source.next(direction)?)
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.source.cipher().version() == Version::Tls13
    }

    fn explicit_len(&self) -> usize {
        if self.source.cipher().has_explicit_nonce() { EXPLICIT_LEN } else { 0 }
    }

    /// What the header's length counts beside the content.
    fn expansion(&self) -> usize {
        self.explicit_len() + usize::from(self.is_tls13()) + TAG_LEN
    }

    /// `plain` is the content's length; there is one only in TLS 1.2.
    fn aad(&self, sequence: u64, header: [u8; RECORD_HEADER_LEN], plain: usize) -> Aad {
        if self.is_tls13() {
            return Aad::Header(header);
        }
        let mut aad = [0; 8 + RECORD_HEADER_LEN];
        let [kind, ..] = header;
        // A fragment's length fits two bytes.
        let [.., high, low] = plain.to_be_bytes();
        let (number, rest) = aad.split_at_mut(8);
        number.copy_from_slice(&sequence.to_be_bytes());
        rest.copy_from_slice(&[kind, RECORD_VERSION[0], RECORD_VERSION[1], high, low]);
        Aad::Sequence(aad)
    }

    /// Appends a record of `len` bytes to `out`, which `fill` appends as they are. After an error `out` is as
    /// before.
    pub(super) fn seal(
        &self,
        sequence: u64,
        content_type: ContentType,
        len: usize,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), CryptoError> {
        let begin = out.len();
        let on_wire = u16::try_from(len + self.expansion()).map_err(|_| CryptoError)?;
        let [high, low] = on_wire.to_be_bytes();
        let outer = if self.is_tls13() { ContentType::ApplicationData } else { content_type };
        let header = [outer.to_byte(), RECORD_VERSION[0], RECORD_VERSION[1], high, low];
        out.extend_from_slice(&header);
        let nonce = self.source.nonce(sequence);
        if let Nonce::Explicit(explicit) = nonce {
            out.extend_from_slice(&explicit.to_be_bytes());
        }
        let content = out.len();
        fill(out);
        if self.is_tls13() {
            out.push(content_type.to_byte());
        }
        let aad = self.aad(sequence, header, len);
        let sealed = self.key.seal_with(nonce, aad.as_bytes(), out.get_mut(content..).unwrap_or_default());
        match sealed {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(_) => out.truncate(begin),
        }
        sealed.map(drop)
    }

    /// How many bytes follow this header.
    pub(super) fn body_len(&self, header: &[u8; RECORD_HEADER_LEN]) -> Result<usize, BadRecord> {
        let [outer, major, minor, high, low] = *header;
        if self.is_tls13() {
            // The version is to be ignored (RFC 8446, section 5.1).
            if outer != ContentType::ApplicationData.to_byte() {
                return Err(BadRecord::OuterType { got: outer });
            }
        } else {
            ContentType::from_byte(outer).ok_or(BadRecord::InnerType { got: outer })?;
            if [major, minor] != RECORD_VERSION {
                return Err(BadRecord::Header);
            }
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > MAX_CIPHERTEXT_LEN {
            return Err(BadRecord::TooLong { len, max: MAX_CIPHERTEXT_LEN });
        }
        let min = self.expansion();
        if len < min {
            return Err(BadRecord::TooShort { len, min });
        }
        Ok(len)
    }

    /// Opens `body` in place, and says where in it the content is, of which there may be `max` bytes.
    pub(super) fn open(
        &self,
        sequence: u64,
        max: usize,
        header: &[u8; RECORD_HEADER_LEN],
        body: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), BadRecord> {
        let not_authentic = BadRecord::NotAuthentic { sequence };
        let plain = body.len().saturating_sub(self.expansion());
        let aad = self.aad(sequence, *header, plain);
        let begin = self.explicit_len();
        let (explicit, sealed) = body.split_at_mut_checked(begin).ok_or(not_authentic.clone())?;
        let nonce = match explicit.first_chunk() {
            Some(explicit) => Nonce::Explicit(u64::from_be_bytes(*explicit)),
            None => Nonce::Sequence(sequence),
        };
        let inner = self.key.open_with(nonce, aad.as_bytes(), sealed).map_err(|_| not_authentic)?;
        let (content_type, len) = self.content(header, inner, max)?;
        Ok((content_type, begin..begin + len))
    }

    /// The same of TLS 1.3, where the tag stands apart: `sealed` is content and content type. Says how long the
    /// content is.
    pub(super) fn open_apart(
        &self,
        sequence: u64,
        max: usize,
        header: &[u8; RECORD_HEADER_LEN],
        sealed: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(ContentType, usize), BadRecord> {
        let inner = self.key.open_apart(Nonce::Sequence(sequence), header, sealed, tag);
        self.content(header, inner.map_err(|_| BadRecord::NotAuthentic { sequence })?, max)
    }

    /// The content type of what was opened, and how long the content is, of which there may be `max` bytes.
    fn content(
        &self,
        header: &[u8; RECORD_HEADER_LEN],
        inner: &[u8],
        max: usize,
    ) -> Result<(ContentType, usize), BadRecord> {
        // Of TLS 1.3 the content type counts, and padding (RFC 8446, section 5.4; RFC 8449, section 4).
        let max = max + usize::from(self.is_tls13());
        if inner.len() > max {
            return Err(BadRecord::TooLong { len: inner.len(), max });
        }
        let (got, len) = if self.is_tls13() {
            // The content type is the last byte that is not padding (RFC 8446, section 5.4).
            let at = inner.iter().rposition(|&byte| byte != 0).ok_or(BadRecord::NoContentType)?;
            (inner[at], at)
        } else {
            (header[0], inner.len())
        };
        let content_type = ContentType::from_byte(got).ok_or(BadRecord::InnerType { got })?;
        Ok((content_type, len))
    }
}
