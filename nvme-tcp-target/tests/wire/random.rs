//! Random commands under all settings, cut anywhere, through both doors: the same as on a plain vector.

use nvme_tcp::proto::{ConnectionConfig, Door, Segment, Transfer};
use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::fabrics::CATTR_DISABLE_SQFC;
use nvme_tcp::spec::command::nvm::{self, DsmRange};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp_target::proto::{C2hSuccess, Connection, Event};
use nvme_tcp_target::{Config, Namespace, Page};
use proptest::prelude::*;
use zerocopy::IntoBytes;

use crate::support::{Queue, SUBSYSTEM, Splits, bring_up, hub};

const BLOCK: usize = 512;
/// Commands of one batch keep to a region each, so that their order does not matter.
const REGIONS: usize = 8;
const REGION_BLOCKS: usize = 2 * PAGE_BLOCKS;
/// What a namespace in memory keeps as it was received.
const PAGE_BLOCKS: usize = Page::LEN / BLOCK;
const SIZE: usize = REGIONS * REGION_BLOCKS * BLOCK;

#[derive(Clone, Debug)]
struct Setup {
    host: ConnectionConfig,
    target: nvme_tcp_target::proto::ConnectionConfig,
    flow_control: bool,
}

prop_compose! {
    fn setup()(
        digests in any::<(bool, bool)>(),
        pda in (0_u8..=31, 0_u8..=31),
        r2ts in (0_u32..5, 1_u32..=16),
        r2t_len in prop::sample::select(vec![256_u32, 1000, 4096, 65536]),
        maxh2cdata in prop::sample::select(vec![4096_u32, 5000, 65536]),
        maxc2hdata in prop::sample::select(vec![256_u32, 1000, 4096, 1 << 20]),
        in_capsule in prop::sample::select(vec![0_u32, 512, 4096, 8192]),
        c2h_success in prop::sample::select(
            vec![C2hSuccess::Never, C2hSuccess::WithoutFlowControl, C2hSuccess::Always]),
        flow_control in any::<bool>(),
    ) -> Setup {
        Setup {
            host: ConnectionConfig {
                depth: REGIONS as u32,
                header_digest: digests.0,
                data_digest: digests.1,
                digests_optional: false,
                maxr2t: r2ts.0,
                hpda: pda.0,
            },
            target: nvme_tcp_target::proto::ConnectionConfig {
                cpda: pda.1,
                maxh2cdata,
                maxc2hdata,
                max_r2ts: r2ts.1,
                r2t_len,
                c2h_success,
                in_capsule,
                ..Default::default()
            },
            flow_control,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write(u8),
    Zeroes,
    Deallocate,
    Flush,
}

/// A command on one region: what, from which block, how many.
type Op = (Kind, usize, usize);

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        4 => Just(Kind::Read),
        4 => any::<u8>().prop_map(Kind::Write),
        1 => Just(Kind::Zeroes),
        1 => Just(Kind::Deallocate),
        1 => Just(Kind::Flush),
    ];
    // Mostly short: what is long is long enough to need several PDUs of each kind.
    let blocks = prop_oneof![4 => 1_usize..=9, 1 => 10_usize..=REGION_BLOCKS];
    let anywhere = (0..REGION_BLOCKS, blocks);
    let pages = (0..2_usize, 1..=2_usize).prop_map(|(page, pages)| (page * PAGE_BLOCKS, pages * PAGE_BLOCKS));
    (kind, prop_oneof![5 => anywhere, 1 => pages])
        .prop_map(|(kind, (first, blocks))| (kind, first, blocks.min(REGION_BLOCKS - first)))
}

fn batches() -> impl Strategy<Value = Vec<Vec<Op>>> {
    prop::collection::vec(prop::collection::vec(op(), 1..=REGIONS), 1..5)
}

fn splits() -> impl Strategy<Value = Splits> {
    let length = prop_oneof![1 => 1_usize..30, 3 => 30_usize..3000, 3 => 3000_usize..100_000];
    prop::collection::vec(length, 1..12).prop_map(|mut lengths| {
        // Byte by byte alone would take long.
        lengths.push(10_000);
        Splits::new(lengths)
    })
}

fn written(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 3) as u8 ^ seed).collect()
}

