//! Whatever a controller sends: the host's core never panics, completes no command twice, touches no memory
//! that is not lent, and has every command accounted for at the end.

mod support;

use std::collections::HashMap;

use nvme_tcp::proto::{CommandId, ConnectionConfig, Transfer};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::pdu::{FatalStatus, Flags};
use proptest::collection::vec;
use proptest::prelude::*;
use support::host::{Host, Seen};
use support::wire::Pdus;

#[derive(Clone, Debug)]
enum Step {
    Read(u32),
    Write(u32),
    Flush,
    Cancel(usize),
    Send(usize),
    /// A PDU about the command at this place among the outstanding ones, and how it is spoilt.
    Pdu(Kind, usize, Spoil),
    Garbage(Vec<u8>),
}

#[derive(Clone, Debug)]
enum Kind {
    Response,
    Data { len: u32, flags: u8 },
    R2t { len: u32 },
    Terminate,
}

/// Mostly nothing, so that streams get far; else some bytes changed, or the end cut off.
#[derive(Clone, Debug)]
enum Spoil {
    Nothing,
    Flip(Vec<(usize, u8)>),
    Cut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => Just(Kind::Response),
        4 => (1..9000_u32, 0..16_u8).prop_map(|(len, flags)| Kind::Data { len, flags }),
        4 => (0..9000_u32).prop_map(|len| Kind::R2t { len }),
        1 => Just(Kind::Terminate),
    ];
    let spoil = prop_oneof![
        12 => Just(Spoil::Nothing),
        2 => vec((0..40_usize, any::<u8>()), 1..4).prop_map(Spoil::Flip),
        1 => (0..200_usize).prop_map(Spoil::Cut),
    ];
    prop_oneof![
        4 => (1..20_000_u32).prop_map(Step::Read),
        4 => (1..40_000_u32).prop_map(Step::Write),
        1 => Just(Step::Flush),
        1 => any::<usize>().prop_map(Step::Cancel),
        4 => (0..20_000_usize).prop_map(Step::Send),
        12 => (kind, any::<usize>(), spoil).prop_map(|(kind, which, spoil)| Step::Pdu(kind, which, spoil)),
        1 => vec(any::<u8>(), 0..64).prop_map(Step::Garbage),
    ]
}

fn config() -> impl Strategy<Value = ConnectionConfig> {
    (any::<bool>(), any::<bool>(), 0..3_u32, 0..32_u8).prop_map(|(header, data, maxr2t, hpda)| {
        ConnectionConfig {
            depth: 4,
            header_digest: header,
            data_digest: data,
            maxr2t,
            hpda,
            ..ConnectionConfig::default()
        }
    })
}

/// The host's core, and what must be true of it.
struct Model {
    host: Host,
    /// How far the controller has got with each outstanding command.
    moved: HashMap<CommandId, u32>,
    order: Vec<CommandId>,
    by_door: bool,
    checked: usize,
    over: bool,
}

impl Model {
    fn submit(&mut self, transfer: Transfer) {
        let room = self.host.connection.room();
        match self.host.connection.submit(&nvm::flush(1), transfer, None) {
            Ok(id) => {
                assert!(room > 0 && !self.order.contains(&id));
                if let Transfer::Read(len) = transfer {
                    self.host.memory.insert(id.slot(), vec![0; len as usize]);
                } else {
                    // Data for it would be for nobody's memory: the host's `feed` panics at that.
                    self.host.memory.remove(&id.slot());
                }
                self.moved.insert(id, 0);
                self.order.push(id);
            }
            Err(_) => assert_eq!(room, 0),
        }
    }

