//! What comes under the handshake keys, from an end that has them.

use super::super::channel::Channel;
use super::super::error::Role;
use super::super::hello::{ClientHello, ClientHelloParts, ServerHello, ServerHelloParts, binders_len};
use super::super::message::{extension_type as ext, finished};
use super::super::reassembly::Reassembler;
use super::super::schedule::{EXTERNAL_BINDER, EarlySecret, Traffic, Transcript, verify_data};
use super::*;
use crate::cipher::CipherSuite;
use crate::crypto::{Group, KeyPair};

const SUITE: CipherSuite = CipherSuite::Aes128GcmSha256;

/// An end that has the right keys, and with them sends what it likes.
struct Insider {
    channel: Channel,
    traffic: Traffic,
    transcript: Transcript,
}

impl Insider {
    /// A server whose ServerHello `client` has taken.
    fn server(client: &mut ClientHandshake) -> Self {
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
        Self::new(Role::Server, [hello.clone(), answer], &pair.agree(share).unwrap())
    }

    /// A client whose ClientHello `server` has taken and answered.
    fn client(server: &mut ServerHandshake) -> Self {
        let pair = KeyPair::generate(Group::X25519).unwrap();
        let mut hello = ClientHelloParts {
            random: &[7; 32],
            session_id: &[],
            suite: SUITE,
            groups: &[Group::X25519],
            shares: &[(Group::X25519, pair.public())],
            cookie: None,
            record_size_limit: None,
            identity: psk().identity(),
        }
        .encode();
        let truncated = &hello[..hello.len() - binders_len(Hash::Sha256)];
        let digest = Transcript::new(Hash::Sha256).digest_with(truncated);
        let binder = EarlySecret::new(Hash::Sha256, psk().secret()).binder(EXTERNAL_BINDER, digest.as_ref());
        hello.truncate(hello.len() - 32);
        hello.extend_from_slice(binder.expose());
        server.read_record(&mut record(22, &hello)).unwrap();
        let answer = first_message(&server.take_output());
        let parsed = ServerHello::decode(&answer[4..]).unwrap();
        let mut share = parsed.extensions.require(ext::KEY_SHARE).unwrap();
        share.u16("group").unwrap();
        let shared = pair.agree(share.vec16(32..=32, "share").unwrap()).unwrap();
        Self::new(Role::Client, [hello, answer], &shared)
    }

    fn new(role: Role, hellos: [Vec<u8>; 2], shared: &Secret) -> Self {
        let mut transcript = Transcript::new(Hash::Sha256);
        hellos.iter().for_each(|hello| transcript.add(hello));
        let secret = EarlySecret::new(Hash::Sha256, psk().secret()).into_handshake(shared);
        let traffic = secret.traffic(SUITE, transcript.digest().as_ref()).unwrap();
        let mut channel = Channel::new(role);
        channel.set_tx(if role == Role::Server { &traffic.server } else { &traffic.client });
        Self { channel, traffic, transcript }
    }

    /// What `end` says to these messages, sealed in one record.
    fn send(&mut self, end: &mut impl Handshake, messages: &[u8]) -> Result<(), Error> {
        self.channel.send(messages).unwrap();
        end.read_record(&mut self.channel.take_output())
    }

    fn server_finished(&self, before: &[u8]) -> Vec<u8> {
        let digest = self.transcript.digest_with(before);
        finished(verify_data(&self.traffic.server, digest.as_ref()).expose())
    }
}

const NO_EXTENSIONS: [u8; 6] = [message_type::ENCRYPTED_EXTENSIONS, 0, 0, 2, 0, 0];

fn encrypted_extensions(kind: u16, data: &[u8]) -> Vec<u8> {
    message(message_type::ENCRYPTED_EXTENSIONS, |out| {
        put_vec16(out, |out| put_extension(out, kind, |out| out.extend_from_slice(data)));
    })
}

