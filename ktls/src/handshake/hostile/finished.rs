//! A Finished of every length, with padding, and records without a content type before it.

use super::super::error::Role;
use super::super::message::finished;
use super::flights::NO_EXTENSIONS;
use super::insider::Insider;
use super::*;

/// The most bytes that a record holds beside its tag: a fragment and the content type (RFC 8446, section 5.4).
const MAX_INNER: usize = 16_384 + 1;

/// What a client says to `alter` of the right Finished and `padding`.
fn client_says(alter: impl Fn(Vec<u8>) -> Vec<u8>, padding: usize) -> Result<(), Error> {
    let mut client = new_client();
    let mut server = Insider::server(&mut client);
    let proof = alter(server.finished(&NO_EXTENSIONS));
    server.send(&mut client, &NO_EXTENSIONS).unwrap();
    let result = server.send_padded(&mut client, &proof, padding);
    assert_eq!(client.is_finished(), result.is_ok());
    result
}

/// The same of a server.
fn server_says(alter: impl Fn(Vec<u8>) -> Vec<u8>, padding: usize) -> Result<(), Error> {
    let mut server = new_server();
    let mut client = Insider::client(&mut server);
    let proof = alter(client.clients_finished());
    let result = client.send_padded(&mut server, &proof, padding);
    assert_eq!(server.is_finished(), result.is_ok());
    result
}

fn both(alter: impl Fn(Vec<u8>) -> Vec<u8>, padding: usize) -> [Result<(), Error>; 2] {
    [client_says(&alter, padding), server_says(&alter, padding)]
}

#[test]
fn the_right_one_is_taken() {
    assert_eq!(both(|proof| proof, 0), [Ok(()), Ok(())]);
}

#[test]
fn one_of_another_length_is_malformed() {
    for len in (0..=100).filter(|len| *len != 32) {
        let cut = |proof: Vec<u8>| {
            let mut data = proof[4..].to_vec();
            data.resize(len, 0);
            finished(&data)
        };
        for result in both(cut, 0) {
            assert_eq!(alert(result), Alert::DECODE_ERROR, "{len}");
        }
    }
    // As long as its record may be, and one that says that it is longer than any message.
    let longest = |proof: Vec<u8>| {
        let mut data = proof[4..].to_vec();
        data.resize(16_384 - 4, 0);
        finished(&data)
    };
    assert_eq!(both(longest, 0).map(alert), [Alert::DECODE_ERROR; 2]);
    let endless = |mut proof: Vec<u8>| {
        proof[1] = 0xff;
        proof
    };
    assert_eq!(both(endless, 0).map(alert), [Alert::DECODE_ERROR; 2]);
}

#[test]
fn one_changed_anywhere_does_not_match() {
    for at in 4..36 {
        for bit in [0x01, 0x80] {
            let change = |mut proof: Vec<u8>| {
                proof[at] ^= bit;
                proof
            };
            assert_eq!(both(change, 0), [Err(Error::FinishedMismatch), Err(Error::FinishedMismatch)], "{at}");
        }
    }
}

#[test]
fn padding_is_no_part_of_it() {
    let most = MAX_INNER - 36 - 1;
    for padding in [1, 2, 15, 16, 255, 256, 4096, most] {
        assert_eq!(both(|proof| proof, padding), [Ok(()), Ok(())], "{padding}");
    }
    assert_eq!(both(|proof| proof, most + 1).map(alert), [Alert::RECORD_OVERFLOW; 2]);
}

#[test]
fn it_may_come_byte_by_byte_with_padding() {
    let mut server = new_server();
    let mut client = Insider::client(&mut server);
    for byte in client.clients_finished() {
        assert!(!server.is_finished());
        client.send_padded(&mut server, &[byte], 300).unwrap();
    }
    assert!(server.is_finished());
}

#[test]
fn a_record_before_it_has_a_content_and_a_type() {
    for (inner, expected) in [
        (vec![0; 1], Alert::UNEXPECTED_MESSAGE),
        (vec![0; 2], Alert::UNEXPECTED_MESSAGE),
        (vec![0; MAX_INNER], Alert::UNEXPECTED_MESSAGE),
        (vec![0; MAX_INNER + 1], Alert::RECORD_OVERFLOW),
        // A handshake record without a message, an alert without a byte, or with one or four.
        (vec![22], Alert::UNEXPECTED_MESSAGE),
        (vec![22, 0, 0], Alert::UNEXPECTED_MESSAGE),
        (vec![21], Alert::UNEXPECTED_MESSAGE),
        (vec![21, 0, 0], Alert::UNEXPECTED_MESSAGE),
        (vec![2, 21], Alert::DECODE_ERROR),
        (vec![2, 40, 0, 21], Alert::DECODE_ERROR),
        // A ChangeCipherSpec under the keys; data before the end of the handshake, also empty.
        (vec![1, 20], Alert::UNEXPECTED_MESSAGE),
        (vec![1, 23], Alert::UNEXPECTED_MESSAGE),
        (vec![23], Alert::UNEXPECTED_MESSAGE),
        // Types that there are not.
        (vec![1, 1], Alert::UNEXPECTED_MESSAGE),
        (vec![1, 24], Alert::UNEXPECTED_MESSAGE),
        (vec![1, 255], Alert::UNEXPECTED_MESSAGE),
    ] {
        let mut server = new_server();
        let mut client = Insider::client(&mut server);
        assert_eq!(
            alert(server.read_record(&mut client.record(&inner))),
            expected,
            "{inner:.9?} to a server"
        );
        let mut client = new_client();
        let mut server = Insider::server(&mut client);
        assert_eq!(
            alert(client.read_record(&mut server.record(&inner))),
            expected,
            "{inner:.9?} to a client"
        );
    }
}

#[test]
fn a_sealed_alert_before_it_is_heard() {
    let heard = |role| Err(Error::AlertReceived { alert: Alert::INTERNAL_ERROR, role });
    let internal_error = [2, 80, 21];
    let mut server = new_server();
    let mut client = Insider::client(&mut server);
    assert_eq!(server.read_record(&mut client.record(&internal_error)), heard(Role::Server));
    let mut client = new_client();
    let mut server = Insider::server(&mut client);
    assert_eq!(client.read_record(&mut server.record(&internal_error)), heard(Role::Client));
}
