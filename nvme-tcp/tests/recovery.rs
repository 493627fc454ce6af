//! Recovery over loopback sockets: what becomes of commands when associations are lost.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nvme_tcp::events::{Event, Events};
use nvme_tcp::proto::BringUpError;
use nvme_tcp::spec::command::fabrics::InvalidParameter;
use nvme_tcp::spec::command::{Sqe, fabrics, nvm};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::{Error, ErrorKind, Recovery, UnknownWrites};
use support::controller::{LIMIT, Link, Reply, Script, Target, What};
use support::wire::patterned;

const SOON: Duration = Duration::from_millis(10);

fn scripted(hook: impl Fn(&mut Link, &Sqe) -> Reply + Send + Sync + 'static) -> Target {
    Target::start(Script { hook: Box::new(hook), ..Script::default() })
}

fn policy() -> Recovery {
    Recovery::default().reconnect_delay(SOON, SOON)
}

fn is_connect(sqe: &Sqe) -> bool {
    sqe.opcode == fabrics::OPCODE && fabrics::kind(sqe) == fabrics::CONNECT
}

/// A controller that takes no connection while it is closed.
fn gated() -> (Target, Arc<AtomicBool>) {
    let closed = Arc::new(AtomicBool::new(false));
    let gate = closed.clone();
    let target = scripted(move |_, sqe| match is_connect(sqe) && gate.load(Ordering::SeqCst) {
        true => Reply::Close,
        false => Reply::Serve,
    });
    (target, closed)
}

/// Waits for an event that `is` says yes to.
fn until(events: &Events, is: impl Fn(&Event) -> bool) -> Event {
    let end = Instant::now() + LIMIT;
    loop {
        let event = events.recv_timeout(end.saturating_duration_since(Instant::now())).unwrap();
        if is(&event) {
            return event;
        }
    }
}

#[test]
fn a_read_that_was_outstanding_is_sent_again_at_once() {
    let target = scripted(|link, sqe| match (link.cntlid, link.qid, sqe.opcode) {
        (1..=3, 1, nvm::READ) => Reply::Close,
        _ => Reply::Serve,
    });
    let controller = target.options().recovery(policy()).connect().unwrap();
    let events = controller.events().unwrap();
    let namespace = controller.namespace(1).unwrap();
    // Three associations in a row are lost under it.
    namespace.read_at(&mut vec![1; 1 << 20], 0).unwrap();
    let mut told = Vec::new();
    while told.len() < 9 {
        told.push(match events.recv_timeout(LIMIT).unwrap() {
            Event::AssociationLost { generation, .. } => ("lost", generation),
            Event::Reconnecting { attempt, .. } => ("again", attempt.into()),
            Event::AssociationUp { generation } => ("up", generation),
            other => panic!("{other:?}"),
        });
    }
    let round = |n| [("lost", n), ("again", 1), ("up", n + 1)];
    assert_eq!(told, [round(0), round(1), round(2)].concat());
    // Admin commands go on too.
    assert_eq!(controller.info().traits.cntlid, 4);
    controller.identify(1, 0).unwrap();
}

#[test]
fn a_write_of_unknown_fate_waits_until_the_old_association_is_fenced() {
    let kato = Duration::from_millis(800);
    let target = scripted(|link, sqe| match (link.cntlid, link.qid, sqe.opcode) {
        (1, 1, nvm::WRITE) => Reply::Close,
        _ => Reply::Serve,
    });
    let controller = target.options().keep_alive(kato).recovery(policy()).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let data = patterned(7, 0, 4096);
    namespace.write_at(&data, 0).unwrap();
    assert!(target.disk()[..4096] == data);
    let journal = target.journal();
    let lost = journal.iter().find(|entry| entry.qid == 1 && matches!(entry.what, What::Closed)).unwrap();
    let replayed = journal.iter().find(|entry| {
        entry.cntlid == 2
            && matches!(entry.what, What::Command(sqe) if entry.qid == 1 && sqe.opcode == nvm::WRITE)
    });
    let waited = replayed.unwrap().at - lost.at;
    // The host may see the end a moment before the controller has noted it.
    assert!(waited >= kato - Duration::from_millis(50), "{waited:?}");
}

#[test]
fn a_write_of_unknown_fate_is_reported_by_choice_and_without_a_keep_alive() {
    let kato = Duration::from_secs(5);
    for (kato, unknown) in [(kato, UnknownWrites::Report), (Duration::ZERO, UnknownWrites::Replay)] {
        let target = scripted(|link, sqe| match (link.cntlid, link.qid, sqe.opcode) {
            (1, 1, nvm::WRITE) => Reply::Close,
            _ => Reply::Serve,
        });
        let recovery = policy().unknown_writes(unknown);
        let controller = target.options().keep_alive(kato).recovery(recovery).connect().unwrap();
        let namespace = controller.namespace(1).unwrap();
        let error = namespace.write_at(&[1; 512], 0).unwrap_err();
        let ErrorKind::UnknownFate { command: "Write", fenced_in, .. } = error.kind() else {
            panic!("{error}")
        };
        assert_eq!(fenced_in.is_some(), !kato.is_zero());
        assert!(fenced_in.is_none_or(|left| left <= kato));
        // What comes next is held until there is an association, and done there.
        namespace.write_at(&[2; 512], 0).unwrap();
        assert_eq!(target.disk()[..512], [2; 512]);
    }
}

