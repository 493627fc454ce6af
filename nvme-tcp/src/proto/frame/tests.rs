use zerocopy::IntoBytes;

use super::*;
use crate::spec::completion::Cqe;

fn initialized(layout: Layout) -> Framer {
    let mut framer = Framer::new(Sender::Controller);
    let resp = IcResp::new(0, false, false, 4096);
    let mut input = resp.as_bytes();
    assert!(matches!(framer.next(&mut input), Ok(Some(Frame::Header { pdu: Pdu::IcResp(_), .. }))));
    framer.set_layout(layout);
    framer
}

fn violation(framer: &mut Framer, mut input: &[u8]) -> Violation {
    loop {
        match framer.next(&mut input) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no violation found"),
            Err(found) => return found,
        }
    }
}

#[test]
fn the_first_pdu_must_initialize_and_only_the_first() {
    let r2t = R2t::new(CommonHeader::bare(PduType::R2t), 1, 0, 0, 512);
    let found = violation(&mut Framer::new(Sender::Controller), r2t.as_bytes());
    assert_eq!(found.fes, FatalStatus::SequenceError);
    let again = IcResp::new(0, false, false, 4096);
    let found = violation(&mut initialized(Layout::default()), again.as_bytes());
    assert_eq!(found.fes, FatalStatus::SequenceError);
}

#[test]
fn each_wrong_header_field_is_named() {
    let good =
        DataPdu::new(Layout::default().common_header(PduType::C2hData, Flags::LAST, 512), 1, 0, 0, 512);
    let cases: [(usize, u8, &str, u32); 7] = [
        (0, 0x08, "PDU-Type", 0),
        (0, 0x06, "PDU-Type", 0),
        (1, 0x10, "FLAGS", 1),
        (1, 0x08, "FLAGS", 1),
        (2, 25, "HLEN", 2),
        (3, 23, "PDO", 3),
        (4, 1, "DATAL", 16),
    ];
    for (at, value, field, fei) in cases {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = value;
        let found = violation(&mut initialized(Layout::default()), &bytes);
        assert_eq!((found.field, found.fei), (field, fei), "byte {at} = {value}: {found}");
    }
}

#[test]
fn what_is_quoted_of_a_wrong_header_does_not_depend_on_how_it_came() {
    let mut bytes = R2t::new(CommonHeader::bare(PduType::R2t), 1, 0, 0, 512).as_bytes().to_vec();
    bytes[0] = 0x08;
    let mut framer = initialized(Layout::default());
    violation(&mut framer, &bytes);
    assert_eq!(framer.quote(), &bytes[..COMMON_HEADER_LEN]);
    let mut framer = initialized(Layout::default());
    let refused = bytes.iter().find_map(|byte| framer.next(&mut &[*byte][..]).err());
    assert_eq!(refused.unwrap().field, "PDU-Type");
    assert_eq!(framer.quote(), &bytes[..COMMON_HEADER_LEN]);
}

#[test]
fn a_wrong_header_digest_is_fatal_and_tells_the_digest() {
    let layout = Layout { header_digest: true, ..Layout::default() };
    let r2t = R2t::new(layout.common_header(PduType::R2t, Flags::empty(), 0), 1, 0, 0, 512);
    let mut bytes = r2t.as_bytes().to_vec();
    bytes.extend(crc32c(&bytes).to_le_bytes());
    let mut framer = initialized(layout);
    assert!(framer.next(&mut &bytes[..]).unwrap().is_some());
    bytes[24] ^= 1;
    let found = violation(&mut framer, &bytes);
    assert_eq!(found.fes, FatalStatus::HeaderDigest);
    assert_eq!(found.fei, u32::from_le_bytes(bytes[24..28].try_into().unwrap()));
}

#[test]
fn padding_is_skipped_and_the_digest_follows_the_data() {
    let layout = Layout { header_digest: false, data_digest: true, alignment: 64 };
    let pdu = DataPdu::new(layout.common_header(PduType::C2hData, Flags::empty(), 5), 1, 0, 0, 5);
    let mut bytes = pdu.as_bytes().to_vec();
    bytes.resize(64, 0xee);
    bytes.extend(b"12345");
    bytes.extend(7_u32.to_le_bytes());
    let mut framer = initialized(layout);
    let mut input = &bytes[..];
    assert!(matches!(framer.next(&mut input), Ok(Some(Frame::Header { data: 5, digest: true, .. }))));
    assert!(matches!(framer.next(&mut input), Ok(Some(Frame::Data(b"12345")))));
    assert!(matches!(framer.next(&mut input), Ok(Some(Frame::Digest(7)))));
    assert!(matches!(framer.next(&mut input), Ok(None)));
}

#[test]
fn long_data_is_expected_after_long_data_whatever_comes_without_any() {
    let mut framer = initialized(Layout::default());
    let mut feed = |bytes: &[u8]| {
        let mut input = bytes;
        while framer.next(&mut input).unwrap().is_some() {}
        framer.expects_long_data()
    };
    let data = |len: u32| {
        let common = Layout::default().common_header(PduType::C2hData, Flags::empty(), len);
        DataPdu::new(common, 1, 0, 0, len)
    };
    let response = CapsuleResp { common: CommonHeader::bare(PduType::CapsuleResp), cqe: Cqe::default() };
    assert!(!feed(&[]));
    assert!(feed(data(LONG).as_bytes()));
    assert!(feed(&vec![0; LONG as usize]));
    assert!(feed(response.as_bytes()));
    assert!(!feed(data(LONG - 1).as_bytes()));
}
