//! Records from hand to hand, without a socket.

mod placed;
mod tls12;

use std::io::IoSlice;

use proptest::prelude::*;

use super::{MAX_PENDING, Opener, Sealer};
use crate::alert::Alert;
use crate::cipher::{Cipher, CipherSuite, RecordCipher, TAG_LEN, Version};
use crate::error::Error;
use crate::event::Flow;
use crate::handshake::{MAX_CIPHERTEXT_LEN, MAX_FRAGMENT_LEN, RECORD_HEADER_LEN};
use crate::keys::{DirectionKey, TrafficSecret};
use crate::record::budget::{DEFAULT_LIMIT, Meter};
use crate::record::{BadRecord, ContentType, MAX_IDLE_RECORDS};
use crate::secret::Secret;

fn secret(suite: CipherSuite) -> TrafficSecret {
    let bytes = vec![7; suite.hash().output_len()];
    TrafficSecret::new(suite, Secret::new(&bytes).unwrap()).unwrap()
}

fn meter(direction: Flow) -> Meter {
    Meter::new(direction, DEFAULT_LIMIT, DEFAULT_LIMIT)
}

fn pair(fragment: usize) -> (Sealer, Opener) {
    let secret = secret(CipherSuite::Aes128GcmSha256);
    (Sealer::new(secret.clone(), fragment, meter(Flow::Send)), Opener::new(secret, meter(Flow::Receive)))
}

/// Every version and cipher that this library itself has.
fn in_process() -> Vec<RecordCipher> {
    RecordCipher::all().filter(|cipher| cipher.cipher().in_process()).collect()
}

/// A key with a part of everything in it; its budget does not count the records before it.
fn direction_key(cipher: RecordCipher, sequence: u64) -> DirectionKey {
    let iv: Vec<u8> = (0xf0..0xfc).collect();
    DirectionKey::new(cipher, &vec![7; cipher.cipher().key_len()], &iv, sequence).unwrap()
}

fn pair_of(cipher: RecordCipher, fragment: usize, sequence: u64) -> (Sealer, Opener) {
    let meter = |direction| Meter::new(direction, u64::MAX, u64::MAX);
    let sealer = Sealer::with_key(direction_key(cipher, sequence), fragment, meter(Flow::Send)).unwrap();
    let opener = Opener::with_key(direction_key(cipher, sequence), meter(Flow::Receive)).unwrap();
    (sealer, opener)
}

/// A record whose inner plaintext is just what the test says, padding and all.
fn raw_record(sequence: u64, inner: &[u8]) -> Vec<u8> {
    let len = u16::try_from(inner.len() + TAG_LEN).unwrap().to_be_bytes();
    let header = [23, 3, 3, len[0], len[1]];
    let mut body = inner.to_vec();
    let tag = secret(CipherSuite::Aes128GcmSha256).record_key().seal(sequence, &header, &mut body).unwrap();
    [&header[..], &body, &tag].concat()
}

fn feed(opener: &mut Opener, bytes: &[u8]) {
    opener.space()[..bytes.len()].copy_from_slice(bytes);
    opener.filled(bytes.len());
}

/// What the opener makes of one record.
fn open_one(bytes: &[u8]) -> Result<(ContentType, Vec<u8>), Error> {
    let (_, mut opener) = pair(MAX_FRAGMENT_LEN);
    feed(&mut opener, bytes);
    let content_type = opener.next_record()?.expect("a whole record was given");
    Ok((content_type, opener.plaintext().to_vec()))
}

