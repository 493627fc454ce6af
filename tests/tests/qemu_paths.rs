//! What becomes of our initiator, on this machine, when the Linux kernel's target in the QEMU lab changes under load:
//! its ports' ANA states, its namespaces, and whether it is there at all. No I/O fails.

mod load;

use std::time::{Duration, Instant};

use load::{under_load, wait_until};
use nvme_tcp::events::{AsyncEvent, ChangedNamespaces, Event, Events};
use nvme_tcp::multipath::{MultipathOptions, PathPolicy, Subsystem};
use nvme_tcp::spec::log_page::AnaState;
use nvme_tcp::{Options, Recovery};
use system_tests::qemu::{Export, Lab, NVMET, Port, cell};
use system_tests::{DEADLINE, host};

/// Of a host in an emulated guest's company: what the guest does not answer in time is lost and comes back.
const KATO: Duration = Duration::from_secs(5);
const PIECE: u64 = 16 << 10;
/// The ANA group of these tests, and the target's ports that they use: each group is the whole port's.
const GROUP: u32 = 2;
const PORTS: [(u16, Port); 2] = [(1, Port::Plain), (5, Port::Second)];

fn options(lab: &Lab, export: &Export<'_>, port: Port) -> Options {
    let recovery = Recovery::default().reconnect_delay(Duration::from_millis(50), Duration::from_secs(1));
    let address = lab.address(port).to_string();
    Options::new(address, &export.nqn, host()).keep_alive(KATO).timeout(DEADLINE).recovery(recovery)
}

/// A namespace behind two ports, in an ANA group of its own.
fn two_ports<'a>(lab: &'a Lab, name: &str) -> Export<'a> {
    let export = lab.export(name, &[4096]);
    for (number, _) in PORTS {
        lab.ask(&format!("mkdir -p $NVMET/ports/{number}/ana_groups/{GROUP}"));
        ana(lab, number, "optimized");
    }
    lab.ask(&format!(
        "echo {GROUP} >$NVMET/subsystems/{}/namespaces/1/ana_grpid; offer {} 5",
        export.nqn, export.nqn
    ));
    export
}

/// Sets the state of the group at a port.
fn ana(lab: &Lab, number: u16, state: &str) {
    lab.ask(&format!("echo {state} >$NVMET/ports/{number}/ana_groups/{GROUP}/ana_state"));
}

fn connect(lab: &Lab, export: &Export<'_>) -> Subsystem {
    let paths = PORTS.map(|(_, port)| options(lab, export, port));
    Subsystem::connect(paths, MultipathOptions::default().policy(PathPolicy::QueueDepth)).unwrap()
}

#[test]
fn nvmet_ana_states_under_load() {
    let feature = "two ports, ANA groups flipped under load: no I/O fails";
    cell("nvmet_ana_states_under_load", NVMET, feature, |lab| {
        let export = two_ports(lab, "ana");
        let subsystem = connect(lab, &export);
        let namespace = subsystem.namespace(1).unwrap();
        let set = |path: usize, state: &str, shown: AnaState| {
            ana(lab, PORTS[path].0, state);
            wait_until("the state is not seen", || subsystem.paths(1)[path].ana == shown);
        };
        let rounds = under_load(&namespace, 4, PIECE, || {
            for one in [0, 1] {
                let other = 1 - one;
                set(one, "non-optimized", AnaState::NonOptimized);
                set(one, "inaccessible", AnaState::Inaccessible);
                set(one, "change", AnaState::Change);
                set(one, "persistent-loss", AnaState::PersistentLoss);
                set(one, "optimized", AnaState::Optimized);
                // Nowhere for a while: commands wait.
                set(one, "inaccessible", AnaState::Inaccessible);
                set(other, "inaccessible", AnaState::Inaccessible);
                set(other, "non-optimized", AnaState::NonOptimized);
                set(one, "optimized", AnaState::Optimized);
                set(other, "optimized", AnaState::Optimized);
            }
        });
        assert!(rounds > 0);
    });
}

