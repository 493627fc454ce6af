//! The two record layers against each other: the same random sequence of calls gives the same plaintext and
//! the same records, whoever seals and whoever opens.

mod socket_support;

use std::io::{IoSlice, IoSliceMut};
use std::thread;

use ktls::record::ContentType;
use ktls::{Error, Event, Flow, Layer, Options, SealedBy, Socket, Wait, probe};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket_support::{FRAGMENT, Peer, SUITE, established, kernel_has_tls, pattern, sockets, tcp_pair};

/// Random sequences of each pairing, both directions in each.
const CASES: u32 = 2000;
/// Those of this process alone in the lab, where all is slow: it has run outside already.
const LAB_CASES: u32 = 350;

/// One call.
#[derive(Clone, Debug)]
enum Op {
    /// A vectored write with slices of these lengths.
    Write(Vec<usize>),
    /// The same, and the last record stays open.
    More(Vec<usize>),
    /// A NewSessionTicket of this length, a record of its own.
    Ticket(u8),
    Flush,
    /// A KeyUpdate that asks for none in return.
    Rekey,
}

fn operations() -> impl Strategy<Value = Vec<Op>> {
    let len = prop_oneof![
        12 => 0..2000_usize,
        2 => prop_oneof![Just(0), Just(1), Just(FRAGMENT - 1), Just(FRAGMENT), Just(FRAGMENT + 1)],
        1 => 0..=65_536_usize,
    ];
    let op = prop_oneof![
        6 => vec(len.clone(), 1..5).prop_map(Op::Write),
        3 => vec(len, 1..3).prop_map(Op::More),
        2 => (1..=200_u8).prop_map(Op::Ticket),
        1 => Just(Op::Flush),
        1 => Just(Op::Rekey),
    ];
    vec(op, 0..8)
}

/// What a sending end is expected to make of the calls.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sent {
    data: Vec<u8>,
    /// The records: content type and length.
    records: Vec<(u8, usize)>,
    key_updates: usize,
}

fn slices(lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter().map(|&len| pattern(len)).collect()
}

/// The rule: a write is cut into full records and one for the rest, to which more may come; all else ends what is
/// open and is a record of its own.
fn expected(ops: &[Op], can_rekey: bool) -> Sent {
    let mut sent = Sent::default();
    let mut open = 0;
    for op in ops {
        match op {
            Op::Write(lens) | Op::More(lens) => {
                let data = slices(lens).concat();
                if data.is_empty() {
                    continue;
                }
                open += data.len();
                sent.data.extend(data);
                while open >= FRAGMENT {
                    sent.records.push((23, FRAGMENT));
                    open -= FRAGMENT;
                }
                if let Op::Write(_) = op {
                    sent.end(&mut open);
                }
            }
            Op::Ticket(len) => {
                sent.end(&mut open);
                sent.records.push((22, usize::from(*len) + 4));
            }
            Op::Rekey if can_rekey => {
                sent.end(&mut open);
                sent.records.push((22, 5));
                sent.key_updates += 1;
            }
            // Refused before anything was done.
            Op::Rekey => {}
            Op::Flush => sent.end(&mut open),
        }
    }
    sent.end(&mut open);
    sent.records.push((21, 2));
    sent
}

impl Sent {
    /// The record that is open ends, if there is one.
    fn end(&mut self, open: &mut usize) {
        let len = std::mem::take(open);
        if len > 0 {
            self.records.push((23, len));
        }
    }
}

/// Does the calls, then closes. Where a key cannot change, the refusal must come, and all go on.
fn perform(socket: &mut Socket, ops: &[Op], can_rekey: bool) {
    let (send, _) = socket.halves();
    for op in ops {
        match op {
            Op::Write(lens) | Op::More(lens) => {
                let parts = slices(lens);
                let bufs: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
                let total: usize = lens.iter().sum();
                let more = matches!(op, Op::More(_));
                let sent = if more {
                    send.send_more(&bufs, Wait::Block)
                } else {
                    send.send_vectored(&bufs, Wait::Block)
                };
                assert_eq!(sent.unwrap(), total);
            }
            Op::Ticket(len) => {
                let message = [&[4, 0, 0, *len][..], &vec![9; usize::from(*len)]].concat();
                let sent = send.send_record(ContentType::Handshake, &message, Wait::Block).unwrap();
                assert_eq!(sent, message.len());
            }
            Op::Flush => assert!(send.flush(Wait::Block).unwrap()),
            Op::Rekey => match send.update_key(false, Wait::Block) {
                Ok(()) => assert!(can_rekey),
                Err(Error::RekeyUnsupported { direction: Flow::Send }) if !can_rekey => {}
                Err(error) => panic!("{error}"),
            },
        }
    }
    assert!(send.close_notify(Wait::Block).unwrap());
}