fn refused(bytes: &[u8]) -> BadRecord {
    match open_one(bytes) {
        Err(Error::BadRecord(bad)) => bad,
        other => panic!("not refused as a bad record: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_gives_the_same_bytes(
        slices in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..8),
        fragment in prop_oneof![Just(MAX_FRAGMENT_LEN), 1..300_usize],
        writes in prop::collection::vec(1..40_000_usize, 1..40),
        reads in prop::collection::vec(1..40_000_usize, 1..40),
        cipher in prop::sample::select(in_process()),
        sequence in prop_oneof![0..3_u64, Just(1 << 40)],
    ) {
        let (mut sealer, mut opener) = pair_of(cipher, fragment, sequence);
        let plain = slices.concat();
        let bufs: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let (mut taken, mut opened, mut wire) = (0, Vec::new(), Vec::new());
        let (mut writes, mut reads) = (writes.into_iter().cycle(), reads.into_iter().cycle());
        while opened.len() < plain.len() {
            taken += sealer.seal(&bufs, taken).unwrap();
            prop_assert!(sealer.pending().len() <= MAX_PENDING);
            let n = sealer.pending().len().min(writes.next().unwrap());
            wire.extend_from_slice(&sealer.pending()[..n]);
            sealer.sent(n);
            let space = opener.space();
            let n = wire.len().min(space.len()).min(reads.next().unwrap());
            space[..n].copy_from_slice(&wire[..n]);
            wire.drain(..n);
            opener.filled(n);
            while let Some(content_type) = opener.next_record().unwrap() {
                prop_assert_eq!(content_type, ContentType::ApplicationData);
                prop_assert!(opener.plaintext().len() <= fragment);
                opened.extend_from_slice(opener.plaintext());
            }
        }
        prop_assert_eq!(opened, plain);
        prop_assert!(opener.is_between_records() && sealer.pending().is_empty() && wire.is_empty());
    }

    #[test]
    fn a_changed_byte_is_never_taken(len in 0..600_usize, at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = raw_record(0, &[&vec![9; len][..], &[23]].concat());
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let (_, mut opener) = pair(MAX_FRAGMENT_LEN);
        feed(&mut opener, &bytes);
        match opener.next_record() {
            // A longer length than the true one: the rest never comes.
            Ok(None) => prop_assert!(at == 3 || at == 4),
            Ok(Some(_)) => prop_assert!(false, "byte {} was changed and the record taken", at),
            Err(error) => prop_assert!(matches!(error, Error::BadRecord(_)), "{}", error),
        }
    }

    #[test]
    fn noise_gives_an_error_or_waits(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (_, mut opener) = pair(MAX_FRAGMENT_LEN);
        feed(&mut opener, &bytes);
        prop_assert!(!matches!(opener.next_record(), Ok(Some(_))));
    }
}

#[test]
fn the_largest_record_passes_and_a_larger_one_does_not() {
    let mut inner = vec![1; MAX_FRAGMENT_LEN];
    inner.push(23);
    assert_eq!(open_one(&raw_record(0, &inner)).unwrap().1.len(), MAX_FRAGMENT_LEN);
    // With padding the plaintext may be shorter, but the whole no longer (RFC 8446, section 5.4).
    inner.push(0);
    assert_eq!(
        refused(&raw_record(0, &inner)),
        BadRecord::TooLong { len: MAX_FRAGMENT_LEN + 2, max: MAX_FRAGMENT_LEN + 1 }
    );
    let over = (MAX_CIPHERTEXT_LEN + 1) as u16;
    let [high, low] = over.to_be_bytes();
    let bad = refused(&[23, 3, 3, high, low]);
    assert_eq!(bad, BadRecord::TooLong { len: MAX_CIPHERTEXT_LEN + 1, max: MAX_CIPHERTEXT_LEN });
    assert_eq!(bad.alert(), Alert::RECORD_OVERFLOW);
}

#[test]
fn padding_is_stripped() {
    let (content_type, plaintext) = open_one(&raw_record(0, b"data\0with zeros\0\0\x17\0\0\0\0")).unwrap();
    assert_eq!(content_type, ContentType::ApplicationData);
    assert_eq!(plaintext, b"data\0with zeros\0\0");
}

#[test]
fn what_the_standard_forbids_gets_its_alert() {
    let cases: [(Vec<u8>, BadRecord, Alert); 8] = [
        (vec![20, 3, 3, 0, 1, 1], BadRecord::OuterType { got: 20 }, Alert::UNEXPECTED_MESSAGE),
        (vec![21, 3, 3, 0, 2, 2, 40], BadRecord::OuterType { got: 21 }, Alert::UNEXPECTED_MESSAGE),
        (vec![23, 3, 3, 0, 16], BadRecord::TooShort { len: 16, min: 17 }, Alert::BAD_RECORD_MAC),
        (raw_record(1, b"x\x17"), BadRecord::NotAuthentic { sequence: 0 }, Alert::BAD_RECORD_MAC),
        (raw_record(0, &[0; 30]), BadRecord::NoContentType, Alert::UNEXPECTED_MESSAGE),
        (raw_record(0, b"x\x14"), BadRecord::InnerType { got: 20 }, Alert::UNEXPECTED_MESSAGE),
        (
            raw_record(0, &[21]),
            BadRecord::Empty { content_type: ContentType::Alert },
            Alert::UNEXPECTED_MESSAGE,
        ),
        (
            raw_record(0, &[22, 0]),
            BadRecord::Empty { content_type: ContentType::Handshake },
            Alert::UNEXPECTED_MESSAGE,
        ),
    ];
    for (bytes, expected, alert) in cases {
        let bad = refused(&bytes);
        assert_eq!(bad, expected);
        assert_eq!(bad.alert(), alert, "{bad}");
    }
}

