//! Each ANA transition, each policy, each failover, by name.

use super::*;

const ANATT: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

/// Three paths that are up.
fn three(policy: PathPolicy) -> (Paths, Instant) {
    let mut paths = Paths::new(policy, 3);
    for path in 0..3 {
        paths.up(path, 0);
    }
    (paths, Instant::now())
}

fn choices(paths: &mut Paths, now: Instant, count: usize) -> Vec<usize> {
    let choice = |paths: &mut Paths| match paths.choose(now) {
        Choice::Path(path) => path,
        other => panic!("{other:?}"),
    };
    (0..count).map(|_| choice(paths)).collect()
}

#[test]
fn round_robin_takes_each_in_its_turn() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    assert_eq!(choices(&mut paths, now, 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn queue_depth_takes_the_emptiest_and_among_equals_each_in_its_turn() {
    let (mut paths, now) = three(PathPolicy::QueueDepth);
    paths.begun(0);
    assert_eq!(choices(&mut paths, now, 3), [1, 2, 1]);
    paths.begun(1);
    paths.begun(1);
    paths.begun(2);
    paths.begun(2);
    assert_eq!(choices(&mut paths, now, 2), [0, 0]);
    paths.ended(2, Some(MS));
    paths.ended(2, None);
    assert_eq!(choices(&mut paths, now, 1), [2]);
}

#[test]
fn latency_takes_the_quickest_with_what_is_outstanding_counted_in() {
    let (mut paths, now) = three(PathPolicy::Latency);
    for (path, took) in [(0, MS * 5), (1, MS), (2, MS * 4)] {
        paths.begun(path);
        paths.ended(path, Some(took));
    }
    assert_eq!(choices(&mut paths, now, 2), [1, 1]);
    for _ in 0..4 {
        paths.begun(1);
    }
    assert_eq!(choices(&mut paths, now, 1), [2], "1 ms for each of five is more than 4 ms");
}

#[test]
fn latency_tries_a_slow_path_now_and_then() {
    let (mut paths, now) = three(PathPolicy::Latency);
    for (path, took) in [(0, MS * 500), (1, MS), (2, MS * 500)] {
        paths.begun(path);
        paths.ended(path, Some(took));
    }
    let all = choices(&mut paths, now, 2 * PROBE as usize);
    assert_eq!(all.iter().filter(|path| **path != 1).count(), 2);
    // It has become quick, which it shows each time that it is tried.
    for _ in 0..100 {
        paths.begun(0);
        paths.ended(0, Some(MS / 10));
    }
    assert_eq!(choices(&mut paths, now, 1), [0]);
}

#[test]
fn optimized_goes_before_non_optimized_and_that_before_nothing() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    paths.ana(0, AnaState::NonOptimized, now, ANATT);
    paths.ana(1, AnaState::NonOptimized, now, ANATT);
    assert_eq!(choices(&mut paths, now, 2), [2, 2]);
    paths.ana(2, AnaState::Inaccessible, now, ANATT);
    assert_eq!(choices(&mut paths, now, 4), [0, 1, 0, 1]);
    paths.ana(0, AnaState::PersistentLoss, now, ANATT);
    assert_eq!(choices(&mut paths, now, 2), [1, 1]);
    paths.ana(2, AnaState::Optimized, now, ANATT);
    assert_eq!(choices(&mut paths, now, 2), [2, 2]);
}

#[test]
fn a_state_that_no_specification_names_is_not_used() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    paths.ana(1, AnaState::Reserved(9), now, ANATT);
    assert_eq!(choices(&mut paths, now, 4), [0, 2, 0, 2]);
}

#[test]
fn while_all_are_inaccessible_commands_wait_for_an_event() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    for path in 0..3 {
        paths.ana(path, AnaState::Inaccessible, now, ANATT);
    }
    assert_eq!(paths.choose(now), Choice::Wait(None));
    paths.ana(1, AnaState::NonOptimized, now, ANATT);
    assert_eq!(paths.choose(now), Choice::Path(1));
}

#[test]
fn the_change_state_is_waited_for_until_anatt_and_no_longer() {
    let mut paths = Paths::new(PathPolicy::RoundRobin, 1);
    let now = Instant::now();
    paths.up(0, 0);
    paths.ana(0, AnaState::Change, now, ANATT);
    assert_eq!(paths.choose(now), Choice::Wait(Some(now + ANATT)));
    // Told again: the time goes on.
    paths.ana(0, AnaState::Change, now + ANATT / 2, ANATT);
    assert_eq!(paths.next_overdue(), Some(now + ANATT));
    assert_eq!(paths.choose(now + ANATT), Choice::Wait(None), "as good as inaccessible");
    paths.ana(0, AnaState::Optimized, now + ANATT, ANATT);
    assert_eq!((paths.choose(now + ANATT), paths.next_overdue()), (Choice::Path(0), None));
}

