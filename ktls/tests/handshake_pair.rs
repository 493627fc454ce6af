//! Our client against our server, in memory.

mod handshake_support;

use handshake_support::{Half, assert_agree, feed, pair, psk, psk_of, run, server_config, take_record};
use ktls::alert::Alert;
use ktls::cipher::CipherSuite;
use ktls::crypto::{Group, Hash};
use ktls::handshake::{ClientConfig, Error, Handshake, Psk, Role, ServerHandshake};
use ktls::secret::Secret;
use proptest::prelude::*;

#[test]
fn every_suite_and_group_with_and_without_a_retry() {
    for suite in CipherSuite::ALL {
        for group in Group::ALL {
            for key_shares in [0, 1] {
                for compatible in [false, true] {
                    let config = ClientConfig::new(psk_of(suite, 1))
                        .groups([group])
                        .key_shares(key_shares)
                        .middlebox_compatibility(compatible);
                    let (mut client, mut server) = pair(&config, &server_config(vec![psk_of(suite, 1)]));
                    let outcome = run(&mut client, &mut server, |_, _| {});
                    assert_eq!((outcome.client, outcome.server), (Ok(()), Ok(())));
                    let flights = outcome.flights.iter().filter(|flight| !flight.is_empty()).count();
                    assert_eq!(flights, if key_shares == 0 { 5 } else { 3 }, "{suite:?} {group:?}");
                    let [client, server] = [client.into_established(), server.into_established()];
                    let (client, server) = (client.unwrap(), server.unwrap());
                    assert_eq!(client.group, group);
                    assert_agree(&client, &server, suite);
                }
            }
        }
    }
}

/// The content types of the records in a flight.
fn kinds(flight: &[u8]) -> Vec<u8> {
    let mut stream = flight.to_vec();
    std::iter::from_fn(|| take_record(&mut stream).unwrap()).map(|record| record[0]).collect()
}

