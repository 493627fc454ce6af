//! Hosts that break the protocol: each gets the C2HTermReq, or the status, that says how. Nothing panics.

use nvme_tcp::proto::ConnectionConfig;
use nvme_tcp::spec::command::fabrics::{self, ConnectData};
use nvme_tcp::spec::command::{Sqe, nvm};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::pdu::{CapsuleCmd, FatalStatus, Flags, IcReq, Layout, PduType, TermReq};
use nvme_tcp::spec::sgl::Sgl;
use nvme_tcp_target::{Config, Namespace, Origin, Session, SessionEnd};
use proptest::prelude::*;
use zerocopy::IntoBytes;

use crate::bare::{Bare, Terminated, response, told};
use crate::support::{HOST, HOST_ID, Queue, SUBSYSTEM, hub};

use FatalStatus::{InvalidHeaderField, LimitExceeded, OutOfRange, SequenceError, UnsupportedParameter};

/// The beginning of a PDU, for wrong headers.
fn head(kind: u8, flags: u8, hlen: u8, pdo: u8, plen: u32) -> Vec<u8> {
    let mut bytes = vec![kind, flags, hlen, pdo];
    bytes.extend(plen.to_le_bytes());
    bytes.resize(160, 0);
    bytes
}

#[test]
fn icreq_comes_first_and_only_once() {
    let capsule = head(0x04, 0, 72, 0, 72);
    assert_eq!(Bare::new().0.violation(&capsule), told(SequenceError, 0, "PDU-Type"));
    let again = IcReq::new(0, false, false, 0);
    assert_eq!(Bare::initialized(false).0.violation(again.as_bytes()), told(SequenceError, 0, "PDU-Type"));
}

#[test]
fn icreq_with_terms_that_cannot_be() {
    for (at, value, field) in [(8, 1, "PFV"), (10, 32, "HPDA"), (11, 4, "DGST")] {
        let mut request = IcReq::new(0, false, false, 0).as_bytes().to_vec();
        request[at] = value;
        assert_eq!(Bare::new().0.violation(&request), told(UnsupportedParameter, at as u32, field));
    }
}

#[test]
fn wrong_headers_are_named_by_their_field() {
    for (bytes, fei, field) in [
        (head(0x08, 0, 24, 0, 24), 0, "PDU-Type"),
        (head(0x16, 3, 1, 0, 24), 0, "PDU-Type"),
        (head(0x05, 0, 24, 0, 24), 0, "PDU-Type"),
        (head(0x04, 0, 71, 0, 72), 2, "HLEN"),
        (head(0x04, 1, 72, 0, 72), 1, "FLAGS"),
        (head(0x04, 4, 72, 0, 72), 1, "FLAGS"),
        (head(0x04, 0, 72, 0, 73), 4, "PLEN"),
        (head(0x04, 0, 72, 0, u32::MAX), 4, "PLEN"),
        (head(0x04, 0, 72, 71, 600), 3, "PDO"),
        (head(0x04, 0, 72, 200, 600), 3, "PDO"),
        (head(0x06, 0, 24, 0, 600), 3, "PDO"),
        (head(0x06, 0, 24, 24, 24), 4, "PLEN"),
    ] {
        let found = Bare::io(false).violation(&bytes);
        assert_eq!(found, told(InvalidHeaderField, fei, field), "{:02x?}", &bytes[..8]);
    }
}

#[test]
fn a_wrong_header_digest_ends_the_connection() {
    let mut bare = Bare::io(true);
    let mut capsule = bare.capsule(&nvm::flush(1), &[]);
    capsule[72] ^= 1;
    let digest = u32::from_le_bytes(capsule[72..76].try_into().unwrap());
    assert_eq!(bare.violation(&capsule), told(FatalStatus::HeaderDigest, digest, "HDGST"));
}

#[test]
fn a_wrong_data_digest_fails_its_command_only() {
    let mut bare = Bare::io(true);
    let mut capsule = bare.capsule(&nvm::write(1, 0, 1), &[7; 512]);
    *capsule.last_mut().unwrap() ^= 1;
    let answer = bare.feed(&capsule).unwrap();
    assert!(response(&answer).status().is(Status::TRANSIENT_TRANSPORT));
    let mut read = nvm::read(1, 0, 1);
    read.sgl = Sgl::transport(512);
    let capsule = bare.capsule(&read, &[]);
    let answer = bare.feed(&capsule).unwrap();
    assert_eq!(answer[28..28 + 512], [0; 512], "nothing was written");
}

