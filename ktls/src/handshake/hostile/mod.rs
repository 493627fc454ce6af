//! Peers that break the rules, one rule at a time.

mod early_data;
mod finished;
mod flights;
mod heads;
mod hellos_to_client;
mod hellos_to_server;
mod insider;
mod shares;
mod versions;

use super::error::Error;
use super::message::{message, message_type, put_extension};
use super::wire::{Reader, put_u16, put_vec16};
use super::{ClientConfig, ClientHandshake, Handshake, Psk, ServerConfig, ServerHandshake};
use crate::alert::Alert;
use crate::crypto::Hash;
use crate::secret::Secret;

fn psk() -> Psk {
    Psk::new(b"identity".to_vec(), Secret::new(&[1; 32]).unwrap(), Hash::Sha256).unwrap()
}

fn new_client() -> ClientHandshake {
    ClientHandshake::new(&ClientConfig::new(psk())).unwrap()
}

fn new_server() -> ServerHandshake {
    let config =
        ServerConfig::new(|identity: &[u8]| if identity == b"identity" { vec![psk()] } else { vec![] });
    ServerHandshake::new(&config).unwrap()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    [&[kind, 3, 3, high, low], content].concat()
}

/// What an end says to one plain handshake message, and that its alert is the one in its output.
fn answer(end: &mut impl Handshake, message: &[u8]) -> Result<(), Error> {
    end.take_output();
    let result = message.chunks(16_384).try_for_each(|piece| end.read_record(&mut record(22, piece)));
    if let Err(error) = &result {
        let expected = record(21, &error.alert().unwrap().to_bytes());
        assert_eq!(end.take_output(), expected, "{error}");
        assert!(!end.is_finished());
    }
    result
}

fn alert(result: Result<(), Error>) -> Alert {
    result.unwrap_err().alert().unwrap()
}

/// A hello taken apart: what stands before the extensions, and these.
#[derive(Clone)]
struct Hello {
    kind: u8,
    head: Vec<u8>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    fn parse(message: &[u8]) -> Self {
        let mut reader = Reader::new(&message[4..]);
        reader.bytes(34, "version, random").unwrap();
        reader.vec8(0..=32, "session id").unwrap();
        if message[0] == message_type::CLIENT_HELLO {
            reader.vec16(0..=99, "suites").unwrap();
            reader.vec8(0..=9, "compression").unwrap();
        } else {
            reader.bytes(3, "suite, compression").unwrap();
        }
        let head = message[4..message.len() - reader.remaining()].to_vec();
        let mut block = Reader::new(reader.vec16(0..=0xffff, "extensions").unwrap());
        let mut extensions = Vec::new();
        while !block.is_empty() {
            let kind = block.u16("extension").unwrap();
            extensions.push((kind, block.vec16(0..=0xffff, "extension").unwrap().to_vec()));
        }
        Self { kind: message[0], head, extensions }
    }

    fn without(mut self, kind: u16) -> Self {
        self.extensions.retain(|(found, _)| *found != kind);
        self
    }

    fn with(mut self, kind: u16, data: &[u8]) -> Self {
        match self.extensions.iter_mut().find(|(found, _)| *found == kind) {
            Some((_, old)) => *old = data.to_vec(),
            None => self.extensions.insert(0, (kind, data.to_vec())),
        }
        self
    }

    fn build(&self) -> Vec<u8> {
        message(self.kind, |out| {
            out.extend_from_slice(&self.head);
            put_vec16(out, |out| {
                for (kind, data) in &self.extensions {
                    put_extension(out, *kind, |out| out.extend_from_slice(data));
                }
            });
        })
    }
}

/// The data of a ClientHello's key_share extension.
fn key_share(shares: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    put_vec16(&mut data, |out| {
        for (group, share) in shares {
            put_u16(out, *group);
            put_vec16(out, |out| out.extend_from_slice(share));
        }
    });
    data
}

/// The next message of a flight of plain records.
fn first_message(flight: &[u8]) -> Vec<u8> {
    let len = usize::from(u16::from_be_bytes([flight[3], flight[4]]));
    flight[5..5 + len].to_vec()
}
