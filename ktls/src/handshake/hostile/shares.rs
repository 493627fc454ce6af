//! Public keys that are no points of their group, and randoms.

use std::collections::HashSet;

use super::super::message::extension_type as ext;
use super::insider::bound;
use super::*;
use crate::crypto::{Group, KeyPair};

/// The points of small order on Curve25519 and its twist, and the numbers that are the same modulo the prime: with
/// them the shared secret is zero (RFC 7748, section 6.1; RFC 8446, section 7.4.2).
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    one_then(0, 0),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    // p - 1, p and p + 1, lowest byte first.
    numbers_near_p(0xec),
    numbers_near_p(0xed),
    numbers_near_p(0xee),
];

const fn one_then(fill: u8, last: u8) -> [u8; 32] {
    let mut bytes = [fill; 32];
    bytes[0] = 1;
    bytes[31] = last;
    bytes
}

const fn numbers_near_p(lowest: u8) -> [u8; 32] {
    let mut bytes = one_then(0xff, 0x7f);
    bytes[0] = lowest;
    bytes
}

/// What is no public key of `group`, each with its name.
fn wrong_shares(group: Group) -> Vec<(&'static str, Vec<u8>)> {
    let right = KeyPair::generate(group).unwrap().public().to_vec();
    let cut = |len: usize| {
        let mut share = right.clone();
        share.resize(len, 0);
        share
    };
    let mut wrong =
        vec![("one byte", cut(1)), ("cut", cut(right.len() - 1)), ("lengthened", cut(right.len() + 1))];
    if group == Group::X25519 {
        wrong.extend(SMALL_ORDER.map(|point| ("of small order", point.to_vec())));
        return wrong;
    }
    let len = (right.len() - 1) / 2;
    let with_form = |form: u8| [&[form], &right[1..]].concat();
    let mut off_the_curve = right.clone();
    off_the_curve[2 * len] ^= 1;
    let mut swapped = vec![4];
    swapped.extend_from_slice(&right[1 + len..]);
    swapped.extend_from_slice(&right[1..1 + len]);
    wrong.extend([
        ("off the curve", off_the_curve),
        ("x and y changed for each other", swapped),
        ("zeros", [&[4][..], &vec![0; 2 * len]].concat()),
        ("beyond the field", [&[4][..], &vec![0xff; 2 * len]].concat()),
        ("the point at infinity", vec![0]),
        ("compressed", with_form(2 + (right[2 * len] & 1))[..1 + len].to_vec()),
        ("hybrid", with_form(6 + (right[2 * len] & 1))),
        ("of an unknown form", with_form(5)),
        ("without its form", right[1..].to_vec()),
    ]);
    wrong
}

#[test]
fn a_server_refuses_what_is_no_point() {
    for group in Group::ALL {
        let config = ClientConfig::new(psk()).groups([group]);
        let hello = Hello::parse(&first_message(&ClientHandshake::new(&config).unwrap().take_output()));
        let says = |share: &[u8]| {
            let changed = hello.clone().with(ext::KEY_SHARE, &key_share(&[(group.id(), share)]));
            answer(&mut new_server(), &bound(&changed))
        };
        // With its right binder, so that the share is what the refusal is about.
        assert_eq!(says(KeyPair::generate(group).unwrap().public()), Ok(()));
        for (name, share) in wrong_shares(group) {
            assert_eq!(alert(says(&share)), Alert::ILLEGAL_PARAMETER, "{group:?} {name}");
        }
    }
}

#[test]
fn a_client_refuses_what_is_no_point() {
    for group in Group::ALL {
        for (name, share) in wrong_shares(group) {
            let mut client = ClientHandshake::new(&ClientConfig::new(psk()).groups([group])).unwrap();
            let mut server = new_server();
            server.read_record(&mut client.take_output()).unwrap();
            let hello = Hello::parse(&first_message(&server.take_output()));
            // A ServerHello has one share, in no list.
            let one = &key_share(&[(group.id(), &share)])[2..];
            let result = answer(&mut client, &hello.with(ext::KEY_SHARE, one).build());
            assert_eq!(alert(result), Alert::ILLEGAL_PARAMETER, "{group:?} {name}");
        }
    }
}

#[test]
fn every_hello_is_made_anew() {
    let mut seen = HashSet::new();
    let mut new = |what: &str, bytes: &[u8]| {
        assert!(bytes.iter().any(|byte| *byte != 0), "{what}");
        assert!(seen.insert(bytes.to_vec()), "{what} again");
    };
    for _ in 0..20 {
        let mut client = new_client();
        let mut server = new_server();
        let mut hello = client.take_output();
        server.read_record(&mut hello).unwrap();
        for (name, message) in
            [("client", first_message(&hello)), ("server", first_message(&server.take_output()))]
        {
            let hello = Hello::parse(&message);
            new(&format!("the random of a {name}"), &hello.head[2..34]);
            let (_, share) = hello.extensions.iter().find(|(kind, _)| *kind == ext::KEY_SHARE).unwrap();
            new(&format!("the share of a {name}"), &share[share.len() - 32..]);
            if name == "client" {
                new("a session id", &hello.head[35..67]);
            }
        }
    }
}
