//! All doors for received bytes give the same events, and any way of sending gives the same bytes.

mod support;

use nvme_tcp::proto::{CommandId, ConnectionConfig};
use nvme_tcp::spec::pdu::{Flags, PduType};
use proptest::collection::vec;
use proptest::prelude::*;
use support::host::{Host, Seen};
use support::wire::patterned;

const MAXH2CDATA: u32 = 4096;

/// One command, and how the controller serves it.
#[derive(Clone, Debug)]
struct Served {
    read: bool,
    len: u32,
    /// Into how many data PDUs, or R2Ts, its data is cut at most.
    pieces: u32,
    /// The last data PDU says that the command is done (reads).
    success: bool,
    /// Its first data digest is wrong.
    wrong_digest: bool,
    cancelled: bool,
}

#[derive(Clone, Debug)]
struct Plan {
    config: ConnectionConfig,
    cpda: u8,
    commands: Vec<Served>,
    /// Which command is served next, by turns.
    turns: Vec<usize>,
}

fn served() -> impl Strategy<Value = Served> {
    (any::<bool>(), 1..20_000_u32, 1..6_u32, any::<bool>(), any::<bool>(), 0..8_u8).prop_map(
        |(read, len, pieces, success, wrong_digest, cancelled)| Served {
            read,
            len,
            pieces,
            success,
            wrong_digest,
            cancelled: cancelled == 0,
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let digests = (any::<bool>(), any::<bool>());
    (digests, 0..32_u8, 0..32_u8, vec(served(), 1..6), vec(any::<usize>(), 40)).prop_map(
        |((header_digest, data_digest), hpda, cpda, commands, turns)| Plan {
            config: ConnectionConfig {
                depth: 8,
                header_digest,
                data_digest,
                maxr2t: 16,
                hpda,
                ..ConnectionConfig::default()
            },
            cpda,
            commands,
            turns,
        },
    )
}

impl Plan {
    /// A connection with every command of the plan submitted.
    fn begin(&self) -> (Host, Vec<CommandId>) {
        let mut host = Host::open(self.config.clone(), self.cpda, MAXH2CDATA);
        let submit = |served: &Served| match served.read {
            true => host.read(served.len),
            false => host.write(served.len),
        };
        let ids: Vec<_> = self.commands.iter().map(submit).collect();
        for (id, _) in ids.iter().zip(&self.commands).filter(|(_, served)| served.cancelled) {
            host.connection.cancel(*id);
        }
        (host, ids)
    }

    /// What the controller sends for these commands.
    fn stream(&self, host: &Host, ids: &[CommandId]) -> Vec<u8> {
        let mut queues: Vec<_> =
            self.commands.iter().zip(ids).map(|(served, id)| self.pdus(host, served, *id)).collect();
        let mut stream = Vec::new();
        let mut turns = self.turns.iter().cycle();
        while queues.iter().any(|queue| !queue.is_empty()) {
            let count = queues.len();
            let first = turns.next().map_or(0, |turn| turn % count);
            let next = (first..first + count).map(|n| n % count).find(|n| !queues[*n].is_empty());
            stream.extend(next.map(|n| queues[n].remove(0)).unwrap_or_default());
        }
        stream
    }

    fn pdus(&self, host: &Host, served: &Served, id: CommandId) -> Vec<Vec<u8>> {
        let (pdus, cid) = (&host.pdus, id.to_wire());
        let mut queue = Vec::new();
        let (mut at, mut success) = (0, false);
        let step = served.len.div_ceil(served.pieces);
        // A write of 8 KiB or less went along with its command.
        while at < served.len && (served.read || served.len > 8192) {
            let len = step.min(served.len - at);
            if served.read {
                let last = at + len == served.len;
                success = last && served.success;
                let mut flags = if last { Flags::LAST } else { Flags::empty() };
                flags.set(Flags::SUCCESS, success);
                let mut pdu = pdus.data(cid, at, &patterned(id.slot(), at, len), flags);
                if self.config.data_digest && served.wrong_digest && at == 0 {
                    *pdu.last_mut().unwrap() ^= 1;
                }
                queue.push(pdu);
            } else {
                queue.push(pdus.r2t(cid, at as u16, at, len));
            }
            at += len;
        }
        if !success {
            queue.push(pdus.success(cid));
        }
        queue
    }
}

/// `bytes` in pieces of these lengths, over and over.
fn cut<'a>(bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    lengths.iter().cycle().map_while(move |len| {
        let (piece, after) = rest.split_at((*len).min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What was seen of the command in `slot`, in order, with data as one piece where nothing came between.
fn of_slot(seen: &[Seen], slot: u16) -> Vec<Seen> {
    let mut found: Vec<Seen> = Vec::new();
    for seen in seen {
        match (seen, found.last_mut()) {
            (Seen::Data(at), Some(Seen::Data(last))) if at.slot == slot => last.len += at.len,
            (Seen::Data(at) | Seen::CheckDigest(at), _) if at.slot == slot => found.push(seen.clone()),
            (Seen::Completed(completion), _) if completion.command.slot() == slot => found.push(seen.clone()),
            (Seen::Released(id), _) if id.slot() == slot => found.push(seen.clone()),
            _ => {}
        }
    }
    found
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1..9_usize, 1..200_usize, 1..5000_usize], 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_doors_give_the_same_events_however_the_stream_is_cut(plan in plan(), cuts in lengths()) {
        let (mut whole, ids) = plan.begin();
        let stream = plan.stream(&whole, &ids);
        prop_assert!(whole.feed(&stream).is_ok());
        whole.send(usize::MAX);
        prop_assert!(whole.feed(&[]).is_ok());

        let (mut by_consume, _) = plan.begin();
        let (mut by_door, _) = plan.begin();
        let (mut as_foreseen, _) = plan.begin();
        for piece in cut(&stream, &cuts) {
            prop_assert!(by_consume.feed(piece).is_ok());
            prop_assert!(by_door.feed_by_door(piece).is_ok());
            prop_assert!(as_foreseen.feed_as_foreseen(piece).is_ok());
        }
        for other in [&mut by_consume, &mut by_door, &mut as_foreseen] {
            other.send(usize::MAX);
            prop_assert!(other.feed(&[]).is_ok());
            prop_assert_eq!(&other.seen, &whole.seen);
            prop_assert_eq!(&other.memory, &whole.memory);
            prop_assert_eq!(&other.wire, &whole.wire);
            prop_assert_eq!(other.connection.outstanding(), 0);
        }
        for (id, served) in ids.iter().zip(&plan.commands).filter(|(_, served)| served.read) {
            let right = patterned(id.slot(), 0, served.len);
            let expected = if served.cancelled { vec![0; right.len()] } else { right };
            prop_assert_eq!(&whole.memory[&id.slot()], &expected);
        }
    }

    #[test]
    fn any_split_of_what_is_sent_gives_the_same_bytes(plan in plan(), cuts in lengths(), sends in lengths()) {
        let (mut whole, ids) = plan.begin();
        let stream = plan.stream(&whole, &ids);
        prop_assert!(whole.feed(&stream).is_ok());
        whole.send(usize::MAX);
        prop_assert!(whole.feed(&[]).is_ok());

        let (mut split, _) = plan.begin();
        let mut sends = sends.iter().cycle();
        for piece in cut(&stream, &cuts) {
            prop_assert!(split.feed(piece).is_ok());
            split.send(sends.next().copied().unwrap_or(1));
        }
        while split.send(sends.next().copied().unwrap_or(1)) > 0 {}
        prop_assert!(split.feed(&[]).is_ok());
        // A cancelled write may be free before its R2T comes, which is then not answered.
        if !plan.commands.iter().any(|served| served.cancelled) {
            prop_assert_eq!(&split.wire, &whole.wire);
            for id in &ids {
                prop_assert_eq!(of_slot(&split.seen, id.slot()), of_slot(&whole.seen, id.slot()));
            }
        }
        prop_assert_eq!(split.connection.outstanding(), 0);
    }
}

#[test]
fn what_is_foreseen_is_taken_only_as_far_as_it_is_right() {
    let read =
        |len, success| Served { read: true, len, pieces: 1, success, wrong_digest: false, cancelled: false };
    let foreseen = |reads: [Served; 4], turns: [usize; 4], config: ConnectionConfig| {
        let plan = Plan { config, cpda: 0, commands: reads.to_vec(), turns: turns.to_vec() };
        let (mut host, ids) = plan.begin();
        let stream = plan.stream(&host, &ids);
        host.feed_as_foreseen(&stream).unwrap();
        assert_eq!(host.connection.outstanding(), 0);
        for (id, served) in ids.iter().zip(&plan.commands) {
            let pattern = patterned(id.slot(), 0, served.len);
            let right = if served.cancelled { vec![0; pattern.len()] } else { pattern };
            assert_eq!(host.memory[&id.slot()], right);
        }
        host.foreseen
    };
    let config = || ConnectionConfig { depth: 8, ..ConnectionConfig::default() };
    let reads = || [4096, 5000, 4096, 4096].map(|len| read(len, true));
    let in_order = [0, 1, 2, 3];
    // The support foresees three.
    assert_eq!(foreseen(reads(), in_order, config()), 3);
    assert_eq!(foreseen(reads(), [0, 2, 1, 3], config()), 1);
    assert_eq!(foreseen(reads(), [1, 0, 2, 3], config()), 0);
    // Too short, given up, and more than there is room for.
    assert_eq!(foreseen([4096, 4095, 4096, 4096].map(|len| read(len, true)), in_order, config()), 0);
    assert_eq!(foreseen([4096, 32_768, 4096, 4096].map(|len| read(len, true)), in_order, config()), 1);
    assert_eq!(foreseen([4096, 4096, 12_000, 4096].map(|len| read(len, true)), in_order, config()), 2);
    let [first, second, ..] = reads();
    let given_up = [first.clone(), Served { cancelled: true, ..second }, first.clone(), first];
    assert_eq!(foreseen(given_up, in_order, config()), 0);
    // Digests.
    let digests = ConnectionConfig { data_digest: true, ..config() };
    assert_eq!(foreseen(reads(), in_order, digests), 0);
    // Responses in capsules of their own, from the second read on, but not where they come in another order.
    let responding = reads().map(|served| Served { success: false, ..served });
    assert_eq!(foreseen(responding.clone(), in_order, config()), 0);
    for (turns, expected) in [([0, 0, 1, 1, 2, 2, 3, 3], 3), ([0, 0, 1, 2, 1, 2, 3, 3], 1)] {
        let plan = Plan { config: config(), cpda: 0, commands: responding.to_vec(), turns: turns.to_vec() };
        let (mut host, ids) = plan.begin();
        let stream = plan.stream(&host, &ids);
        let (first, others) = stream.split_at(24 + 4096);
        host.feed(first).unwrap();
        host.feed_as_foreseen(others).unwrap();
        assert_eq!((host.foreseen, host.connection.outstanding()), (expected, 0));
        for (id, served) in ids.iter().zip(&plan.commands) {
            assert_eq!(host.memory[&id.slot()], patterned(id.slot(), 0, served.len));
        }
    }
    // Another command's answer may come in between.
    let mut host = Host::open(config(), 0, MAXH2CDATA);
    host.read(4096);
    assert!(host.connection.may_foresee());
    let flush = host.flush();
    assert!(!host.connection.may_foresee());
    host.feed(&host.pdus.success(flush.to_wire())).unwrap();
    assert!(host.connection.may_foresee());
}

#[test]
fn the_plans_really_have_every_kind_of_pdu() {
    let serve =
        |read, len| Served { read, len, pieces: 3, success: false, wrong_digest: false, cancelled: false };
    let plan = Plan {
        config: ConnectionConfig { depth: 8, maxr2t: 16, ..ConnectionConfig::default() },
        cpda: 0,
        commands: vec![serve(true, 9000), serve(false, 9000), serve(false, 512)],
        turns: vec![0, 1, 2],
    };
    let (mut host, ids) = plan.begin();
    let stream = plan.stream(&host, &ids);
    let types: Vec<_> = [0, 24 + 3000, 2 * 24 + 3000].map(|at| PduType::from_byte(stream[at])).into();
    assert_eq!(types, [Some(PduType::C2hData), Some(PduType::R2t), Some(PduType::CapsuleResp)]);
    host.feed(&stream).unwrap();
    // Three commands, one with its data, and three R2Ts' worth of H2CData.
    assert_eq!(host.take_wire().len(), 3 * 72 + 512 + 3 * 24 + 9000);
}