/// A command with what it writes, and how much it reads.
fn command(kind: Kind, slba: u64, count: u32) -> (Sqe, Vec<u8>, usize) {
    let len = count as usize * BLOCK;
    match kind {
        Kind::Read => (nvm::read(1, slba, count), Vec::new(), len),
        Kind::Write(seed) => (nvm::write(1, slba, count), written(seed, len), 0),
        Kind::Zeroes => (nvm::write_zeroes(1, slba, count), Vec::new(), 0),
        Kind::Deallocate => {
            let range = DsmRange { attributes: 0.into(), nlb: count.into(), slba: slba.into() };
            (nvm::deallocate(1, 1), range.as_bytes().to_vec(), 0)
        }
        Kind::Flush => (nvm::flush(1), Vec::new(), 0),
    }
}

/// What each command gave.
type Outcome = Vec<(Status, Vec<u8>)>;

/// Runs the batches, checks them against the model, and says what came of them.
fn run(setup: &Setup, batches: &[Vec<Op>], splits: Splits, doors: bool) -> Outcome {
    let config = {
        let mut config = Config::default();
        config.connection = setup.target.clone();
        config
    };
    let hub = hub(config, Namespace::ram(SIZE as u64));
    let admin = Queue::new(&hub, setup.host.clone(), splits.clone(), doors);
    let (_admin, cntlid) = bring_up(admin, SUBSYSTEM);
    let mut queue = Queue::new(&hub, setup.host.clone(), splits, doors);
    let attributes = if setup.flow_control { 0 } else { CATTR_DISABLE_SQFC };
    let connected = queue.connect_io(cntlid, 1, REGIONS as u32 + 1, attributes);
    assert_eq!(connected.status(), Status::SUCCESS);
    assert_eq!(connected.sqhd.get() == 0xffff, !setup.flow_control);
    queue.host.set_in_capsule_limit(setup.target.in_capsule);

    let mut model = vec![0_u8; SIZE];
    let mut results = Vec::new();
    for batch in batches {
        let mut expected = Vec::new();
        for (region, (kind, first, blocks)) in batch.iter().enumerate() {
            let slba = (region * REGION_BLOCKS + first) as u64;
            let count = *blocks as u32;
            let bytes = slba as usize * BLOCK..(slba as usize + blocks) * BLOCK;
            let (sqe, write, read) = command(*kind, slba, count);
            match kind {
                Kind::Write(_) => model[bytes.clone()].copy_from_slice(&write),
                Kind::Zeroes | Kind::Deallocate => model[bytes.clone()].fill(0),
                Kind::Read | Kind::Flush => {}
            }
            let slot = queue.submit(&sqe, &write, read);
            expected.push((slot, matches!(kind, Kind::Read).then_some(bytes)));
        }
        queue.run();
        assert_eq!((&queue.end, &queue.host_end), (&None, &None));
        for (slot, read) in expected {
            let done = queue.done.remove(&slot).expect("every command is answered");
            assert_eq!(done.completion.fault, None);
            let status = done.completion.cqe.status();
            assert_eq!(status, Status::SUCCESS);
            if let Some(bytes) = read {
                assert!(done.data == model[bytes], "what was read is not what was written");
                results.push((status, done.data));
            } else {
                results.push((status, Vec::new()));
            }
        }
    }
    results
}

/// An event without what depends on how the bytes were cut.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Open(nvme_tcp_target::proto::Negotiated),
    Want(u16, Vec<u8>, u32),
    Data(u16, u32, Vec<u8>),
    Digest(u16, u32, u32),
    Command(u16, Vec<u8>),
    Free(u16),
}

/// A connection that is past Connect.
fn connection(setup: &Setup) -> Connection {
    let mut connection = Connection::new(setup.target.clone());
    connection.connected(REGIONS as u32 + 1, setup.flow_control, true);
    connection
}

/// What a host sends for these batches to a connection whose commands are all answered at once.
fn record(setup: &Setup, batches: &[Vec<Op>]) -> Vec<u8> {
    let mut host = nvme_tcp::proto::Connection::new(setup.host.clone());
    host.set_in_capsule_limit(setup.target.in_capsule);
    let mut target = connection(setup);
    let mut record = Vec::new();
    // ICReq and ICResp go first.
    for batch in std::iter::once(&Vec::new()).chain(batches) {
        for (kind, first, blocks) in batch {
            let (sqe, write, read) = command(*kind, *first as u64, *blocks as u32);
            let transfer = match (write.len() as u32, read as u32) {
                (0, 0) => Transfer::None,
                (0, read) => Transfer::Read(read),
                (write, _) => Transfer::Write(write),
            };
            host.submit(&sqe, transfer, None).unwrap();
        }
        loop {
            // What is written does not matter here: as many bytes of some kind.
            let made_up = |len: u32| written(len as u8, len as usize);
            host.fill_digests(|payload| crc32c(&made_up(payload.len)));
            let bytes = flatten(host.segments(), made_up);
            host.sent(bytes.len());
            let mut input = &bytes[..];
            while let Some(event) = target.consume(&mut input).unwrap() {
                answer(&mut target, &mut Vec::new(), event);
            }
            record.extend(&bytes);
            let bytes = flatten(target.segments(), |_| panic!("no answer has data"));
            target.sent(bytes.len());
            let mut input = &bytes[..];
            while host.consume(&mut input).unwrap().is_some() {}
            if bytes.is_empty() && !host.wants().write {
                break;
            }
        }
    }
    record
}

