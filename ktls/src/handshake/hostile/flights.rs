//! What comes under the handshake keys, from an end that has them.

use super::super::error::Role;
use super::super::message::{extension_type as ext, finished};
use super::insider::Insider;
use super::*;

pub(super) const NO_EXTENSIONS: [u8; 6] = [message_type::ENCRYPTED_EXTENSIONS, 0, 0, 2, 0, 0];

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
    assert_eq!(run(&[&NO_EXTENSIONS[..], &finished(&[0; 32])].concat()), Alert::DECRYPT_ERROR);
}

#[test]
fn nothing_may_follow_the_servers_finished_under_the_same_key() {
    for (more, works) in [(&[][..], true), (&[4, 0, 0, 0], false), (&[4], false)] {
        let mut client = new_client();
        let mut server = Insider::server(&mut client);
        let flight = [&NO_EXTENSIONS[..], &server.finished(&NO_EXTENSIONS), more].concat();
        let result = server.send(&mut client, &flight);
        assert_eq!((result.is_ok(), client.is_finished()), (works, works), "{result:?}");
    }
}

#[test]
fn a_server_may_send_supported_groups_and_messages_byte_by_byte() {
    let mut client = new_client();
    let mut server = Insider::server(&mut client);
    let extensions = encrypted_extensions(ext::SUPPORTED_GROUPS, &[0, 2, 0, 0x1d]);
    let flight = [&extensions[..], &server.finished(&extensions)].concat();
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
