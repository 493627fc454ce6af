//! Records that go straight to where their data is wanted.

use std::io::{self, IoSliceMut};

use super::*;

/// Full records: 14 of them are what one receive places.
const FULL: usize = MAX_FRAGMENT_LEN;

/// What recvmsg(2) would do with `limit` bytes of `wire` at hand.
fn scatter(wire: &mut Vec<u8>, limit: usize, pieces: &mut [IoSliceMut<'_>]) -> usize {
    let mut at = 0;
    for piece in pieces {
        let n = piece.len().min(wire.len().min(limit) - at);
        piece[..n].copy_from_slice(&wire[at..at + n]);
        at += n;
    }
    wire.drain(..at);
    at
}

/// A receiver that has a place of `place` bytes whenever it waits for data, as a socket uses it.
struct Receiver {
    opener: Opener,
    /// Every content type but that of data, with what the record held.
    control: Vec<(ContentType, Vec<u8>)>,
    data: Vec<u8>,
    placed: usize,
}

impl Receiver {
    fn new(opener: Opener) -> Self {
        Self { opener, control: Vec::new(), data: Vec::new(), placed: 0 }
    }

    fn take(&mut self, content_type: ContentType) {
        if content_type == ContentType::ApplicationData {
            self.data.extend_from_slice(self.opener.plaintext());
        } else {
            self.control.push((content_type, self.opener.plaintext().to_vec()));
        }
    }

    /// Opens what is there, and receives once.
    fn step(&mut self, wire: &mut Vec<u8>, place: usize, limit: usize) -> Result<(), Error> {
        while let Some(content_type) = self.opener.next_record()? {
            self.take(content_type);
        }
        let mut place = vec![0xee; place];
        let receive = |pieces: &mut [IoSliceMut<'_>]| Ok(scatter(wire, limit, pieces));
        let Some(placed) = self.opener.receive_into(&mut place, receive)? else {
            let space = self.opener.space();
            let n = scatter(wire, limit, &mut [IoSliceMut::new(space)]);
            self.opener.filled(n);
            return Ok(());
        };
        self.data.extend_from_slice(&place[..placed.data]);
        self.placed += placed.data;
        if let Some(content_type) = placed.then? {
            self.take(content_type);
        }
        Ok(())
    }

    fn all(&mut self, mut wire: Vec<u8>) -> Result<(), Error> {
        while !wire.is_empty() || self.opener.has_record() {
            self.step(&mut wire, 1 << 20, usize::MAX)?;
        }
        Ok(())
    }
}

/// Records of data of these lengths, and what is in them.
fn records(sealer: &mut Sealer, lens: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let (mut wire, mut plain) = (Vec::new(), Vec::new());
    for (at, len) in lens.iter().enumerate() {
        let data: Vec<u8> = (0..*len).map(|i| (i * 7 + at * 13) as u8).collect();
        assert!(sealer.seal_record(ContentType::ApplicationData, &data).unwrap());
        wire.extend_from_slice(sealer.pending());
        sealer.sent(usize::MAX);
        plain.extend_from_slice(&data);
    }
    (wire, plain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_place_and_any_split_give_the_same_bytes(
        runs in prop::collection::vec(
            (prop::sample::select(vec![1, 24, 4095, 4096, 5000, FULL - 1, FULL]), 1..20_usize, any::<bool>()), 1..6),
        places in prop::collection::vec(1..400_000_usize, 1..20),
        limits in prop::collection::vec(prop_oneof![1..40_usize, 1..40_000_usize, Just(1 << 20)], 1..20),
        cipher in prop::sample::select(in_process()),
    ) {
        let (mut sealer, opener) = pair_of(cipher, FULL, 0);
        let (mut wire, mut plain, mut alerts) = (Vec::new(), Vec::new(), 0);
        for (len, count, alert) in runs {
            let (sealed, data) = records(&mut sealer, &vec![len; count]);
            wire.extend(sealed);
            plain.extend(data);
            if alert {
                assert!(sealer.seal_record(ContentType::Alert, &[1, 90]).unwrap());
                wire.extend_from_slice(sealer.pending());
                sealer.sent(usize::MAX);
                alerts += 1;
            }
        }
        let mut receiver = Receiver::new(opener);
        let (mut places, mut limits) = (places.into_iter().cycle(), limits.into_iter().cycle());
        while !wire.is_empty() || receiver.opener.has_record() {
            receiver.step(&mut wire, places.next().unwrap(), limits.next().unwrap()).unwrap();
        }
        prop_assert!(receiver.data == plain, "the data differs");
        prop_assert_eq!(receiver.control, vec![(ContentType::Alert, vec![1, 90]); alerts]);
        prop_assert!(receiver.opener.is_between_records());
    }
}

#[test]
fn after_the_first_record_data_goes_to_its_place() {
    let (mut sealer, opener) = pair(FULL);
    let (wire, plain) = records(&mut sealer, &[FULL; 40]);
    let (mut first, mut rest) = (wire, Vec::new());
    rest.extend(first.drain(FULL + RECORD_HEADER_LEN + 1 + TAG_LEN..));
    let mut receiver = Receiver::new(opener);
    receiver.all(first).unwrap();
    receiver.all(rest).unwrap();
    assert!(receiver.data == plain);
    // All but the first, and those that came before the next place was known.
    assert!(receiver.placed >= 36 * FULL, "{}", receiver.placed);
}

#[test]
fn what_is_no_data_ends_the_placing_and_not_the_stream() {
    let (mut sealer, opener) = pair(FULL);
    let mut receiver = Receiver::new(opener);
    receiver.all(records(&mut sealer, &[FULL]).0).unwrap();
    let mut wire = records(&mut sealer, &[FULL; 2]).0;
    // As long as the data that was expected.
    let message = vec![4; FULL];
    assert!(sealer.seal_record(ContentType::Handshake, &message).unwrap());
    wire.extend_from_slice(sealer.pending());
    sealer.sent(usize::MAX);
    wire.extend(records(&mut sealer, &[FULL; 3]).0);
    // Padding, in a record as long as the others.
    let mut inner = vec![8; FULL + 1];
    inner[1000] = 23;
    inner[1001..].fill(0);
    wire.extend(raw_record(7, &inner));
    let mut after = sealer_at(8);
    wire.extend(records(&mut after, &[FULL; 2]).0);
    receiver.all(wire).unwrap();
    assert_eq!(receiver.control, [(ContentType::Handshake, message)]);
    assert_eq!(receiver.data.len(), 8 * FULL + 1000);
    assert_eq!(receiver.data[6 * FULL..][..1000], [8; 1000]);
    assert_eq!(receiver.placed, 2 * FULL, "the rest was here already");
}

/// One that goes on after that many records.
fn sealer_at(sequence: u64) -> Sealer {
    let (mut sealer, _) = pair(FULL);
    for _ in 0..sequence {
        assert!(sealer.seal_record(ContentType::Alert, &[1, 90]).unwrap());
        sealer.sent(usize::MAX);
    }
    sealer
}

#[test]
fn new_keys_follow_in_the_middle_of_what_is_placed() {
    let (mut sealer, mut opener) = pair(FULL);
    let mut wire = records(&mut sealer, &[FULL]).0;
    opener.space()[..wire.len()].copy_from_slice(&wire);
    opener.filled(wire.len());
    assert_eq!(opener.next_record().unwrap(), Some(ContentType::ApplicationData));
    assert_eq!(opener.next_record().unwrap(), None);
    wire = records(&mut sealer, &[FULL; 2]).0;
    assert!(sealer.seal_record(ContentType::Handshake, &vec![24; FULL]).unwrap());
    wire.extend_from_slice(sealer.pending());
    sealer.sent(usize::MAX);
    sealer.rekey().unwrap();
    let (sealed, plain) = records(&mut sealer, &[FULL; 2]);
    wire.extend(sealed);
    let mut place = vec![0; 10 * FULL];
    let placed = opener
        .receive_into(&mut place, |pieces| Ok(scatter(&mut wire, usize::MAX, pieces)))
        .unwrap()
        .unwrap();
    assert_eq!((placed.data, placed.then.unwrap()), (2 * FULL, Some(ContentType::Handshake)));
    assert_eq!(opener.plaintext(), vec![24; FULL]);
    opener.rekey().unwrap();
    let mut data = Vec::new();
    while opener.next_record().unwrap().is_some() {
        data.extend_from_slice(opener.plaintext());
    }
    assert!(wire.is_empty() && data == plain);
}

#[test]
fn data_before_a_changed_record_is_given_and_nothing_of_it() {
    for changed in [0, 1, 5] {
        let (mut sealer, mut opener) = pair(FULL);
        let mut wire = records(&mut sealer, &[FULL]).0;
        let on_wire = wire.len();
        feed_all(&mut opener, &wire);
        let plain;
        (wire, plain) = records(&mut sealer, &[FULL; 8]);
        wire[changed * on_wire + 5000] ^= 1;
        let mut place = vec![0xee; 8 * FULL + 1];
        let receive = |pieces: &mut [IoSliceMut<'_>]| Ok(scatter(&mut wire, usize::MAX, pieces));
        let placed = opener.receive_into(&mut place, receive).unwrap().unwrap();
        assert_eq!(placed.data, changed * FULL);
        assert_eq!(place[..placed.data], plain[..placed.data]);
        let sequence = changed as u64 + 1;
        let refused = BadRecord::NotAuthentic { sequence };
        assert!(matches!(placed.then, Err(Error::BadRecord(bad)) if bad == refused));
        // The data of the changed record was opened in no way that shows.
        let same = place.chunks(64).zip(plain.chunks(64)).skip(placed.data / 64).filter(|(a, b)| a == b);
        assert_eq!(same.count(), 0);
    }
}

#[test]
fn a_wrong_header_is_refused_where_the_opener_finds_it() {
    let (mut sealer, mut opener) = pair(FULL);
    let mut wire = records(&mut sealer, &[FULL]).0;
    let on_wire = wire.len();
    feed_all(&mut opener, &wire);
    wire = records(&mut sealer, &[FULL; 4]).0;
    wire[2 * on_wire] = 21;
    let mut place = vec![0; 5 * FULL];
    let receive = |pieces: &mut [IoSliceMut<'_>]| Ok(scatter(&mut wire, usize::MAX, pieces));
    let placed = opener.receive_into(&mut place, receive).unwrap().unwrap();
    assert_eq!((placed.data, placed.then.unwrap()), (2 * FULL, None));
    let refused = BadRecord::OuterType { got: 21 };
    assert!(matches!(opener.next_record(), Err(Error::BadRecord(bad)) if bad == refused));
}

#[test]
fn nothing_is_placed_while_a_record_is_here() {
    let (mut sealer, mut opener) = pair(FULL);
    feed_all(&mut opener, &records(&mut sealer, &[FULL]).0);
    feed(&mut opener, &records(&mut sealer, &[FULL]).0);
    let placed = opener.receive_into(&mut vec![0; 9 * FULL], |_| panic!("there is no need to receive"));
    assert!(placed.unwrap().is_none());
}

#[test]
fn the_limit_of_a_key_counts_records_in_their_place() {
    let secret = secret(CipherSuite::Aes128GcmSha256);
    let mut sealer = Sealer::new(secret.clone(), FULL, meter(Flow::Send));
    let mut opener = Opener::new(secret, Meter::new(Flow::Receive, 3, 5));
    feed_all(&mut opener, &records(&mut sealer, &[FULL]).0);
    let mut wire = records(&mut sealer, &[FULL; 8]).0;
    let mut place = vec![0; 9 * FULL];
    let receive = |pieces: &mut [IoSliceMut<'_>]| Ok(scatter(&mut wire, usize::MAX, pieces));
    let placed = opener.receive_into(&mut place, receive).unwrap().unwrap();
    assert_eq!(placed.data, 4 * FULL);
    assert!(matches!(placed.then, Err(Error::BudgetExhausted { limit: 5, .. })));
    assert!(opener.meter_mut().take_event().is_some());
}

#[test]
fn a_receive_that_brings_nothing_changes_nothing() {
    let (mut sealer, mut opener) = pair(FULL);
    feed_all(&mut opener, &records(&mut sealer, &[FULL]).0);
    let (mut wire, plain) = records(&mut sealer, &[FULL; 2]);
    let later = wire.split_off(9000);
    feed(&mut opener, &wire);
    assert_eq!(opener.next_record().unwrap(), None);
    let mut place = vec![0; 3 * FULL];
    let refused = opener.receive_into(&mut place, |_| Err(io::ErrorKind::WouldBlock.into()));
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let ended = opener.receive_into(&mut place, |_| Ok(0)).unwrap().unwrap();
    assert!(ended.end && ended.data == 0 && !opener.is_between_records());
    let mut wire = later;
    let placed = opener
        .receive_into(&mut place, |pieces| Ok(scatter(&mut wire, usize::MAX, pieces)))
        .unwrap()
        .unwrap();
    assert!(placed.data == 2 * FULL && place[..2 * FULL] == plain);
    assert!(opener.is_between_records());
}

/// Opens whole records, and forgets them.
fn feed_all(opener: &mut Opener, wire: &[u8]) {
    feed(opener, wire);
    while opener.next_record().unwrap().is_some() {}
}
