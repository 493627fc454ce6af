//! Each recovery.

use nvme_tcp::proto::{AfterLoss, Recoverer, Recovery, RecoveryStep, UnknownWrites, is_repeatable};
use nvme_tcp_target::AnaState;

use super::*;

fn fenced(up: &Up, lost: Instant) -> Option<Instant> {
    let traits = &up.traits;
    let kato = traits.keep_alive_timeout(KATO);
    let fence = Recovery::default().fence(kato, traits.traffic_based_keep_alive, traits.quiesce_time);
    Some(lost + fence.unwrap())
}

/// Sends a command and cuts the connection before it is answered.
fn cut_under(lab: &mut Lab, up: &mut Up, sqe: &Sqe, write: &[u8], read: usize) {
    up.io.submit(sqe, write, read, lab.now + TIMEOUT).unwrap();
    up.io.send(lab.now, &mut lab.random);
    up.io.cut(lab.now, &mut lab.random);
    assert!(!lab.rest(&mut up.io, lab.now + TIMEOUT));
}

#[test]
fn a_read_that_was_outstanding_is_sent_again_at_once() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    assert_eq!(lab.status(&mut up.io, &write_block(), &[3; 512], 0), Status::SUCCESS);
    cut_under(&mut lab, &mut up, &read_block(), &[], 512);
    let lost = lab.now;
    let after = Recovery::default().after_loss(is_repeatable(&read_block()), fenced(&up, lost));
    assert_eq!(after, AfterLoss::Again);
    let mut next = lab.up(0).unwrap();
    let (completion, data) = lab.run(&mut next.io, &read_block(), &[], 512).unwrap();
    assert_eq!((completion.cqe.status(), data), (Status::SUCCESS, vec![3; 512]));
    assert!(lab.now - lost < KATO, "without a fence");
}

#[test]
fn a_write_that_arrives_late_is_behind_its_replay_and_the_write_after_it() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    // The host gives the connections up; the bytes stay under way for nearly all of KATO, and the target hears of
    // no end.
    up.io.submit(&write_block(), &[1; 512], 0, lab.now + TIMEOUT).unwrap();
    up.io.send(lab.now, &mut lab.random);
    let lost = lab.now;
    let Some(AfterLoss::AgainAt(at)) =
        Some(Recovery::default().after_loss(is_repeatable(&write_block()), fenced(&up, lost)))
    else {
        panic!("a write waits for the fence");
    };
    for wire in [&mut up.io, &mut up.admin] {
        wire.give_up(lost, KATO - SOON, true);
    }
    let mut next = lab.up(0).unwrap();
    let block = |lab: &mut Lab, next: &mut Up| lab.run(&mut next.io, &read_block(), &[], 512).unwrap().1[0];
    assert_eq!(block(&mut lab, &mut next), 0, "it has not arrived");
    // Kept alive, as the host would.
    while lab.now < at {
        let step = (lab.now + KATO / 4).min(at);
        assert!(lab.rest(&mut next.admin, step));
        lab.status(&mut next.admin, &nvme_tcp::spec::command::admin::keep_alive(), &[], 0);
        for wire in [&mut up.io, &mut up.admin] {
            drop(wire.turn(lab.now, &mut lab.random));
        }
    }
    assert_eq!(block(&mut lab, &mut next), 1, "it arrived, before the fence");
    for fill in [1, 2] {
        assert_eq!(lab.status(&mut next.io, &write_block(), &[fill; 512], 0), Status::SUCCESS);
    }
    for wire in [&mut up.io, &mut up.admin] {
        drop(wire.turn(lab.now + KATO * 4, &mut lab.random));
    }
    assert_eq!(block(&mut lab, &mut next), 2, "nothing of the old association comes after the fence");
}

#[test]
fn a_write_of_unknown_fate_is_reported_by_choice() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    cut_under(&mut lab, &mut up, &write_block(), &[1; 512], 0);
    let policy = Recovery::default().unknown_writes(UnknownWrites::Report);
    let repeatable = is_repeatable(&write_block());
    assert_eq!(policy.after_loss(repeatable, fenced(&up, lab.now)), AfterLoss::Report);
    // And always, where nothing fences.
    assert_eq!(Recovery::default().after_loss(repeatable, None), AfterLoss::Report);
    // What it may have left is the old or the new.
    let mut next = lab.up(0).unwrap();
    let (_, data) = lab.run(&mut next.io, &read_block(), &[], 512).unwrap();
    assert!(data == [0; 512] || data == [1; 512]);
}

