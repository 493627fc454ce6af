//! Associations that are lost, and those that are replaced.

use std::time::{Duration, Instant};

use nvme_tcp::events::{Event, Replacement};
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp::{ErrorKind, KeySource, Options, Recovery};
use nvme_tcp_target::{self as target, Fault, FaultPlan};
use system_tests::{Embedded, SUBSYSTEM_NQN, faulty, host, image, key, scaled};
use tokio::task::JoinSet;

use super::{PIECE, open, run, served, under_load, until};

#[test]
fn a_command_that_takes_too_long_ends_the_association_and_gives_its_memory_back() {
    let faults = FaultPlan::new();
    let served = faulty(target::Namespace::ram(1 << 20), None, &faults);
    run(async {
        let (controller, namespace) = open(served.options().timeout(Duration::from_millis(300))).await;
        faults.io(PduType::C2hData, 1, Fault::Stall);
        let begun = Instant::now();
        let (result, back) = namespace.read_at(vec![9; 4096], 0).await;
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert_eq!(back.len(), 4096);
        // The next association serves the same namespace.
        faults.clear();
        controller.reconnect().await.unwrap();
        namespace.read_at(back, 0).await.0.unwrap();
    });
}

#[test]
fn a_target_that_is_killed_fails_every_future_with_its_memory() {
    let served = served(4 << 20, true);
    run(async {
        let (controller, namespace) = open(served.options().io_queues(2)).await;
        let mut tasks = JoinSet::new();
        for number in 0..8_u64 {
            let namespace = namespace.clone();
            tasks.spawn(async move {
                let mut memory = image(number, PIECE as u64);
                loop {
                    let (result, back) = namespace.write_at(memory, number * PIECE as u64).await;
                    assert!(back == image(number, PIECE as u64), "memory comes back as it was");
                    memory = back;
                    if let Err(error) = result {
                        return error;
                    }
                }
            });
        }
        let Embedded { target, .. } = served;
        tokio::task::spawn_blocking(move || target.shutdown()).await.unwrap();
        while let Some(error) = tasks.join_next().await {
            let error = error.unwrap();
            assert!(error.is_retryable() || error.status().is_some(), "{error}");
        }
        assert!(controller.with(nvme_tcp::Controller::check).await.is_err());
    });
}

#[test]
fn reconnecting_under_load_fails_no_future() {
    for tls in [false, true] {
        let served = served(1 << 20, tls);
        run(async {
            let (controller, namespace) = open(served.options().io_queues(2)).await;
            under_load(&namespace, async {
                for _ in 0..scaled(10, 3) {
                    controller.reconnect().await.unwrap();
                }
            })
            .await;
            assert_eq!(controller.info().generation, scaled(10, 3));
            // Old associations go, with no I/O to drive them away: three connections are left.
            while served.target.statistics().open_connections != 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Before the shutdown, which may come before a queue is connected: that is refused then.
            assert_eq!(served.target.statistics().failed_commands, 0);
            controller.shutdown().await;
        });
    }
}

#[test]
fn with_recovery_a_cut_connection_fails_no_future() {
    let faults = FaultPlan::new();
    let served = faulty(target::Namespace::ram(1 << 20), Some(key()), &faults);
    run(async {
        let soon = Duration::from_millis(10);
        let recovery = Recovery::default().reconnect_delay(soon, soon);
        let options = served.options().recovery(recovery).keep_alive(Duration::from_secs(1));
        let (controller, namespace) = open(options).await;
        under_load(&namespace, async {
            for _ in 0..2 {
                let generation = controller.info().generation;
                faults.io(PduType::CapsuleResp, 1, Fault::Cut);
                while controller.info().generation == generation {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        })
        .await;
        controller.shutdown().await;
    });
}

#[test]
fn keys_rotate_by_call_and_by_themselves_and_an_idle_controller_follows() {
    let (first, second, third) = (key(), key(), key());
    let ring = target::KeyRing::new().key(first.clone());
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let served = target::Target::builder()
        .subsystem(target::Subsystem::new(SUBSYSTEM_NQN).namespace(1, target::Namespace::ram(4 << 20)))
        .listen(target::Listener::tls(any, ring.clone()))
        .start()
        .unwrap();
    let source = KeySource::memory([first.clone()]);
    let options = Options::new(served.local_addrs()[0].to_string(), SUBSYSTEM_NQN, host());
    run(async {
        let (controller, namespace) = open(options.tls_from(source.clone()).io_queues(2)).await;
        let events = controller.events().unwrap();
        under_load(&namespace, async {
            ring.add(None, None, second.clone());
            // By the source alone.
            source.set([second.clone()]);
            while !matches!(events.next().await, Some(Event::Replaced { why: Replacement::KeysChanged, .. }))
            {
            }
            for _ in 0..scaled(5, 2) {
                let rotation = controller.rotate_keys().await.unwrap();
                assert!(!rotation.key_changed && !rotation.gap, "{rotation:?}");
            }
        })
        .await;
        // With nothing to do: the association with the old key goes, and no call drives it away.
        ring.add(None, None, third.clone());
        source.set([third.clone()]);
        while !matches!(events.next().await, Some(Event::Replaced { why: Replacement::KeysChanged, .. })) {}
        while served.statistics().open_connections != 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(ring.remove(&first) && ring.remove(&second));
        namespace.flush().await.unwrap();
        namespace.read_at(vec![0; 512], 0).await.0.unwrap();
        controller.shutdown().await;
        assert!(std::iter::from_fn(|| events.try_recv().ok()).count() < 256);
        assert!(events.next().await.is_none());
    });
    assert_eq!(served.statistics().failed_commands, 0);
}

#[test]
fn futures_wait_where_a_budget_is_nearly_spent_before_the_next_association_is_up() {
    let (key, plan) = (key(), FaultPlan::new());
    let served = faulty(target::Namespace::ram(1 << 20), Some(key.clone()), &plan);
    let budget = ktls::Options::new().record_limit(2000).record_alarm(1000);
    let options = system_tests::options(served.address(), Some(&key)).tls_options(budget).io_queues(1);
    run(async {
        let (controller, namespace) = open(options).await;
        let events = controller.events().unwrap();
        // Many times what the rest of the budget lasts.
        plan.any(PduType::IcResp, 1, Fault::Delay(Duration::from_secs(2)));
        under_load(&namespace, async {
            until("no new association", || controller.info().generation >= 2).await;
        })
        .await;
        controller.shutdown().await;
        for event in std::iter::from_fn(|| events.recv()) {
            assert!(!matches!(event, Event::AssociationLost { .. }), "{event:?}");
        }
    });
}
