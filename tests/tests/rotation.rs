//! Keys rotate under load, and no I/O fails.

mod load;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use load::{LANE, soak, under_load, wait_until};
use nvme_tcp::events::{Event, Replacement};
use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, Policy, TlsPsk, derive};
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp::{Controller, ErrorKind, KeySource, Options, Security};
use nvme_tcp_target::{Fault, FaultPlan, KeyRing, Listener, Namespace, Subsystem, Target};
use system_tests::{DEADLINE, HOST_NQN, SUBSYSTEM_NQN, faulty, host, key, options};

/// A target that takes the keys of this ring.
fn serve(ring: &KeyRing) -> Target {
    let subsystem = Subsystem::new(SUBSYSTEM_NQN).namespace(1, Namespace::ram(4 * LANE));
    let listener = Listener::tls(SocketAddr::from(([127, 0, 0, 1], 0)), ring.clone());
    Target::builder().subsystem(subsystem).listen(listener).start().unwrap()
}

fn from(target: &Target, source: &KeySource) -> Options {
    let address = target.local_addrs()[0].to_string();
    Options::new(address, SUBSYSTEM_NQN, host()).tls_from(source.clone()).io_queues(2)
}

fn refuses(target: &Target, key: &ConfiguredKey) {
    let error = options(target.local_addrs()[0], Some(key)).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls { .. }), "{error}");
}

#[test]
fn keys_rotate_under_load_and_the_old_key_is_refused_afterwards() {
    let present = Arc::new(Mutex::new(key()));
    let ring = KeyRing::new().key(present.lock().unwrap().clone());
    let target = serve(&ring);
    let source = KeySource::callback({
        let present = present.clone();
        move || Ok(vec![present.lock().unwrap().clone()])
    });
    let controller = from(&target, &source).connect().unwrap();
    let (whole, every) = soak(Duration::from_secs(2), Duration::from_millis(100));
    let mut rotations = 0;
    let rounds = under_load(&controller.namespace(1).unwrap(), 4, 16_384, || {
        let end = Instant::now() + whole;
        while Instant::now() < end {
            let next = Instant::now() + every;
            let new = key();
            ring.add(None, None, new.clone());
            let old = std::mem::replace(&mut *present.lock().unwrap(), new);
            let rotation = controller.rotate_keys().unwrap();
            assert!(rotation.key_changed && !rotation.gap && rotation.held.is_none(), "{rotation:?}");
            assert_eq!(rotation.identity_version, Some(IdentityVersion::V1));
            assert!(ring.remove(&old));
            refuses(&target, &old);
            rotations += 1;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    eprintln!("{rounds} writes and reads, {rotations} rotations, no failed I/O");
    assert!(rounds > 0 && rotations > 1, "{rounds} rounds, {rotations} rotations");
    assert_eq!(controller.info().generation, rotations);
    assert_eq!(target.statistics().failed_commands, 0);
    controller.shutdown();
    wait_until("connections stay", || target.statistics().open_connections == 0);
}

#[test]
fn without_the_new_key_at_the_target_the_old_association_is_used_on() {
    let old = key();
    let ring = KeyRing::new().key(old.clone());
    let target = serve(&ring);
    let source = KeySource::memory([old.clone()]);
    let controller = from(&target, &source).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let events = controller.events().unwrap();
    let new = key();
    source.set([new.clone()]);
    let error = controller.rotate_keys().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls { .. }), "{error}");
    namespace.read_at(&mut [0; 512], 0).unwrap();
    assert_eq!(controller.info().generation, 0);
    // It is tried again until the target has the key.
    wait_for(&events, |event| matches!(event, Event::NotReplaced { .. }));
    ring.add(None, None, new);
    wait_for(&events, |event| matches!(event, Event::Replaced { why: Replacement::KeysChanged, .. }));
    assert!(ring.remove(&old));
    namespace.read_at(&mut [0; 512], 0).unwrap();
}

fn wait_for(events: &nvme_tcp::Events, is: impl Fn(&Event) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is(&events.recv_timeout(end.saturating_duration_since(Instant::now())).unwrap()) {}
}

#[test]
fn a_key_file_that_is_replaced_is_rotated_to_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.key");
    let first = key();
    first.write_file(&path).unwrap();
    let ring = KeyRing::new().key(first.clone());
    let target = serve(&ring);
    let controller = from(&target, &KeySource::file(&path)).connect().unwrap();
    let events = controller.events().unwrap();
    for number in 0..3 {
        let new = key();
        ring.add(None, None, new.clone());
        let beside = directory.path().join(format!("new{number}"));
        new.write_file(&beside).unwrap();
        fs::rename(&beside, &path).unwrap();
        wait_for(&events, |event| matches!(event, Event::Replaced { why: Replacement::KeysChanged, .. }));
    }
    assert!(ring.remove(&first));
    controller.namespace(1).unwrap().read_at(&mut [0; 512], 0).unwrap();
    // A file that is no key leaves everything as it is.
    fs::write(directory.path().join("other"), "x").unwrap();
    fs::write(&path, "nonsense").unwrap();
    wait_for(&events, |event| matches!(event, Event::NotReplaced { .. }));
    controller.check().unwrap();
}

/// What a target that has this key takes from a host that was given the TLS PSK alone.
fn derived(key: &ConfiguredKey) -> TlsPsk {
    derive(key, HOST_NQN, SUBSYSTEM_NQN, IdentityVersion::V1, Derivation::Rfc8446).unwrap()
}

