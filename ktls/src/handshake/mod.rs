//! The TLS 1.3 handshake with an external pre-shared key (RFC 8446; psk_dhe_ke only), client and server,
//! without I/O.
//!
//! A handshake takes whole records and gives bytes to send; it owns no socket and no clock. The caller
//! reads record by record, so that nothing behind the handshake is ever read by it:
//!
//! 1. send all of [`Handshake::take_output`];
//! 2. stop when [`Handshake::is_finished`], and take the keys with [`Handshake::into_established`];
//! 3. read 5 bytes, ask [`record_length`] how many more, read exactly those;
//! 4. hand header and body to [`Handshake::read_record`]; go on at 1, also after an error, for then the
//!    output is the alert that tells the peer.
//!
//! There are no certificates, no tickets and no early data (a server passes over what a client sends of it, up to
//! 64 KiB): the server sends no NewSessionTicket, because
//! kernel initiators die of one. What peers send after the handshake is read by [`PostHandshake`].

mod channel;
mod client;
mod config;
mod error;
mod hello;
mod message;
mod post;
mod psk;
mod reassembly;
mod schedule;
mod server;
mod wire;

// Not under Miri: hashes and ciphers are ring's assembler.
#[cfg(all(test, not(miri)))]
mod hostile;

pub use client::ClientHandshake;
pub use config::{ClientConfig, ServerConfig};
pub use error::{Error, Header, Role};
pub(crate) use post::hello_request;
pub use post::{Event, PostHandshake, key_update_message};
pub use psk::{MAX_IDENTITY_LEN, Psk, PskStore};
pub use reassembly::MAX_MESSAGE_LEN;
pub use server::ServerHandshake;

use crate::cipher::TAG_LEN;
use crate::keys::Established;

/// The length of a record's header in bytes.
pub const RECORD_HEADER_LEN: usize = 5;
/// The longest plaintext of a record in bytes (RFC 8446, section 5.1).
pub const MAX_FRAGMENT_LEN: usize = 16_384;
/// The longest body of a protected record in bytes (RFC 8446, section 5.2).
pub const MAX_CIPHERTEXT_LEN: usize = MAX_FRAGMENT_LEN + 256;
/// The smallest record_size_limit in bytes (RFC 8449, section 4).
pub const MIN_RECORD_SIZE_LIMIT: u16 = 64;
/// The largest record_size_limit in bytes: a whole fragment and its content type byte.
pub const MAX_RECORD_SIZE_LIMIT: u16 = MAX_FRAGMENT_LEN as u16 + 1;

/// ContentType (RFC 8446, section 5.1).
mod content_type {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
}

/// One end of a handshake. The module says how it is driven.
pub trait Handshake {
    /// Takes one whole record: its header of 5 bytes and exactly its body, which is opened in place.
    ///
    /// # Errors
    /// Any [`Error`]; after the first one there is only that one. Where [`record_length`] refuses a
    /// header, that header alone may be given here: it fails in the same way, and the alert is made.
    fn read_record(&mut self, record: &mut [u8]) -> Result<(), Error>;

    /// What to send now: records ready for the wire, or nothing.
    fn take_output(&mut self) -> Vec<u8>;

    /// Whether the keys are there. The client's last output may still have to be sent.
    fn is_finished(&self) -> bool;

    /// The peer has closed the connection: the error that says so, or the one that came before it.
    fn closed(&mut self) -> Error;

    /// The keys.
    ///
    /// # Errors
    /// [`Error::Misuse`] before [`Handshake::is_finished`].
    fn into_established(self) -> Result<Established, Error>
    where
        Self: Sized;
}

/// How many bytes follow the header of a record.
///
/// # Errors
/// [`Error::NotTls`] where the bytes are no such header, so that a peer that speaks another protocol is
/// recognised by its first bytes; [`Error::Protocol`] where the length is out of bounds (RFC 8446,
/// section 5).
pub fn record_length(header: &[u8; RECORD_HEADER_LEN]) -> Result<usize, Error> {
    // The minor version is to be ignored (RFC 8446, section 5.1); the major one was never other than 3.
    let &[kind, 3, _, high, low] = header else {
        return Err(Error::NotTls { header: Header(*header) });
    };
    let range = match kind {
        content_type::CHANGE_CIPHER_SPEC | content_type::ALERT | content_type::HANDSHAKE => {
            1..=MAX_FRAGMENT_LEN
        }
        content_type::APPLICATION_DATA => 1 + TAG_LEN..=MAX_CIPHERTEXT_LEN,
        _ => return Err(Error::NotTls { header: Header(*header) }),
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if range.contains(&len) {
        return Ok(len);
    }
    use crate::alert::Alert;
    let alert = if len > *range.end() { Alert::RECORD_OVERFLOW } else { Alert::UNEXPECTED_MESSAGE };
    let expected = format!("{} to {}", range.start(), range.end());
    Err(Error::protocol(alert, "record length", expected, len.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;

    #[test]
    fn what_is_not_tls_is_told_apart() {
        // An NVMe/TCP ICResp, an SSH banner, HTTP, an SSLv2 hello, an unknown content type.
        for header in
            [*b"\x01\x00\x80\x00\x80", *b"SSH-2", *b"HTTP/", *b"\x80\x2e\x01\x00\x02", [25, 3, 3, 0, 9]]
        {
            assert_eq!(record_length(&header), Err(Error::NotTls { header: Header(header) }));
        }
        let text = Error::NotTls { header: Header([1, 0, 0x80, 0, 0x80]) }.to_string();
        assert!(text.contains("01 00 80 00 80"), "{text}");
    }

    #[test]
    fn lengths_are_bounded() {
        let length = |kind, len: u16| {
            let [high, low] = len.to_be_bytes();
            record_length(&[kind, 3, 3, high, low]).map_err(|error| error.alert().unwrap())
        };
        assert_eq!(length(22, 16_384), Ok(16_384));
        assert_eq!(length(22, 16_385), Err(Alert::RECORD_OVERFLOW));
        assert_eq!(length(23, 16_640), Ok(16_640));
        assert_eq!(length(23, 16_641), Err(Alert::RECORD_OVERFLOW));
        assert_eq!(length(23, 17), Ok(17));
        assert_eq!(length(23, 16), Err(Alert::UNEXPECTED_MESSAGE));
        assert_eq!(length(21, 0), Err(Alert::UNEXPECTED_MESSAGE));
        assert_eq!(record_length(&[22, 3, 0, 0, 7]), Ok(7));
    }
}
