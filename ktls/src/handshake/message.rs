//! The names and numbers of handshake messages, and what all of them share (RFC 8446, section 4).

use std::collections::HashSet;

use super::error::Error;
use super::wire::{Reader, put_u16, put_vec16, put_vec24};

/// TLS 1.2's number, which TLS 1.3 writes wherever an old peer looks.
pub(super) const LEGACY_VERSION: u16 = 0x0303;
/// SSL 3.0's number: whoever says so, or less, is refused whatever else it says (RFC 8446, appendix D.5).
pub(super) const SSL3: u16 = 0x0300;
/// TLS 1.3's number.
pub(super) const TLS13: u16 = 0x0304;
/// The only PSK mode of this library: with a key agreement.
pub(super) const PSK_DHE_KE: u8 = 1;

macro_rules! numbers {
    ($type:ty: $($name:ident = $value:literal, $text:literal;)*) => {
        $(#[allow(dead_code, reason = "some are known by name only, for errors")]
        pub(in super::super) const $name: $type = $value;)*

        pub(in super::super) fn name(number: $type) -> Option<&'static str> {
            match number {
                $($value => Some($text),)*
                _ => None,
            }
        }
    };
}

/// HandshakeType.
pub(super) mod message_type {
    numbers! { u8:
        CLIENT_HELLO = 1, "ClientHello";
        SERVER_HELLO = 2, "ServerHello";
        NEW_SESSION_TICKET = 4, "NewSessionTicket";
        END_OF_EARLY_DATA = 5, "EndOfEarlyData";
        ENCRYPTED_EXTENSIONS = 8, "EncryptedExtensions";
        CERTIFICATE = 11, "Certificate";
        CERTIFICATE_REQUEST = 13, "CertificateRequest";
        CERTIFICATE_VERIFY = 15, "CertificateVerify";
        FINISHED = 20, "Finished";
        KEY_UPDATE = 24, "KeyUpdate";
        MESSAGE_HASH = 254, "message_hash";
    }
}

/// ExtensionType, as far as this library sends or judges them.
pub(super) mod extension_type {
    numbers! { u16:
        SUPPORTED_GROUPS = 10, "supported_groups";
        RECORD_SIZE_LIMIT = 28, "record_size_limit";
        PRE_SHARED_KEY = 41, "pre_shared_key";
        EARLY_DATA = 42, "early_data";
        SUPPORTED_VERSIONS = 43, "supported_versions";
        COOKIE = 44, "cookie";
        PSK_KEY_EXCHANGE_MODES = 45, "psk_key_exchange_modes";
        KEY_SHARE = 51, "key_share";
    }
}

pub(super) fn message_name(kind: u8) -> &'static str {
    message_type::name(kind).unwrap_or("handshake message of unknown type")
}

pub(super) fn extension_name(kind: u16) -> String {
    extension_type::name(kind).map_or_else(|| format!("extension {kind}"), str::to_owned)
}

/// A whole handshake message.
pub(super) fn message(kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![kind];
    put_vec24(&mut out, body);
    out
}

/// A Finished message.
pub(super) fn finished(verify_data: &[u8]) -> Vec<u8> {
    message(message_type::FINISHED, |out| out.extend_from_slice(verify_data))
}

/// One extension.
pub(super) fn put_extension(out: &mut Vec<u8>, kind: u16, data: impl FnOnce(&mut Vec<u8>)) {
    put_u16(out, kind);
    put_vec16(out, data);
}

/// The extensions of one message, none twice, in the order in which they came.
pub(super) struct Extensions<'a> {
    message: &'static str,
    list: Vec<(u16, &'a [u8])>,
}

impl<'a> Extensions<'a> {
    /// Reads the block of extensions that ends `message`. A TLS 1.2 peer may send none: then the block
    /// itself may be absent.
    pub(super) fn read(reader: &mut Reader<'a>, message: &'static str) -> Result<Self, Error> {
        let mut list = Vec::new();
        if reader.is_empty() {
            return Ok(Self { message, list });
        }
        const FIELD: &str = "extensions";
        let mut block = Reader::new(reader.vec16(0..=0xffff, FIELD)?);
        let mut seen = HashSet::new();
        while !block.is_empty() {
            let kind = block.u16(FIELD)?;
            let data = block.vec16(0..=0xffff, FIELD)?;
            if !seen.insert(kind) {
                return Err(Error::illegal(message, "each extension once", extension_name(kind) + " twice"));
            }
            list.push((kind, data));
        }
        Ok(Self { message, list })
    }

    pub(super) fn get(&self, kind: u16) -> Option<Reader<'a>> {
        self.list.iter().find(|(found, _)| *found == kind).map(|(_, data)| Reader::new(data))
    }

    pub(super) fn require(&self, kind: u16) -> Result<Reader<'a>, Error> {
        self.get(kind).ok_or_else(|| Error::missing(self.message, &extension_name(kind)))
    }

    pub(super) fn last(&self) -> Option<u16> {
        self.list.last().map(|(kind, _)| *kind)
    }

    /// A server's answer holds only extensions from `allowed`. One that the client offered, but that
    /// belongs elsewhere, is an illegal_parameter, any other an unsupported_extension (section 4.2).
    pub(super) fn allow_only(&self, allowed: &[u16], offered: &[u16]) -> Result<(), Error> {
        for &(kind, _) in &self.list {
            if allowed.contains(&kind) {
                continue;
            }
            let alert = match offered.contains(&kind) {
                true => crate::alert::Alert::ILLEGAL_PARAMETER,
                false => crate::alert::Alert::UNSUPPORTED_EXTENSION,
            };
            return Err(Error::protocol(
                alert,
                self.message,
                "only extensions that belong to it and were offered",
                extension_name(kind),
            ));
        }
        Ok(())
    }
}

/// Reads record_size_limit (RFC 8449): how many bytes of plaintext, the content type byte among them.
pub(super) fn record_size_limit(extensions: &Extensions<'_>) -> Result<Option<u16>, Error> {
    const FIELD: &str = "record_size_limit";
    let Some(mut data) = extensions.get(extension_type::RECORD_SIZE_LIMIT) else {
        return Ok(None);
    };
    let limit = data.u16(FIELD)?;
    data.end(FIELD)?;
    if limit < super::MIN_RECORD_SIZE_LIMIT {
        let least = format!("at least {}", super::MIN_RECORD_SIZE_LIMIT);
        return Err(Error::illegal(FIELD, least, limit.to_string()));
    }
    Ok(Some(limit))
}
