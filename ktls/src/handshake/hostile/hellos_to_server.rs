//! ClientHellos, and what else a client sends in plain text.

use super::super::MAX_MESSAGE_LEN;
use super::super::error::Role;
use super::super::message::extension_type as ext;
use super::super::wire::put_vec8;
use super::*;

fn client_hello() -> Hello {
    Hello::parse(&new_client().take_output()[5..])
}

fn server_alert(hello: &Hello) -> Alert {
    alert(answer(&mut new_server(), &hello.build()))
}

#[test]
fn client_hellos_with_a_wrong_extension() {
    let good = client_hello();
    assert_eq!(answer(&mut new_server(), &good.build()), Ok(()));
    for (kind, expected) in [
        (ext::SUPPORTED_VERSIONS, Alert::PROTOCOL_VERSION),
        (ext::SUPPORTED_GROUPS, Alert::MISSING_EXTENSION),
        (ext::KEY_SHARE, Alert::MISSING_EXTENSION),
        (ext::PSK_KEY_EXCHANGE_MODES, Alert::MISSING_EXTENSION),
        (ext::PRE_SHARED_KEY, Alert::HANDSHAKE_FAILURE),
    ] {
        assert_eq!(server_alert(&good.clone().without(kind)), expected, "without {kind}");
        assert_eq!(server_alert(&good.clone().with(kind, &[])), Alert::DECODE_ERROR, "empty {kind}");
        let mut longer = good.extensions.iter().find(|(found, _)| *found == kind).unwrap().1.clone();
        longer.push(0);
        assert_eq!(server_alert(&good.clone().with(kind, &longer)), Alert::DECODE_ERROR, "longer {kind}");
        let mut twice = good.clone();
        twice.extensions.insert(0, (kind, vec![]));
        assert_eq!(server_alert(&twice), Alert::ILLEGAL_PARAMETER, "twice {kind}");
    }
    let with = |kind, data: &[u8]| server_alert(&good.clone().with(kind, data));
    assert_eq!(with(ext::SUPPORTED_VERSIONS, &[2, 3, 3]), Alert::PROTOCOL_VERSION);
    assert_eq!(with(ext::PSK_KEY_EXCHANGE_MODES, &[1, 0]), Alert::HANDSHAKE_FAILURE);
    assert_eq!(with(ext::RECORD_SIZE_LIMIT, &[0, 63]), Alert::ILLEGAL_PARAMETER);
    assert_eq!(with(ext::SUPPORTED_GROUPS, &[0, 2, 0x99, 0x99]), Alert::ILLEGAL_PARAMETER);
    assert_eq!(with(ext::KEY_SHARE, &[0, 5, 0, 0x1d, 0, 1, 7]), Alert::DECRYPT_ERROR);

    let mut not_last = good.clone();
    not_last.extensions.push((0x0a0a, vec![]));
    assert_eq!(server_alert(&not_last), Alert::ILLEGAL_PARAMETER);
    let mut grease = good.clone();
    grease.extensions.insert(0, (0x0a0a, vec![]));
    // It is ignored, but the binder no longer fits the hello.
    assert_eq!(server_alert(&grease), Alert::DECRYPT_ERROR);
}

#[test]
fn client_hellos_cut_or_lengthened_anywhere() {
    let good = client_hello().build();
    for len in 4..good.len() {
        let cut = message(message_type::CLIENT_HELLO, |out| out.extend_from_slice(&good[4..len]));
        let found = alert(answer(&mut new_server(), &cut));
        // Without any extension it is a hello of an older TLS.
        let end_of_head = 4 + client_hello().head.len();
        let expected = if len == end_of_head { Alert::PROTOCOL_VERSION } else { Alert::DECODE_ERROR };
        assert_eq!(found, expected, "{len}");
    }
    let longer = message(message_type::CLIENT_HELLO, |out| {
        out.extend_from_slice(&good[4..]);
        out.push(0);
    });
    assert_eq!(alert(answer(&mut new_server(), &longer)), Alert::DECODE_ERROR);
}

