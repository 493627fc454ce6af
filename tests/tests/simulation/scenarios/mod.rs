//! One scenario each, by name: what a host does about every timeout, loss, path state, event and failed authentication.

mod authentication;
mod bring_up;
mod events;
mod paths;
mod recovery;
mod timeouts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nvme_tcp::proto::{BringUp, BringUpError, Completion, ControllerTraits, Settings, Step};
use nvme_tcp::spec::command::{Sqe, nvm};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp_target::{Config, Hub, Namespace, Origin, Subsystem};

use crate::model::Random;
use crate::wire::{Heard, Wire};

const SUBSYSTEM: &str = "nqn.2024-01.io.example:scenario";
const HOST: &str = "nqn.2024-01.io.example:host";
const KATO: Duration = Duration::from_secs(2);
/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long bytes are under way at most, and what waits is looked at.
const SOON: Duration = Duration::from_millis(20);
/// No scenario takes longer, on its own clock.
const END: Duration = Duration::from_secs(3600);
const SIZE: u64 = 1 << 20;

/// The target, the clock, and what takes random bytes of time.
struct Lab {
    hub: Arc<Hub>,
    now: Instant,
    start: Instant,
    random: Random,
    /// What completed while something else was waited for: event requests.
    events: Vec<Completion>,
}

/// An association.
struct Up {
    admin: Wire,
    io: Wire,
    traits: ControllerTraits,
}

/// Why there is none.
#[derive(Debug)]
enum NotUp {
    BringUp(BringUpError),
    /// A connection ended.
    Over,
}

fn subsystem() -> Subsystem {
    Subsystem::new(SUBSYSTEM).namespace(1, Namespace::ram(SIZE))
}

impl Lab {
    fn new(subsystem: Subsystem) -> Self {
        let hub = Hub::new(Config::default());
        hub.add_subsystem(subsystem).unwrap();
        let start = Instant::now();
        Self { hub, now: start, start, random: Random::new(11), events: Vec::new() }
    }

    fn settings(&self) -> Settings {
        Settings {
            host_nqn: HOST.to_owned(),
            host_id: [7; 16],
            subsystem_nqn: SUBSYSTEM.to_owned(),
            keep_alive: KATO,
            admin_entries: 32,
            io_queues: 1,
            io_entries: 16,
            sq_flow_control: true,
        }
    }

    /// Sends, hears, and where there is nothing to hear goes on to when something happens, `until` at most.
    fn turn(&mut self, wire: &mut Wire, until: Instant) -> Vec<Heard> {
        wire.send(self.now, &mut self.random);
        let heard = wire.turn(self.now, &mut self.random);
        if heard.is_empty() {
            let next = wire.next().map_or(until, |next| next.min(until));
            self.now = next.max(self.now + Duration::from_micros(1));
            assert!(self.now - self.start < END, "nothing ends it");
        }
        heard
    }

    /// Until the clock shows `until`; whether the connection lives.
    fn rest(&mut self, wire: &mut Wire, until: Instant) -> bool {
        while self.now < until {
            for heard in self.turn(wire, until) {
                match heard {
                    Heard::Over => return false,
                    Heard::Completed(completion, _) => self.events.push(completion),
                    Heard::Open => {}
                }
            }
        }
        true
    }

    /// A command's completion and data; `None` where the connection ends before.
    fn run(
        &mut self,
        wire: &mut Wire,
        sqe: &Sqe,
        write: &[u8],
        read: usize,
    ) -> Option<(Completion, Vec<u8>)> {
        let slot = wire.submit(sqe, write, read, self.now + TIMEOUT)?;
        loop {
            for heard in self.turn(wire, self.now + SOON) {
                match heard {
                    Heard::Over => return None,
                    Heard::Completed(completion, data) if completion.command.slot() == slot => {
                        return Some((completion, data));
                    }
                    Heard::Completed(completion, _) => self.events.push(completion),
                    Heard::Open => {}
                }
            }
        }
    }

    fn status(&mut self, wire: &mut Wire, sqe: &Sqe, write: &[u8], read: usize) -> Status {
        self.run(wire, sqe, write, read).expect("an answer").0.cqe.status()
    }

    fn opened(&mut self, depth: u32, origin: Origin) -> Option<Wire> {
        let mut wire = Wire::from(&self.hub, depth, origin);
        loop {
            // Nothing else comes before that on a new connection.
            match self.turn(&mut wire, self.now + SOON).first() {
                Some(Heard::Open) => return Some(wire),
                Some(_) => return None,
                None => {}
            }
        }
    }

    /// An admin queue, as far as `setup` goes.
    fn admin(&mut self, setup: &mut BringUp, origin: Origin) -> Result<Wire, NotUp> {
        self.admin_of(setup, origin, |_, _, _| {})
    }

    /// The same with another controller: `change` sees each command, and changes how it was completed and what came.
    fn admin_of(
        &mut self,
        setup: &mut BringUp,
        origin: Origin,
        change: impl Fn(&Sqe, &mut Cqe, &mut [u8]),
    ) -> Result<Wire, NotUp> {
        let mut wire = self.opened(31, origin).ok_or(NotUp::Over)?;
        loop {
            match setup.next(self.now).map_err(NotUp::BringUp)? {
                Step::Ready => return Ok(wire),
                Step::Wait(until) => {
                    if !self.rest(&mut wire, until) {
                        return Err(NotUp::Over);
                    }
                }
                Step::Admin(command) => {
                    let (write, read) = (&command.write, command.read as usize);
                    let answer = self.run(&mut wire, &command.sqe, write, read).ok_or(NotUp::Over)?;
                    let (Completion { mut cqe, .. }, mut data) = answer;
                    change(&command.sqe, &mut cqe, &mut data);
                    setup.completed(&cqe, &data, self.now).map_err(NotUp::BringUp)?;
                }
            }
        }
    }

    /// An association by one of the target's ports.
    fn up(&mut self, port: u16) -> Result<Up, NotUp> {
        let mut setup = BringUp::new(self.settings());
        let origin = || Origin { port, ..Origin::default() };
        let admin = self.admin(&mut setup, origin())?;
        let traits = setup.into_traits();
        let mut io = self.opened(15, origin()).ok_or(NotUp::Over)?;
        let connect = BringUp::connect(&self.settings(), 1, traits.io_entries, traits.cntlid).unwrap();
        let answer = self.run(&mut io, &connect.sqe, &connect.write, 0).ok_or(NotUp::Over)?;
        assert_eq!(answer.0.cqe.status(), Status::SUCCESS);
        Ok(Up { admin, io, traits })
    }
}

fn read_block() -> Sqe {
    nvm::read(1, 0, 1)
}

fn write_block() -> Sqe {
    nvm::write(1, 0, 1)
}