#[test]
fn a_refusal_for_good_is_the_end_and_is_told() {
    let target = scripted(|link, sqe| match link.cntlid {
        2 if is_connect(sqe) => {
            link.complete(sqe, Status::CONNECT_INVALID_HOST.with_do_not_retry(), 0);
            Reply::Nothing
        }
        _ => Reply::Serve,
    });
    let controller = target.options().recovery(policy()).connect().unwrap();
    let events = controller.events().unwrap();
    let namespace = controller.namespace(1).unwrap();
    target.cut();
    assert!(namespace.read_at(&mut [0; 512], 0).is_err());
    until(&events, |event| matches!(event, Event::Gone { .. }));
    // The caller may know better.
    controller.reconnect().unwrap();
    namespace.read_at(&mut [0; 512], 0).unwrap();
}

#[test]
fn a_controller_that_expires_before_all_its_queues_are_there_is_followed_by_another() {
    let target = scripted(|link, sqe| match (link.cntlid, link.qid) {
        // As targets say it, do not retry and all.
        (2..=3, 1) if is_connect(sqe) => {
            let wrong = InvalidParameter::CNTLID.to_dw0();
            link.complete(sqe, Status::CONNECT_INVALID_PARAMETERS.with_do_not_retry(), wrong.into());
            Reply::Nothing
        }
        _ => Reply::Serve,
    });
    let controller = target.options().recovery(policy()).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    target.cut();
    namespace.read_at(&mut [0; 512], 0).unwrap();
    assert_eq!(controller.info().traits.cntlid, 4);
    // Who connects by hand is told that it may work the next time.
    let refused = BringUpError::Refused {
        status: Status::CONNECT_INVALID_PARAMETERS.with_do_not_retry(),
        parameter: Some(InvalidParameter::CNTLID),
    };
    let error = Error::from(ErrorKind::BringUp(refused));
    assert!(error.is_retryable() && error.hint().unwrap().contains("connect again"), "{error}");
}

#[test]
fn commands_fail_fast_while_attempts_go_on_and_are_served_again_later() {
    let (target, closed) = gated();
    let limit = Duration::from_millis(300);
    let controller = target.options().recovery(policy().fast_fail_timeout(Some(limit))).connect().unwrap();
    let events = controller.events().unwrap();
    let namespace = controller.namespace(1).unwrap();
    closed.store(true, Ordering::SeqCst);
    target.cut();
    let start = Instant::now();
    assert!(namespace.read_at(&mut [0; 512], 0).is_err());
    assert!(start.elapsed() < LIMIT / 2, "{:?}", start.elapsed());
    until(&events, |event| matches!(event, Event::Reconnecting { attempt: 2.., .. }));
    closed.store(false, Ordering::SeqCst);
    until(&events, |event| matches!(event, Event::AssociationUp { .. }));
    namespace.read_at(&mut [0; 512], 0).unwrap();
}

#[test]
fn the_controller_loss_timeout_ends_the_attempts_and_what_is_held() {
    let (target, closed) = gated();
    let limit = Some(Duration::from_millis(300));
    let controller = target.options().recovery(policy().controller_loss_timeout(limit)).connect().unwrap();
    let events = controller.events().unwrap();
    let namespace = controller.namespace(1).unwrap();
    closed.store(true, Ordering::SeqCst);
    target.cut();
    assert!(namespace.read_at(&mut [0; 512], 0).is_err());
    until(&events, |event| matches!(event, Event::Gone { .. }));
}

#[test]
fn shutting_down_ends_what_is_held() {
    let (target, closed) = gated();
    let controller = target.options().recovery(policy()).connect().unwrap();
    let events = controller.events().unwrap();
    let namespace = controller.namespace(1).unwrap();
    closed.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        target.cut();
        let reader = scope.spawn(|| namespace.read_at(&mut [0; 512], 0));
        until(&events, |event| matches!(event, Event::Reconnecting { .. }));
        let start = Instant::now();
        controller.shutdown();
        assert!(reader.join().unwrap().is_err());
        assert!(start.elapsed() < LIMIT / 4, "{:?}", start.elapsed());
    });
}

#[test]
fn a_passing_status_is_tried_again_and_dnr_is_believed() {
    let times = Arc::new(AtomicU32::new(0));
    let target = scripted({
        let times = times.clone();
        move |link, sqe| match (link.qid, sqe.opcode) {
            (1, nvm::WRITE) if times.fetch_add(1, Ordering::SeqCst) < 3 => {
                link.complete(sqe, Status::COMMAND_INTERRUPTED, 0);
                Reply::Nothing
            }
            (1, nvm::READ) => {
                times.fetch_add(1, Ordering::SeqCst);
                link.complete(sqe, Status::COMMAND_INTERRUPTED.with_do_not_retry(), 0);
                Reply::Nothing
            }
            _ => Reply::Serve,
        }
    });
    let controller = target.options().recovery(policy()).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    namespace.write_at(&[3; 512], 0).unwrap();
    assert_eq!((times.swap(0, Ordering::SeqCst), target.disk()[0]), (4, 3));
    let error = namespace.read_at(&mut [0; 512], 0).unwrap_err();
    assert!(error.status().is_some_and(|status| status.is(Status::COMMAND_INTERRUPTED)), "{error}");
    assert_eq!(times.load(Ordering::SeqCst), 1);
}
