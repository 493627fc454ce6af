//! Scenarios by name, and random fault plans, on a simulated wire and a virtual clock: the protocol core of the host, its recovery and its
//! fencing, against the target's sessions, with a model of what the namespace may hold.
//!
//! 10,000 plans in an optimised build (`cargo test --release -p system-tests --test simulation`), 200 in another;
//! `NVME_TCP_PLANS` says otherwise, and `NVME_TCP_SEED` names the first.

mod host;
mod model;
mod scenarios;
mod wire;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use host::World;

/// I/Os of each plan, before everything is read back.
const OPERATIONS: usize = 200;

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// What went wrong in a plan.
fn run(seed: u64, fenced: bool) -> Result<World, String> {
    let run = || {
        let mut world = World::new(seed, fenced);
        world.run(OPERATIONS);
        world
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

#[test]
fn no_write_is_lost_or_torn_and_every_request_ends() {
    let plans = number("NVME_TCP_PLANS", if cfg!(debug_assertions) { 200 } else { 10_000 });
    let first = number("NVME_TCP_SEED", 1);
    let (mut lost, mut replayed, mut reported) = (0, 0, 0);
    for seed in first..first + plans {
        match run(seed, true) {
            Ok(world) => {
                lost += world.lost;
                replayed += world.replayed;
                reported += world.reported;
            }
            Err(error) => panic!("NVME_TCP_SEED={seed} NVME_TCP_PLANS=1: {error}"),
        }
    }
    // The plans do what they are for.
    assert!(
        lost >= plans && replayed + reported > 0,
        "{lost} lost, {replayed} replayed, {reported} reported"
    );
    eprintln!("{plans} plans: {lost} associations lost, {replayed} writes replayed, {reported} reported");
}

#[test]
fn without_the_fence_the_model_finds_a_lost_write() {
    let found = (1..=400).find_map(|seed| run(seed, false).err());
    let found = found.expect("a write that is replayed too early is overwritten by its older self");
    assert!(found.contains("holds"), "{found}");
}

#[test]
fn a_plan_is_the_same_each_time() {
    let (one, other) = (run(7, true).unwrap(), run(7, true).unwrap());
    assert_eq!((one.lost, one.replayed, one.elapsed()), (other.lost, other.replayed, other.elapsed()));
}
