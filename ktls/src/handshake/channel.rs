//! The records of a handshake: plain at first, then under the handshake keys.

use super::error::{Error, Role};
use super::reassembly::{Message, Reassembler};
use super::{MAX_FRAGMENT_LEN, RECORD_HEADER_LEN, content_type, record_length};
use crate::alert::Alert;
use crate::cipher::TAG_LEN;
use crate::crypto::{CryptoError, RecordKey};
use crate::keys::TrafficSecret;

/// How many ChangeCipherSpec records are ignored: peers send one, or two after a HelloRetryRequest.
const MAX_CHANGE_CIPHER_SPEC: usize = 4;

/// How many bytes of records a server passes over because they are early data, which it never takes: peers that
/// send some send what one ticket allowed, 16,384 bytes mostly.
pub(super) const MAX_EARLY_DATA: usize = 65_536;

const VERSION_TLS10: [u8; 2] = [3, 1];
const VERSION_TLS12: [u8; 2] = [3, 3];

/// The keys of one direction and its record number.
struct Protection {
    key: RecordKey,
    sequence: u64,
}

impl Protection {
    fn new(secret: &TrafficSecret) -> Self {
        Self { key: secret.record_key(), sequence: 0 }
    }

    /// Does `work` with the number of the next record, which is used up where that succeeds.
    fn next<T>(
        &mut self,
        work: impl FnOnce(&RecordKey, u64) -> Result<T, CryptoError>,
    ) -> Result<T, CryptoError> {
        let done = work(&self.key, self.sequence)?;
        // A handshake of 2^64 records does not end before its peers do.
        self.sequence += 1;
        Ok(done)
    }
}

/// Both directions of a handshake.
pub(super) struct Channel {
    role: Role,
    rx: Option<Protection>,
    tx: Option<Protection>,
    input: Reassembler,
    output: Vec<u8>,
    hello_sent: bool,
    message_seen: bool,
    records_seen: bool,
    change_cipher_specs: usize,
    /// How many more bytes may be early data.
    early_data: usize,
    /// The longest plaintext that may be sent, and that may come, in one protected record.
    max_send: usize,
    max_receive: usize,
    failure: Option<Error>,
}

