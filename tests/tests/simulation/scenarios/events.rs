//! Each asynchronous event.

use nvme_tcp::nqn::DISCOVERY_NQN;
use nvme_tcp::proto::{AsyncEvents, EventStep};
use nvme_tcp::spec::async_event::{AsyncEvent, ChangedNamespaces};
use nvme_tcp_target::AnaState;

use super::*;

/// A host's event requests on one admin queue.
pub(super) struct Ear {
    events: AsyncEvents,
}

impl Ear {
    pub(super) fn new(traits: &ControllerTraits) -> Self {
        Self { events: AsyncEvents::new(traits.event_requests) }
    }

    /// Asks as far as there is something to ask; what was reported.
    pub(super) fn hear(&mut self, lab: &mut Lab, admin: &mut Wire) -> Vec<AsyncEvent> {
        let mut reported = Vec::new();
        let end = lab.now + SOON * 5;
        loop {
            match self.events.next(lab.now) {
                EventStep::Request(sqe) => drop(admin.submit(&sqe, &[], 0, lab.now + END).unwrap()),
                EventStep::ReadLog(command) => {
                    let (_, log) = lab.run(admin, &command.sqe, &[], command.read as usize).unwrap();
                    reported.extend(self.events.log_read(Some(&log)));
                }
                EventStep::Wait(_) | EventStep::Rest if lab.now >= end => return reported,
                EventStep::Wait(_) | EventStep::Rest => assert!(lab.rest(admin, lab.now + SOON)),
            }
            for completion in std::mem::take(&mut lab.events) {
                reported.extend(self.events.completed(&completion.cqe, lab.now));
            }
        }
    }
}

/// What is reported when `change` happens, twice over: the second time shows that it was asked for again.
fn reported(change: impl Fn(&Hub, u32)) -> Vec<AsyncEvent> {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    let mut ear = Ear::new(&up.traits);
    assert_eq!(ear.hear(&mut lab, &mut up.admin), []);
    let mut all = Vec::new();
    for round in 0..2 {
        change(&lab.hub, round);
        all.extend(ear.hear(&mut lab, &mut up.admin));
    }
    all
}

fn changed(nsid: u32) -> AsyncEvent {
    AsyncEvent::NamespacesChanged(ChangedNamespaces::Ids(vec![nsid]))
}

#[test]
fn a_namespace_that_comes_is_told() {
    let add = |hub: &Hub, round| hub.add_namespace(SUBSYSTEM, 2 + round, Namespace::ram(SIZE)).unwrap();
    assert_eq!(reported(add), [changed(2), changed(3)]);
}

#[test]
fn a_namespace_that_goes_is_told() {
    let change = |hub: &Hub, round| match round {
        0 => hub.remove_namespace(SUBSYSTEM, 1).unwrap(),
        _ => hub.add_namespace(SUBSYSTEM, 1, Namespace::ram(SIZE)).unwrap(),
    };
    assert_eq!(reported(change), [changed(1), changed(1)]);
}

#[test]
fn a_namespace_of_another_size_is_told() {
    let resize = |hub: &Hub, round: u32| {
        hub.resize_namespace(SUBSYSTEM, 1, SIZE * u64::from(2 + round)).unwrap();
    };
    assert_eq!(reported(resize), [changed(1), changed(1)]);
}

#[test]
fn an_ana_state_that_changes_is_told() {
    let change = |hub: &Hub, round| {
        let state = [AnaState::Inaccessible, AnaState::Optimized][round as usize];
        hub.set_ana_state(SUBSYSTEM, None, 1, state).unwrap();
    };
    let told = reported(change);
    // The second is told once the log of the first was read, which is the host's to do by itself.
    assert!(told.iter().all(|event| *event == AsyncEvent::AnaChanged) && !told.is_empty(), "{told:?}");
}

#[test]
fn a_discovery_log_that_changes_is_told() {
    let mut lab = Lab::new(subsystem());
    let settings = Settings { subsystem_nqn: DISCOVERY_NQN.to_owned(), io_queues: 0, ..lab.settings() };
    let mut setup = BringUp::new(settings);
    let mut admin = lab.admin(&mut setup, Origin::default()).unwrap();
    let mut ear = Ear::new(&setup.into_traits());
    assert_eq!(ear.hear(&mut lab, &mut admin), []);
    lab.hub.add_subsystem(Subsystem::new("nqn.2024-01.io.example:more")).unwrap();
    assert_eq!(ear.hear(&mut lab, &mut admin), [AsyncEvent::DiscoveryLogChanged]);
}
