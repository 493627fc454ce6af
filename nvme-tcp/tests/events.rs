//! Asynchronous events: configured, asked for, read, told, and asked for again.

mod support;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use nvme_tcp::ErrorKind;
use nvme_tcp::events::{AsyncEvent, ChangedNamespaces, Event, Events, HealthEvent, NoEvent, Replacement};
use nvme_tcp::spec::async_event::{EVENT_ANA, EVENT_TYPE_HEALTH};
use nvme_tcp::spec::command::{Sqe, admin};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::log_page::{EVENT_NAMESPACE, EVENT_TYPE_NOTICE, NOTICE_NAMESPACE, event_dw0};
use support::controller::{LIMIT, Link, Reply, Script, Target, What};

/// What the host sent on the admin queue with this opcode.
fn sent(target: &Target, opcode: u8) -> Vec<Sqe> {
    let on_admin = target.journal().into_iter().filter(|entry| entry.qid == 0);
    let commands = on_admin.filter_map(|entry| match entry.what {
        What::Command(sqe) if sqe.opcode == opcode => Some(sqe),
        _ => None,
    });
    commands.collect()
}

fn wait_for_requests(target: &Target, count: usize) {
    target.wait_for("event requests", |journal| {
        let is_request =
            |what: &What| matches!(what, What::Command(sqe) if sqe.opcode == admin::ASYNC_EVENT_REQUEST);
        (journal.iter().filter(|entry| is_request(&entry.what)).count() >= count).then_some(())
    });
}

fn reported(events: &Events) -> AsyncEvent {
    match events.recv_timeout(LIMIT) {
        Ok(Event::Reported(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// A controller that completes its event requests when it is asked to identify something: with one of these
/// DW0s each time.
fn telling(dw0s: impl IntoIterator<Item = u32>, changed: &'static [u32]) -> Script {
    let requests = Mutex::new(Vec::new());
    let mut dw0s: Vec<u32> = dw0s.into_iter().collect();
    dw0s.reverse();
    let dw0s = Mutex::new(dw0s);
    let hook = move |link: &mut Link, sqe: &Sqe| match (link.qid, sqe.opcode) {
        (0, admin::ASYNC_EVENT_REQUEST) => {
            requests.lock().unwrap().push(*sqe);
            Reply::Nothing
        }
        (0, admin::IDENTIFY) => {
            let mut requests = requests.lock().unwrap();
            if !requests.is_empty() {
                if let Some(dw0) = dw0s.lock().unwrap().pop() {
                    link.complete(&requests.remove(0), Status::SUCCESS, dw0.into());
                }
            }
            Reply::Serve
        }
        (0, admin::GET_LOG_PAGE) => {
            let mut log: Vec<u8> = changed.iter().flat_map(|id| id.to_le_bytes()).collect();
            log.resize(sqe.sgl.length.get() as usize, 0);
            link.give(sqe, &log);
            Reply::Nothing
        }
        _ => Reply::Serve,
    };
    Script { hook: Box::new(hook), events: EVENT_NAMESPACE | EVENT_ANA | 1 << 30, ..Script::default() }
}

#[test]
fn a_changed_namespace_is_told_with_its_id_and_the_next_event_asked_for() {
    let dw0 = event_dw0(EVENT_TYPE_NOTICE, NOTICE_NAMESPACE, admin::LOG_CHANGED_NAMESPACES);
    let target = Target::start(telling([dw0], &[3, 9]));
    let controller = target.connect();
    let (events, also) = (controller.events().unwrap(), controller.events().unwrap());
    wait_for_requests(&target, 1);
    assert_eq!(events.try_recv().unwrap_err(), NoEvent::Yet);
    controller.identify(1, 0).unwrap();
    let changed = AsyncEvent::NamespacesChanged(ChangedNamespaces::Ids(vec![3, 9]));
    assert_eq!(reported(&events), changed);
    assert_eq!(reported(&also), changed);
    // Read with RAE clear, and then asked for again.
    let reads = sent(&target, admin::GET_LOG_PAGE);
    assert_eq!(reads.iter().map(|sqe| sqe.get_cdw(10)).collect::<Vec<_>>(), [0x04 | 1023 << 16]);
    wait_for_requests(&target, 2);
    // Only what the controller has and this library knows is switched on.
    let configured = sent(&target, admin::SET_FEATURES)
        .into_iter()
        .find(|sqe| sqe.get_cdw(10) == admin::FEATURE_ASYNC_EVENTS.into())
        .unwrap();
    assert_eq!(configured.get_cdw(11), EVENT_NAMESPACE | EVENT_ANA);
    controller.shutdown();
    assert!(events.recv().is_none());
}

#[test]
fn too_many_changed_namespaces_are_all() {
    let target = Target::start(telling([event_dw0(2, 0, 4)], &[u32::MAX]));
    let controller = target.connect();
    let events = controller.events().unwrap();
    wait_for_requests(&target, 1);
    controller.identify(1, 0).unwrap();
    assert_eq!(reported(&events), AsyncEvent::NamespacesChanged(ChangedNamespaces::All));
}

#[test]
fn events_are_asked_for_again_with_nobody_listening() {
    let health = event_dw0(EVENT_TYPE_HEALTH, 2, admin::LOG_SMART);
    let target = Target::start(telling([event_dw0(2, 3, 0x0c), health], &[]));
    let controller = target.connect();
    wait_for_requests(&target, 1);
    controller.identify(1, 0).unwrap();
    wait_for_requests(&target, 2);
    let events = controller.events().unwrap();
    controller.identify(1, 0).unwrap();
    assert_eq!(reported(&events), AsyncEvent::Health(HealthEvent::Spare));
    let lens: Vec<_> = sent(&target, admin::GET_LOG_PAGE).iter().map(|sqe| sqe.sgl.length.get()).collect();
    assert_eq!(lens, [16, 512]);
}

#[test]
fn an_event_request_neither_times_out_nor_holds_the_shutdown() {
    let target = Target::start(Script { event_limit: 9, ..Script::default() });
    let limit = Duration::from_millis(300);
    let controller = target.options().timeout(limit).connect().unwrap();
    let events = controller.events().unwrap();
    wait_for_requests(&target, 4);
    // Nothing comes for longer than a command may take.
    assert_eq!(events.recv_timeout(limit * 3).unwrap_err(), NoEvent::Yet);
    controller.identify(1, 0).unwrap();
    assert_eq!(sent(&target, admin::ASYNC_EVENT_REQUEST).len(), 4, "bounded");
    let start = Instant::now();
    controller.shutdown();
    assert!(start.elapsed() < LIMIT / 4, "{:?}", start.elapsed());
}

#[test]
fn what_becomes_of_the_association_is_told() {
    let target = Target::start(Script::default());
    let controller = target.connect();
    let events = controller.events().unwrap();
    controller.reconnect().unwrap();
    let why = Replacement::Asked;
    assert!(matches!(events.recv_timeout(LIMIT), Ok(Event::Replaced { generation: 0, why: w }) if w == why));
    assert!(matches!(events.recv_timeout(LIMIT), Ok(Event::AssociationUp { generation: 1 })));
    target.cut();
    assert!(matches!(
        events.recv_timeout(LIMIT),
        Ok(Event::AssociationLost { generation: 1, error }) if matches!(error.kind(), ErrorKind::Lost(_))
    ));
}