#[test]
fn empty_data_is_allowed_but_not_for_ever() {
    let (_, mut opener) = pair(MAX_FRAGMENT_LEN);
    for sequence in 0..u64::from(MAX_IDLE_RECORDS) {
        feed(&mut opener, &raw_record(sequence, &[23]));
        assert_eq!(opener.next_record().unwrap(), Some(ContentType::ApplicationData));
        assert!(opener.plaintext().is_empty());
    }
    feed(&mut opener, &raw_record(u64::from(MAX_IDLE_RECORDS), &[23]));
    assert!(matches!(opener.next_record(), Err(Error::BadRecord(BadRecord::TooManyIdle))));
}

#[test]
fn a_full_buffer_takes_no_data_but_still_a_control_record() {
    let (mut sealer, _) = pair(MAX_FRAGMENT_LEN);
    let much = vec![5; 2 * MAX_PENDING];
    let bufs = [IoSlice::new(&much)];
    let taken = sealer.seal(&bufs, 0).unwrap();
    assert!(taken > 0 && taken < MAX_PENDING);
    assert_eq!(sealer.seal(&bufs, taken).unwrap(), 0);
    let before = sealer.pending().len();
    assert!(sealer.seal_record(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes()).unwrap());
    let close_notify = RECORD_HEADER_LEN + 2 + 1 + TAG_LEN;
    assert_eq!(sealer.pending().len(), before + close_notify);
    // Room comes back with what is sent.
    sealer.sent(before);
    assert_eq!(sealer.pending().len(), close_notify);
    assert!(sealer.seal(&bufs, taken).unwrap() > 0);
}

#[test]
fn both_ends_follow_a_new_key() {
    let (mut sealer, mut opener) = pair(MAX_FRAGMENT_LEN);
    for round in 0..3_u8 {
        assert!(sealer.seal_record(ContentType::ApplicationData, &[round]).unwrap());
        let wire = sealer.pending().to_vec();
        sealer.sent(wire.len());
        feed(&mut opener, &wire);
        assert_eq!(opener.next_record().unwrap(), Some(ContentType::ApplicationData));
        assert_eq!(opener.plaintext(), [round]);
        assert_eq!(opener.meter().budget().used, 1);
        sealer.rekey().unwrap();
        opener.rekey().unwrap();
    }
}

#[test]
fn the_limit_stops_data_and_not_the_end() {
    let secret = secret(CipherSuite::Aes128GcmSha256);
    let mut sealer = Sealer::new(secret.clone(), 10, Meter::new(Flow::Send, 2, 3));
    let mut opener = Opener::new(secret, Meter::new(Flow::Receive, 2, 3));
    let bufs = [IoSlice::new(&[1; 45])];
    assert_eq!(sealer.seal(&bufs, 0).unwrap(), 30);
    assert!(sealer.meter_mut().take_event().is_some());
    assert!(matches!(sealer.seal(&bufs, 30), Err(Error::BudgetExhausted { limit: 3, .. })));
    assert!(sealer.seal_record(ContentType::Alert, &[1, 0]).unwrap());
    let wire = sealer.pending().to_vec();
    feed(&mut opener, &wire);
    for _ in 0..3 {
        assert_eq!(opener.next_record().unwrap(), Some(ContentType::ApplicationData));
    }
    assert!(opener.meter_mut().take_event().is_some());
    assert_eq!(opener.next_record().unwrap(), Some(ContentType::Alert));
    feed(&mut opener, &raw_record(4, b"more\x17"));
    assert!(matches!(opener.next_record(), Err(Error::BudgetExhausted { limit: 3, .. })));
}

#[test]
fn a_record_of_its_own_must_fit() {
    let (mut sealer, _) = pair(100);
    let refused = sealer.seal_record(ContentType::ApplicationData, &[0; 101]);
    assert!(matches!(refused, Err(Error::RecordSize { len: 101, max: 100 })));
}

