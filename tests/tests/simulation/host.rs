//! The host: it keeps an association up, and carries requests to their end over as many of them as that takes.

mod hear;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvme_tcp::proto::{
    AfterLoss, BringUp, Completion, ControllerTraits, KeepAlive, KeepAliveAction, Recoverer, Recovery,
    RecoveryStep, Settings, Step, UnknownWrites, is_repeatable,
};
use nvme_tcp::spec::command::{Sqe, admin, nvm};
use nvme_tcp_target::{Config, Hub, Namespace, Subsystem};

use crate::model::{BLOCK, Model, Random, block};
use crate::wire::{Heard, Wire};

const SUBSYSTEM: &str = "nqn.2024-01.io.example:simulated";
const KATO: Duration = Duration::from_millis(400);
const TIMEOUT: Duration = Duration::from_secs(1);
const BLOCKS: usize = 24;
const DEPTH: usize = 8;
/// No plan takes longer, on its own clock.
const END: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be sent, not before this time.
    Waiting(Instant),
    Sent,
}

struct Request {
    sqe: Sqe,
    /// The number of a write; `None` for a read.
    write: Option<u64>,
    first: usize,
    count: usize,
    state: State,
    tries: u32,
}

enum Owner {
    Request(Request),
    BringUp,
    KeepAlive,
}

enum Stage {
    /// Until this time.
    Admin(Box<BringUp>, Option<Instant>),
    Io,
    Up(KeepAlive),
}

struct Association {
    admin: Wire,
    io: Option<Wire>,
    stage: Stage,
    traits: Option<ControllerTraits>,
    owners: [HashMap<u16, Owner>; 2],
    since: Instant,
}

pub(crate) struct World {
    random: Random,
    start: Instant,
    now: Instant,
    hub: Arc<Hub>,
    settings: Settings,
    policy: Recovery,
    fenced: bool,
    recoverer: Recoverer,
    association: Option<Association>,
    /// Connections that the host has given up, and the target perhaps not yet.
    zombies: Vec<Wire>,
    requests: Vec<Request>,
    /// Blocks that nothing is written to before a time, since a write that was reported may still come.
    reserved: Vec<(usize, usize, Instant)>,
    model: Model,
    written: u64,
    pub(crate) lost: u64,
    pub(crate) replayed: u64,
    pub(crate) reported: u64,
}