#[test]
fn identities_and_binders_that_do_not_match() {
    let psks = |identities: &[&[u8]], binders: usize| {
        let mut data = Vec::new();
        put_vec16(&mut data, |out| {
            for identity in identities {
                put_vec16(out, |out| out.extend_from_slice(identity));
                out.extend_from_slice(&[0; 4]);
            }
        });
        put_vec16(&mut data, |out| {
            for _ in 0..binders {
                put_vec8(out, |out| out.extend_from_slice(&[0; 32]));
            }
        });
        answer(&mut new_server(), &client_hello().with(ext::PRE_SHARED_KEY, &data).build()).unwrap_err()
    };
    assert_eq!(psks(&[b"identity"], 2).alert(), Some(Alert::ILLEGAL_PARAMETER));
    assert_eq!(psks(&[b"identity", b"b"], 1).alert(), Some(Alert::ILLEGAL_PARAMETER));
    assert_eq!(psks(&[b""], 1).alert(), Some(Alert::DECODE_ERROR));
    assert_eq!(psks(&[b"identity"], 1), Error::BinderMismatch { identity: b"identity".to_vec() });
    // The known identity may be any of them, up to the number that is looked at.
    assert_eq!(psks(&[b"x", b"identity"], 2), Error::BinderMismatch { identity: b"identity".to_vec() });
    let many = [&[b"x".as_slice(); 16][..], &[b"identity"]].concat();
    assert!(matches!(psks(&many, 17), Error::UnknownIdentity { identities } if identities.len() == 4));
}

#[test]
fn a_server_takes_nothing_but_a_client_hello_first() {
    for kind in (0..=255).filter(|kind| *kind != message_type::CLIENT_HELLO) {
        assert_eq!(alert(answer(&mut new_server(), &[kind, 0, 0, 0])), Alert::UNEXPECTED_MESSAGE, "{kind}");
    }
    let [.., a, b, c] = (MAX_MESSAGE_LEN + 1).to_be_bytes();
    assert_eq!(alert(answer(&mut new_server(), &[1, a, b, c])), Alert::DECODE_ERROR);
    for wrong in [record(20, &[1]), record(23, &[0; 40])] {
        assert_eq!(alert(new_server().read_record(&mut wrong.clone())), Alert::UNEXPECTED_MESSAGE);
    }
    let two = [client_hello().build(), vec![20, 0, 0, 0]].concat();
    assert_eq!(alert(answer(&mut new_server(), &two)), Alert::UNEXPECTED_MESSAGE);
}

#[test]
fn change_cipher_spec_is_ignored_within_bounds() {
    let mut client = new_client();
    for _ in 0..4 {
        client.read_record(&mut record(20, &[1])).unwrap();
    }
    assert_eq!(alert(client.read_record(&mut record(20, &[1]))), Alert::UNEXPECTED_MESSAGE);
    for wrong in [&[2][..], &[1, 1]] {
        assert_eq!(alert(new_client().read_record(&mut record(20, wrong))), Alert::UNEXPECTED_MESSAGE);
    }
    let mut client = new_client();
    client.read_record(&mut record(22, &[2, 0])).unwrap();
    assert_eq!(alert(client.read_record(&mut record(20, &[1]))), Alert::UNEXPECTED_MESSAGE);
}

#[test]
fn an_alert_is_exactly_two_bytes() {
    let received = new_client().read_record(&mut record(21, &[2, 115])).unwrap_err();
    assert_eq!(received, Error::AlertReceived { alert: Alert::UNKNOWN_PSK_IDENTITY, role: Role::Client });
    for wrong in [&[2][..], &[2, 40, 2, 40]] {
        assert_eq!(alert(new_client().read_record(&mut record(21, wrong))), Alert::DECODE_ERROR);
    }
}
