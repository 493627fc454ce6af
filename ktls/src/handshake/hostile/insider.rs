//! A peer that has the right keys, and with them sends what it likes.

use super::super::error::Role;
use super::super::hello::{ClientHello, ServerHello, ServerHelloParts, binders_len};
use super::super::message::{extension_type as ext, finished};
use super::super::schedule::{EXTERNAL_BINDER, EarlySecret, Traffic, Transcript, verify_data};
use super::*;
use crate::cipher::{CipherSuite, TAG_LEN};
use crate::crypto::{Group, KeyPair, RecordKey};

const SUITE: CipherSuite = CipherSuite::Aes128GcmSha256;

/// The message of `hello` with the binder that belongs to it.
pub(super) fn bound(hello: &Hello) -> Vec<u8> {
    bound_after(&Transcript::new(Hash::Sha256), hello)
}

/// The same for one that is not the first.
fn bound_after(earlier: &Transcript, hello: &Hello) -> Vec<u8> {
    let mut message = hello.build();
    let digest = earlier.digest_with(&message[..message.len() - binders_len(Hash::Sha256)]);
    let binder = EarlySecret::new(Hash::Sha256, psk().secret()).binder(EXTERNAL_BINDER, digest.as_ref());
    message.truncate(message.len() - binder.expose().len());
    message.extend_from_slice(binder.expose());
    message
}

/// An end under the handshake keys, whose records are made here byte by byte.
pub(super) struct Insider {
    role: Role,
    key: RecordKey,
    sequence: u64,
    traffic: Traffic,
    transcript: Transcript,
}

impl Insider {
    /// A server whose ServerHello `client` has taken.
    pub(super) fn server(client: &mut ClientHandshake) -> Self {
        let hello = first_message(&client.take_output());
        let parsed = ClientHello::decode(&hello[4..]).unwrap();
        let share = parsed.shares(&parsed.groups().unwrap()).unwrap()[0].1;
        let pair = KeyPair::generate(Group::X25519).unwrap();
        let public = pair.public().to_vec();
        let answer = ServerHelloParts {
            random: [7; 32],
            session_id: parsed.session_id,
            suite: SUITE,
            group: Group::X25519,
            chosen: Some((&public, 0)),
        }
        .encode();
        client.read_record(&mut record(22, &answer)).unwrap();
        let mut transcript = Transcript::new(Hash::Sha256);
        transcript.add(&hello);
        transcript.add(&answer);
        Self::new(Role::Server, transcript, &pair.agree(share).unwrap())
    }

    /// A client whose ClientHello `server` has taken and answered, but for the extensions that `change` puts
    /// into it.
    pub(super) fn client_with(server: &mut ServerHandshake, change: impl Fn(Hello) -> Hello) -> Self {
        let pair = KeyPair::generate(Group::X25519).unwrap();
        let hello = bound(&change(x25519_hello(pair.public())));
        server.read_record(&mut record(22, &hello)).unwrap();
        let mut transcript = Transcript::new(Hash::Sha256);
        transcript.add(&hello);
        Self::answered(server, pair, transcript)
    }

    pub(super) fn client(server: &mut ServerHandshake) -> Self {
        Self::client_with(server, |hello| hello)
    }

    /// A client that was asked for another share, and has given it. Before the second hello, `server` gets the
    /// records in `between`.
    pub(super) fn client_after_a_retry(
        server: &mut ServerHandshake,
        first: impl Fn(Hello) -> Hello,
        between: &[Vec<u8>],
    ) -> Self {
        let pair = KeyPair::generate(Group::X25519).unwrap();
        let second = x25519_hello(pair.public());
        let hello = bound(&first(second.clone().with(ext::KEY_SHARE, &[0, 0])));
        server.read_record(&mut record(22, &hello)).unwrap();
        let mut transcript = Transcript::new(Hash::Sha256);
        transcript.add(&hello);
        transcript.fold_first_hello();
        transcript.add(&first_message(&server.take_output()));
        for record in between {
            server.read_record(&mut record.clone()).unwrap();
        }
        let hello = bound_after(&transcript, &second);
        server.read_record(&mut record(22, &hello)).unwrap();
        transcript.add(&hello);
        Self::answered(server, pair, transcript)
    }

    fn answered(server: &mut ServerHandshake, pair: KeyPair, mut transcript: Transcript) -> Self {
        let answer = first_message(&server.take_output());
        transcript.add(&answer);
        let parsed = ServerHello::decode(&answer[4..]).unwrap();
        let mut share = parsed.extensions.require(ext::KEY_SHARE).unwrap();
        share.u16("group").unwrap();
        let shared = pair.agree(share.vec16(32..=32, "share").unwrap()).unwrap();
        Self::new(Role::Client, transcript, &shared)
    }

    fn new(role: Role, transcript: Transcript, shared: &Secret) -> Self {
        let secret = EarlySecret::new(Hash::Sha256, psk().secret()).into_handshake(shared);
        let traffic = secret.traffic(SUITE, transcript.digest().as_ref()).unwrap();
        let key = if role == Role::Server { &traffic.server } else { &traffic.client }.record_key();
        Self { role, key, sequence: 0, traffic, transcript }
    }

    /// A record whose inner plaintext is just this: content, type and padding.
    pub(super) fn record(&mut self, inner: &[u8]) -> Vec<u8> {
        let mut sealed = record(23, &[inner, &[0; TAG_LEN]].concat());
        let (header, body) = sealed.split_at_mut(5);
        let (data, room) = body.split_at_mut(inner.len());
        room.copy_from_slice(&self.key.seal(self.sequence, header, data).unwrap());
        self.sequence += 1;
        sealed
    }

    /// What `end` says to these messages, in one record.
    pub(super) fn send(&mut self, end: &mut impl Handshake, messages: &[u8]) -> Result<(), Error> {
        self.send_padded(end, messages, 0)
    }

    /// The same with so many bytes of padding.
    pub(super) fn send_padded(
        &mut self,
        end: &mut impl Handshake,
        messages: &[u8],
        padding: usize,
    ) -> Result<(), Error> {
        end.read_record(&mut self.record(&[messages, &[22], &vec![0; padding]].concat()))
    }

    /// The right Finished of a server that sends `before` before it, or of a client, to which the server has said so.
    pub(super) fn finished(&self, before: &[u8]) -> Vec<u8> {
        let secret = if self.role == Role::Server { &self.traffic.server } else { &self.traffic.client };
        finished(verify_data(secret, self.transcript.digest_with(before).as_ref()).expose())
    }

    /// The right Finished of a client, for a server that said nothing in its EncryptedExtensions.
    pub(super) fn clients_finished(&self) -> Vec<u8> {
        let extensions = flights::NO_EXTENSIONS;
        let digest = self.transcript.digest_with(&extensions);
        let of_the_server = finished(verify_data(&self.traffic.server, digest.as_ref()).expose());
        self.finished(&[&extensions[..], &of_the_server].concat())
    }
}

/// A ClientHello whose one share is this one.
fn x25519_hello(share: &[u8]) -> Hello {
    let client = ClientConfig::new(psk()).groups([Group::X25519]).middlebox_compatibility(false);
    let hello = Hello::parse(&first_message(&ClientHandshake::new(&client).unwrap().take_output()));
    hello.with(ext::KEY_SHARE, &key_share(&[(Group::X25519.id(), share)]))
}