impl Channel {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            rx: None,
            tx: None,
            input: Reassembler::default(),
            output: Vec::new(),
            hello_sent: false,
            message_seen: false,
            records_seen: false,
            change_cipher_specs: 0,
            early_data: 0,
            max_send: MAX_FRAGMENT_LEN,
            max_receive: MAX_FRAGMENT_LEN,
            failure: None,
        }
    }

    /// Takes one record and hands every whole message in it to `on_message`. After the first error
    /// there is only that error, and the alert that belongs to it is in the output.
    pub(super) fn drive(
        &mut self,
        record: &mut [u8],
        mut on_message: impl FnMut(&mut Self, &Message) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.receive(record).and_then(|()| {
            while let Some(message) = self.input.next()? {
                self.message_seen = true;
                on_message(self, &message)?;
            }
            Ok(())
        });
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    /// The peer has closed the connection.
    pub(super) fn closed(&mut self) -> Error {
        let closed = Error::Closed { role: self.role, answered: self.records_seen };
        self.failure.get_or_insert(closed).clone()
    }

    fn fail(&mut self, error: &Error) {
        if let Some(alert) = error.alert() {
            // Where even sealing fails, the alert stays away: the error itself is what counts.
            let _ = self.send_record(content_type::ALERT, &alert.to_bytes());
        }
        self.failure = Some(error.clone());
    }

    fn receive(&mut self, record: &mut [u8]) -> Result<(), Error> {
        let Some((header, body)) = record.split_first_chunk_mut::<RECORD_HEADER_LEN>() else {
            return Err(Error::Misuse("a record has a header of 5 bytes"));
        };
        let header = *header;
        if body.len() != record_length(&header)? {
            return Err(Error::Misuse("a record is its header and exactly its body"));
        }
        self.records_seen = true;
        let [kind, ..] = header;
        match kind {
            content_type::CHANGE_CIPHER_SPEC => self.change_cipher_spec(body),
            content_type::ALERT => Err(self.alert_received(body)),
            content_type::HANDSHAKE if self.rx.is_none() => self.input.push(body),
            content_type::APPLICATION_DATA if self.rx.is_some() => self.protected(&header, body),
            content_type::APPLICATION_DATA if self.early_data >= body.len() => {
                self.input.expect_empty("early data")?;
                self.early_data -= body.len();
                Ok(())
            }
            content_type::APPLICATION_DATA => {
                Err(Error::unexpected("record", "a handshake record in plain text", "a protected one"))
            }
            _ => Err(Error::unexpected("record", "a protected record", "one in plain text")),
        }
    }

    /// RFC 8446, section 5: dropped, where it is exactly one byte 01 and a ClientHello went before it.
    fn change_cipher_spec(&mut self, body: &[u8]) -> Result<(), Error> {
        const FIELD: &str = "ChangeCipherSpec";
        if body != [1] {
            return Err(Error::unexpected(FIELD, "one byte 01", format!("{} bytes", body.len())));
        }
        if !self.hello_sent && !self.message_seen {
            return Err(Error::unexpected(FIELD, "a ClientHello first", "none"));
        }
        self.input.expect_empty(FIELD)?;
        self.change_cipher_specs += 1;
        if self.change_cipher_specs > MAX_CHANGE_CIPHER_SPEC {
            return Err(Error::unexpected(FIELD, format!("at most {MAX_CHANGE_CIPHER_SPEC}"), "one more"));
        }
        Ok(())
    }

    /// An alert in plain text is believed also where keys are in force: a peer that could not make them
    /// has nothing else, and who can forge it can as well cut the connection.
    fn alert_received(&self, body: &[u8]) -> Error {
        match body {
            &[_, description] => Error::AlertReceived { alert: Alert(description), role: self.role },
            // RFC 8446, section 5.4.
            [] => Error::unexpected("alert record", "2 bytes", "none"),
            _ => Error::decode("alert", "2 bytes", format!("{} bytes", body.len())),
        }
    }

    fn protected(&mut self, header: &[u8; RECORD_HEADER_LEN], body: &mut [u8]) -> Result<(), Error> {
        let Some(rx) = &mut self.rx else {
            return Err(Error::Misuse("no key is in force"));
        };
        let len = body.len();
        let Ok(inner) = rx.next(|key, sequence| key.open(sequence, header, body)) else {
            self.early_data = self.early_data.checked_sub(len).ok_or(Error::BadRecordMac)?;
            return Ok(());
        };
        self.early_data = 0;
        // The limit counts the content type byte and the padding (RFC 8446, section 5.4; RFC 8449).
        if inner.len() > self.max_receive + 1 {
            return Err(Error::protocol(
                Alert::RECORD_OVERFLOW,
                "record",
                format!("at most {} bytes of plaintext", self.max_receive + 1),
                format!("{} bytes", inner.len()),
            ));
        }
        let Some(end) = inner.iter().rposition(|&byte| byte != 0) else {
            return Err(Error::unexpected("record", "a content type", "nothing but padding"));
        };
        let (content, kind) = inner.split_at(end);
        match kind.first().copied() {
            Some(content_type::HANDSHAKE) => self.input.push(content),
            Some(content_type::ALERT) => Err(self.alert_received(content)),
            kind => Err(Error::unexpected("record", "a handshake record", format!("content type {kind:?}"))),
        }
    }

    /// Nothing of the flight that ends here may remain: the peer must wait, or change its keys.
    pub(super) fn expect_end_of_flight(&self, message: &'static str) -> Result<(), Error> {
        self.input.expect_empty(message)
    }

    /// Whether records that the peer sealed under a key for early data may come before those under the handshake's
    /// (RFC 8446, section 4.2.10).
    pub(super) fn skip_early_data(&mut self, offered: bool) {
        self.early_data = if offered { MAX_EARLY_DATA } else { 0 };
    }

    pub(super) fn set_rx(&mut self, secret: &TrafficSecret) {
        self.rx = Some(Protection::new(secret));
    }

    pub(super) fn set_tx(&mut self, secret: &TrafficSecret) {
        self.tx = Some(Protection::new(secret));
    }

    /// The peer takes no more than `len` bytes of plaintext in a protected record.
    pub(super) fn set_max_send(&mut self, len: usize) {
        self.max_send = len;
    }

    pub(super) fn max_send(&self) -> usize {
        self.max_send
    }

    pub(super) fn max_receive(&self) -> usize {
        self.max_receive
    }

    /// The peer has been told that this end takes no more than `len` bytes.
    pub(super) fn set_max_receive(&mut self, len: usize) {
        self.max_receive = len;
    }

    /// Sends handshake messages.
    pub(super) fn send(&mut self, messages: &[u8]) -> Result<(), Error> {
        let len = if self.tx.is_some() { self.max_send } else { MAX_FRAGMENT_LEN };
        for fragment in messages.chunks(len) {
            self.send_record(content_type::HANDSHAKE, fragment)?;
        }
        self.hello_sent = true;
        Ok(())
    }

    /// What makes a handshake look like one of TLS 1.2 (RFC 8446, appendix D.4).
    pub(super) fn send_change_cipher_spec(&mut self) {
        self.put_header(content_type::CHANGE_CIPHER_SPEC, VERSION_TLS12, 1);
        self.output.push(1);
    }

    fn put_header(&mut self, kind: u8, version: [u8; 2], len: usize) -> [u8; RECORD_HEADER_LEN] {
        // Fragments are cut to 16,384 bytes, so that two bytes hold the length.
        let [.., high, low] = len.to_be_bytes();
        let header = [kind, version[0], version[1], high, low];
        self.output.extend_from_slice(&header);
        header
    }

    fn send_record(&mut self, kind: u8, content: &[u8]) -> Result<(), Error> {
        let Some(mut tx) = self.tx.take() else {
            let first = self.role == Role::Client && !self.hello_sent;
            let version = if first { VERSION_TLS10 } else { VERSION_TLS12 };
            self.put_header(kind, version, content.len());
            self.output.extend_from_slice(content);
            return Ok(());
        };
        let body = content.len() + 1 + TAG_LEN;
        let header = self.put_header(content_type::APPLICATION_DATA, VERSION_TLS12, body);
        let start = self.output.len();
        self.output.extend_from_slice(content);
        self.output.push(kind);
        let data = &mut self.output[start..];
        let tag = tx.next(|key, sequence| key.seal(sequence, &header, data))?;
        self.output.extend_from_slice(&tag);
        self.tx = Some(tx);
        Ok(())
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}