#[test]
fn persistent_loss_everywhere_is_the_end() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    for path in 0..3 {
        paths.ana(path, AnaState::PersistentLoss, now, ANATT);
    }
    assert_eq!(paths.choose(now), Choice::Never);
}

#[test]
fn path_statuses_say_more_than_the_log_did() {
    for (status, state) in [
        (Status::ANA_INACCESSIBLE, AnaState::Inaccessible),
        (Status::ANA_PERSISTENT_LOSS, AnaState::PersistentLoss),
        (Status::ANA_TRANSITION, AnaState::Change),
    ] {
        let (mut paths, now) = three(PathPolicy::RoundRobin);
        assert!(paths.failed(1, status, now, ANATT));
        assert_eq!(paths.ana_state(1), Some(state));
        assert_eq!(choices(&mut paths, now, 4), [0, 2, 0, 2]);
    }
}

#[test]
fn a_path_with_an_error_of_its_own_is_avoided_for_a_while_and_used_where_there_is_no_other() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    for status in [Status::INTERNAL_PATH, Status::CONTROLLER_PATH, Status::HOST_PATH] {
        assert!(paths.failed(0, status, now, ANATT));
    }
    paths.ana(1, AnaState::NonOptimized, now, ANATT);
    paths.lost(2, 0);
    assert_eq!(choices(&mut paths, now, 2), [1, 1]);
    paths.lost(1, 0);
    assert_eq!(choices(&mut paths, now, 1), [0]);
    paths.up(1, 1);
    assert_eq!(choices(&mut paths, now + AVOID, 2), [0, 0]);
}

#[test]
fn other_statuses_are_not_the_path_s() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    for status in [Status::LBA_OUT_OF_RANGE, Status::COMMAND_INTERRUPTED, Status::INTERNAL_ERROR] {
        assert!(!paths.failed(0, status, now, ANATT), "{status}");
    }
    assert_eq!(choices(&mut paths, now, 3), [0, 1, 2]);
}

#[test]
fn a_lost_path_is_left_at_once_and_used_again_with_the_next_association() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    paths.lost(0, 0);
    assert_eq!(choices(&mut paths, now, 4), [1, 2, 1, 2]);
    paths.up(0, 1);
    assert_eq!(choices(&mut paths, now, 3), [0, 1, 2]);
}

#[test]
fn what_is_told_late_of_an_older_association_changes_nothing() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    paths.lost(1, 0);
    paths.lost(2, 0);
    paths.up(0, 5);
    paths.lost(0, 4);
    assert_eq!(choices(&mut paths, now, 1), [0]);
    paths.lost(0, 5);
    // By whoever was slow to see that it came up.
    paths.up(0, 5);
    assert_eq!(paths.choose(now), Choice::Wait(None));
    paths.up(0, 6);
    assert_eq!(choices(&mut paths, now, 1), [0]);
}

#[test]
fn with_every_path_lost_commands_wait_and_with_every_path_gone_they_fail() {
    let (mut paths, now) = three(PathPolicy::QueueDepth);
    for path in 0..3 {
        paths.lost(path, 0);
    }
    assert_eq!(paths.choose(now), Choice::Wait(None));
    paths.gone(0);
    paths.gone(1);
    assert_eq!(paths.choose(now), Choice::Wait(None), "one may come back");
    paths.gone(2);
    assert_eq!(paths.choose(now), Choice::Never);
    // The caller brought it up again.
    paths.up(2, 1);
    assert_eq!(paths.choose(now), Choice::Path(2));
}

#[test]
fn a_path_to_another_namespace_is_never_used() {
    let (mut paths, now) = three(PathPolicy::RoundRobin);
    paths.refuse(1);
    paths.up(1, 7);
    assert!(paths.is_refused(1) && !paths.is_refused(0));
    assert_eq!(choices(&mut paths, now, 4), [0, 2, 0, 2]);
    paths.gone(0);
    paths.gone(2);
    assert_eq!(paths.choose(now), Choice::Never);
}

#[test]
fn no_path_at_all_is_never() {
    assert_eq!(Paths::new(PathPolicy::Latency, 0).choose(Instant::now()), Choice::Never);
}