#[test]
fn a_connection_that_brings_damaged_headers_is_over_and_the_next_association_is_whole() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    up.io.submit(&read_block(), &[], 512, lab.now + TIMEOUT).unwrap();
    up.io.send(lab.now, &mut lab.random);
    up.io.corrupt_next_up();
    assert!(!lab.rest(&mut up.io, lab.now + TIMEOUT), "a wrong header digest ends the connection");
    let mut next = lab.up(0).unwrap();
    assert_eq!(lab.status(&mut next.io, &read_block(), &[], 512), Status::SUCCESS);
}

/// Attempts at a subsystem that refuses this host with DNR, until it is given up, or `allowed_after` them it is let in;
/// how many attempts there were, and whether one came up.
fn refused_for_good(policy: Recovery, allowed_after: usize) -> (usize, bool) {
    let mut lab = Lab::new(Subsystem::new(SUBSYSTEM).allow_host("nqn.2024-01.io.example:other"));
    let mut recoverer = Recoverer::new(policy);
    recoverer.lost(lab.now, 0);
    let mut attempts = 0;
    loop {
        match recoverer.next(lab.now) {
            RecoveryStep::Wait(until) => lab.now = until.expect("something to wait for"),
            RecoveryStep::FailFast => {}
            RecoveryStep::GiveUp => return (attempts, false),
            RecoveryStep::Connect => {
                attempts += 1;
                let status = match lab.up(0) {
                    Ok(_) => return (attempts, true),
                    Err(NotUp::BringUp(BringUpError::Refused { status, .. })) => status,
                    Err(error) => panic!("{error:?}"),
                };
                assert!(status.do_not_retry(), "{status}");
                recoverer.failed(lab.now, policy.is_final(status), 0);
                if attempts == allowed_after {
                    lab.hub.remove_subsystem(SUBSYSTEM).unwrap();
                    lab.hub.add_subsystem(subsystem()).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_refusal_with_dnr_ends_the_attempts() {
    assert_eq!(refused_for_good(Recovery::default(), 1), (1, false));
}

#[test]
fn by_choice_attempts_go_on_after_refusals_with_dnr_until_the_host_is_let_in() {
    assert_eq!(refused_for_good(Recovery::default().retry_refusals(true), 3), (4, true));
}

#[test]
fn by_choice_attempts_go_on_after_refusals_with_dnr_but_not_beyond_the_controller_loss_timeout() {
    let second = Duration::from_secs(1);
    let policy =
        Recovery::default().reconnect_delay(second, second).controller_loss_timeout(Some(second * 10));
    let (attempts, up) = refused_for_good(policy.retry_refusals(true), usize::MAX);
    assert!((9..=10).contains(&attempts) && !up, "{attempts}");
}

#[test]
fn crd_delays_the_retry_by_what_the_controller_named_for_it() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    let delays = [1, 30, 5].map(Duration::from_secs);
    lab.hub.set_ana_state(SUBSYSTEM, None, 1, AnaState::Change).unwrap();
    let refused = |lab: &mut Lab, up: &mut Up, crd: u16| {
        let mut cqe = lab.run(&mut up.io, &read_block(), &[], 512).unwrap().0.cqe;
        // CRD, over the phase bit.
        cqe.status.set(cqe.status.get() | crd << 12);
        cqe.status()
    };
    for (crd, delay) in [(0, Duration::ZERO), (1, delays[0]), (2, delays[1]), (3, delays[2])] {
        let status = refused(&mut lab, &mut up, crd);
        assert!(status.is(Status::ANA_TRANSITION), "{status}");
        assert_eq!(Recovery::default().retry_after(status, 0, delays), Some(delay));
        // Kept alive meanwhile, and then tried again.
        let at = lab.now + delay;
        while lab.now < at {
            let step = (lab.now + KATO / 4).min(at);
            assert!(lab.rest(&mut up.admin, step));
            lab.status(&mut up.admin, &nvme_tcp::spec::command::admin::keep_alive(), &[], 0);
        }
    }
    let status = refused(&mut lab, &mut up, 2);
    assert_eq!(
        Recovery::default().retries(3).retry_after(status, 3, delays),
        None,
        "it was tried often enough"
    );
    assert_eq!(
        Recovery::default().retry_after(status.with_do_not_retry(), 0, delays),
        None,
        "DNR forbids it"
    );
    lab.hub.set_ana_state(SUBSYSTEM, None, 1, AnaState::Optimized).unwrap();
    assert_eq!(lab.status(&mut up.io, &read_block(), &[], 512), Status::SUCCESS);
}