#[test]
fn a_file_of_tls_psks_as_nvme_cli_writes_it_connects_and_is_rotated_to_when_it_changes() {
    let (first, second) = (key(), key());
    let ring = KeyRing::new().key(first.clone()).key(second.clone());
    let target = serve(&ring);
    let directory = tempfile::tempdir().unwrap();
    let (path, beside) = (directory.path().join("tls-keys"), directory.path().join("new"));
    // That of another host stands there too, and is not tried.
    let other = derived(&first).identity().replace(HOST_NQN, "nqn.2024-01.org.example:another");
    let other = TlsPsk::new(&other, &[7; 32]).unwrap();
    let write = |path: &Path, psk: &TlsPsk| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
        write!(file, "{}\n{}\n", other.to_line().as_str(), psk.to_line().as_str()).unwrap();
    };
    write(&path, &derived(&first));
    let controller = from(&target, &KeySource::tls_keys(&path)).connect().unwrap();
    let events = controller.events().unwrap();
    let tls = controller.info().tls.unwrap();
    assert_eq!(tls.identity_version, IdentityVersion::V1);
    write(&beside, &derived(&second));
    fs::rename(&beside, &path).unwrap();
    wait_for(&events, |event| matches!(event, Event::Replaced { why: Replacement::KeysChanged, .. }));
    assert!(ring.remove(&first));
    controller.namespace(1).unwrap().read_at(&mut [0; 512], 0).unwrap();
    controller.reconnect().unwrap();
    // Without one for this host nothing is sent.
    fs::remove_file(&path).unwrap();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    writeln!(file, "{}", other.to_line().as_str()).unwrap();
    let error = from(&target, &KeySource::tls_keys(&path)).connect().unwrap_err();
    assert!(
        error.to_string().contains("no key gives a PSK identity that the policy allows, of host"),
        "{error}"
    );
}

#[test]
fn a_version_0_identity_is_reported_as_a_gap() {
    let (old, new) = (key(), key());
    let ring = KeyRing::new().key(old.clone()).key(new.clone());
    let target = serve(&ring);
    let source = KeySource::memory([old]);
    let policy = Policy::ALL.only_version(IdentityVersion::V0);
    let options = from(&target, &source).security(Security::TlsFrom { source: source.clone(), policy });
    let controller = options.connect().unwrap();
    source.set([new]);
    let rotation = controller.rotate_keys().unwrap();
    assert!(rotation.gap, "{rotation:?}");
    assert_eq!(rotation.identity_version, Some(IdentityVersion::V0));
}

#[test]
fn a_budget_of_2000_records_is_never_used_up() {
    let key = key();
    let target = serve(&KeyRing::new().key(key.clone()));
    let budget = ktls::Options::new().record_limit(2000).record_alarm(1000);
    let controller = options(target.local_addrs()[0], Some(&key)).tls_options(budget).connect().unwrap();
    let events = controller.events().unwrap();
    under_load(&controller.namespace(1).unwrap(), 2, 16_384, || {
        wait_until("no new association", || controller.info().generation >= 5);
    });
    assert_eq!(target.statistics().failed_commands, 0);
    controller.shutdown();
    let why: BTreeSet<_> = std::iter::from_fn(|| events.recv())
        .filter_map(|event| match event {
            Event::Replaced { why, .. } => Some(format!("{why:?}")),
            Event::AssociationLost { error, .. } => panic!("{error}"),
            _ => None,
        })
        .collect();
    assert_eq!(why.into_iter().collect::<Vec<_>>(), ["RecordBudget"]);
}

/// A controller with a small record budget, and what makes its next connection take many times as long to come up as the
/// rest of the budget lasts.
fn slow_to_replace(act: impl FnOnce(&Controller, &dyn Fn())) {
    let (key, plan) = (key(), FaultPlan::new());
    let served = faulty(Namespace::ram(4 * LANE), Some(key.clone()), &plan);
    let budget = ktls::Options::new().record_limit(2000).record_alarm(1000);
    let options = options(served.address(), Some(&key)).tls_options(budget).io_queues(1).owned_queues(1);
    let controller = options.connect().unwrap();
    let events = controller.events().unwrap();
    act(&controller, &|| plan.any(PduType::IcResp, 1, Fault::Delay(Duration::from_secs(2))));
    controller.shutdown();
    for event in std::iter::from_fn(|| events.recv()) {
        assert!(!matches!(event, Event::AssociationLost { .. }), "{event:?}");
    }
}

#[test]
fn commands_wait_where_a_budget_is_nearly_spent_before_the_next_association_is_up() {
    slow_to_replace(|controller, slow_down| {
        slow_down();
        under_load(&controller.namespace(1).unwrap(), 3, 16_384, || {
            wait_until("no new association", || controller.info().generation >= 3);
        });
    });
}

#[test]
fn an_owned_queue_has_no_room_where_its_budget_is_nearly_spent() {
    slow_to_replace(|controller, slow_down| {
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        slow_down();
        let (mut done, mut held) = (Vec::new(), 0);
        loop {
            while queue.room() > 0 && queue.outstanding() < 8 {
                queue.submit_read(&namespace, vec![0; 16_384], 0, 0).unwrap();
            }
            queue.poll(&mut done, DEADLINE).unwrap();
            done.drain(..).for_each(|read| read.result.unwrap());
            // The first association is still the only one.
            held += usize::from(queue.is_behind() && controller.info().generation == 0);
            if controller.info().generation >= 2 {
                break;
            }
        }
        assert!(held > 0, "it was never told to wait");
    });
}
