//! The schedule against RFC 8448, section 4 (a resumption: the same but for the binder's label).

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const PSK: &str = "4ecd0eb6ec3b4d87f5d6028f922ca4c5851a277fd41311c9e62d2c9492e1c4f3";
const SHARED: &str = "f44194756ff9ec9d25180635d66ea6824c6ab3bf179977be37f723570e7ccb2e";
/// Hashes over: the truncated ClientHello, ClientHello to ServerHello, to EncryptedExtensions, to the
/// server's Finished.
const TRUNCATED: &str = "63224b2e4573f2d3454ca84b9d009a04f6be9e05711a8396473aefa01e924a14";
const SERVER_HELLO: &str = "f736cb34fe25e701551bee6fd24c1cc7102a7daf9405cb15d97aafe16f757d03";
const ENCRYPTED_EXTENSIONS: &str = "04055455ef74b2322ba366cbc4cfe02723434b37b9b3671bb5a3006056d8f02f";
const SERVER_FINISHED: &str = "b0aeffc46a2cfe33114e6fd7d51f9f04b1ca3c497dab08934a774a9d9ad7dbf3";

fn early() -> EarlySecret {
    EarlySecret::new(Hash::Sha256, &Secret::new(&hex(PSK)).unwrap())
}

#[test]
fn the_binder_is_that_of_rfc_8448() {
    let binder = early().binder("res binder", &hex(TRUNCATED));
    assert_eq!(binder.expose(), hex("3add4fb2d8fdf822a0ca3cf7678ef5e88dae990141c5924d57bb6fa31b9e5f9d"));
    assert_ne!(early().binder(EXTERNAL_BINDER, &hex(TRUNCATED)), binder);
}

#[test]
fn the_secrets_and_keys_are_those_of_rfc_8448() {
    let suite = CipherSuite::Aes128GcmSha256;
    let handshake = early().into_handshake(&Secret::new(&hex(SHARED)).unwrap());
    let traffic = handshake.traffic(suite, &hex(SERVER_HELLO)).unwrap();
    assert_eq!(
        traffic.client.secret().expose(),
        hex("2faac08f851d35fea3604fcb4de82dc62c9b164a70974d0462e27f1ab278700f")
    );
    assert_eq!(
        traffic.server.secret().expose(),
        hex("fe927ae271312e8bf0275b581c54eef020450dc4ecffaa05a1a35d27518e7803")
    );
    assert_eq!(
        verify_data(&traffic.server, &hex(ENCRYPTED_EXTENSIONS)).expose(),
        hex("48d3e0e1b3d907c6acff145e16090388c77b05c050b634ab1a88bbd0dd1a34b2")
    );

    // The server's flight, as it stands on the wire, opens with these keys.
    let mut flight =
        hex("dc48237b4b879f50d0d4d262ea8b4716eb40ddc1eb957e11126e8a7149c2d012d37a7115957e64ce30\
         008b9e0323f2c05a9c1c77b4f37849a695ab255060a33fee770ca95cb8486bfd0843b87024865ca35cc41c4e515c64dcb1\
         369f98635bc7a5");
    let plain = traffic.server.record_key().open(0, &hex("1703030061"), &mut flight).unwrap();
    assert_eq!(plain[..4], [8, 0, 0, 0x28]);
    assert!(plain.ends_with(&hex("ab1a88bbd0dd1a34b216")));

    let application = handshake.into_master().traffic(suite, &hex(SERVER_FINISHED)).unwrap();
    assert_eq!(
        application.client.secret().expose(),
        hex("2abbf2b8e381d23dbebe1dd2a7d16a8bf484cb4950d23fb7fb7fa8547062d9a1")
    );
    assert_eq!(
        application.server.secret().expose(),
        hex("cc21f1bf8feb7dd5fa505bd9c4b468a9984d554a993dc49e6d285598fb672691")
    );
}

#[test]
fn a_mac_matches_itself_only() {
    let mac = Secret::new(&[7; 32]).unwrap();
    assert!(mac_matches(&mac, &[7; 32]));
    assert!(!mac_matches(&mac, &[7; 31]));
    assert!(!mac_matches(&mac, &[8; 32]));
}

#[test]
fn the_first_hello_folds_into_a_message_hash() {
    let mut folded = Transcript::new(Hash::Sha384);
    folded.add(b"hello");
    folded.fold_first_hello();
    let mut by_hand = Hasher::new(Hash::Sha384);
    by_hand.update(b"hello");
    let mut expected = Hasher::new(Hash::Sha384);
    expected.update(&[254, 0, 0, 48]);
    expected.update(by_hand.finish().as_ref());
    assert_eq!(folded.digest().as_ref(), expected.finish().as_ref());
}