#[test]
fn a_wrong_data_digest_of_one_piece_fails_the_whole_write() {
    let mut bare = Bare::io(true);
    let r2t = bare.write(16384);
    let mut first = bare.data(1, r2t.ttag.get(), 0, Flags::empty(), &[7; 8192]);
    *first.last_mut().unwrap() ^= 1;
    assert!(bare.feed(&first).unwrap().is_empty());
    let second = bare.data(1, r2t.ttag.get(), 8192, Flags::LAST, &[7; 8192]);
    assert!(response(&bare.feed(&second).unwrap()).status().is(Status::TRANSIENT_TRANSPORT));
}

#[test]
fn more_in_a_capsule_than_allowed() {
    let mut bare = Bare::io(false);
    let capsule = bare.capsule(&nvm::write(1, 0, 9), &[0; 4608]);
    assert_eq!(bare.violation(&capsule), told(LimitExceeded, 4, "PLEN"));
}

#[test]
fn data_without_an_r2t() {
    let mut bare = Bare::io(false);
    let data = bare.data(1, 0, 0, Flags::LAST, &[0; 512]);
    assert_eq!(bare.violation(&data), told(InvalidHeaderField, 10, "TTAG"));
}

#[test]
fn data_that_is_not_what_the_r2t_asked_for() {
    type Wrong = fn(&Bare, u16) -> Vec<u8>;
    let cases: [(Wrong, Terminated); 9] = [
        (
            |bare, tag| bare.data(1, tag ^ 1, 0, Flags::empty(), &[0; 512]),
            told(InvalidHeaderField, 10, "TTAG"),
        ),
        (
            |bare, tag| bare.data(1, tag ^ 0x1000, 0, Flags::empty(), &[0; 512]),
            told(InvalidHeaderField, 10, "TTAG"),
        ),
        (|bare, _| bare.data(1, 0xffff, 0, Flags::empty(), &[0; 512]), told(InvalidHeaderField, 10, "TTAG")),
        (|bare, tag| bare.data(2, tag, 0, Flags::empty(), &[0; 512]), told(InvalidHeaderField, 8, "CCCID")),
        (|bare, tag| bare.data(1, tag, 512, Flags::empty(), &[0; 512]), told(OutOfRange, 12, "DATAO")),
        (|bare, tag| bare.data(1, tag, 0, Flags::empty(), &[0; 8704]), told(LimitExceeded, 16, "DATAL")),
        (|bare, tag| bare.data(1, tag, 0, Flags::LAST, &[0; 512]), told(InvalidHeaderField, 1, "FLAGS")),
        (
            |bare, tag| {
                let first = bare.data(1, tag, 0, Flags::empty(), &[0; 8192]);
                let second = bare.data(1, tag, 8192, Flags::empty(), &[0; 8192]);
                [first, second].concat()
            },
            told(InvalidHeaderField, 1, "FLAGS"),
        ),
        (
            |bare, tag| {
                let mut wrong = bare.data(1, tag, 0, Flags::empty(), &[0; 512]);
                wrong[16] = 4;
                wrong
            },
            told(InvalidHeaderField, 16, "DATAL"),
        ),
    ];
    for (number, (wrong, expected)) in cases.into_iter().enumerate() {
        let mut bare = Bare::io(false);
        let tag = bare.write(32768).ttag.get();
        let bytes = wrong(&bare, tag);
        assert_eq!(bare.violation(&bytes), expected, "case {number}");
    }
    // More than the R2T asked for, in steps that are allowed.
    let mut bare = Bare::io(false);
    let tag = bare.write(32768).ttag.get();
    let first = bare.data(1, tag, 0, Flags::empty(), &[0; 8192]);
    let second = bare.data(1, tag, 8192, Flags::empty(), &[0; 4096]);
    let third = bare.data(1, tag, 12288, Flags::LAST, &[0; 8192]);
    assert!(bare.feed(&[first, second].concat()).unwrap().is_empty());
    assert_eq!(bare.violation(&third), told(OutOfRange, 16, "DATAL"));
}

