//! Paths that do not lead to the same namespace, and paths with troubles of their own.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nvme_tcp::multipath::{MultipathOptions, PathState, Subsystem};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::identify::IdentifyNamespace;
use nvme_tcp::{ErrorKind, Options};
use support::controller::{LIMIT, Reply, Script, Target};

fn named(namespace: fn(&mut IdentifyNamespace)) -> Target {
    Target::start(Script { namespace, ..Script::default() })
}

fn one(namespace: &mut IdentifyNamespace) {
    namespace.nguid = [1; 16];
}

fn connect<const N: usize>(targets: [&Target; N]) -> Subsystem {
    let paths = targets.map(Target::options);
    Subsystem::connect(paths, MultipathOptions::default()).unwrap()
}

/// Waits until the paths are as `are` says.
fn until(subsystem: &Subsystem, are: impl Fn(&[PathState]) -> bool) {
    let end = Instant::now() + LIMIT;
    while !are(&subsystem.paths(1)) {
        assert!(Instant::now() < end, "{:?}", subsystem.paths(1));
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_path_to_another_namespace_of_the_same_number_is_refused() {
    let (target, other) = (named(one), named(|namespace| namespace.nguid = [2; 16]));
    let subsystem = connect([&target, &other]);
    let namespace = subsystem.namespace(1).unwrap();
    until(&subsystem, |paths| paths[1].refused && !paths[0].refused);
    for _ in 0..8 {
        namespace.write_at(&[5; 512], 0).unwrap();
    }
    assert_eq!((target.disk()[0], other.disk()[0]), (5, 0));
}

#[test]
fn without_a_name_nothing_says_that_two_paths_lead_to_the_same() {
    let (target, other) = (named(|_| {}), named(|_| {}));
    let error = connect([&target, &other]).namespace(1).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NamespaceId { nsid: 1 }), "{error}");
    // One path is the same as itself.
    connect([&target]).namespace(1).unwrap().read_at(&mut [0; 512], 0).unwrap();
}

#[test]
fn a_path_related_status_sends_a_command_elsewhere_at_once() {
    let failed = Arc::new(AtomicU32::new(0));
    let broken = Target::start(Script {
        hook: Box::new({
            let failed = failed.clone();
            move |link, sqe| match (link.qid, sqe.opcode) {
                (1, nvm::WRITE) => {
                    failed.fetch_add(1, Ordering::SeqCst);
                    link.complete(sqe, Status::INTERNAL_PATH, 0);
                    Reply::Nothing
                }
                _ => Reply::Serve,
            }
        }),
        namespace: one,
        ..Script::default()
    });
    let target = named(one);
    let subsystem = connect([&broken, &target]);
    let namespace = subsystem.namespace(1).unwrap();
    until(&subsystem, |paths| paths.iter().all(|path| path.error.is_none()));
    let end = Instant::now() + LIMIT;
    while failed.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < end);
        namespace.write_at(&[6; 512], 0).unwrap();
    }
    assert_eq!((target.disk()[0], broken.disk()[0]), (6, 0));
}

#[test]
fn a_subsystem_needs_a_path_that_comes_up() {
    let none = Subsystem::connect(Vec::<Options>::new(), MultipathOptions::default()).unwrap_err();
    assert!(none.to_string().contains("at least one path"), "{none}");
    let target = named(one);
    let options = target.options();
    drop(target);
    let error = Subsystem::connect([options], MultipathOptions::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connect { .. }), "{error}");
}