impl World {
    pub(crate) fn new(seed: u64, fenced: bool) -> Self {
        let mut random = Random::new(seed);
        let start = Instant::now();
        let hub = Hub::new(Config::default());
        let namespace = Namespace::ram((BLOCKS * BLOCK) as u64);
        hub.add_subsystem(Subsystem::new(SUBSYSTEM).namespace(1, namespace)).unwrap();
        let report = fenced && random.one_in(3);
        let unknown = if report { UnknownWrites::Report } else { UnknownWrites::Replay };
        let policy = Recovery::default()
            .reconnect_delay(Duration::from_millis(5), Duration::from_millis(50))
            .controller_loss_timeout(None)
            .unknown_writes(unknown);
        let settings = Settings {
            host_nqn: "nqn.2024-01.io.example:host".to_owned(),
            host_id: [7; 16],
            subsystem_nqn: SUBSYSTEM.to_owned(),
            keep_alive: KATO,
            admin_entries: 32,
            io_queues: 1,
            io_entries: DEPTH as u32 + 1,
            // Half of the plans go without.
            sq_flow_control: seed % 2 == 0,
        };
        let mut recoverer = Recoverer::new(policy);
        recoverer.lost(start, 0);
        Self {
            random,
            start,
            now: start,
            hub,
            settings,
            policy,
            fenced,
            recoverer,
            association: None,
            zombies: Vec::new(),
            requests: Vec::new(),
            reserved: Vec::new(),
            model: Model::new(BLOCKS),
            written: 0,
            lost: 0,
            replayed: 0,
            reported: 0,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// So many requests, with faults; and then everything is read back without.
    pub(crate) fn run(&mut self, operations: usize) {
        let mut begun = 0;
        while begun < operations || self.outstanding() > 0 {
            while begun < operations && self.outstanding() < DEPTH && self.begin() {
                begun += 1;
            }
            if self.random.one_in(120) {
                self.fault();
            }
            self.turn();
        }
        // Whatever is still under way of lost connections arrives.
        let settled = self.now + KATO * 4;
        while self.now < settled {
            self.turn();
        }
        self.request(None, 0, BLOCKS);
        while self.outstanding() > 0 {
            self.turn();
        }
    }

    fn outstanding(&self) -> usize {
        let sent = |a: &Association| a.owners[1].values().filter(|o| matches!(o, Owner::Request(_))).count();
        self.requests.len() + self.association.as_ref().map_or(0, sent)
    }

    /// Begins a request where none with a write overlaps; whether it found room.
    fn begin(&mut self) -> bool {
        let count = 1 + self.random.below(4) as usize;
        let first = self.random.below((BLOCKS - count) as u64 + 1) as usize;
        let now = self.now;
        self.reserved.retain(|(_, _, until)| now < *until);
        let overlaps = |start: usize, len: usize| start < first + count && first < start + len;
        let sent =
            self.association.iter().flat_map(|a| a.owners[1].values()).filter_map(|owner| match owner {
                Owner::Request(request) => Some(request),
                _ => None,
            });
        let busy = self.requests.iter().chain(sent).any(|request| overlaps(request.first, request.count))
            || self.reserved.iter().any(|(start, len, _)| overlaps(*start, *len));
        if busy {
            return false;
        }
        let write = self.random.below(5) < 3;
        self.written += u64::from(write);
        self.request(write.then_some(self.written), first, count);
        true
    }

    fn request(&mut self, write: Option<u64>, first: usize, count: usize) {
        let sqe = match write {
            Some(_) => nvm::write(1, first as u64, count as u32),
            None => nvm::read(1, first as u64, count as u32),
        };
        let state = State::Waiting(self.now);
        self.requests.push(Request { sqe, write, first, count, state, tries: 0 });
    }

    fn fault(&mut self) {
        let (now, random) = (self.now, &mut self.random);
        let Some(association) = &mut self.association else { return };
        let io = association.io.as_mut().filter(|_| !random.one_in(3));
        let wire = io.unwrap_or(&mut association.admin);
        match random.below(6) {
            0 | 1 => wire.cut(now, random),
            2 => wire.swallow(),
            3 => wire.corrupt(random),
            4 => wire.slow = Duration::from_millis(random.below(300)),
            // The host's end breaks, and the other does not know.
            _ => self.lose(),
        }
    }

    /// The association is lost: what was outstanding is sorted by what may become of it.
    fn lose(&mut self) {
        let Some(mut lost) = self.association.take() else { return };
        self.lost += 1;
        let now = self.now;
        match &lost.stage {
            Stage::Up(_) => drop(self.recoverer.lost(now, self.random.below(1 << 32) as u32)),
            _ => drop(self.recoverer.failed(now, false, self.random.below(1 << 32) as u32)),
        }
        let fenced = lost
            .traits
            .as_ref()
            .and_then(|traits| self.policy.fence(KATO, traits.traffic_based_keep_alive, traits.quiesce_time));
        let fenced = fenced.map(|after| now + if self.fenced { after } else { Duration::ZERO });
        for owner in lost.owners[1].drain().map(|(_, owner)| owner).collect::<Vec<_>>() {
            let Owner::Request(mut request) = owner else { continue };
            match self.policy.after_loss(is_repeatable(&request.sqe), fenced) {
                AfterLoss::Again => request.state = State::Waiting(now),
                AfterLoss::AgainAt(at) => {
                    self.replayed += 1;
                    request.state = State::Waiting(at);
                }
                AfterLoss::Report => {
                    self.reported += 1;
                    let id = request.write.expect("reads are repeated");
                    self.model.unknown(request.first, request.count, id);
                    let until = fenced.expect("a keep-alive fences");
                    self.reserved.push((request.first, request.count, until));
                    continue;
                }
            }
            self.requests.push(request);
        }
        for mut wire in [Some(lost.admin), lost.io].into_iter().flatten() {
            let later = Duration::from_millis(self.random.below(KATO.as_millis() as u64 - 50));
            let later = if self.random.one_in(2) { later } else { Duration::ZERO };
            wire.give_up(now, later, self.random.one_in(4));
            self.zombies.push(wire);
        }
    }

    /// Goes on to the next time at which something happens.
    fn turn(&mut self) {
        self.recover();
        self.send();
        let wires = self.association.iter().flat_map(|a| a.io.iter().chain([&a.admin]));
        let next = wires.chain(&self.zombies).filter_map(Wire::next).min();
        let waiting = self.requests.iter().filter_map(|request| match request.state {
            State::Waiting(at) if at > self.now => Some(at),
            _ => None,
        });
        let own = self.next_own();
        let soon = [next, own, waiting.min(), Some(self.now + Duration::from_millis(20))];
        let next = soon.into_iter().flatten().min().unwrap_or(self.now);
        self.now = next.max(self.now + Duration::from_micros(1));
        assert!(self.elapsed() < END, "a request does not end: {} are left", self.outstanding());
        for zombie in &mut self.zombies {
            zombie.turn(self.now, &mut self.random);
        }
        self.zombies.retain(|zombie| !zombie.is_over());
        self.hear();
    }

    fn next_own(&self) -> Option<Instant> {
        match &self.association.as_ref()?.stage {
            Stage::Admin(_, at) => *at,
            _ => None,
        }
    }

    fn recover(&mut self) {
        if self.association.is_none() && self.recoverer.next(self.now) == RecoveryStep::Connect {
            self.association = Some(Association {
                admin: Wire::new(&self.hub, 31),
                io: None,
                stage: Stage::Admin(Box::new(BringUp::new(self.settings.clone())), None),
                traits: None,
                owners: Default::default(),
                since: self.now,
            });
        }
    }

    /// Whatever is due is sent.
    fn send(&mut self) {
        let (now, deadline) = (self.now, self.now + TIMEOUT);
        let Some(association) = &mut self.association else { return };
        let mut is_lost = false;
        match &mut association.stage {
            Stage::Up(keep_alive) => match keep_alive.poll(now) {
                KeepAliveAction::Wait(_) => {}
                KeepAliveAction::Lost => is_lost = true,
                KeepAliveAction::Send => {
                    keep_alive.sent(now);
                    let slot = association.admin.submit(&admin::keep_alive(), &[], 0, deadline);
                    association.owners[0].extend(slot.map(|slot| (slot, Owner::KeepAlive)));
                }
            },
            // As long as a connection may take.
            _ => is_lost = now >= association.since + TIMEOUT * 2,
        }
        if is_lost {
            return self.lose();
        }
        if let (Stage::Up(_), Some(io)) = (&association.stage, &mut association.io) {
            let due = |request: &Request| matches!(request.state, State::Waiting(at) if at <= now);
            for mut request in std::mem::take(&mut self.requests) {
                let data = request.write.map(|id| block(id).repeat(request.count)).unwrap_or_default();
                let read = if request.write.is_some() { 0 } else { request.count * BLOCK };
                let slot = due(&request).then(|| io.submit(&request.sqe, &data, read, deadline)).flatten();
                match slot {
                    Some(slot) => {
                        request.state = State::Sent;
                        association.owners[1].insert(slot, Owner::Request(request));
                    }
                    None => self.requests.push(request),
                }
            }
        }
        association.admin.send(now, &mut self.random);
        if let Some(io) = &mut association.io {
            io.send(now, &mut self.random);
        }
    }
}