#[test]
fn steady_state_makes_no_new_buffers() {
    let (mut sealer, mut opener) = pair(MAX_FRAGMENT_LEN);
    let data = vec![3; 100_000];
    let bufs = [IoSlice::new(&data)];
    let (mut out, mut input) = (None, None);
    for round in 0..50 {
        if round == 1 {
            // By now they are as large as they get.
            (out, input) = (None, None);
        }
        let mut taken = 0;
        while taken < data.len() {
            taken += sealer.seal(&bufs, taken).unwrap();
            let pending = sealer.pending();
            assert_eq!(*out.get_or_insert(pending.as_ptr()), pending.as_ptr());
            while !sealer.pending().is_empty() {
                let (pending, space) = (sealer.pending(), opener.space());
                let n = pending.len().min(space.len());
                space[..n].copy_from_slice(&pending[..n]);
                sealer.sent(n);
                opener.filled(n);
                while opener.next_record().unwrap().is_some() {}
            }
        }
        assert!(sealer.pending().is_empty() && opener.is_between_records());
        let space = opener.space().as_ptr();
        assert_eq!(*input.get_or_insert(space), space);
    }
}

#[test]
fn buffers_come_with_use_and_go_when_asked() {
    let (mut sealer, mut opener) = pair(MAX_FRAGMENT_LEN);
    assert!(sealer.release() && opener.release(), "nothing there, nothing held");
    for len in [100, MAX_FRAGMENT_LEN, 200_000] {
        let data = vec![5; len];
        let bufs = [IoSlice::new(&data)];
        assert_eq!(sealer.seal(&bufs, 0).unwrap(), len);
        assert!(!sealer.release(), "sealed records wait");
        let (mut wire, mut got) = (sealer.pending().to_vec(), 0);
        while !wire.is_empty() {
            let n = opener.space().len().min(wire.len());
            feed(&mut opener, &wire[..n]);
            assert!(!opener.release(), "bytes wait to be opened");
            wire.drain(..n);
            while opener.next_record().unwrap().is_some() {
                got += opener.plaintext().len();
                assert!(!opener.release(), "plaintext waits to be taken");
                opener.consume(usize::MAX);
            }
        }
        assert_eq!(got, len);
        sealer.sent(usize::MAX);
        assert!(sealer.release() && opener.release());
    }
}

#[test]
fn a_key_without_a_secret_has_no_next_one() {
    for cipher in in_process() {
        let (mut sealer, mut opener) = pair_of(cipher, MAX_FRAGMENT_LEN, 0);
        assert!(matches!(sealer.rekey(), Err(Error::NoNextKey { direction: Flow::Send, .. })));
        assert!(matches!(opener.rekey(), Err(Error::NoNextKey { direction: Flow::Receive, .. })));
    }
}

#[test]
fn record_numbers_never_wrap() {
    for cipher in in_process() {
        let (mut sealer, mut opener) = pair_of(cipher, MAX_FRAGMENT_LEN, u64::MAX - 1);
        assert!(sealer.seal_record(ContentType::Alert, &[1, 0]).unwrap());
        let wire = sealer.pending().to_vec();
        let exhausted = |error| matches!(error, Error::BudgetExhausted { limit: u64::MAX, .. });
        assert!(exhausted(sealer.seal_record(ContentType::Alert, &[1, 0]).unwrap_err()));
        assert_eq!(sealer.pending(), wire);
        feed(&mut opener, &[&wire[..], &wire].concat());
        assert_eq!(opener.next_record().unwrap(), Some(ContentType::Alert));
        assert!(exhausted(opener.next_record().unwrap_err()));
    }
}

#[test]
fn ciphers_of_the_kernel_alone_say_so() {
    for cipher in RecordCipher::all().filter(|cipher| !cipher.cipher().in_process()) {
        let meter = Meter::new(Flow::Send, DEFAULT_LIMIT, DEFAULT_LIMIT);
        let error =
            Sealer::with_key(direction_key(cipher, 0), MAX_FRAGMENT_LEN, meter).map(drop).unwrap_err();
        assert!(matches!(error, Error::KernelOnly { cipher: refused, .. } if refused == cipher), "{error}");
        assert!(error.to_string().contains("only with the kernel"), "{error}");
    }
}
