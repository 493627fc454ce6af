//! What the handshake's tests share: keys, and two ends wired together in memory.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod connection;
pub mod process;

use ktls::cipher::CipherSuite;
use ktls::crypto::Hash;
use ktls::handshake::{
    ClientConfig, ClientHandshake, Error, Handshake, Psk, RECORD_HEADER_LEN, ServerConfig, ServerHandshake,
    record_length,
};
use ktls::keys::{Established, TrafficSecret};
use ktls::secret::Secret;

pub const IDENTITY: &[u8] =
    b"NVMe0R01 nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555 nqn.2024-01.lab.test:tls";

/// A key as long as its hash, every byte `fill`.
pub fn psk(hash: Hash, fill: u8) -> Psk {
    Psk::new(IDENTITY.to_vec(), Secret::new(&vec![fill; hash.output_len()]).unwrap(), hash).unwrap()
}

/// The same for a suite.
pub fn psk_of(suite: CipherSuite, fill: u8) -> Psk {
    let secret = Secret::new(&vec![fill; suite.hash().output_len()]).unwrap();
    Psk::with_suite(IDENTITY.to_vec(), secret, suite).unwrap()
}

/// A server that knows `keys` and no other.
pub fn server_config(keys: Vec<Psk>) -> ServerConfig {
    ServerConfig::new(move |identity: &[u8]| {
        keys.iter().filter(|psk| psk.identity() == identity).cloned().collect::<Vec<_>>()
    })
}

pub fn pair(client: &ClientConfig, server: &ServerConfig) -> (ClientHandshake, ServerHandshake) {
    (ClientHandshake::new(client).unwrap(), ServerHandshake::new(server).unwrap())
}

/// Cuts a byte stream into records; what is not whole stays in it.
pub fn take_record(stream: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    let Some(header) = stream.first_chunk::<RECORD_HEADER_LEN>() else { return Ok(None) };
    let len = RECORD_HEADER_LEN + record_length(header)?;
    if stream.len() < len {
        return Ok(None);
    }
    let rest = stream.split_off(len);
    Ok(Some(std::mem::replace(stream, rest)))
}

/// Hands every whole record of `stream` to `end`, as long as it takes them.
pub fn feed(end: &mut impl Handshake, stream: &mut Vec<u8>) -> Result<(), Error> {
    loop {
        match take_record(stream) {
            Ok(None) => return Ok(()),
            Ok(Some(mut record)) => end.read_record(&mut record)?,
            Err(_) => {
                let header = stream.first_chunk_mut::<RECORD_HEADER_LEN>().unwrap();
                return end.read_record(header);
            }
        }
    }
}

/// What became of both ends.
pub struct Outcome {
    pub client: Result<(), Error>,
    pub server: Result<(), Error>,
    /// What each end sent, in the order of the flights: client, server, client, ...
    pub flights: Vec<Vec<u8>>,
}

/// Runs both ends against each other until nothing moves any more; `tamper` sees each flight by number.
pub fn run(
    client: &mut ClientHandshake,
    server: &mut ServerHandshake,
    mut tamper: impl FnMut(usize, &mut Vec<u8>),
) -> Outcome {
    let mut outcome = Outcome { client: Ok(()), server: Ok(()), flights: Vec::new() };
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        let mut flight = client.take_output();
        let quiet = flight.is_empty();
        tamper(outcome.flights.len(), &mut flight);
        to_server.extend_from_slice(&flight);
        outcome.flights.push(flight);
        if outcome.server.is_ok() && !server.is_finished() {
            outcome.server = feed(server, &mut to_server);
        }
        let mut flight = server.take_output();
        if quiet && flight.is_empty() {
            return outcome;
        }
        tamper(outcome.flights.len(), &mut flight);
        to_client.extend_from_slice(&flight);
        outcome.flights.push(flight);
        if outcome.client.is_ok() && !client.is_finished() {
            outcome.client = feed(client, &mut to_client);
        }
    }
}

/// One direction of application data, sealed and opened in the test.
pub struct Half {
    key: ktls::crypto::RecordKey,
    sequence: u64,
}

impl Half {
    pub fn new(secret: &TrafficSecret) -> Self {
        Self { key: secret.record_key(), sequence: 0 }
    }

    pub fn seal(&mut self, kind: u8, data: &[u8]) -> Vec<u8> {
        let [.., high, low] = (data.len() + 17).to_be_bytes();
        let header = [23, 3, 3, high, low];
        let mut body = [data, &[kind]].concat();
        let tag = self.key.seal(self.sequence, &header, &mut body).unwrap();
        self.sequence += 1;
        [&header[..], &body, &tag].concat()
    }

    /// The content type and the content.
    pub fn open(&mut self, record: &mut [u8]) -> (u8, Vec<u8>) {
        let (header, body) = record.split_at_mut(RECORD_HEADER_LEN);
        let inner = self.key.open(self.sequence, header, body).expect("the record opens");
        self.sequence += 1;
        let end = inner.iter().rposition(|&byte| byte != 0).expect("a content type");
        (inner[end], inner[..end].to_vec())
    }
}

/// Both ends agree on everything, and data flows both ways.
pub fn assert_agree(client: &Established, server: &Established, suite: CipherSuite) {
    assert_eq!((client.suite, server.suite), (suite, suite));
    assert_eq!(client.group, server.group);
    assert_eq!(client.psk_identity, server.psk_identity);
    for (tx, rx) in [(&client.tx, &server.rx), (&server.tx, &client.rx)] {
        let mut record = Half::new(tx).seal(23, b"some data");
        assert_eq!(Half::new(rx).open(&mut record), (23, b"some data".to_vec()));
    }
}
