use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Recovery {
    Recovery::default().reconnect_delay(SECOND, SECOND * 4)
}

#[test]
fn attempts_come_later_and_later_up_to_the_longest_delay() {
    let mut now = Instant::now();
    let mut recoverer = Recoverer::new(policy());
    let mut delays = vec![recoverer.lost(now, 0).unwrap().1];
    for _ in 0..4 {
        let RecoveryStep::Wait(Some(until)) = recoverer.next(now) else { panic!("not yet") };
        now = until;
        assert_eq!(recoverer.next(now), RecoveryStep::Connect);
        assert_eq!(recoverer.next(now), RecoveryStep::Wait(None), "one attempt at a time");
        delays.push(recoverer.failed(now, false, 0).unwrap().1);
    }
    assert_eq!(delays, [1, 2, 4, 4, 4].map(|n| SECOND * n));
    recoverer.connected();
    assert_eq!(recoverer.lost(now, 0), Some((1, SECOND)), "the count begins anew");
}

#[test]
fn jitter_takes_a_quarter_off_at_most() {
    let now = Instant::now();
    let delay = |random| Recoverer::new(policy()).lost(now, random).unwrap().1;
    assert_eq!(delay(u32::MAX), SECOND * 3 / 4);
    assert!((SECOND * 3 / 4..SECOND).contains(&delay(u32::MAX / 2)));
}

#[test]
fn a_loss_is_noticed_once() {
    let now = Instant::now();
    let mut recoverer = Recoverer::new(policy());
    assert!(recoverer.lost(now, 0).is_some());
    assert_eq!(recoverer.lost(now, 0), None);
}

#[test]
fn the_controller_loss_timeout_ends_it() {
    let start = Instant::now();
    let mut recoverer = Recoverer::new(policy().controller_loss_timeout(Some(SECOND * 3)));
    recoverer.lost(start, 0);
    assert_eq!(recoverer.next(start + SECOND), RecoveryStep::Connect);
    // An attempt that is under way at the time is let end.
    assert_eq!(recoverer.next(start + SECOND * 5), RecoveryStep::Wait(None));
    recoverer.failed(start + SECOND * 5, false, 0);
    assert_eq!(recoverer.next(start + SECOND * 5), RecoveryStep::GiveUp);
    assert_eq!(recoverer.next(start + SECOND * 50), RecoveryStep::GiveUp);
}

#[test]
fn without_a_controller_loss_timeout_it_never_ends() {
    let start = Instant::now();
    let mut recoverer = Recoverer::new(policy().controller_loss_timeout(None));
    recoverer.lost(start, 0);
    assert_eq!(recoverer.next(start + SECOND * 1_000_000), RecoveryStep::Connect);
}

#[test]
fn a_refusal_for_good_ends_it_at_once() {
    let start = Instant::now();
    let mut recoverer = Recoverer::new(policy());
    recoverer.lost(start, 0);
    assert_eq!(recoverer.next(start + SECOND), RecoveryStep::Connect);
    assert_eq!(recoverer.failed(start + SECOND, true, 0), None);
    assert_eq!(recoverer.next(start + SECOND), RecoveryStep::GiveUp);
}

#[test]
fn commands_fail_fast_while_the_attempts_go_on() {
    let start = Instant::now();
    let mut recoverer = Recoverer::new(policy().fast_fail_timeout(Some(SECOND / 2)));
    recoverer.lost(start, 0);
    assert_eq!(recoverer.next(start), RecoveryStep::Wait(Some(start + SECOND / 2)));
    assert_eq!(recoverer.next(start + SECOND / 2), RecoveryStep::FailFast);
    assert_eq!(recoverer.next(start + SECOND / 2), RecoveryStep::Wait(Some(start + SECOND)));
    assert_eq!(recoverer.next(start + SECOND), RecoveryStep::Connect);
    recoverer.connected();
    recoverer.lost(start + SECOND, 0);
    assert_eq!(recoverer.next(start + SECOND * 3 / 2), RecoveryStep::FailFast, "told again after a new loss");
}

#[test]
fn the_fence_is_kato_and_cqt_and_twice_kato_where_traffic_counts() {
    let policy = policy().assumed_quiesce_time(SECOND);
    assert_eq!(policy.fence(SECOND * 10, false, SECOND * 2), Some(SECOND * 12));
    assert_eq!(policy.fence(SECOND * 10, true, SECOND * 2), Some(SECOND * 22));
    assert_eq!(policy.fence(SECOND * 10, false, Duration::ZERO), Some(SECOND * 11));
    assert_eq!(policy.fence(Duration::ZERO, false, SECOND), None, "nothing fences without a keep-alive");
}

#[test]
fn crd_names_the_delay_and_dnr_forbids_the_retry() {
    let delays = [SECOND, SECOND * 2, SECOND * 3];
    let crd = |n: u16| Status(Status::COMMAND_INTERRUPTED.0 | n << 11);
    let policy = policy().retries(2);
    assert_eq!(policy.retry_after(crd(0), 0, delays), Some(Duration::ZERO));
    assert_eq!(policy.retry_after(crd(1), 1, delays), Some(SECOND));
    assert_eq!(policy.retry_after(crd(3), 0, delays), Some(SECOND * 3));
    assert_eq!(policy.retry_after(crd(1), 2, delays), None, "no more than so often");
    assert_eq!(policy.retry_after(crd(1).with_do_not_retry(), 0, delays), None);
    assert_eq!(policy.retry_after(Status::LBA_OUT_OF_RANGE, 0, delays), None);
}
