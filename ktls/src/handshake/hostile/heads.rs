//! What stands before a ClientHello's extensions, and records of the handshake without content: what
//! tlsfuzzer's scripts check beside the extensions (docs/tlsfuzzer.md).

use super::super::message::extension_type as ext;
use super::super::wire::put_vec8;
use super::*;

/// A ClientHello whose part before the extensions is made anew.
fn hello(version: [u8; 2], session_id: &[u8], suites: &[u8], compression: &[u8]) -> Vec<u8> {
    let mut hello = Hello::parse(&first_message(&new_client().take_output()));
    let random = hello.head[2..34].to_vec();
    hello.head = [&version[..], &random].concat();
    put_vec8(&mut hello.head, |out| out.extend_from_slice(session_id));
    put_vec16(&mut hello.head, |out| out.extend_from_slice(suites));
    put_vec8(&mut hello.head, |out| out.extend_from_slice(compression));
    hello.build()
}

/// What the server says. A hello that is taken has a binder that no longer fits it.
fn server_says(hello: &[u8]) -> Alert {
    alert(answer(&mut new_server(), hello))
}

const OURS: [u8; 2] = [0x13, 0x01];

#[test]
fn the_head_of_a_client_hello() {
    let taken = Alert::DECRYPT_ERROR;
    assert_eq!(server_says(&hello([3, 3], &[1; 32], &OURS, &[0])), taken);
    assert_eq!(server_says(&hello([3, 3], &[], &OURS, &[0])), taken);
    assert_eq!(server_says(&hello([3, 3], &[1; 33], &OURS, &[0])), Alert::DECODE_ERROR);
    assert_eq!(server_says(&hello([3, 3], &[1; 255], &OURS, &[0])), Alert::DECODE_ERROR);
    for compression in [&[1][..], &[0, 1], &[1, 0], &[0, 0]] {
        assert_eq!(server_says(&hello([3, 3], &[], &OURS, compression)), Alert::ILLEGAL_PARAMETER);
    }
    assert_eq!(server_says(&hello([3, 3], &[], &OURS, &[])), Alert::DECODE_ERROR);
}

#[test]
fn suites_that_nobody_knows_are_passed_over() {
    let says = |suites: &[u8]| server_says(&hello([3, 3], &[], suites, &[0]));
    assert_eq!(says(&[0x0a, 0x0a, 0x13, 0x01]), Alert::DECRYPT_ERROR);
    // Every number there is, but those of TLS 1.3, and then ours.
    let mut many: Vec<u8> = (0x14_00..0x80_00_u16).flat_map(u16::to_be_bytes).collect();
    assert_eq!(says(&many), Alert::HANDSHAKE_FAILURE);
    many.extend(OURS);
    assert_eq!(says(&many), Alert::DECRYPT_ERROR);
    for none in [&[0x0a, 0x0a][..], &[0x00, 0x2f], &[0x13, 0x02], &[0x13, 0x04]] {
        assert_eq!(says(none), Alert::HANDSHAKE_FAILURE, "{none:x?}");
    }
    assert_eq!(says(&[]), Alert::DECODE_ERROR);
    assert_eq!(says(&[0x13]), Alert::DECODE_ERROR);
    assert_eq!(says(&[0x13, 0x01, 0x13]), Alert::DECODE_ERROR);
}

#[test]
fn a_large_number_of_extensions_is_passed_over() {
    let mut hello = Hello::parse(&first_message(&new_client().take_output()));
    for kind in 0x4000..0x4000 + 3000 {
        hello.extensions.insert(0, (kind, vec![0; 3]));
    }
    assert_eq!(server_says(&hello.build()), Alert::DECRYPT_ERROR);
    // The same one twice, among them.
    hello.extensions.insert(0, (0x4001, vec![]));
    assert_eq!(server_says(&hello.build()), Alert::ILLEGAL_PARAMETER);
}

#[test]
fn extensions_may_come_in_any_order_but_for_the_last() {
    let hello = Hello::parse(&first_message(&new_client().take_output()));
    let count = hello.extensions.len() - 1;
    for turn in 0..count {
        let mut turned = hello.clone();
        turned.extensions[..count].rotate_left(turn);
        let expected = if turn == 0 { Ok(()) } else { Err(Alert::DECRYPT_ERROR) };
        let said = answer(&mut new_server(), &turned.build());
        assert_eq!(said.map_err(|error| error.alert().unwrap()), expected, "{turn}");
        turned.extensions.swap(0, count);
        assert_eq!(server_says(&turned.build()), Alert::ILLEGAL_PARAMETER, "{turn}");
    }
}

#[test]
fn groups_that_nobody_knows_are_passed_over() {
    let hello = Hello::parse(&first_message(&new_client().take_output()));
    let data = |kind: u16| hello.extensions.iter().find(|(found, _)| *found == kind).unwrap().1.clone();
    let mut groups = data(ext::SUPPORTED_GROUPS);
    groups.splice(..2, [0, groups.len() as u8, 0x0a, 0x0a]);
    let with_groups = hello.clone().with(ext::SUPPORTED_GROUPS, &groups);
    assert_eq!(server_says(&with_groups.build()), Alert::DECRYPT_ERROR);
    let mut shares = data(ext::KEY_SHARE);
    let len = (shares.len() - 2 + 5) as u16;
    shares.splice(..2, [&len.to_be_bytes()[..], &[0x0a, 0x0a, 0, 1, 7]].concat());
    assert_eq!(server_says(&with_groups.with(ext::KEY_SHARE, &shares).build()), Alert::DECRYPT_ERROR);
}

#[test]
fn any_number_of_shares_that_nobody_knows_is_passed_over() {
    let hello = Hello::parse(&first_message(&new_client().take_output()));
    let unknown: Vec<u16> = (0x0a00..0x0a00 + 3000).collect();
    let says = |groups: &[u16], shares: &[u16]| {
        let mut data = Vec::new();
        put_vec16(&mut data, |out| groups.iter().for_each(|group| put_u16(out, *group)));
        let shares: Vec<(u16, &[u8])> = shares.iter().map(|group| (*group, &[0xab; 10][..])).collect();
        let hello = hello.clone().with(ext::SUPPORTED_GROUPS, &data);
        server_says(&hello.with(ext::KEY_SHARE, &key_share(&shares)).build())
    };
    let with_ours = [&unknown[..], &[0x1d]].concat();
    assert_eq!(says(&with_ours, &unknown), Alert::DECRYPT_ERROR);
    // A share twice, one without its group.
    assert_eq!(says(&with_ours, &[&unknown[..], &[0x0a01]].concat()), Alert::ILLEGAL_PARAMETER);
    assert_eq!(says(&unknown, &with_ours), Alert::ILLEGAL_PARAMETER);
}

#[test]
fn records_of_the_handshake_without_content_or_too_long() {
    for kind in [21, 22] {
        let refused = alert(new_server().read_record(&mut record(kind, &[])));
        assert!([Alert::UNEXPECTED_MESSAGE, Alert::DECODE_ERROR].contains(&refused), "{kind}: {refused}");
    }
    let mut long = record(22, &[1; 16_385]);
    assert_eq!(alert(new_server().read_record(&mut long)), Alert::RECORD_OVERFLOW);
    let mut data = record(23, &[0; 40]);
    assert_eq!(alert(new_server().read_record(&mut data)), Alert::UNEXPECTED_MESSAGE);
    // Types that there are not: no TLS, so no alert that somebody could read.
    for kind in [19, 24, 255] {
        assert_eq!(
            new_server().read_record(&mut record(kind, &[0; 40])).unwrap_err().alert(),
            None,
            "{kind}"
        );
    }
}
