//! Two paths, and each transition of an ANA state: what is told, what is chosen, what commands come back with.

use nvme_tcp::proto::{Choice, PathPolicy, Paths};
use nvme_tcp::spec::async_event::AsyncEvent;
use nvme_tcp::spec::command::admin;
use nvme_tcp::spec::log_page::{AnaLog, AnaState as Seen};
use nvme_tcp_target::AnaState;

use super::events::Ear;
use super::*;

const ANATT: Duration = Duration::from_secs(10);

struct TwoPaths {
    lab: Lab,
    ends: [(Up, Ear); 2],
    paths: Paths,
}

impl TwoPaths {
    fn new() -> Self {
        let mut lab = Lab::new(subsystem());
        let mut paths = Paths::new(PathPolicy::RoundRobin, 2);
        let ends = [0, 1].map(|port| {
            let up = lab.up(port).unwrap();
            let ear = Ear::new(&up.traits);
            paths.up(usize::from(port), 0);
            (up, ear)
        });
        let mut two = Self { lab, ends, paths };
        // The second is the one to fall back on.
        two.change(1, AnaState::NonOptimized);
        two
    }

    /// Sets a state at one port, and does what a host does that is told.
    fn change(&mut self, port: u16, state: AnaState) {
        // What an earlier state left open.
        self.hear();
        self.lab.hub.set_ana_state(SUBSYSTEM, Some(port), 1, state).unwrap();
        let told = self.hear();
        assert!(told[usize::from(port)].contains(&AsyncEvent::AnaChanged), "{told:?}");
    }

    fn hear(&mut self) -> [Vec<AsyncEvent>; 2] {
        let Self { lab, ends, paths } = self;
        let mut number = 0;
        ends.each_mut().map(|(up, ear)| {
            let told = ear.hear(lab, &mut up.admin);
            let len = AnaLog::max_len(128, 1) as u32;
            let read = admin::get_log_page(admin::LOG_ANA, 0, 0, len);
            let (_, log) = lab.run(&mut up.admin, &read, &[], len as usize).unwrap();
            let state = AnaLog::read(&log).unwrap().state(1).unwrap();
            paths.ana(number, state, lab.now, ANATT);
            number += 1;
            told
        })
    }

    fn chosen(&mut self) -> Choice {
        self.paths.choose(self.lab.now)
    }

    fn read_by(&mut self, path: usize) -> Status {
        let Self { lab, ends, .. } = self;
        lab.status(&mut ends[path].0.io, &read_block(), &[], 512)
    }
}

fn shown(state: AnaState) -> Seen {
    match state {
        AnaState::Optimized => Seen::Optimized,
        AnaState::NonOptimized => Seen::NonOptimized,
        AnaState::Inaccessible => Seen::Inaccessible,
        AnaState::PersistentLoss => Seen::PersistentLoss,
        AnaState::Change => Seen::Change,
    }
}

fn transition(from: AnaState, to: AnaState) {
    let mut two = TwoPaths::new();
    two.change(0, from);
    two.change(0, to);
    assert_eq!(two.paths.ana_state(0), Some(shown(to)));
    let status = two.read_by(0);
    match to {
        AnaState::Optimized => {
            assert_eq!((two.chosen(), status), (Choice::Path(0), Status::SUCCESS));
        }
        AnaState::NonOptimized => {
            // They are equally good, and each has its turn.
            let (one, other) = (two.chosen(), two.chosen());
            assert!(one != other && matches!((one, other), (Choice::Path(_), Choice::Path(_))));
            assert_eq!(status, Status::SUCCESS);
        }
        AnaState::Inaccessible | AnaState::PersistentLoss | AnaState::Change => {
            assert_eq!(two.chosen(), Choice::Path(1));
            assert_eq!(two.read_by(1), Status::SUCCESS, "the other path");
            let now = two.lab.now;
            assert!(two.paths.failed(0, status, now, ANATT), "{status} is the path's");
        }
    }
}

macro_rules! transitions {
    ($($name:ident: $from:ident => $to:ident;)*) => {
        $(#[test]
        fn $name() {
            transition(AnaState::$from, AnaState::$to);
        })*
    };
}

transitions! {
    optimized_to_non_optimized: Optimized => NonOptimized;
    optimized_to_inaccessible: Optimized => Inaccessible;
    optimized_to_persistent_loss: Optimized => PersistentLoss;
    optimized_to_change: Optimized => Change;
    non_optimized_to_optimized: NonOptimized => Optimized;
    non_optimized_to_inaccessible: NonOptimized => Inaccessible;
    non_optimized_to_persistent_loss: NonOptimized => PersistentLoss;
    non_optimized_to_change: NonOptimized => Change;
    inaccessible_to_optimized: Inaccessible => Optimized;
    inaccessible_to_non_optimized: Inaccessible => NonOptimized;
    inaccessible_to_persistent_loss: Inaccessible => PersistentLoss;
    inaccessible_to_change: Inaccessible => Change;
    persistent_loss_to_optimized: PersistentLoss => Optimized;
    persistent_loss_to_non_optimized: PersistentLoss => NonOptimized;
    persistent_loss_to_inaccessible: PersistentLoss => Inaccessible;
    persistent_loss_to_change: PersistentLoss => Change;
    change_to_optimized: Change => Optimized;
    change_to_non_optimized: Change => NonOptimized;
    change_to_inaccessible: Change => Inaccessible;
    change_to_persistent_loss: Change => PersistentLoss;
}

#[test]
fn with_both_paths_in_the_change_state_commands_wait_for_anatt_and_no_longer() {
    let mut two = TwoPaths::new();
    two.change(0, AnaState::Change);
    two.change(1, AnaState::Change);
    let Choice::Wait(Some(until)) = two.chosen() else { panic!("they wait") };
    assert!(until <= two.lab.now + ANATT);
    assert_eq!(two.paths.choose(two.lab.now + ANATT), Choice::Wait(None), "as good as inaccessible");
    two.change(1, AnaState::Optimized);
    assert_eq!(two.chosen(), Choice::Path(1));
}

#[test]
fn with_both_paths_inaccessible_commands_wait_and_with_both_lost_for_good_they_fail() {
    let mut two = TwoPaths::new();
    for state in [AnaState::Inaccessible, AnaState::PersistentLoss] {
        two.change(0, state);
        two.change(1, state);
        let expected = if state == AnaState::Inaccessible { Choice::Wait(None) } else { Choice::Never };
        assert_eq!(two.chosen(), expected);
    }
    two.change(0, AnaState::NonOptimized);
    assert_eq!(two.chosen(), Choice::Path(0));
}

#[test]
fn a_path_that_is_cut_leaves_its_commands_to_the_other_and_comes_back() {
    let mut two = TwoPaths::new();
    assert_eq!(two.chosen(), Choice::Path(0));
    let (lab, up) = (&mut two.lab, &mut two.ends[0].0);
    up.io.cut(lab.now, &mut lab.random);
    assert!(lab.run(&mut up.io, &read_block(), &[], 512).is_none());
    two.paths.lost(0, 0);
    assert_eq!(two.chosen(), Choice::Path(1));
    assert_eq!(two.read_by(1), Status::SUCCESS);
    let up = two.lab.up(0).unwrap();
    let ear = Ear::new(&up.traits);
    two.ends[0] = (up, ear);
    two.paths.up(0, 1);
    assert_eq!(two.chosen(), Choice::Path(0));
    assert_eq!(two.read_by(0), Status::SUCCESS);
}
