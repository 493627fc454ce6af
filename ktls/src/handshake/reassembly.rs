//! Handshake messages out of records (RFC 8446, section 5.1): several in one, or one over several.

use super::error::Error;
use super::message::message_name;

/// The longest body of a handshake message that this end takes, in bytes.
pub const MAX_MESSAGE_LEN: usize = 65_536;

const HEADER_LEN: usize = 4;

/// One handshake message: its type, and all its bytes with the four of the header.
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) bytes: Vec<u8>,
}

impl Message {
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }
}

/// Keeps what is not yet a whole message.
#[derive(Default)]
pub(super) struct Reassembler {
    buffer: Vec<u8>,
}

impl Reassembler {
    /// Whether the beginning of a message is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Adds the payload of one handshake record. Call [`Reassembler::next`] until it gives nothing before
    /// the next one: so no more than one message and one record is ever kept.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), Error> {
        if payload.is_empty() {
            return Err(Error::unexpected("handshake record", "at least one byte", "none"));
        }
        self.buffer.extend_from_slice(payload);
        Ok(())
    }

    /// The next whole message, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Error> {
        let Some(&[kind, a, b, c]) = self.buffer.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if len > MAX_MESSAGE_LEN {
            return Err(Error::decode(
                message_name(kind),
                format!("at most {MAX_MESSAGE_LEN} bytes"),
                format!("{len} bytes"),
            ));
        }
        if self.buffer.len() < HEADER_LEN + len {
            return Ok(None);
        }
        let rest = self.buffer.split_off(HEADER_LEN + len);
        Ok(Some(Message { kind, bytes: std::mem::replace(&mut self.buffer, rest) }))
    }

    /// A message may not begin before a change of keys and end after it.
    pub(super) fn expect_empty(&self, before: &'static str) -> Result<(), Error> {
        match self.buffer.len() {
            0 => Ok(()),
            more => Err(Error::unexpected(before, "the end of the record", format!("{more} more bytes"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reassembler_keeps_at_most_one_message() {
        let mut input = Reassembler::default();
        input.push(&[20, 0, 0, 1, 5, 20, 0]).unwrap();
        assert_eq!(input.next().unwrap().unwrap().body(), [5]);
        assert!(input.next().unwrap().is_none());
        assert!(!input.is_empty() && input.expect_empty("x").is_err());
    }
}
