//! Each timeout.

use nvme_tcp::proto::{
    AfterLoss, KeepAlive, KeepAliveAction, Recoverer, Recovery, RecoveryStep, Shutdown, ShutdownStep,
};
use nvme_tcp::spec::command::admin;
use nvme_tcp::spec::property;

use super::*;

#[test]
fn a_command_that_is_not_answered_ends_its_connection_at_the_deadline() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    let begun = lab.now;
    up.io.swallow();
    assert!(lab.run(&mut up.io, &read_block(), &[], 512).is_none());
    assert!((TIMEOUT..TIMEOUT + SOON).contains(&(lab.now - begun)), "{:?}", lab.now - begun);
}

#[test]
fn an_admin_queue_that_falls_silent_during_bring_up_is_given_up_at_the_deadline() {
    let mut lab = Lab::new(subsystem());
    let mut setup = BringUp::new(lab.settings());
    let mut wire = lab.opened(31, Origin::default()).unwrap();
    let Step::Admin(connect) = setup.next(lab.now).unwrap() else { panic!("Connect is the first") };
    wire.swallow();
    let begun = lab.now;
    assert!(lab.run(&mut wire, &connect.sqe, &connect.write, 0).is_none());
    assert!((TIMEOUT..TIMEOUT + SOON).contains(&(lab.now - begun)));
}

#[test]
fn a_keep_alive_that_is_not_answered_ends_the_association_after_kato() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    let mut keep_alive = KeepAlive::new(KATO, false, lab.now);
    // One that is answered, and then none.
    for silent in [false, true] {
        let KeepAliveAction::Wait(at) = keep_alive.poll(lab.now) else { panic!("not yet") };
        assert!(lab.rest(&mut up.admin, at));
        assert_eq!(keep_alive.poll(lab.now), KeepAliveAction::Send);
        keep_alive.sent(lab.now);
        if silent {
            up.admin.swallow();
        } else {
            let answer = lab.status(&mut up.admin, &admin::keep_alive(), &[], 0);
            assert_eq!(answer, Status::SUCCESS);
            keep_alive.answered();
        }
    }
    let sent = lab.now;
    lab.rest(&mut up.admin, sent + KATO);
    assert_eq!(keep_alive.poll(sent + KATO / 2), KeepAliveAction::Wait(sent + KATO));
    assert_eq!(keep_alive.poll(lab.now), KeepAliveAction::Lost);
}

#[test]
fn a_host_that_falls_silent_has_no_association_after_its_fence() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    let (traits, last) = (up.traits.clone(), lab.now);
    assert_eq!(lab.hub.associations(), 1);
    let fence = Recovery::default().fence(KATO, traits.traffic_based_keep_alive, traits.quiesce_time);
    let fenced = last + fence.unwrap();
    // The target ends both queues by itself, not before KATO and not after the fence.
    let mut over = false;
    while !over {
        over = lab.turn(&mut up.admin, fenced + SOON).iter().any(|heard| matches!(heard, Heard::Over));
        assert!(lab.now <= fenced + SOON, "the fence has passed");
    }
    // Its last admin command was a little before.
    assert!(lab.now + SOON * 2 >= last + KATO, "{:?}", lab.now - last);
    assert_eq!(lab.hub.associations(), 0);
    assert!(!lab.rest(&mut up.io, fenced + SOON * 2), "its I/O queue goes too");
}

#[test]
fn a_kato_that_the_controller_rounds_up_moves_the_fence() {
    let mut lab = Lab::new(subsystem());
    let asked = Duration::from_millis(250);
    let settings = Settings { keep_alive: asked, ..lab.settings() };
    let mut setup = BringUp::new(settings);
    let mut admin = lab.admin(&mut setup, Origin::default()).unwrap();
    let traits = setup.into_traits();
    let kato = traits.keep_alive_timeout(asked);
    assert_eq!(kato, Duration::from_millis(300), "it counts in steps of {:?}", traits.keep_alive_step);
    // Bring-up's last command arrived a little before now.
    let last = lab.now;
    let fence =
        Recovery::default().fence(kato, traits.traffic_based_keep_alive, traits.quiesce_time).unwrap();
    while lab.hub.associations() > 0 {
        lab.turn(&mut admin, last + fence);
        assert!(lab.now <= last + fence, "the fence has passed");
    }
    assert!(lab.now + SOON * 2 >= last + kato, "{:?}", lab.now - last);
    // One that counts in steps of ten seconds may work on for longer than the host asked.
    let mut coarse = traits;
    coarse.keep_alive_step = Duration::from_secs(10);
    assert_eq!(coarse.keep_alive_timeout(KATO), Duration::from_secs(10));
}