#[test]
fn nvmet_port_lost_under_load() {
    let feature = "two ports, one after the other taken away and given back under load: no I/O fails";
    cell("nvmet_port_lost_under_load", NVMET, feature, |lab| {
        let export = two_ports(lab, "ports");
        let subsystem = connect(lab, &export);
        let namespace = subsystem.namespace(1).unwrap();
        let is_up = |path: usize| subsystem.paths(1)[path].error.is_none();
        let rounds = under_load(&namespace, 4, PIECE, || {
            for (path, (number, _)) in PORTS.into_iter().enumerate() {
                export.withdraw(number);
                wait_until("the loss is not seen", || !is_up(path));
                lab.ask(&format!("offer {} {number}", export.nqn));
                wait_until("the path stays away", || is_up(path));
            }
        });
        assert!(rounds > 0);
    });
}

/// Waits for an event that `wanted` takes.
fn event<T>(events: &Events, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).unwrap_or_else(|none| panic!("{what}: {none}"));
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

#[test]
fn nvmet_comes_back_under_load() {
    let feature = "the target taken away and given back under load: no I/O fails";
    cell("nvmet_comes_back_under_load", NVMET, feature, |lab| {
        let export = lab.export("back", &[4096]);
        let controller = options(lab, &export, Port::Plain).connect().unwrap();
        let events = controller.events().unwrap();
        let namespace = controller.namespace(1).unwrap();
        let rounds = under_load(&namespace, 4, PIECE, || {
            for generation in 0..2 {
                export.withdraw(1);
                event(&events, "the loss", |event| match event {
                    Event::AssociationLost { generation: lost, .. } if *lost >= generation => Some(()),
                    _ => None,
                });
                lab.ask(&format!("offer {} 1", export.nqn));
                event(&events, "the next association", |event| match event {
                    Event::AssociationUp { .. } => Some(()),
                    _ => None,
                });
            }
        });
        assert!(rounds > 0);
        controller.shutdown();
    });
}

#[test]
fn nvmet_namespaces_change_under_load() {
    let feature = "a namespace added, resized and removed under load: each is reported, no I/O fails";
    cell("nvmet_namespaces_change_under_load", NVMET, feature, |lab| {
        let export = lab.export("changing", &[4096]);
        let controller = options(lab, &export, Port::Plain).connect().unwrap();
        let events = controller.events().unwrap();
        let namespace = controller.namespace(1).unwrap();
        // A file, since it can grow.
        let (nqn, file) = (&export.nqn, "/tmp/changing");
        let second = format!("$NVMET/subsystems/{nqn}/namespaces/2");
        let reported = |what: &str, script: &str| {
            lab.ask(script);
            event(&events, what, |event| match event {
                Event::Reported(AsyncEvent::NamespacesChanged(changed)) => match changed {
                    ChangedNamespaces::All => Some(()),
                    ChangedNamespaces::Ids(ids) => ids.contains(&2).then_some(()),
                },
                _ => None,
            });
        };
        let rounds = under_load(&namespace, 2, PIECE, || {
            reported(
                "added",
                &format!(
                    "truncate -s 8M {file}; mkdir {second}; echo 1 >{second}/buffered_io
                     printf %s {file} >{second}/device_path; echo 1 >{second}/enable"
                ),
            );
            assert_eq!(controller.namespaces().unwrap(), [1, 2]);
            assert_eq!(controller.namespace(2).unwrap().size(), 8 << 20);
            reported("resized", &format!("truncate -s 16M {file}; echo 1 >{second}/revalidate_size"));
            let larger = controller.namespace(2).unwrap();
            assert_eq!(larger.size(), 16 << 20);
            larger.write_at(&[7; 4096], 12 << 20).unwrap();
            reported("removed", &format!("echo 0 >{second}/enable; rmdir {second}; rm {file}"));
            assert_eq!(controller.namespaces().unwrap(), [1]);
            assert!(larger.read_at(&mut [0; 4096], 0).is_err());
        });
        assert!(rounds > 0);
        controller.shutdown();
    });
}
