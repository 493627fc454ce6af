//! What two ends that know the same secrets agree on.

use ktls::crypto::Hash;
use nvme_tcp::auth::message::{Kind, Message, parse};
use nvme_tcp::auth::{Authentication, DhGroup, DhKey, DhchapSecret, SecretHash, SecureChannel};
use nvme_tcp::psk::{Origin, generated};

use crate::support::{HOST, Pair, SUBSYSTEM, both_ways, digest, hmac, message, one_way, secret};

const HASHES: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

fn agree(settings: Authentication, channel: SecureChannel) -> nvme_tcp::auth::Agreed {
    let (host, controller) = Pair::new(settings.clone(), settings, channel).run();
    let host = host.unwrap();
    assert_eq!(host, controller.unwrap());
    host
}

/// Every hash with both ways and the small groups; the large groups once each, since they take their time.
#[test]
fn every_hash_and_group_one_way_and_both_ways() {
    let large = [DhGroup::Ffdhe4096, DhGroup::Ffdhe6144, DhGroup::Ffdhe8192];
    let mut cases: Vec<_> = large.into_iter().zip(HASHES).map(|(group, hash)| (hash, group, true)).collect();
    for hash in HASHES {
        for group in [DhGroup::Null, DhGroup::Ffdhe2048, DhGroup::Ffdhe3072] {
            cases.extend([(hash, group, false), (hash, group, true)]);
        }
    }
    for (hash, group, mutual) in cases {
        let settings = if mutual { both_ways() } else { one_way() }.hashes([hash]).groups([group]);
        let agreed = agree(settings, SecureChannel::None);
        assert_eq!((agreed.hash, agreed.group, agreed.mutual), (hash, group, mutual));
        assert_eq!(agreed.tls_psk, None);
    }
}

#[test]
fn secrets_of_every_form() {
    for hash in SecretHash::ALL {
        let settings = Authentication::new(DhchapSecret::generate(hash).unwrap())
            .controller_secret(DhchapSecret::generate(hash).unwrap());
        agree(settings.groups([DhGroup::Null]), SecureChannel::None);
    }
}

#[test]
fn the_controllers_preference_decides() {
    let host = Authentication::new(secret(1));
    let controller =
        host.clone().hashes([Hash::Sha512, Hash::Sha256]).groups([DhGroup::Ffdhe2048, DhGroup::Null]);
    let (agreed, _) = Pair::new(host.clone(), controller, SecureChannel::None).run();
    let agreed = agreed.unwrap();
    assert_eq!((agreed.hash, agreed.group), (Hash::Sha512, DhGroup::Ffdhe2048));
    let agreed = agree(host, SecureChannel::NewTlsPsk);
    assert_eq!((agreed.hash, agreed.group), (Hash::Sha256, DhGroup::Ffdhe2048));
}

/// The responses and the TLS PSK worked out again, straight from the specification's formulas.
#[test]
fn responses_and_psk_are_what_the_specification_says() {
    for (hash, group) in [(Hash::Sha256, DhGroup::Ffdhe2048), (Hash::Sha384, DhGroup::Ffdhe3072)] {
        let settings = both_ways().hashes([hash]).groups([group]);
        let channel = SecureChannel::NewTlsPsk;
        let pair = || Pair::new(settings.clone(), settings.clone(), channel);
        let len = hash.output_len();
        let (c1, c2) = (vec![0x88; len], vec![0x77; len]);
        let (host_key, controller_key) = (DhKey::new(group, &[0x5a; 64]), DhKey::new(group, &[0xc3; 64]));
        let dh = host_key.agree(&controller_key.public()).unwrap();
        let augment = |challenge: &[u8]| hmac(hash, &digest(hash, &dh), challenge);
        let transformed = |key: u8, owner: &str| {
            hmac(Hash::Sha256, &[key; 32], format!("{owner}NVMe-over-Fabrics").as_bytes())
        };

        let mut input = augment(&c1);
        input.extend(0x9876_u32.to_le_bytes());
        input.extend(0x4321_u16.to_le_bytes());
        input.push(2);
        input.extend(format!("HostHost{HOST}\0{SUBSYSTEM}").as_bytes());
        let r1 = hmac(hash, &transformed(1, HOST), &input);
        let reply = message(pair(), 2);
        let (Kind::Reply, 0x4321, Message::Reply(reply)) = parse(&reply).unwrap() else { panic!() };
        assert_eq!(reply.response, r1);
        assert_eq!((reply.challenge, reply.sequence), (Some(&c2[..]), 0x1234));
        assert_eq!(reply.dh_value, host_key.public());

        let mut input = augment(&c2);
        input.extend(0x1234_u32.to_le_bytes());
        input.extend(0x4321_u16.to_le_bytes());
        input.push(2);
        input.extend(format!("Controller{SUBSYSTEM}\0{HOST}").as_bytes());
        let r2 = hmac(hash, &transformed(2, SUBSYSTEM), &input);
        let success = message(pair(), 3);
        assert_eq!(parse(&success).unwrap().2, Message::Success1(Some(&r2)));

        let psk = hmac(hash, &digest(hash, &dh), &[&c1[..], &c2].concat());
        // With the Diffie-Hellman secret itself in the session key's place, as older kernels have it, it is the same.
        assert_eq!(generated::psk(hash, &dh, &c1, &c2).expose(), psk);
        let psk = ktls::secret::Secret::new(&psk).unwrap();
        let expected = generated::derive(hash, &psk, HOST, SUBSYSTEM).unwrap();
        assert_eq!(agree(settings, channel).tls_psk, Some(expected));
    }
}

#[test]
fn a_response_without_diffie_hellman_takes_the_challenge_as_it_is() {
    let mut input = vec![0x88; 32];
    input.extend(0x9876_u32.to_le_bytes());
    input.extend(0x4321_u16.to_le_bytes());
    input.push(0);
    input.extend(format!("HostHost{HOST}\0{SUBSYSTEM}").as_bytes());
    let key = hmac(Hash::Sha256, &[1; 32], format!("{HOST}NVMe-over-Fabrics").as_bytes());
    let reply = message(Pair::new(one_way(), one_way(), SecureChannel::None), 2);
    let Message::Reply(reply) = parse(&reply).unwrap().2 else { panic!() };
    assert_eq!(reply.response, hmac(Hash::Sha256, &key, &input));
    assert_eq!((reply.challenge, reply.sequence, reply.dh_value), (None, 0, &[][..]));
}

#[test]
fn concatenation_one_way_sends_a_challenge_with_the_sequence_number_0() {
    let settings = one_way().groups([DhGroup::Ffdhe2048]);
    let channel = SecureChannel::NewTlsPsk;
    let reply = message(Pair::new(settings.clone(), settings.clone(), channel), 2);
    let Message::Reply(reply) = parse(&reply).unwrap().2 else { panic!() };
    assert_eq!((reply.challenge, reply.sequence), (Some(&[0x77; 32][..]), 0));
    let agreed = agree(settings, channel);
    let psk = agreed.tls_psk.unwrap();
    assert!(!agreed.mutual);
    assert_eq!((psk.origin(), psk.hash()), (Origin::Generated, Hash::Sha256));
    assert!(psk.identity().starts_with(&format!("NVMe1G01 {HOST} {SUBSYSTEM} ")));
}
