//! What may come after the handshake (RFC 8446, section 4.6): tickets and key updates.

use super::error::Error;
use super::message::{message_name, message_type};
use super::reassembly::Reassembler;

/// A message after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A NewSessionTicket. This library resumes nothing itself: see [`PostHandshake::read_with`].
    Ticket,
    /// The peer seals its next record with the next key ([`crate::keys::TrafficSecret::next`]).
    KeyUpdate {
        /// Whether it asks this end to do the same.
        requested: bool,
    },
}

/// Takes the payloads of handshake records after the handshake and gives the events in them.
///
/// Whole messages only leave it: one over several records is kept until it is whole, at most
/// [`super::MAX_MESSAGE_LEN`] bytes of it.
#[derive(Default)]
pub struct PostHandshake {
    input: Reassembler,
}

impl PostHandshake {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the payload of one handshake record, and gives what is whole in it, in order.
    ///
    /// A [`Event::KeyUpdate`] is always the last event. The new key must be in force before the next
    /// record is opened.
    ///
    /// # Errors
    /// [`Error::Protocol`] for any other message, for a KeyUpdate that is not the last of its record
    /// (RFC 8446, section 5.1), and for one that is malformed.
    pub fn read(&mut self, payload: &[u8]) -> Result<Vec<Event>, Error> {
        self.read_with(payload, |_| {})
    }

    /// The same, and `on_ticket` gets the body of each NewSessionTicket.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(
        &mut self,
        payload: &[u8],
        mut on_ticket: impl FnMut(&[u8]),
    ) -> Result<Vec<Event>, Error> {
        self.input.push(payload)?;
        let mut events = Vec::new();
        while let Some(message) = self.input.next()? {
            events.push(match message.kind {
                message_type::NEW_SESSION_TICKET => {
                    on_ticket(message.body());
                    Event::Ticket
                }
                message_type::KEY_UPDATE => {
                    self.input.expect_empty("KeyUpdate")?;
                    key_update(message.body())?
                }
                other => {
                    return Err(Error::unexpected(
                        "message after the handshake",
                        "NewSessionTicket or KeyUpdate",
                        format!("{} ({other})", message_name(other)),
                    ));
                }
            });
        }
        Ok(events)
    }

    /// Whether a message has begun and not ended: until it has, the peer may send nothing but handshake
    /// records.
    pub fn is_partial(&self) -> bool {
        !self.input.is_empty()
    }
}

fn key_update(body: &[u8]) -> Result<Event, Error> {
    match body {
        [0] => Ok(Event::KeyUpdate { requested: false }),
        [1] => Ok(Event::KeyUpdate { requested: true }),
        [other] => Err(Error::illegal("KeyUpdate.request_update", "0 or 1", other.to_string())),
        _ => Err(Error::decode("KeyUpdate", "1 byte", format!("{} bytes", body.len()))),
    }
}

/// What may come after the handshake of TLS 1.2: a HelloRequest, which a client may pass over (RFC 5246,
/// section 7.4.1.1). A new handshake inside the old one is refused.
pub(crate) fn hello_request(payload: &[u8]) -> Result<(), Error> {
    match payload {
        [0, 0, 0, 0] => Ok(()),
        [kind, ..] => Err(Error::unexpected(
            "message after the handshake",
            "HelloRequest",
            format!("{} ({kind})", message_name(*kind)),
        )),
        [] => Err(Error::decode("handshake record", "a message", "0 bytes")),
    }
}

/// A KeyUpdate message, the payload of one handshake record; `request` asks the peer for one in return.
pub fn key_update_message(request: bool) -> [u8; 5] {
    [message_type::KEY_UPDATE, 0, 0, 1, request.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::handshake::MAX_MESSAGE_LEN;

    const TICKET: [u8; 7] = [4, 0, 0, 3, 1, 2, 3];

    fn alert(payload: &[u8]) -> Option<Alert> {
        PostHandshake::new().read(payload).unwrap_err().alert()
    }

    #[test]
    fn tickets_and_a_key_update_in_one_record() {
        let record = [&TICKET[..], &TICKET, &key_update_message(true)].concat();
        assert_eq!(
            PostHandshake::new().read(&record).unwrap(),
            [Event::Ticket, Event::Ticket, Event::KeyUpdate { requested: true }]
        );
    }

    #[test]
    fn a_message_may_come_byte_by_byte() {
        let mut post = PostHandshake::new();
        let stream = [&TICKET[..], &key_update_message(false)].concat();
        let mut events = Vec::new();
        for byte in stream {
            events.extend(post.read(&[byte]).unwrap());
        }
        assert_eq!(events, [Event::Ticket, Event::KeyUpdate { requested: false }]);
        assert!(!post.is_partial());
        post.read(&TICKET[..5]).unwrap();
        assert!(post.is_partial());
    }

    #[test]
    fn a_key_update_ends_its_record() {
        let update = key_update_message(false);
        for next in [&update[..], &TICKET, &update[..1]] {
            assert_eq!(alert(&[&update[..], next].concat()), Some(Alert::UNEXPECTED_MESSAGE));
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        assert_eq!(alert(&[24, 0, 0, 1, 2]), Some(Alert::ILLEGAL_PARAMETER));
        assert_eq!(alert(&[24, 0, 0, 0]), Some(Alert::DECODE_ERROR));
        assert_eq!(alert(&[24, 0, 0, 2, 0, 0]), Some(Alert::DECODE_ERROR));
        for kind in [0, 1, 2, 8, 11, 13, 20, 25, 254] {
            assert_eq!(alert(&[kind, 0, 0, 0]), Some(Alert::UNEXPECTED_MESSAGE), "{kind}");
        }
        assert_eq!(alert(&[]), Some(Alert::UNEXPECTED_MESSAGE));
    }

    #[test]
    fn tls_1_2_renegotiates_nothing() {
        assert_eq!(hello_request(&[0, 0, 0, 0]), Ok(()));
        assert_eq!(hello_request(&[1, 0, 0, 0]).unwrap_err().alert(), Some(Alert::UNEXPECTED_MESSAGE));
        assert_eq!(hello_request(&[]).unwrap_err().alert(), Some(Alert::DECODE_ERROR));
    }

    #[test]
    fn tickets_are_handed_on_without_their_header() {
        let mut tickets = Vec::new();
        let record = [&TICKET[..], &TICKET].concat();
        PostHandshake::new().read_with(&record, |ticket| tickets.push(ticket.to_vec())).unwrap();
        assert_eq!(tickets, [[1, 2, 3], [1, 2, 3]]);
    }

    #[test]
    fn a_message_is_bounded() {
        let header = |len: usize| {
            let [.., a, b, c] = len.to_be_bytes();
            [4, a, b, c]
        };
        assert_eq!(alert(&header(MAX_MESSAGE_LEN + 1)), Some(Alert::DECODE_ERROR));
        let mut post = PostHandshake::new();
        assert_eq!(post.read(&header(MAX_MESSAGE_LEN)).unwrap(), []);
        assert_eq!(post.read(&vec![0; MAX_MESSAGE_LEN]).unwrap(), [Event::Ticket]);
    }
}