#[test]
fn change_cipher_spec_only_for_a_session_id() {
    for (compatible, expected) in [
        (true, [&[22][..], &[22, 20], &[20, 22], &[22, 23], &[23]]),
        (false, [&[22][..], &[22], &[22], &[22, 23], &[23]]),
    ] {
        let config =
            ClientConfig::new(psk(Hash::Sha256, 1)).key_shares(0).middlebox_compatibility(compatible);
        let (mut client, mut server) = pair(&config, &server_config(vec![psk(Hash::Sha256, 1)]));
        let flights = run(&mut client, &mut server, |_, _| {}).flights;
        let found: Vec<_> = flights.iter().map(|flight| kinds(flight)).take(5).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_share_that_is_there_is_taken_before_a_retry() {
    // The server does not know the client's first group; the client's second has a share.
    let config = ClientConfig::new(psk(Hash::Sha256, 1)).groups(Group::ALL).key_shares(2);
    let server = server_config(vec![psk(Hash::Sha256, 1)]).groups([Group::Secp384r1, Group::Secp256r1]);
    let (mut client, mut server) = pair(&config, &server);
    run(&mut client, &mut server, |_, _| {});
    assert_eq!(server.into_established().unwrap().group, Group::Secp256r1);
}

#[test]
fn several_keys_of_one_identity_are_tried() {
    let keys = vec![psk(Hash::Sha256, 1), psk(Hash::Sha384, 1), psk(Hash::Sha256, 2)];
    for (key, suite) in [
        (psk(Hash::Sha256, 2), CipherSuite::Aes128GcmSha256),
        (psk(Hash::Sha384, 1), CipherSuite::Aes256GcmSha384),
    ] {
        for key_shares in [0, 1] {
            let config = ClientConfig::new(key.clone()).key_shares(key_shares);
            let (mut client, mut server) = pair(&config, &server_config(keys.clone()));
            run(&mut client, &mut server, |_, _| {});
            let established = server.into_established().unwrap();
            assert_agree(&client.into_established().unwrap(), &established, suite);
        }
    }
}

/// Runs a handshake that the server refuses, and gives both errors.
fn refused(client: Psk, server: Vec<Psk>, groups: &[Group]) -> (Error, Error) {
    let config = ClientConfig::new(client).groups([Group::X25519]);
    let (mut client, mut server) = pair(&config, &server_config(server).groups(groups));
    let outcome = run(&mut client, &mut server, |_, _| {});
    assert!(!client.is_finished() && !server.is_finished());
    (outcome.client.unwrap_err(), outcome.server.unwrap_err())
}

#[test]
fn the_server_says_what_is_wrong_and_the_client_hears_it() {
    let heard = |alert| Error::AlertReceived { alert, role: Role::Client };
    let key = || psk(Hash::Sha256, 1);

    let (client, server) = refused(key(), vec![psk(Hash::Sha256, 2)], &Group::ALL);
    assert_eq!(server, Error::BinderMismatch { identity: key().identity().to_vec() });
    assert_eq!(client, heard(Alert::DECRYPT_ERROR));
    assert!(client.hint().unwrap().contains("the keys differ"));

    let (client, server) = refused(key(), vec![], &Group::ALL);
    assert_eq!(server, Error::UnknownIdentity { identities: vec![key().identity().to_vec()] });
    assert_eq!(client, heard(Alert::UNKNOWN_PSK_IDENTITY));
    assert!(client.hint().unwrap().contains("does not know this PSK identity"));

    let (client, server) = refused(key(), vec![psk(Hash::Sha384, 1)], &Group::ALL);
    assert_eq!(server, Error::NoCommonSuite { offered: vec![0x1301] });
    assert_eq!(client, heard(Alert::HANDSHAKE_FAILURE));

    let (client, server) = refused(key(), vec![key()], &[Group::Secp384r1]);
    assert_eq!(server, Error::NoCommonGroup { offered: vec![0x1d] });
    assert_eq!(client, heard(Alert::HANDSHAKE_FAILURE));
}

#[test]
fn a_record_size_limit_is_kept_and_answered() {
    let config = ClientConfig::new(psk(Hash::Sha384, 1)).record_size_limit(64);
    let (mut client, mut server) = pair(&config, &server_config(vec![psk(Hash::Sha384, 1)]));
    let outcome = run(&mut client, &mut server, |_, _| {});
    let mut flight = outcome.flights[1].clone();
    let mut protected = 0;
    while let Some(record) = take_record(&mut flight).unwrap() {
        if record[0] == 23 {
            assert!(record.len() <= 5 + 64 + 16, "{}", record.len());
            protected += 1;
        }
    }
    assert!(protected > 1, "EncryptedExtensions and Finished do not fit one such record");
    let (client, server) = (client.into_established().unwrap(), server.into_established().unwrap());
    assert_eq!((client.max_send_fragment, server.max_send_fragment), (16_384, 63));
    assert_agree(&client, &server, CipherSuite::Aes256GcmSha384);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let config = || ClientConfig::new(psk(Hash::Sha256, 1));
    for wrong in [
        config().groups([]),
        config().groups([Group::X25519, Group::X25519]),
        config().record_size_limit(63),
        config().record_size_limit(16_386),
    ] {
        let error = ktls::handshake::ClientHandshake::new(&wrong).err().unwrap();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
    assert!(matches!(ServerHandshake::new(&server_config(vec![]).groups([])), Err(Error::Config(_))));
    let secret = || Secret::new(&[1; 32]).unwrap();
    assert!(Psk::new(vec![], secret(), Hash::Sha256).is_err());
    assert!(Psk::new(vec![0; 16_385], secret(), Hash::Sha256).is_err());
    assert!(Psk::new(vec![0], Secret::new(&[]).unwrap(), Hash::Sha256).is_err());
    assert!(Psk::new(vec![0], secret(), Hash::Sha512).is_err());
}

#[test]
fn the_longest_identity_works_and_a_client_hello_may_fill_several_records() {
    let key = Psk::new(vec![b'i'; 16_384], Secret::new(&[1; 32]).unwrap(), Hash::Sha256).unwrap();
    let (mut client, mut server) =
        pair(&ClientConfig::new(key.clone()).key_shares(0), &server_config(vec![key]));
    let outcome = run(&mut client, &mut server, |_, _| {});
    assert_eq!(kinds(&outcome.flights[0]), [22, 22]);
    let (client, server) = (client.into_established().unwrap(), server.into_established().unwrap());
    assert_agree(&client, &server, CipherSuite::Aes128GcmSha256);
}

#[test]
fn nothing_secret_is_printed() {
    let key = psk(Hash::Sha256, 0xab);
    let (mut client, mut server) = pair(&ClientConfig::new(key.clone()), &server_config(vec![key.clone()]));
    run(&mut client, &mut server, |_, _| {});
    let established = client.into_established().unwrap();
    let text = format!("{key:?} {:?} {established:?}", ClientConfig::new(key.clone()));
    assert!(text.contains("Secret(32 bytes)") && !text.contains("171") && !text.contains("abab"), "{text}");
}

#[test]
fn a_finished_client_can_open_the_servers_alert() {
    let key = psk(Hash::Sha256, 1);
    let (mut client, mut server) = pair(&ClientConfig::new(key.clone()), &server_config(vec![key]));
    let outcome = run(&mut client, &mut server, |number, flight| {
        if number == 2 {
            *flight.last_mut().unwrap() ^= 1;
        }
    });
    assert_eq!(outcome.server, Err(Error::BadRecordMac));
    let mut alert = outcome.flights[3].clone();
    let opened = Half::new(&client.into_established().unwrap().rx).open(&mut alert);
    assert_eq!(opened, (21, Alert::BAD_RECORD_MAC.to_bytes().to_vec()));
}

/// Cuts the plain handshake messages of a flight into records of at most `size` bytes.
fn split_plain(flight: &mut Vec<u8>, size: usize) {
    let mut stream = std::mem::take(flight);
    while let Some(record) = take_record(&mut stream).unwrap() {
        if record[0] != 22 {
            flight.extend_from_slice(&record);
            continue;
        }
        for piece in record[5..].chunks(size) {
            let [.., high, low] = piece.len().to_be_bytes();
            flight.extend_from_slice(&[22, 3, 3, high, low]);
            flight.extend_from_slice(piece);
        }
    }
}

#[test]
fn every_split_of_the_hellos_gives_the_same() {
    for size in 1..=400 {
        let key = psk(Hash::Sha256, 1);
        let config = ClientConfig::new(key.clone()).key_shares(size % 2);
        let (mut client, mut server) = pair(&config, &server_config(vec![key]));
        run(&mut client, &mut server, |_, flight| split_plain(flight, size));
        let (client, server) = (client.into_established().unwrap(), server.into_established().unwrap());
        assert_agree(&client, &server, CipherSuite::Aes128GcmSha256);
    }
}

#[test]
fn what_is_not_tls_gets_no_alert() {
    let (mut client, mut server) =
        pair(&ClientConfig::new(psk(Hash::Sha256, 1)), &server_config(vec![psk(Hash::Sha256, 1)]));
    client.take_output();
    let icresp = b"\x01\x00\x80\x00\x80\x00\x00\x00";
    for error in
        [feed(&mut client, &mut icresp.to_vec()), feed(&mut server, &mut b"GET / HTTP/1.1\r\n".to_vec())]
    {
        assert!(matches!(error, Err(Error::NotTls { .. })), "{error:?}");
    }
    assert!(client.take_output().is_empty() && server.take_output().is_empty());
}

#[test]
fn the_end_of_the_connection_is_told_and_the_first_error_stays() {
    let (mut client, mut server) =
        pair(&ClientConfig::new(psk(Hash::Sha256, 1)), &server_config(vec![psk(Hash::Sha256, 2)]));
    assert_eq!(client.closed(), Error::Closed { role: Role::Client, answered: false });
    let mut hello = client.take_output();
    let error = feed(&mut server, &mut hello).unwrap_err();
    assert_eq!(server.closed(), error);
    assert_eq!(feed(&mut server, &mut vec![22, 3, 3, 0, 1, 0]), Err(error));
    assert!(matches!(server.into_established(), Err(Error::Misuse(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Whatever one byte becomes: nobody panics, and where both ends finish, they agree.
    #[test]
    fn one_wrong_byte_never_makes_two_ends_disagree(
        flight in 0usize..5, position in any::<prop::sample::Index>(), mask in 1u8..=255, retry: bool, long: bool,
    ) {
        let hash = if long { Hash::Sha384 } else { Hash::Sha256 };
        let config = ClientConfig::new(psk(hash, 1)).key_shares(usize::from(!retry)).record_size_limit(16_385);
        let (mut client, mut server) = pair(&config, &server_config(vec![psk(hash, 1)]));
        let outcome = run(&mut client, &mut server, |number, bytes| {
            if number == flight && !bytes.is_empty() {
                let at = position.index(bytes.len());
                bytes[at] ^= mask;
            }
        });
        if outcome.client.is_ok() && outcome.server.is_ok() && client.is_finished() && server.is_finished() {
            let (client, server) = (client.into_established().unwrap(), server.into_established().unwrap());
            assert_agree(&client, &server, CipherSuite::for_hash(hash).unwrap());
            prop_assert_eq!(server.max_send_fragment, 16_384);
        }
    }

    /// Arbitrary bytes as a record: an error or nothing, never a panic, never an end.
    #[test]
    fn arbitrary_records_never_panic(kind in 20u8..24, body in proptest::collection::vec(any::<u8>(), 0..600)) {
        let (mut client, mut server) =
            pair(&ClientConfig::new(psk(Hash::Sha256, 1)), &server_config(vec![psk(Hash::Sha256, 1)]));
        let [.., high, low] = body.len().to_be_bytes();
        let record = [&[kind, 3, 3, high, low][..], &body].concat();
        let _ = feed(&mut client, &mut record.clone());
        let _ = feed(&mut server, &mut record.clone());
        prop_assert!(!client.is_finished() && !server.is_finished());
    }
}