#[test]
fn a_servers_protected_flight_that_breaks_the_rules() {
    let run = |flight: &[u8]| {
        let mut client = new_client();
        let result = Insider::server(&mut client).send(&mut client, flight);
        assert!(!client.is_finished());
        alert(result)
    };
    // Certificate requests, certificates and their proof, and the rest that is not EncryptedExtensions.
    for kind in (0..=255).filter(|kind| *kind != message_type::ENCRYPTED_EXTENSIONS) {
        assert_eq!(run(&[kind, 0, 0, 0]), Alert::UNEXPECTED_MESSAGE, "{kind}");
    }
    for kind in (0..=255).filter(|kind| *kind != message_type::FINISHED) {
        assert_eq!(
            run(&[&NO_EXTENSIONS[..], &[kind, 0, 0, 0]].concat()),
            Alert::UNEXPECTED_MESSAGE,
            "{kind}"
        );
    }
    assert_eq!(run(&[8, 0, 0, 0]), Alert::DECODE_ERROR);
    assert_eq!(run(&[8, 0, 0, 3, 0, 0, 0]), Alert::DECODE_ERROR);
    assert_eq!(run(&encrypted_extensions(0x1234, &[])), Alert::UNSUPPORTED_EXTENSION);
    assert_eq!(run(&encrypted_extensions(ext::RECORD_SIZE_LIMIT, &[64, 1])), Alert::UNSUPPORTED_EXTENSION);
    assert_eq!(run(&encrypted_extensions(ext::KEY_SHARE, &[])), Alert::ILLEGAL_PARAMETER);
    for wrong in [&[0; 32][..], &[0; 31], &[]] {
        assert_eq!(run(&[&NO_EXTENSIONS[..], &finished(wrong)].concat()), Alert::DECRYPT_ERROR);
    }
}

#[test]
fn nothing_may_follow_the_servers_finished_under_the_same_key() {
    for (more, works) in [(&[][..], true), (&[4, 0, 0, 0], false), (&[4], false)] {
        let mut client = new_client();
        let mut server = Insider::server(&mut client);
        let flight = [&NO_EXTENSIONS[..], &server.server_finished(&NO_EXTENSIONS), more].concat();
        let result = server.send(&mut client, &flight);
        assert_eq!((result.is_ok(), client.is_finished()), (works, works), "{result:?}");
    }
}

#[test]
fn a_server_may_send_supported_groups_and_messages_byte_by_byte() {
    let mut client = new_client();
    let mut server = Insider::server(&mut client);
    let extensions = encrypted_extensions(ext::SUPPORTED_GROUPS, &[0, 2, 0, 0x1d]);
    let flight = [&extensions[..], &server.server_finished(&extensions)].concat();
    for byte in flight {
        server.send(&mut client, &[byte]).unwrap();
    }
    assert!(client.is_finished());
}

#[test]
fn a_record_in_plain_text_is_not_taken_for_a_protected_one() {
    let mut client = new_client();
    Insider::server(&mut client);
    assert_eq!(alert(client.read_record(&mut record(22, &NO_EXTENSIONS))), Alert::UNEXPECTED_MESSAGE);
    let mut client = new_client();
    Insider::server(&mut client);
    assert_eq!(client.read_record(&mut record(23, &[0; 40])), Err(Error::BadRecordMac));
}

#[test]
fn a_clients_second_flight_that_breaks_the_rules() {
    let run = |message: &[u8]| {
        let mut server = new_server();
        let error = Insider::client(&mut server).send(&mut server, message).unwrap_err();
        assert!(!server.is_finished());
        // The alert is sealed: under the application key, for the server's Finished has gone.
        assert_eq!(server.take_output()[..5], [23, 3, 3, 0, 19]);
        error
    };
    assert_eq!(run(&finished(&[0; 32])), Error::FinishedMismatch);
    for kind in (0..=255).filter(|kind| *kind != message_type::FINISHED) {
        assert_eq!(run(&[kind, 0, 0, 0]).alert(), Some(Alert::UNEXPECTED_MESSAGE), "{kind}");
    }

    let mut server = new_server();
    let mut client = Insider::client(&mut server);
    // A client that could not make keys says so in plain text.
    let refusal = server.read_record(&mut record(21, &[2, 51])).unwrap_err();
    assert_eq!(refusal, Error::AlertReceived { alert: Alert::DECRYPT_ERROR, role: Role::Server });
    assert_eq!(client.send(&mut server, &[20]), Err(refusal));
}

#[test]
fn a_reassembler_keeps_at_most_one_message() {
    let mut input = Reassembler::default();
    input.push(&[20, 0, 0, 1, 5, 20, 0]).unwrap();
    assert_eq!(input.next().unwrap().unwrap().body(), [5]);
    assert!(input.next().unwrap().is_none());
    assert!(!input.is_empty() && input.expect_empty("x").is_err());
}