    fn pdu(&mut self, kind: &Kind, which: usize, spoil: &Spoil) -> Vec<u8> {
        let pdus = self.host.pdus;
        let id = self.order.get(which % self.order.len().max(1)).copied();
        let cid = id.map_or(which as u16, CommandId::to_wire);
        let mut none = 0;
        let moved = id.and_then(|id| self.moved.get_mut(&id)).unwrap_or(&mut none);
        let at = *moved;
        let mut bytes = match *kind {
            Kind::Response => pdus.response(Cqe::new(cid, Status((which % 3) as u16), 0)),
            Kind::Data { len, flags } => {
                *moved += len;
                pdus.data(cid, at, &vec![1; len as usize], Flags::from_bits_truncate(flags & 0b1100))
            }
            Kind::R2t { len } => {
                *moved += len;
                pdus.r2t(cid, 0, at, len)
            }
            Kind::Terminate => Pdus::terminate(FatalStatus::SequenceError, 0, &[0; 8]),
        };
        match spoil {
            Spoil::Nothing => {}
            Spoil::Cut(len) => bytes.truncate(*len),
            Spoil::Flip(flips) => {
                for (at, with) in flips {
                    let at = at % bytes.len();
                    bytes[at] ^= with;
                }
            }
        }
        bytes
    }

    fn feed(&mut self, bytes: &[u8]) {
        let result = match self.by_door {
            true => self.host.feed_by_door(bytes),
            false => self.host.feed(bytes).map(drop),
        };
        assert!(!self.over || result.is_ok(), "a connection that is over finds no more violations");
        if result.is_err() {
            self.over = true;
            assert!(self.host.connection.wants().write, "the controller is to be told");
        }
        self.check();
    }

    /// Looks at what was seen since the last time.
    fn check(&mut self) {
        for seen in &self.host.seen[self.checked..] {
            match seen {
                Seen::Completed(completion) => {
                    let at = self.order.iter().position(|id| *id == completion.command);
                    let at = at.unwrap_or_else(|| panic!("{:?} was not outstanding", completion.command));
                    self.order.remove(at);
                    self.moved.remove(&completion.command);
                }
                Seen::Released(id) => assert!(self.order.contains(id)),
                Seen::Terminated(..) => self.over = true,
                Seen::Open | Seen::Data(_) | Seen::CheckDigest(_) => {}
            }
        }
        self.checked = self.host.seen.len();
        assert_eq!(self.host.connection.outstanding(), self.order.len());
        assert_eq!(self.host.connection.is_open(), !self.over);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_command_is_accounted_for(config in config(), cpda in 0..32_u8, by_door: bool, steps in vec(step(), 1..60)) {
        let mut model = Model {
            host: Host::open(config, cpda, 4096),
            moved: HashMap::new(),
            order: Vec::new(),
            by_door,
            checked: 1,
            over: false,
        };
        for step in &steps {
            match step {
                Step::Read(len) => model.submit(Transfer::Read(*len)),
                Step::Write(len) => model.submit(Transfer::Write(*len)),
                Step::Flush => model.submit(Transfer::None),
                Step::Cancel(which) if !model.order.is_empty() => {
                    let id = model.order[which % model.order.len()];
                    model.host.connection.cancel(id);
                }
                Step::Cancel(_) => {}
                Step::Send(most) => {
                    model.host.send(*most);
                    model.feed(&[]);
                }
                Step::Pdu(kind, which, spoil) => {
                    let bytes = model.pdu(kind, *which, spoil);
                    model.feed(&bytes);
                }
                Step::Garbage(bytes) => model.feed(bytes),
            }
        }
        let mut lost = model.host.connection.abandon();
        lost.sort_by_key(|id| id.to_wire());
        model.order.sort_by_key(|id| id.to_wire());
        prop_assert_eq!(lost, model.order);
        prop_assert_eq!(model.host.connection.outstanding(), 0);
        prop_assert!(!model.host.connection.wants().write);
    }

    #[test]
    fn garbage_instead_of_ic_resp_is_refused(bytes in vec(any::<u8>(), 0..300)) {
        let mut host = Host::new(ConnectionConfig::default());
        let result = host.feed(&bytes);
        prop_assert!(bytes.len() < 8 || result.is_err() || bytes[0] == 1);
    }
}
