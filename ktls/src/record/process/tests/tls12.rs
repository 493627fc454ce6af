//! The records of TLS 1.2.

use super::*;

fn tls12(cipher: Cipher) -> RecordCipher {
    RecordCipher::new(Version::Tls12, cipher).unwrap()
}

#[test]
fn records_of_tls_1_2_look_as_its_standards_say() {
    for (cipher, explicit) in [(Cipher::Aes128Gcm, 8), (Cipher::Aes256Gcm, 8), (Cipher::ChaCha20Poly1305, 0)]
    {
        let (mut sealer, mut opener) = pair_of(tls12(cipher), MAX_FRAGMENT_LEN, 3);
        let alert = Alert::CLOSE_NOTIFY.to_bytes();
        assert!(sealer.seal_record(ContentType::Alert, &alert).unwrap());
        assert_eq!(sealer.seal(&[IoSlice::new(b"data")], 0).unwrap(), 4);
        let wire = sealer.pending().to_vec();
        let lens = [2, 4].map(|content| content + explicit + TAG_LEN);
        // The type stands outside, and the explicit nonces count up from the one that was given.
        assert_eq!(wire[..5], [21, 3, 3, 0, lens[0] as u8]);
        let second = &wire[5 + lens[0]..];
        assert_eq!(second[..5], [23, 3, 3, 0, lens[1] as u8]);
        assert_eq!(second.len(), 5 + lens[1]);
        if explicit > 0 {
            assert_eq!(wire[5..13], [0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb]);
            assert_eq!(second[5..13], [0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfc]);
        }
        feed(&mut opener, &wire);
        assert_eq!(opener.next_record().unwrap(), Some(ContentType::Alert));
        assert_eq!(opener.plaintext(), alert);
        assert_eq!(opener.next_record().unwrap(), Some(ContentType::ApplicationData));
        assert_eq!(opener.plaintext(), b"data");
        assert_eq!((opener.meter().budget().used, sealer.meter().budget().used), (5, 5));
    }
}

#[test]
fn records_of_tls_1_2_are_bound_to_number_type_and_version() {
    for cipher in [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305] {
        let cipher = tls12(cipher);
        let open = |sequence, change: &dyn Fn(&mut Vec<u8>)| {
            let (mut sealer, _) = pair_of(cipher, MAX_FRAGMENT_LEN, 3);
            sealer.seal(&[IoSlice::new(b"data")], 0).unwrap();
            let mut wire = sealer.pending().to_vec();
            change(&mut wire);
            let (_, mut opener) = pair_of(cipher, MAX_FRAGMENT_LEN, sequence);
            feed(&mut opener, &wire);
            match opener.next_record() {
                Err(Error::BadRecord(bad)) => Err(bad),
                other => Ok(other.unwrap()),
            }
        };
        assert_eq!(open(3, &|_| {}), Ok(Some(ContentType::ApplicationData)));
        assert_eq!(open(4, &|_| {}), Err(BadRecord::NotAuthentic { sequence: 4 }));
        assert_eq!(open(3, &|wire| wire[0] = 22), Err(BadRecord::NotAuthentic { sequence: 3 }));
        assert_eq!(open(3, &|wire| wire[0] = 20), Err(BadRecord::InnerType { got: 20 }));
        assert_eq!(open(3, &|wire| wire[2] = 4), Err(BadRecord::Header));
        let min = if cipher.cipher() == Cipher::Aes128Gcm { 24 } else { 16 };
        assert_eq!(
            open(3, &|wire| wire[4] = min - 1),
            Err(BadRecord::TooShort { len: usize::from(min) - 1, min: usize::from(min) })
        );
    }
}