#[test]
fn what_the_controller_still_works_on_after_kato_is_inside_the_fence() {
    let mut lab = Lab::new(subsystem());
    let up = lab.up(0).unwrap();
    let traits = &up.traits;
    assert!(!traits.quiesce_time.is_zero(), "this target has a CQT");
    let fence = |policy: Recovery, quiesce| policy.fence(KATO, false, quiesce).unwrap();
    let policy = Recovery::default();
    assert_eq!(fence(policy, traits.quiesce_time), KATO + traits.quiesce_time);
    // One that says nothing is believed to need what the operator says.
    let assumed = policy.assumed_quiesce_time(Duration::from_secs(3));
    assert_eq!(fence(assumed, Duration::ZERO), KATO + Duration::from_secs(3));
    assert_eq!(fence(assumed, traits.quiesce_time), KATO + traits.quiesce_time);
    // A write waits for all of it.
    let fenced = lab.now + fence(policy, traits.quiesce_time);
    assert_eq!(policy.after_loss(false, Some(fenced)), AfterLoss::AgainAt(fenced));
}

/// Shuts a controller down whose CSTS never says that it is done; how long that took.
fn shutdown(lab: &mut Lab, up: &mut Up, limit: Duration, done: bool) -> Duration {
    let begun = lab.now;
    let mut shutdown = Shutdown::new(lab.now, limit);
    loop {
        match shutdown.next(lab.now) {
            ShutdownStep::Done => return lab.now - begun,
            ShutdownStep::Wait(until) => assert!(lab.rest(&mut up.admin, until)),
            ShutdownStep::Admin(sqe) => {
                let answer = lab.run(&mut up.admin, &sqe, &[], 0).map(|(completion, _)| {
                    let mut cqe = completion.cqe;
                    if bring_up::reads_csts(&sqe) && !done {
                        cqe.result.set(property::CSTS_READY.into());
                    }
                    cqe
                });
                shutdown.completed(answer.as_ref(), lab.now);
            }
        }
    }
}

#[test]
fn a_shutdown_that_is_never_done_is_given_its_limit_and_no_more() {
    let limit = Duration::from_millis(700);
    for done in [true, false] {
        let mut lab = Lab::new(subsystem());
        let mut up = lab.up(0).unwrap();
        let took = shutdown(&mut lab, &mut up, limit, done);
        assert!(if done { took < limit } else { (limit..limit + SOON * 3).contains(&took) }, "{took:?}");
    }
}

#[test]
fn a_shutdown_whose_command_is_not_answered_is_over_with_the_connection() {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    up.admin.swallow();
    let took = shutdown(&mut lab, &mut up, KATO * 4, true);
    assert!((TIMEOUT..TIMEOUT + SOON).contains(&took), "{took:?}");
}

/// Attempts at a subsystem that there is not, until the recovery says that it is over.
fn attempts(policy: Recovery) -> (Lab, Vec<RecoveryStep>, Duration) {
    let mut lab = Lab::new(subsystem());
    drop(lab.up(0).unwrap());
    lab.hub.remove_subsystem(SUBSYSTEM).unwrap();
    let mut recoverer = Recoverer::new(policy);
    let lost = lab.now;
    recoverer.lost(lab.now, 0);
    let mut steps = Vec::new();
    while lab.now - lost < END / 4 {
        let step = recoverer.next(lab.now);
        match step {
            RecoveryStep::Wait(until) => {
                lab.now = until.expect("something to wait for");
                continue;
            }
            RecoveryStep::Connect => {
                let error = lab.up(0).err().expect("it is not there");
                // That it is not there says nothing for ever: the attempts go on.
                assert!(matches!(error, NotUp::BringUp(BringUpError::Refused { .. })), "{error:?}");
                recoverer.failed(lab.now, false, 0);
            }
            RecoveryStep::FailFast => {}
            RecoveryStep::GiveUp => {
                steps.push(step);
                break;
            }
        }
        steps.push(step);
    }
    let took = lab.now - lost;
    (lab, steps, took)
}

#[test]
fn the_controller_loss_timeout_ends_the_attempts() {
    let second = Duration::from_secs(1);
    let policy = Recovery::default().reconnect_delay(second, second * 4);
    let (_, steps, took) = attempts(policy.controller_loss_timeout(Some(second * 20)));
    // 1, 2, 4, 4, 4 and 4 seconds.
    assert_eq!(steps, [vec![RecoveryStep::Connect; 6], vec![RecoveryStep::GiveUp]].concat());
    assert!((second * 20..second * 21).contains(&took), "{took:?}");
}

#[test]
fn the_fast_fail_timeout_comes_first_and_the_attempts_go_on() {
    let second = Duration::from_secs(1);
    let policy = Recovery::default().reconnect_delay(second, second).fast_fail_timeout(Some(second * 3 / 2));
    let (_, steps, _) = attempts(policy.controller_loss_timeout(Some(second * 4)));
    let at = steps.iter().position(|step| *step == RecoveryStep::FailFast);
    assert_eq!(at, Some(1));
    assert!(steps.iter().filter(|step| **step == RecoveryStep::Connect).count() >= 3);
    assert_eq!(steps.last(), Some(&RecoveryStep::GiveUp));
}

#[test]
fn without_a_controller_loss_timeout_an_association_comes_back_whenever() {
    let policy = Recovery::default().reconnect_delay(SOON, SOON).controller_loss_timeout(None);
    let (mut lab, steps, took) = attempts(policy);
    assert!(took >= END / 4 && steps.iter().all(|step| *step == RecoveryStep::Connect));
    lab.hub.add_subsystem(subsystem()).unwrap();
    lab.up(0).unwrap();
}
