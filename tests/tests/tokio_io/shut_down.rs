//! Controllers end in good order, whatever becomes of their runtime.

use std::time::{Duration, Instant};

use nvme_tcp::events::{Event, NoEvent};
use nvme_tcp::multipath::MultipathOptions;
use nvme_tcp::tokio::{Controller, Subsystem};
use nvme_tcp::{Recovery, UnknownWrites};
use system_tests::{DEADLINE, Embedded};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::paths::{path, two_paths};
use super::{open, served, until};

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits until no connection is left, on this thread.
fn all_closed(served: &Embedded) {
    let end = Instant::now() + DEADLINE;
    while served.target.statistics().open_connections > 0 {
        assert!(Instant::now() < end, "connections stay");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_controller_that_outlives_its_runtime_is_shut_down_all_the_same() {
    let served = served(1 << 20, true);
    let runtime = one_thread();
    let (controller, namespace) = runtime.block_on(open(served.options()));
    let events = controller.events().unwrap();
    drop(runtime);
    drop((controller, namespace));
    assert!(events.recv().is_none(), "nothing happened but its end");
    all_closed(&served);
}

#[test]
fn a_controller_that_nobody_drives_is_shut_down_without_being_driven() {
    let served = served(1 << 20, false);
    let runtime = one_thread();
    let (controller, _) = runtime.block_on(open(served.options()));
    drop(controller);
    // Its driver has yet to see it.
    runtime.block_on(until("connections stay", || served.target.statistics().open_connections == 0));
}

#[test]
fn a_runtime_with_one_thread_for_what_waits_connects_recovers_and_shuts_down() {
    let (target, mut proxies) = two_paths(1 << 20);
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let all = async {
            let paths = proxies.each_ref().map(|proxy| path(proxy, UnknownWrites::Replay));
            let subsystem = Subsystem::connect(paths, MultipathOptions::default()).await.unwrap();
            let namespace = subsystem.namespace(1).await.unwrap();
            for round in 0..4 {
                let cut = round % 2;
                proxies[cut].kill();
                namespace.write_at(vec![round as u8; 4096], 0).await.0.unwrap();
                until("the loss is not seen", || subsystem.paths(1)[cut].error.is_some()).await;
                proxies[cut].revive();
                until("it stays away", || subsystem.paths(1)[cut].error.is_none()).await;
                let (result, back) = namespace.read_at(vec![0; 4096], 0).await;
                result.unwrap();
                assert_eq!(back, [round as u8; 4096]);
            }
            subsystem.shutdown().await;
        };
        timeout(DEADLINE, all).await.expect("in time");
        until("connections stay", || target.statistics().open_connections == 0).await;
    });
}

#[test]
fn a_connect_that_is_given_up_leaves_no_connection() {
    let (target, proxies) = two_paths(1 << 20);
    let runtime = one_thread();
    runtime.block_on(async {
        let paths = || proxies.each_ref().map(|proxy| path(proxy, UnknownWrites::Replay));
        for wait in [0, 1, 5, 20] {
            let wait = Duration::from_millis(wait);
            drop(timeout(wait, Subsystem::connect(paths(), MultipathOptions::default())).await);
            drop(timeout(wait, Controller::connect(paths()[0].clone())).await);
        }
        // Those under way come up first, and are shut down then.
        let quiet = || proxies.iter().all(|proxy| proxy.accepted() > 0);
        until("nothing was connected", quiet).await;
        until("connections stay", || target.statistics().open_connections == 0).await;
    });
}

#[test]
fn while_nobody_drives_the_runtime_a_controller_is_lost_and_then_recovers() {
    let served = served(1 << 20, false);
    let runtime = one_thread();
    let options = served.options().keep_alive(Duration::from_millis(200)).recovery(Recovery::default());
    let (controller, namespace) = runtime.block_on(open(options));
    let events = controller.events().unwrap();
    // No keep-alive is sent: the target ends the association.
    all_closed(&served);
    assert_eq!(events.try_recv().unwrap_err(), NoEvent::Yet);
    runtime.block_on(async {
        while !matches!(events.next().await, Some(Event::AssociationUp { .. })) {}
        namespace.read_at(vec![0; 512], 0).await.0.unwrap();
        controller.shutdown().await;
    });
}
