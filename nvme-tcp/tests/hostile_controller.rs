//! A controller that breaks one rule at a time, against the host's protocol core: which field the violation
//! names, and the H2CTermReq that goes out, byte by byte.

mod support;

use nvme_tcp::proto::{
    CommandId, Completion, ConnectionConfig, DataFault, Door, SubmitError, Transfer, Violation,
};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::pdu::{CommonHeader, DataPdu, FatalStatus, Flags, IcReq, IcResp, Layout, PduType};
use support::host::{Host, Seen};
use support::wire::{Pdus, patterned};
use zerocopy::IntoBytes;

const MAXH2CDATA: u32 = 4096;
const READ_LEN: u32 = 8192;
const WRITE_LEN: u32 = 16_384;

/// What a violation is to look like: PDU, field, FES, FEI, and how many bytes of the PDU are quoted.
type Told = (Option<PduType>, &'static str, FatalStatus, u32, usize);

/// Feeds `bytes`, which break a rule, and checks everything that must come of it.
fn assert_told(name: &str, host: &mut Host, bytes: &[u8], told: Told) -> Violation {
    let (pdu, field, fes, fei, quoted) = told;
    host.wire.clear();
    let found = host.feed(bytes).expect_err(name);
    assert_eq!((found.pdu, found.field, found.fes, found.fei), (pdu, field, fes, fei), "{name}: {found}");
    // Answers to earlier R2Ts may go out before it.
    let mut term = vec![2, 0, 24, 0];
    term.extend((24 + quoted as u32).to_le_bytes());
    term.extend((fes as u16).to_le_bytes());
    term.extend(fei.to_le_bytes());
    term.extend([0; 10]);
    term.extend(&bytes[..quoted]);
    let wire = host.take_wire();
    assert!(wire.ends_with(&term), "{name}: {wire:02x?} does not end with {term:02x?}");
    assert_over(name, host);
    found
}

/// Nothing goes in or comes out any more.
fn assert_over(name: &str, host: &mut Host) {
    assert!(!host.connection.is_open(), "{name}");
    assert_eq!(host.connection.room(), 0, "{name}");
    let refused = host.connection.submit(&nvm::flush(1), Transfer::None, None);
    assert_eq!(refused, Err(SubmitError::NotOpen), "{name}");
    // A completion that waited for its data may still come, but nothing of what is received.
    host.feed(&[]).expect(name);
    assert_eq!(host.feed(&[0xff; 300]), Ok(vec![]), "{name}");
    let outstanding = host.connection.outstanding();
    assert_eq!(host.connection.abandon().len(), outstanding, "{name}");
    assert_eq!(host.connection.outstanding(), 0, "{name}");
}

fn open() -> Host {
    Host::open(ConnectionConfig { depth: 4, ..ConnectionConfig::default() }, 0, MAXH2CDATA)
}

fn completed(command: CommandId, status: Status, fault: Option<DataFault>) -> Seen {
    let cqe = Cqe::new(command.to_wire(), status, 0);
    Seen::Completed(Completion { command, cqe, fault, cancelled: false })
}

#[test]
fn ic_resp_with_wrong_terms() {
    use FatalStatus::{InvalidHeaderField as Invalid, UnsupportedParameter as Unsupported};
    let wants = |header_digest, data_digest| ConnectionConfig {
        header_digest,
        data_digest,
        ..ConnectionConfig::default()
    };
    // Byte, value, what was asked for, how it is told.
    let cases: [(usize, u8, ConnectionConfig, &str, FatalStatus, u32, usize); 12] = [
        (8, 1, wants(false, false), "PFV", Unsupported, 8, 128),
        (9, 1, wants(false, false), "PFV", Unsupported, 8, 128),
        (10, 32, wants(false, false), "CPDA", Unsupported, 10, 128),
        (11, 1, wants(false, true), "DGST", Unsupported, 11, 128),
        (11, 2, wants(true, false), "DGST", Unsupported, 11, 128),
        (11, 4, wants(false, false), "DGST", Unsupported, 11, 128),
        (11, 0, wants(true, false), "DGST", Unsupported, 11, 128),
        (13, 0x0f, wants(false, false), "MAXH2CDATA", Unsupported, 12, 128),
        (12, 2, wants(false, false), "MAXH2CDATA", Unsupported, 12, 128),
        (1, 1, wants(false, false), "FLAGS", Invalid, 1, 8),
        (2, 24, wants(false, false), "HLEN", Invalid, 2, 8),
        (4, 129, wants(false, false), "PLEN", Invalid, 4, 8),
    ];
    for (at, value, config, field, fes, fei, quoted) in cases {
        let mut host = Host::new(config);
        let layout = host.pdus.layout;
        let mut bytes = Pdus::ic_resp(0, &layout, MAXH2CDATA);
        assert_ne!(bytes[at], value);
        bytes[at] = value;
        let told = (Some(PduType::IcResp), field, fes, fei, quoted);
        assert_told(&format!("byte {at} = {value}"), &mut host, &bytes, told);
    }
}

#[test]
fn a_digest_may_be_declined_where_that_is_allowed() {
    let config = ConnectionConfig {
        header_digest: true,
        data_digest: true,
        digests_optional: true,
        ..ConnectionConfig::default()
    };
    let mut host = Host::new(config);
    let response = IcResp::new(0, false, true, MAXH2CDATA);
    assert_eq!(host.feed(response.as_bytes()), Ok(vec![Seen::Open]));
}

#[test]
fn pdus_out_of_turn() {
    use FatalStatus::{InvalidHeaderField as Invalid, SequenceError as Sequence};
    let ic_resp = || Pdus::ic_resp(0, &Layout::default(), MAXH2CDATA);
    let pdus = Pdus::default();
    let data = pdus.data(0x1000, 0, &[0; 512], Flags::LAST);
    let first: [(&str, Vec<u8>, PduType); 4] = [
        ("data before ICResp", data, PduType::C2hData),
        ("R2T before ICResp", pdus.r2t(0x1000, 0, 0, 512), PduType::R2t),
        ("response before ICResp", pdus.success(0x1000), PduType::CapsuleResp),
        ("TermReq before ICResp", Pdus::terminate(Sequence, 0, &[]), PduType::C2hTermReq),
    ];
    for (name, bytes, pdu) in first {
        let mut host = Host::new(ConnectionConfig::default());
        assert_told(name, &mut host, &bytes, (Some(pdu), "PDU-Type", Sequence, 0, 8));
    }
    let again = (Some(PduType::IcResp), "PDU-Type", Sequence, 0, 8);
    assert_told("a second ICResp", &mut open(), &ic_resp(), again);
    let request = IcReq::new(0, false, false, 0);
    let from_host = (Some(PduType::IcReq), "PDU-Type", Invalid, 0, 8);
    assert_told("ICReq", &mut Host::new(ConnectionConfig::default()), request.as_bytes(), from_host);
    let unknown = [8, 0, 24, 0, 24, 0, 0, 0];
    assert_told("type 08h", &mut open(), &unknown, (None, "PDU-Type", Invalid, 0, 8));
}

/// The commands that each of the cases below starts with.
struct Cids {
    read: u16,
    write: u16,
    flush: u16,
}

/// What a right controller may send first, and then the PDU that breaks a rule.
type Build = fn(&Pdus, &Cids) -> (Vec<u8>, Vec<u8>);

fn assert_each_told(config: &ConnectionConfig, pdu: PduType, cases: &[(&str, Build, &'static str, u8, u32)]) {
    for (name, build, field, fes, fei) in cases {
        let mut host = Host::open(config.clone(), 0, MAXH2CDATA);
        let cids = Cids {
            read: host.read(READ_LEN).to_wire(),
            write: host.write(WRITE_LEN).to_wire(),
            flush: host.flush().to_wire(),
        };
        host.send(usize::MAX);
        let (before, wrong) = build(&host.pdus, &cids);
        host.feed(&before).unwrap_or_else(|e| panic!("{name}: {e}"));
        let fes = FatalStatus::from_code((*fes).into()).unwrap();
        // What the common header alone gives away is noticed before the rest comes.
        let early = matches!(*field, "PLEN" | "PDO" | "HLEN" | "FLAGS");
        let quoted = if early {
            8
        } else if config.header_digest {
            28
        } else {
            24
        };
        assert_told(name, &mut host, &wrong, (Some(pdu), field, fes, *fei, quoted));
    }
}

fn raw_data(cid: u16, flags: u8, pdo: u8, plen: u32, datal: u32) -> Vec<u8> {
    let common = CommonHeader { pdu_type: 7, flags, hlen: 24, pdo, plen: plen.into() };
    let mut bytes = DataPdu::new(common, cid, 0, 0, datal).as_bytes().to_vec();
    bytes.resize(bytes.len().max(plen as usize), 0);
    bytes
}

#[test]
fn responses_that_fit_no_command() {
    let cases: [(&str, Build, &'static str, u8, u32); 8] = [
        ("an unused slot", |p, _| (vec![], p.success(3 | 1 << 12)), "CID", 1, 20),
        ("a slot that the queue has not", |p, _| (vec![], p.success(4000 | 1 << 12)), "CID", 1, 20),
        ("an earlier generation", |p, c| (vec![], p.success(c.flush ^ 1 << 12)), "CID", 1, 20),
        ("a second time", |p, c| (p.success(c.flush), p.success(c.flush)), "CID", 1, 20),
        (
            "a second time, the first held back",
            |p, c| {
                let first = [p.r2t(c.write, 0, 0, 8192), p.success(c.write)].concat();
                (first, p.success(c.write))
            },
            "CID",
            1,
            20,
        ),
        (
            "after SUCCESS",
            |p, c| {
                (p.data(c.read, 0, &[0; READ_LEN as usize], Flags::LAST | Flags::SUCCESS), p.success(c.read))
            },
            "CID",
            1,
            20,
        ),
        (
            "a wrong PLEN",
            |p, c| {
                let mut wrong = p.success(c.flush);
                wrong[4] += 1;
                (vec![], wrong)
            },
            "PLEN",
            1,
            4,
        ),
        (
            "a wrong HLEN",
            |p, c| {
                let mut wrong = p.success(c.flush);
                wrong[2] = 25;
                (vec![], wrong)
            },
            "HLEN",
            1,
            2,
        ),
    ];
    let config = ConnectionConfig { depth: 4, ..ConnectionConfig::default() };
    assert_each_told(&config, PduType::CapsuleResp, &cases);
}

#[test]
fn data_that_breaks_a_rule() {
    let cases: [(&str, Build, &'static str, u8, u32); 16] = [
        ("an unknown CID", |p, _| (vec![], p.data(3, 0, &[0; 512], Flags::LAST)), "CCCID", 1, 8),
        ("an old CID", |p, c| (vec![], p.data(c.read ^ 1 << 15, 0, &[0; 8], Flags::LAST)), "CCCID", 1, 8),
        ("for a write", |p, c| (vec![], p.data(c.write, 0, &[0; 512], Flags::LAST)), "CCCID", 1, 8),
        ("for a flush", |p, c| (vec![], p.data(c.flush, 0, &[0; 512], Flags::LAST)), "CCCID", 1, 8),
        (
            "after the response",
            |p, c| (p.success(c.read), p.data(c.read, 0, &[0; 512], Flags::LAST)),
            "CCCID",
            1,
            8,
        ),
        ("a gap", |p, c| (vec![], p.data(c.read, 512, &[0; 512], Flags::empty())), "DATAO", 4, 12),
        (
            "an overlap",
            |p, c| {
                let piece = p.data(c.read, 0, &[0; 512], Flags::empty());
                (piece.clone(), piece)
            },
            "DATAO",
            4,
            12,
        ),
        (
            "more than was asked for",
            |p, c| (vec![], p.data(c.read, 0, &[0; READ_LEN as usize + 1], Flags::LAST)),
            "DATAL",
            4,
            16,
        ),
        (
            "one byte past the end",
            |p, c| {
                (
                    p.data(c.read, 0, &[0; READ_LEN as usize], Flags::empty()),
                    p.data(c.read, READ_LEN, &[0], Flags::LAST),
                )
            },
            "DATAL",
            4,
            16,
        ),
        ("no data at all", |_, c| (vec![], raw_data(c.read, 4, 24, 24, 0)), "PLEN", 1, 4),
        ("no data and no PDO", |_, c| (vec![], raw_data(c.read, 4, 0, 24, 0)), "PDO", 1, 3),
        ("PDO inside the header", |_, c| (vec![], raw_data(c.read, 4, 23, 536, 512)), "PDO", 1, 3),
        ("PDO past the alignment", |_, c| (vec![], raw_data(c.read, 4, 29, 541, 512)), "PDO", 1, 3),
        ("DATAL that PLEN contradicts", |_, c| (vec![], raw_data(c.read, 4, 24, 536, 511)), "DATAL", 1, 16),
        (
            "SUCCESS without LAST",
            |p, c| (vec![], p.data(c.read, 0, &[0; READ_LEN as usize], Flags::SUCCESS)),
            "FLAGS",
            1,
            1,
        ),
        ("a digest that is not in force", |_, c| (vec![], raw_data(c.read, 6, 24, 540, 512)), "FLAGS", 1, 1),
    ];
    let config = ConnectionConfig { depth: 4, ..ConnectionConfig::default() };
    assert_each_told(&config, PduType::C2hData, &cases);
}

#[test]
fn r2ts_that_break_a_rule() {
    let cases: [(&str, Build, &'static str, u8, u32); 9] = [
        ("an unknown CID", |p, _| (vec![], p.r2t(3, 0, 0, 512)), "CCCID", 1, 8),
        ("for a read", |p, c| (vec![], p.r2t(c.read, 0, 0, 512)), "CCCID", 1, 8),
        ("for a flush", |p, c| (vec![], p.r2t(c.flush, 0, 0, 512)), "CCCID", 1, 8),
        ("after the response", |p, c| (p.success(c.write), p.r2t(c.write, 0, 0, 512)), "CCCID", 1, 8),
        ("a gap", |p, c| (vec![], p.r2t(c.write, 0, 4096, 512)), "R2TO", 4, 12),
        ("an R2TL of zero", |p, c| (vec![], p.r2t(c.write, 0, 0, 0)), "R2TL", 4, 16),
        ("past the end", |p, c| (vec![], p.r2t(c.write, 0, 0, WRITE_LEN + 1)), "R2TL", 4, 16),
        ("far past the end", |p, c| (vec![], p.r2t(c.write, 0, 0, u32::MAX)), "R2TL", 4, 16),
        (
            "a data digest",
            |p, c| {
                let mut wrong = p.r2t(c.write, 0, 0, 512);
                wrong[1] = Flags::DDGST.bits();
                (vec![], wrong)
            },
            "FLAGS",
            1,
            1,
        ),
    ];
    let config = ConnectionConfig { depth: 4, ..ConnectionConfig::default() };
    assert_each_told(&config, PduType::R2t, &cases);
}

#[test]
fn more_r2ts_than_maxr2t_allows() {
    for maxr2t in 0..3 {
        let config = ConnectionConfig { depth: 4, maxr2t, ..ConnectionConfig::default() };
        let mut host = Host::open(config, 0, MAXH2CDATA);
        let cid = host.write(WRITE_LEN).to_wire();
        host.send(usize::MAX);
        // As many as may be outstanding, and once more when they are answered.
        let mut asked = 0;
        for _ in 0..2 {
            for _ in 0..=maxr2t {
                assert_eq!(host.feed(&host.pdus.r2t(cid, 9, asked, 1024)), Ok(vec![]));
                asked += 1024;
            }
            if asked == 1024 * (maxr2t + 1) {
                host.send(usize::MAX);
            }
        }
        let wrong = host.pdus.r2t(cid, 9, asked, 1024);
        let told = (Some(PduType::R2t), "CCCID", FatalStatus::LimitExceeded, 8, 24);
        let found = assert_told("one R2T too many", &mut host, &wrong, told);
        assert!(found.expected.starts_with(&(maxr2t + 1).to_string()), "{found}");
    }
}

#[test]
fn a_wrong_header_digest_is_fatal() {
    let config = ConnectionConfig { header_digest: true, ..ConnectionConfig::default() };
    for at in [8, 23, 24, 27] {
        let mut host = Host::open(config.clone(), 0, MAXH2CDATA);
        let cid = host.flush().to_wire();
        let mut bytes = host.pdus.success(cid);
        bytes[at] ^= 0x80;
        let digest = u32::from_le_bytes(bytes[24..].try_into().unwrap());
        let told = (Some(PduType::CapsuleResp), "HDGST", FatalStatus::HeaderDigest, digest, 28);
        assert_told("a header digest", &mut host, &bytes, told);
    }
    let mut host = Host::open(config, 0, MAXH2CDATA);
    let cid = host.flush().to_wire();
    let bytes = Pdus::default().success(cid);
    let told = (Some(PduType::CapsuleResp), "FLAGS", FatalStatus::InvalidHeaderField, 1, 8);
    assert_told("no header digest", &mut host, &bytes, told);
}

#[test]
fn a_wrong_data_digest_fails_its_command_alone() {
    let config = ConnectionConfig { depth: 4, data_digest: true, ..ConnectionConfig::default() };
    let mut host = Host::open(config, 0, MAXH2CDATA);
    let (wrong, right) = (host.read(READ_LEN), host.read(READ_LEN));
    let mut stream = Vec::new();
    for id in [wrong, right] {
        let data = patterned(id.slot(), 0, READ_LEN);
        stream.extend(host.pdus.data(id.to_wire(), 0, &data, Flags::LAST));
        stream.extend(host.pdus.success(id.to_wire()));
    }
    stream[100] ^= 1;
    let seen = host.feed(&stream).unwrap();
    assert!(seen.contains(&completed(wrong, Status::SUCCESS, Some(DataFault::Digest))), "{seen:?}");
    assert!(seen.contains(&completed(right, Status::SUCCESS, None)), "{seen:?}");
    assert!(host.connection.is_open());
    // The next command in the same slot starts clean.
    let next = host.flush();
    assert_eq!(
        host.feed(&host.pdus.success(next.to_wire())),
        Ok(vec![completed(next, Status::SUCCESS, None)])
    );
}

#[test]
fn a_success_after_too_little_data_is_none() {
    let short = |got| Some(DataFault::Short { got, expected: READ_LEN });
    let mut host = open();
    let id = host.read(READ_LEN);
    let stream = [host.pdus.data(id.to_wire(), 0, &[1; 512], Flags::LAST), host.pdus.success(id.to_wire())];
    let seen = host.feed(&stream.concat()).unwrap();
    assert_eq!(seen.last(), Some(&completed(id, Status::SUCCESS, short(512))));
    let id = host.read(READ_LEN);
    let seen = host.feed(&host.pdus.success(id.to_wire())).unwrap();
    assert_eq!(seen, [completed(id, Status::SUCCESS, short(0))]);
    let id = host.read(READ_LEN);
    let flags = Flags::LAST | Flags::SUCCESS;
    let seen = host.feed(&host.pdus.data(id.to_wire(), 0, &[1; 4096], flags)).unwrap();
    assert_eq!(seen.last(), Some(&completed(id, Status::SUCCESS, short(4096))));
    // A command that failed owes no data.
    let id = host.read(READ_LEN);
    let failed = Cqe::new(id.to_wire(), Status::UNRECOVERED_READ, 0);
    let seen = host.feed(&host.pdus.response(failed)).unwrap();
    assert_eq!(seen, [completed(id, Status::UNRECOVERED_READ, None)]);
}

#[test]
fn a_term_req_ends_the_connection_without_an_answer() {
    let mut host = open();
    let (read, write) = (host.read(READ_LEN), host.write(WRITE_LEN));
    host.take_wire();
    let stream = Pdus::terminate(FatalStatus::OutOfRange, 12, &[0xab; 128]);
    assert_eq!(host.feed(&stream), Ok(vec![Seen::Terminated(4, 12)]));
    assert!(host.take_wire().is_empty());
    assert!(!host.connection.is_open());
    let mut lost = host.connection.abandon();
    lost.sort_by_key(|id| id.slot());
    assert_eq!(lost, [read, write]);
    // One that quotes more than it may.
    let stream = Pdus::terminate(FatalStatus::OutOfRange, 12, &[0; 129]);
    let told = (Some(PduType::C2hTermReq), "PLEN", FatalStatus::InvalidHeaderField, 4, 8);
    assert_told("a long quote", &mut open(), &stream, told);
}

#[test]
fn a_completion_waits_for_data_that_is_still_to_be_sent() {
    let mut host = open();
    let id = host.write(WRITE_LEN);
    host.take_wire();
    let stream = [host.pdus.r2t(id.to_wire(), 7, 0, 8192), host.pdus.success(id.to_wire())].concat();
    assert_eq!(host.feed(&stream), Ok(vec![]));
    // Everything but the last byte of the second H2CData.
    assert_eq!(host.send(2 * 24 + 8191), 2 * 24 + 8191);
    assert_eq!(host.connection.next_event(), None);
    assert_eq!(host.send(1), 1);
    assert_eq!(host.feed(&[]), Ok(vec![completed(id, Status::SUCCESS, None)]));
    // An in-capsule write whose response comes before its capsule is told to be sent.
    let id = host.write(4096);
    assert_eq!(host.feed(&host.pdus.success(id.to_wire())), Ok(vec![]));
    host.send(usize::MAX);
    assert_eq!(host.feed(&[]), Ok(vec![completed(id, Status::SUCCESS, None)]));
}

#[test]
fn an_r2t_is_answered_in_pieces_of_maxh2cdata_with_its_own_tag() {
    let mut host = open();
    let id = host.write(WRITE_LEN);
    host.take_wire();
    assert_eq!(host.feed(&host.pdus.r2t(id.to_wire(), 0xbeef, 0, 10_000)), Ok(vec![]));
    let mut expected = Vec::new();
    for (offset, len, flags) in
        [(0, 4096, Flags::empty()), (4096, 4096, Flags::empty()), (8192, 1808, Flags::LAST)]
    {
        let common = Layout::default().common_header(PduType::H2cData, flags, len);
        expected.extend(DataPdu::new(common, id.to_wire(), 0xbeef, offset, len).as_bytes());
        expected.extend(patterned(id.slot(), offset, len));
    }
    assert_eq!(host.take_wire(), expected);
}

#[test]
fn a_cancelled_read_drains_to_nowhere() {
    let mut host = open();
    let id = host.read(READ_LEN);
    let data = host.pdus.data(id.to_wire(), 0, &[1; READ_LEN as usize], Flags::LAST);
    // It is given up in the middle of its data.
    host.feed(&data[..24 + 100]).unwrap();
    assert!(host.connection.cancel(id));
    assert_eq!(host.connection.door(), Door::Discard(READ_LEN - 100));
    host.connection.advance(1000);
    assert_eq!(host.feed(&data[24 + 1100..]), Ok(vec![]));
    let seen = host.feed(&host.pdus.success(id.to_wire())).unwrap();
    let cqe = Cqe::new(id.to_wire(), Status::SUCCESS, 0);
    assert_eq!(seen, [Seen::Completed(Completion { command: id, cqe, fault: None, cancelled: true })]);
    assert!(host.memory[&id.slot()][100..].iter().all(|byte| *byte == 0));
    assert_eq!(host.connection.outstanding(), 0);
}

#[test]
fn a_cancelled_write_finishes_its_pdu_and_answers_no_r2t() {
    let mut host = open();
    let id = host.write(WRITE_LEN);
    host.take_wire();
    host.feed(&host.pdus.r2t(id.to_wire(), 7, 0, 4096)).unwrap();
    host.send(1000);
    assert!(!host.connection.cancel(id), "its data is still being sent");
    assert_eq!(host.connection.next_event(), None);
    host.send(usize::MAX);
    assert_eq!(host.feed(&[]), Ok(vec![Seen::Released(id)]));
    host.take_wire();
    assert_eq!(host.feed(&host.pdus.r2t(id.to_wire(), 8, 4096, 4096)), Ok(vec![]));
    assert!(host.take_wire().is_empty(), "its memory is not ours any more");
    let aborted = Cqe::new(id.to_wire(), Status::ABORT_REQUESTED, 0);
    let seen = host.feed(&host.pdus.response(aborted)).unwrap();
    assert_eq!(
        seen,
        [Seen::Completed(Completion { command: id, cqe: aborted, fault: None, cancelled: true })]
    );
    // Between its PDUs a write is free at once.
    let id = host.write(WRITE_LEN);
    host.take_wire();
    assert!(host.connection.cancel(id));
}

#[test]
fn a_full_queue_says_so_and_takes_one_for_each_that_ends() {
    let mut host = open();
    let ids: Vec<_> = (0..4).map(|_| host.flush()).collect();
    assert_eq!(host.connection.room(), 0);
    let refused = host.connection.submit(&nvm::flush(1), Transfer::None, None);
    assert_eq!(refused, Err(SubmitError::Full(4)));
    host.feed(&host.pdus.success(ids[2].to_wire())).unwrap();
    let next = host.flush();
    assert_eq!(next.slot(), ids[2].slot());
    assert_ne!(next, ids[2]);
    assert_eq!(host.connection.room(), 0);
}