#[test]
fn a_command_id_that_is_in_use() {
    let mut bare = Bare::io(false);
    bare.write(16384);
    let mut flush = nvm::flush(1);
    flush.cid = 1.into();
    let capsule = bare.capsule(&flush, &[]);
    assert!(response(&bare.feed(&capsule).unwrap()).status().is(Status::COMMAND_ID_CONFLICT));
    // Its in-capsule data is thrown away, and the stream goes on behind it.
    let mut write = nvm::write(1, 0, 1);
    write.cid = 1.into();
    let capsule = bare.capsule(&write, &[1; 512]);
    assert!(response(&bare.feed(&capsule).unwrap()).status().is(Status::COMMAND_ID_CONFLICT));
    flush.cid = 2.into();
    let capsule = bare.capsule(&flush, &[]);
    assert!(response(&bare.feed(&capsule).unwrap()).status().is_success());
}

#[test]
fn more_commands_than_the_queue_has_entries() {
    let mut bare = Bare::io(false);
    let capsule = |bare: &Bare, cid: u16| {
        let mut sqe = nvm::write(1, 0, 32);
        sqe.cid = cid.into();
        sqe.sgl = Sgl::transport(16384);
        bare.capsule(&sqe, &[])
    };
    for cid in 0..8 {
        let capsule = capsule(&bare, cid);
        assert_eq!(bare.feed(&capsule).unwrap().len(), 24, "an R2T");
    }
    let one_more = capsule(&bare, 8);
    assert_eq!(bare.violation(&one_more), told(SequenceError, 0, "PDU-Type"));
}

#[test]
fn sgls_that_contradict_the_pdu_or_the_command() {
    let write = nvm::write(1, 0, 1);
    let with = |sgl: Sgl| Sqe { sgl, ..write };
    let in_capsule = Sgl::in_capsule(512);
    let (mut offset, mut kind) = (in_capsule, in_capsule);
    offset.address = 8.into();
    kind.kind = 0x40;
    let cases = [
        (with(Sgl::in_capsule(1024)), 512, Status::SGL_LENGTH_INVALID),
        (with(offset), 512, Status::SGL_OFFSET_INVALID),
        (with(Sgl::transport(512)), 512, Status::SGL_LENGTH_INVALID),
        (with(kind), 0, Status::SGL_TYPE_INVALID),
        (with(in_capsule), 0, Status::SGL_LENGTH_INVALID),
        (Sqe { sgl: in_capsule, ..nvm::read(1, 0, 1) }, 0, Status::SGL_TYPE_INVALID),
        (Sqe { flags: 0, ..with(in_capsule) }, 512, Status::INVALID_FIELD),
        (Sqe { flags: 0x41, ..with(in_capsule) }, 512, Status::INVALID_FIELD),
    ];
    let mut bare = Bare::io(false);
    for (sqe, len, expected) in cases {
        let data = vec![0; len];
        let pdu = bare.pdu(|common| CapsuleCmd { common, sqe }, PduType::CapsuleCmd, Flags::empty(), &data);
        let status = response(&bare.feed(&pdu).unwrap()).status();
        assert!(status.is(expected), "{status}, expected {expected}: {sqe:?}");
    }
}

#[test]
fn io_before_connect_and_connect_twice() {
    let (mut bare, _) = Bare::initialized(false);
    let capsule = bare.capsule(&nvm::write(1, 0, 1), &[0; 512]);
    assert!(response(&bare.feed(&capsule).unwrap()).status().is(Status::COMMAND_SEQUENCE_ERROR));
    // No R2T for a write of which nothing will come.
    let mut write = nvm::write(1, 0, 32);
    write.sgl = Sgl::transport(16384);
    let capsule = bare.capsule(&write, &[]);
    assert!(response(&bare.feed(&capsule).unwrap()).status().is(Status::COMMAND_SEQUENCE_ERROR));
    let mut bare = Bare::io(false);
    let data = ConnectData::new(HOST_ID, 1, SUBSYSTEM, HOST).unwrap();
    let capsule = bare.capsule(&fabrics::connect(2, 8, 0, 0), data.as_bytes());
    assert!(response(&bare.feed(&capsule).unwrap()).status().is(Status::COMMAND_SEQUENCE_ERROR));
}

