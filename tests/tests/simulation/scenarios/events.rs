//! Each asynchronous event.

use nvme_tcp::nqn::DISCOVERY_NQN;
use nvme_tcp::proto::{AsyncEvents, EventStep};
use nvme_tcp::spec::async_event::{AsyncEvent, ChangedNamespaces, ErrorEvent, HealthEvent, Notification};
use nvme_tcp_target::AnaState;

use super::*;

/// A host's event requests on one admin queue.
pub(super) struct Ear {
    events: AsyncEvents,
    /// What completions say instead of what they say.
    dw0: Option<u32>,
}

impl Ear {
    pub(super) fn new(traits: &ControllerTraits) -> Self {
        Self { events: AsyncEvents::new(traits.event_requests), dw0: None }
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
            for mut completion in std::mem::take(&mut lab.events) {
                if let Some(dw0) = self.dw0 {
                    completion.cqe.result.set(dw0.into());
                }
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

/// What is reported of an event that this target does not have: DW0 says it, on an event request that the target
/// completed for another reason, and after the log page that says more was read.
fn reported_as(dw0: u32) -> Vec<AsyncEvent> {
    let mut lab = Lab::new(subsystem());
    let mut up = lab.up(0).unwrap();
    let mut ear = Ear::new(&up.traits);
    ear.dw0 = Some(dw0);
    assert_eq!(ear.hear(&mut lab, &mut up.admin), []);
    lab.hub.add_namespace(SUBSYSTEM, 2, Namespace::ram(SIZE)).unwrap();
    ear.hear(&mut lab, &mut up.admin)
}

/// An event's type and information, and its log page.
const fn dw0(kind: u8, information: u8, log_page: u8) -> u32 {
    kind as u32 | (information as u32) << 8 | (log_page as u32) << 16
}

macro_rules! each {
    ($($name:ident: $dw0:expr => $event:expr,)*) => {$(
        #[test]
        fn $name() {
            assert_eq!(reported_as($dw0), [$event]);
        }
    )*};
}

each! {
    a_firmware_activation_is_told: dw0(2, 0x01, 0x03) => AsyncEvent::FirmwareActivationStarting,
    reliability_that_is_degraded_is_told: dw0(1, 0x00, 0x02) => AsyncEvent::Health(HealthEvent::Reliability),
    a_temperature_threshold_is_told: dw0(1, 0x01, 0x02) => AsyncEvent::Health(HealthEvent::Temperature),
    spare_below_its_threshold_is_told: dw0(1, 0x02, 0x02) => AsyncEvent::Health(HealthEvent::Spare),
    a_failed_diagnostic_is_told: dw0(0, 0x02, 0x01) => AsyncEvent::Error(ErrorEvent::DiagnosticFailure),
    a_persistent_internal_error_is_told: dw0(0, 0x03, 0x01) => AsyncEvent::Error(ErrorEvent::PersistentInternalError),
    a_transient_internal_error_is_told: dw0(0, 0x04, 0x01) => AsyncEvent::Error(ErrorEvent::TransientInternalError),
    a_firmware_image_that_does_not_load_is_told: dw0(0, 0x05, 0x01) => AsyncEvent::Error(ErrorEvent::FirmwareImageLoad),
    an_event_of_no_known_kind_is_told_as_it_came: dw0(7, 0x42, 0) =>
        AsyncEvent::Other(Notification { kind: 7, information: 0x42, log_page: 0 }),
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