/// Everything up to the close_notify, with buffers of changing sizes, and the key updates seen.
fn take_all(socket: &mut Socket, sizes: &[usize]) -> (Result<(), Error>, Vec<u8>, usize) {
    let (_, recv) = socket.halves();
    let (mut all, mut key_updates) = (Vec::new(), 0);
    let mut buf = vec![0; 70_000];
    for &size in sizes.iter().cycle() {
        let result = recv.recv_vectored(&mut [IoSliceMut::new(&mut buf[..size])], Wait::Block);
        key_updates += usize::from(recv.take_event() == Some(Event::PeerUpdatedKey));
        match result {
            Ok(0) => return (Ok(()), all, key_updates),
            Ok(n) => all.extend_from_slice(&buf[..n]),
            Err(error) => return (Err(error), all, key_updates),
        }
    }
    unreachable!("the sizes go round")
}

fn can_rekey(by: SealedBy) -> bool {
    by == SealedBy::Process || probe().rekey
}

/// One direction of one pairing, socket to socket: the plaintext.
fn one_way(from: &mut Socket, to: &mut Socket, ops: &[Op], sizes: &[usize]) {
    let sends_rekey = can_rekey(from.info().send.by);
    let takes_rekey = can_rekey(to.info().receive.by);
    let (result, data, updates) = thread::scope(|scope| {
        let receiving = scope.spawn(|| take_all(to, sizes));
        perform(from, ops, sends_rekey);
        receiving.join().unwrap()
    });
    match result {
        Ok(()) => {
            let sent = expected(ops, sends_rekey);
            assert!(data == sent.data, "{} bytes of {}", data.len(), sent.data.len());
            // One event may stand for updates that came with no data between them.
            assert_eq!(updates > 0, sent.key_updates > 0);
        }
        Err(Error::RekeyUnsupported { direction: Flow::Receive }) => {
            assert!(!takes_rekey && sends_rekey);
            let first = ops.iter().position(|op| matches!(op, Op::Rekey)).unwrap();
            assert!(data == expected(&ops[..first], false).data);
        }
        Err(error) => panic!("{error}"),
    }
}

/// One socket against a peer that looks at each record.
fn records_of(layer: Layer, ops: &[Op]) {
    let (a, b) = tcp_pair();
    let [keys, peer_keys] = established(SUITE, FRAGMENT);
    let mut socket = Socket::from_established(a, keys, &Options::new().layer(layer)).unwrap();
    let mut peer = Peer::new(b, peer_keys);
    let sends_rekey = can_rekey(socket.info().send.by);
    let got = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut got = Sent::default();
            while let Some((content_type, content)) = peer.receive() {
                got.records.push((content_type.to_byte(), content.len()));
                match content_type {
                    ContentType::ApplicationData => got.data.extend(content),
                    ContentType::Handshake if content[0] == 24 => {
                        peer.opener.rekey().unwrap();
                        got.key_updates += 1;
                    }
                    ContentType::Handshake => {}
                    ContentType::Alert => return got,
                }
            }
            got
        });
        perform(&mut socket, ops, sends_rekey);
        reading.join().unwrap()
    });
    let sent = expected(ops, sends_rekey);
    assert_eq!(got.records, sent.records);
    assert!(got.data == sent.data);
    assert_eq!(got.key_updates, sent.key_updates);
}

fn run(cases: u32, body: impl Fn(&[Op], &[Op], &[usize])) {
    let strategy = (operations(), operations(), vec(1..70_000_usize, 1..4));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |(there, back, sizes)| {
            body(&there, &back, &sizes);
            Ok(())
        })
        .unwrap();
}

/// Both directions, one after the other, so that one is closed while the other still goes.
fn pairing(cases: u32, a: Layer, b: Layer) {
    run(cases, |there, back, sizes| {
        let [mut a, mut b] = sockets(SUITE, [&Options::new().layer(a), &Options::new().layer(b)]);
        one_way(&mut a, &mut b, there, sizes);
        if a.halves().1.is_closed() || b.halves().1.is_closed() {
            one_way(&mut b, &mut a, back, sizes);
        }
    });
}

fn process_cases() -> u32 {
    if std::env::var_os("NVME_TCP_LAB").is_some_and(|lab| lab == "uml") { LAB_CASES } else { CASES }
}

#[test]
fn process_to_process() {
    pairing(process_cases(), Layer::Process, Layer::Process);
}

#[test]
fn kernel_to_process_and_back() {
    if kernel_has_tls("kernel_to_process_and_back") {
        pairing(CASES, Layer::Kernel, Layer::Process);
    }
}

#[test]
fn process_to_kernel_and_back() {
    if kernel_has_tls("process_to_kernel_and_back") {
        pairing(CASES, Layer::Process, Layer::Kernel);
    }
}

#[test]
fn kernel_to_kernel() {
    if kernel_has_tls("kernel_to_kernel") {
        pairing(CASES, Layer::Kernel, Layer::Kernel);
    }
}

#[test]
fn records_of_the_process() {
    run(process_cases(), |ops, _, _| records_of(Layer::Process, ops));
}

#[test]
fn records_of_the_kernel() {
    if kernel_has_tls("records_of_the_kernel") {
        run(process_cases(), |ops, _, _| records_of(Layer::Kernel, ops));
    }
}