#[test]
fn a_host_that_gives_up_is_heard() {
    let mut bare = Bare::io(false);
    let mut term = TermReq::new(PduType::H2cTermReq, OutOfRange, 12, 24).as_bytes().to_vec();
    term.extend([0; 24]);
    let end = bare.feed(&term).unwrap_err();
    assert_eq!(end, SessionEnd::Terminated { fes: 4, fei: 12 });
}

#[test]
fn a_host_that_asks_for_no_digest_gets_none_and_one_that_may_not_have_it_neither() {
    let mut config = Config::default();
    config.connection.data_digest = false;
    let hub = hub(config, Namespace::ram(4096));
    let host = ConnectionConfig {
        header_digest: true,
        data_digest: true,
        digests_optional: true,
        ..ConnectionConfig::default()
    };
    let mut queue = Queue::new(&hub, host, crate::support::Splits::none(), false);
    let request = IcReq::new(0, true, true, 0);
    let mut session = Session::new(hub.clone(), Origin::default(), std::task::Waker::noop().clone());
    session.consume(&mut request.as_bytes(), std::time::Instant::now()).unwrap();
    let sent: Vec<u8> = session
        .segments()
        .flat_map(|segment| match segment {
            nvme_tcp::proto::Segment::Bytes(bytes) => bytes.to_vec(),
            nvme_tcp::proto::Segment::Payload(_) => Vec::new(),
        })
        .collect();
    assert_eq!(sent[11], 0b01, "DGST of ICResp");
    queue.open();
    // Bytes of a PDU with a data digest are a violation now.
    let layout = Layout { header_digest: true, data_digest: true, alignment: 4 };
    let common = layout.common_header(PduType::CapsuleCmd, Flags::empty(), 4);
    queue.inject(common.as_bytes());
    assert!(matches!(queue.end, Some(SessionEnd::Violation(_))), "{:?}", queue.end);
    assert!(queue.host_end.is_some(), "the host was told");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes, nothing panics, and memory stays bounded by what was granted.
    #[test]
    fn any_bytes_are_survived(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        kind in 0_u8..10,
        flips in prop::collection::vec((0_usize..600, any::<u8>()), 0..6),
        digests in any::<bool>(),
    ) {
        let mut bare = Bare::io(digests);
        let tag = bare.write(32768).ttag.get();
        let mut stream = match kind {
            0..=2 => bare.capsule(&nvm::write(1, 3, 1), &[1; 512]),
            3..=5 => bare.data(1, tag, 0, Flags::empty(), &[2; 512]),
            6 | 7 => bare.capsule(&nvm::deallocate(1, 2), &[3; 32]),
            _ => Vec::new(),
        };
        for (at, flip) in flips {
            if let Some(byte) = stream.get_mut(at) {
                *byte ^= flip;
            }
        }
        stream.extend(noise);
        drop(bare.feed(&stream));
        prop_assert!(bare.session.backlog() < 1 << 20);
    }
}

#[test]
fn a_host_that_takes_no_answers_is_given_no_more_of_them() {
    const READ: usize = 256 << 10;
    let mut bare = Bare::io(false);
    let mut reads = Vec::new();
    for cid in 0..7 {
        let mut sqe = nvm::read(1, 0, (READ / 512) as u32);
        sqe.cid = cid.into();
        sqe.sgl = Sgl::transport(READ as u32);
        reads.extend(bare.capsule(&sqe, &[]));
    }
    let now = std::time::Instant::now();
    let mut rest = &reads[..];
    bare.session.consume(&mut rest, now).unwrap();
    // The fourth reaches 1 MiB.
    assert_eq!(rest.len(), reads.len() / 7 * 3);
    let backlog = bare.session.backlog();
    assert!((4 * READ..5 * READ).contains(&backlog), "{backlog}");
    bare.session.sent(backlog);
    bare.session.consume(&mut rest, now).unwrap();
    assert!(rest.is_empty() && (3 * READ..4 * READ).contains(&bare.session.backlog()));
}