fn flatten<'a>(segments: impl Iterator<Item = Segment<'a>>, payload: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    segments
        .flat_map(|segment| match segment {
            Segment::Bytes(bytes) => bytes.to_vec(),
            Segment::Payload(named) => payload(named.len),
        })
        .collect()
}

/// Plays what a host sent, and says what came out.
fn replay(setup: &Setup, record: &[u8], mut splits: Splits, doors: bool) -> Vec<Seen> {
    let mut connection = connection(setup);
    let mut seen = Vec::new();
    let mut input = record;
    while !input.is_empty() {
        let (mut piece, rest) = input.split_at(splits.next().min(input.len()));
        input = rest;
        while !piece.is_empty() {
            match connection.door() {
                Door::InPlace(to) if doors => {
                    let n = piece.len().min(to.len as usize);
                    note(&mut seen, Seen::Data(to.slot, to.offset, piece[..n].to_vec()));
                    piece = &piece[n..];
                    connection.advance(n);
                }
                _ => {
                    // With doors byte by byte, so as not to take data that could go into place.
                    let n = if doors { 1 } else { piece.len() };
                    let (mut taken, later) = piece.split_at(n);
                    piece = later;
                    while let Some(event) = connection.consume(&mut taken).unwrap() {
                        answer(&mut connection, &mut seen, event);
                    }
                }
            }
            while let Some(event) = connection.next_event() {
                answer(&mut connection, &mut seen, event);
            }
        }
    }
    seen
}

fn answer(connection: &mut Connection, seen: &mut Vec<Seen>, event: Event<'_>) {
    match event {
        Event::Open(negotiated) => note(seen, Seen::Open(negotiated)),
        Event::Want { slot, sqe, len } => {
            note(seen, Seen::Want(slot, sqe.as_bytes().to_vec(), len));
            connection.grant(slot);
        }
        Event::Data { to, bytes } => note(seen, Seen::Data(to.slot, to.offset, bytes.to_vec())),
        Event::CheckDigest { of, digest } => note(seen, Seen::Digest(of.slot, of.offset, digest)),
        Event::Command { slot, sqe } => {
            note(seen, Seen::Command(slot, sqe.as_bytes().to_vec()));
            connection.respond(slot, Status::SUCCESS, 0, 0);
        }
        Event::Free(slot) => note(seen, Seen::Free(slot)),
        Event::Terminated(..) => panic!("this host does not give up"),
    }
}

/// Adds an event; neighbouring pieces of data become one.
fn note(seen: &mut Vec<Seen>, event: Seen) {
    if let (Some(Seen::Data(slot, offset, before)), Seen::Data(to, at, more)) = (seen.last_mut(), &event) {
        if slot == to && *offset + before.len() as u32 == *at {
            before.extend(more);
            return;
        }
    }
    seen.push(event);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_split_and_either_door_give_what_a_vector_gives(
        setup in setup(),
        batches in batches(),
        cut in splits(),
    ) {
        let whole = run(&setup, &batches, Splits::none(), false);
        prop_assert!(whole == run(&setup, &batches, cut.clone(), false), "by pieces");
        prop_assert!(whole == run(&setup, &batches, cut.clone(), true), "by pieces and doors");
    }

    #[test]
    fn any_split_and_either_door_give_the_same_events(
        setup in setup(),
        batches in batches(),
        cut in splits(),
    ) {
        let record = record(&setup, &batches);
        let whole = replay(&setup, &record, Splits::none(), false);
        let commands = whole.iter().filter(|event| matches!(event, Seen::Command(..))).count();
        prop_assert_eq!(commands, batches.iter().map(Vec::len).sum::<usize>());
        prop_assert!(whole == replay(&setup, &record, cut.clone(), false), "by pieces");
        prop_assert!(whole == replay(&setup, &record, cut, true), "by pieces and doors");
    }
}
