//! Early data that nobody asked for: this library's server takes none, and must get past it (RFC 8446, section
//! 4.2.10).

use super::super::channel::MAX_EARLY_DATA;
use super::super::message::extension_type as ext;
use super::insider::{Insider, bound};
use super::*;

fn offered(hello: Hello) -> Hello {
    hello.with(ext::EARLY_DATA, &[])
}

/// A record under a key that this end does not have.
fn early(len: usize) -> Vec<u8> {
    record(23, &vec![0x5a; len])
}

#[test]
fn a_server_gets_past_what_was_offered() {
    for records in [vec![], vec![17], vec![16_640], vec![40, 17, 1000, 300]] {
        let mut server = new_server();
        let mut client = Insider::client_with(&mut server, offered);
        for len in &records {
            assert_eq!(server.read_record(&mut early(*len)), Ok(()));
        }
        let proof = client.clients_finished();
        assert_eq!(client.send(&mut server, &proof), Ok(()), "{records:?}");
        assert!(server.is_finished());
    }
}

#[test]
fn also_between_two_hellos() {
    let mut server = new_server();
    let mut client = Insider::client_after_a_retry(&mut server, offered, &[early(17), early(9000)]);
    let proof = client.clients_finished();
    assert_eq!(client.send(&mut server, &proof), Ok(()));
    assert!(server.is_finished());
}

#[test]
fn not_without_end() {
    let mut server = new_server();
    Insider::client_with(&mut server, offered);
    let mut skipped = 0;
    let refusal = loop {
        match server.read_record(&mut early(1000)) {
            Ok(()) => skipped += 1000,
            Err(error) => break error,
        }
    };
    assert_eq!(refusal, Error::BadRecordMac);
    assert!((MAX_EARLY_DATA - 1000..=MAX_EARLY_DATA).contains(&skipped), "{skipped}");

    let mut server = new_server();
    answer(&mut server, &bound(&offered(no_share()))).unwrap();
    let refusal = loop {
        if let Err(error) = server.read_record(&mut early(1000)) {
            break error;
        }
    };
    assert_eq!(refusal.alert(), Some(Alert::UNEXPECTED_MESSAGE));
}

#[test]
fn not_where_it_was_not_offered() {
    let mut server = new_server();
    Insider::client(&mut server);
    assert_eq!(server.read_record(&mut early(100)), Err(Error::BadRecordMac));
    let mut server = new_server();
    answer(&mut server, &bound(&no_share())).unwrap();
    assert_eq!(alert(server.read_record(&mut early(100))), Alert::UNEXPECTED_MESSAGE);
}

#[test]
fn not_behind_the_first_record_that_opens() {
    let mut server = new_server();
    let mut client = Insider::client_with(&mut server, offered);
    server.read_record(&mut early(100)).unwrap();
    let proof = client.clients_finished();
    client.send(&mut server, &proof[..10]).unwrap();
    assert_eq!(server.read_record(&mut early(100)), Err(Error::BadRecordMac));
}

#[test]
fn the_offer_is_empty_and_not_repeated() {
    let hello = Hello::parse(&first_message(&new_client().take_output()));
    let refused = alert(answer(&mut new_server(), &bound(&hello.with(ext::EARLY_DATA, &[0]))));
    assert_eq!(refused, Alert::DECODE_ERROR);

    let mut server = new_server();
    let first = no_share();
    answer(&mut server, &bound(&offered(first.clone()))).unwrap();
    // The binder is not looked at any more.
    assert_eq!(alert(answer(&mut server, &offered(first).build())), Alert::ILLEGAL_PARAMETER);
}

/// A hello that a server asks to come again.
fn no_share() -> Hello {
    let hello = Hello::parse(&first_message(&new_client().take_output()));
    hello.with(ext::KEY_SHARE, &[0, 0])
}
