//! Controllers and namespaces on tokio: many commands in flight, futures given up at any point, lost and replaced
//! associations, several paths.

mod proxy;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use nvme_tcp::events::{Event, Replacement};
use nvme_tcp::multipath::MultipathOptions;
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp::spec::reservation::ReservationType;
use nvme_tcp::tokio::{Controller, Namespace, Subsystem};
use nvme_tcp::{
    Acquire, ByteRange, ErrorKind, KeySource, Options, Recovery, Register, Release, Result, UnknownWrites,
};
use nvme_tcp_target as target;
use nvme_tcp_target::{Fault, FaultPlan};
use proxy::{Direction, Proxy};
use system_tests::{DEADLINE, Embedded, SUBSYSTEM_NQN, embedded, faulty, host, image, key, scaled};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

const PIECE: usize = 16_384;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs `test` on a runtime; what takes too long has failed.
fn run(test: impl Future<Output = ()>) {
    runtime().block_on(async { timeout(DEADLINE, test).await.expect("in time") });
}

async fn open(options: Options) -> (Controller, Namespace) {
    let controller = Controller::connect(options).await.unwrap();
    let namespace = controller.namespace(1).await.unwrap();
    (controller, namespace)
}

fn served(size: u64, tls: bool) -> Embedded {
    embedded(target::Namespace::ram(size), tls.then(key), |_| {})
}

/// Polls `future` a few times as a task would, then gives it up; what it came to if it was done before.
async fn poll_some<T>(future: impl Future<Output = T>, times: u64) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        match polled {
            Poll::Ready(value) => return Some(value),
            Poll::Pending => tokio::task::yield_now().await,
        }
    }
    None
}

#[test]
fn what_is_written_is_read_by_many_tasks_at_once() {
    for tls in [false, true] {
        let served = served(8 << 20, tls);
        run(async {
            let (controller, namespace) = open(served.options().io_queues(2).queue_size(16)).await;
            let whole: Arc<[u8]> = image(1, 8 << 20).into();
            let (result, same) = namespace.write_at(whole.clone(), 0).await;
            result.unwrap();
            assert!(Arc::ptr_eq(&same, &whole));
            namespace.flush().await.unwrap();
            let mut reads = JoinSet::new();
            for number in 0..(8 << 20) / PIECE {
                let namespace = namespace.clone();
                reads.spawn(async move {
                    let (result, back) = namespace.read_at(vec![0; PIECE], (number * PIECE) as u64).await;
                    result.map(|()| (number, back))
                });
            }
            let mut count = 0;
            while let Some(read) = reads.join_next().await {
                let (number, back) = read.unwrap().unwrap();
                assert!(back == whole[number * PIECE..][..PIECE], "piece {number}");
                count += 1;
            }
            assert_eq!(count, (8 << 20) / PIECE);
            controller.shutdown().await;
        });
    }
}

#[test]
fn every_call_does_what_its_blocking_sibling_does() {
    let served = served(4 << 20, false);
    run(async {
        let (controller, namespace) = open(served.options()).await;
        let data = image(2, 1 << 20);
        let (result, data) = namespace.write_at(data, 0).await;
        result.unwrap();
        let (same, mut data) = namespace.compare(data, 0).await;
        assert!(same.unwrap());
        data[70_000] ^= 1;
        let (same, _) = namespace.compare(data, 0).await;
        assert!(!same.unwrap());
        namespace.write_zeroes(4096, 8192).await.unwrap();
        let (result, back) = namespace.read_at(vec![1; 8192], 4096).await;
        result.unwrap();
        assert!(back.iter().all(|byte| *byte == 0));
        namespace.deallocate(0, 1 << 20).await.unwrap();
        // Errors bring the memory back too.
        let (result, back) = namespace.read_at(vec![7; 512], namespace.size()).await;
        assert!(matches!(result.unwrap_err().kind(), ErrorKind::OutOfRange { .. }));
        assert_eq!(back, [7; 512]);
        let (result, back) = namespace.write_at([3; 100], 0).await;
        assert!(matches!(result.unwrap_err().kind(), ErrorKind::Unaligned { .. }));
        assert_eq!(back, [3; 100]);
        let missing = controller.namespace(9).await.unwrap_err();
        assert!(matches!(missing.kind(), ErrorKind::Namespace { nsid: 9, .. }));
        let vendor = controller.with(|controller| Ok(controller.identify_controller()?.cntlid.get())).await;
        assert!(vendor.unwrap() > 0);
        controller.shutdown().await;
        let error = namespace.read_at(vec![0; 512], 0).await.0.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ShutDown), "{error}");
    });
}

#[test]
fn rarer_commands_do_what_their_blocking_siblings_do() {
    let served = served(1 << 20, false);
    run(async {
        let (controller, namespace) = open(served.options().queue_size(8)).await;
        let data = image(3, 65_536);
        namespace.write_at(data.clone(), 0).await.0.unwrap();
        namespace.verify(0, 65_536).await.unwrap();
        namespace.copy(&[ByteRange { offset: 0, len: 65_536 }], 1 << 19).await.unwrap();
        let (result, back) = namespace.read_at(vec![0; 65_536], 1 << 19).await;
        result.unwrap();
        assert!(back == data);
        // Both ends of a fused operation, with others beside it.
        let mut beside = JoinSet::new();
        for number in 0..16_u64 {
            let namespace = namespace.clone();
            beside.spawn(async move { namespace.read_at(vec![0; PIECE], number * 4096).await.0 });
        }
        let (written, [same, new]) = namespace.compare_and_write(vec![0; 512], vec![9; 512], 1 << 18).await;
        assert!(written.unwrap() && same == [0; 512] && new == [9; 512]);
        let (written, _) = namespace.compare_and_write(vec![0; 512], vec![8; 512], 1 << 18).await;
        assert!(!written.unwrap());
        let (result, back) = namespace.read_at(vec![0; 512], 1 << 18).await;
        result.unwrap();
        assert_eq!(back, [9; 512]);
        while let Some(read) = beside.join_next().await {
            read.unwrap().unwrap();
        }
        namespace.write_uncorrectable(4096, 512).await.unwrap();
        let error = namespace.read_at(vec![0; 512], 4096).await.0.unwrap_err();
        assert!(error.status().is_some(), "{error}");
        assert!(namespace.verify(0, 65_536).await.is_err());
        // A reservation, from the registration to its end.
        namespace.reservation_register(&Register { new_key: 7, ..Register::default() }).await.unwrap();
        let kind = ReservationType::WriteExclusive;
        let acquire = Acquire { action: Default::default(), kind, current_key: 7, preempt_key: 0 };
        namespace.reservation_acquire(&acquire).await.unwrap();
        let report = namespace.reservation_report().await.unwrap();
        assert_eq!((report.held, report.registrants.len()), (Some(kind), 1));
        let release = Release { kind: Some(kind), current_key: 7, ..Release::default() };
        namespace.reservation_release(&release).await.unwrap();
        assert_eq!(namespace.reservation_report().await.unwrap().held, None);
        controller.shutdown().await;
    });
}

#[test]
fn two_entries_are_too_few_for_a_fused_operation() {
    let served = served(1 << 20, false);
    run(async {
        let (controller, namespace) = open(served.options().queue_size(2)).await;
        let (result, _) = namespace.compare_and_write(vec![0; 512], vec![9; 512], 0).await;
        assert!(result.unwrap_err().to_string().contains("3 entries"));
        namespace.write_at(vec![1; 512], 0).await.0.unwrap();
        controller.shutdown().await;
    });
}

/// A stream of numbers, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn futures_given_up_at_any_point_harm_nothing() {
    const LANES: u64 = 4;
    let (rounds, len) = (scaled(60, 15), 1 << 18);
    for tls in [false, true] {
        let served = served(LANES * rounds * len, tls);
        run(async {
            let (controller, namespace) = open(served.options().queue_size(8)).await;
            let mut tasks = JoinSet::new();
            for lane in 0..LANES {
                let namespace = namespace.clone();
                tasks.spawn(async move {
                    let mut dice = Dice(lane + 1);
                    for round in 0..rounds {
                        // Each its own place: what was given up may still be written, after what comes later.
                        let offset = (lane * rounds + round) * len;
                        let old = image(1000 * lane + 2 * round, len);
                        namespace.write_at(old.clone(), offset).await.0.unwrap();
                        let new = image(1000 * lane + 2 * round + 1, len);
                        let polls = dice.roll(6);
                        match dice.roll(4) {
                            0 => {
                                drop(poll_some(namespace.read_at(vec![0; len as usize], offset), polls).await)
                            }
                            1 => drop(poll_some(namespace.write_at(new.clone(), offset), polls).await),
                            // Leaked once it is under way: its memory stays lent, and nothing else happens.
                            2 => {
                                let mut leaked = Box::pin(async {
                                    let namespace = namespace.clone();
                                    namespace.write_at(new.clone(), offset).await
                                });
                                drop(poll_some(leaked.as_mut(), polls).await);
                                std::mem::forget(leaked);
                            }
                            _ => drop(poll_some(namespace.compare(old.clone(), offset), polls).await),
                        }
                        let (result, back) = namespace.read_at(vec![0; len as usize], offset).await;
                        result.unwrap();
                        let blocks = back.chunks(512).zip(old.chunks(512).zip(new.chunks(512)));
                        assert!(
                            blocks.into_iter().all(|(back, (old, new))| back == old || back == new),
                            "round {round} of lane {lane}"
                        );
                    }
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
            controller.shutdown().await;
        });
        assert_eq!(served.target.statistics().failed_commands, 0);
    }
}

#[test]
fn a_read_that_is_given_up_frees_its_slot_when_it_is_answered() {
    let served = served(1 << 20, false);
    run(async {
        // One command at a time.
        let (controller, namespace) = open(served.options().queue_size(2)).await;
        for round in 0..200 {
            drop(poll_some(namespace.read_at(vec![0; 65_536], 0), round % 5).await);
        }
        namespace.write_at(image(5, 65_536), 0).await.0.unwrap();
        let (result, back) = namespace.read_at(vec![0; 65_536], 0).await;
        result.unwrap();
        assert!(back == image(5, 65_536));
        controller.shutdown().await;
    });
}

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

/// Writes and reads back until `stop`; how often.
async fn load(namespace: Namespace, lane: u64, stop: Arc<AtomicBool>) -> Result<u64> {
    let (mut rounds, offset) = (0, lane << 18);
    let mut back = vec![0; 1 << 18];
    while !stop.load(Ordering::Relaxed) {
        let (result, data) = namespace.write_at(image(lane + rounds, 1 << 18), offset).await;
        result?;
        let result;
        (result, back) = namespace.read_at(back, offset).await;
        result?;
        assert!(back == data, "round {rounds} of lane {lane}");
        rounds += 1;
    }
    Ok(rounds)
}

/// Runs [`load`] in some tasks while `act` does.
async fn under_load(namespace: &Namespace, act: impl Future<Output = ()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for lane in 0..4 {
        tasks.spawn(load(namespace.clone(), lane, stop.clone()));
    }
    act.await;
    stop.store(true, Ordering::Relaxed);
    while let Some(rounds) = tasks.join_next().await {
        assert!(rounds.unwrap().unwrap() > 0);
    }
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
            controller.shutdown().await;
        });
        assert_eq!(served.target.statistics().failed_commands, 0);
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

/// A target with two listeners, and a path to each through something that can be cut.
fn two_paths(size: u64) -> (target::Target, [Proxy; 2]) {
    let any = || target::Listener::plain(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let subsystem = target::Subsystem::new(SUBSYSTEM_NQN).namespace(1, target::Namespace::ram(size));
    let served = target::Target::builder().subsystem(subsystem).listen(any()).listen(any()).start().unwrap();
    let proxies = [0, 1].map(|port| Proxy::start(served.local_addrs()[port]));
    (served, proxies)
}

fn path(proxy: &Proxy, unknown: UnknownWrites) -> Options {
    let soon = Duration::from_millis(20);
    let recovery = Recovery::default().reconnect_delay(soon, soon * 4).unknown_writes(unknown);
    let options = Options::new(proxy.address().to_string(), SUBSYSTEM_NQN, host());
    options.keep_alive(Duration::from_millis(400)).io_queues(2).recovery(recovery)
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_path_killed_again_and_again_fails_no_future() {
    let (_served, mut proxies) = two_paths(4 << 20);
    run(async {
        let paths = proxies.each_ref().map(|proxy| path(proxy, UnknownWrites::Replay));
        let subsystem = Subsystem::connect(paths, MultipathOptions::default()).await.unwrap();
        let namespace = subsystem.namespace(1).await.unwrap();
        let up = |path: usize| subsystem.paths(1)[path].error.is_none();
        under_load(&namespace, async {
            for kill in 0..scaled(6, 2) as usize {
                let path = kill % 2;
                proxies[path].kill();
                until("the loss is not seen", || !up(path)).await;
                proxies[path].revive();
                until("the path stays away", || up(path)).await;
            }
        })
        .await;
        assert!(proxies.iter().all(|proxy| proxy.accepted() >= 2));
        for rotation in subsystem.rotate_keys().await.unwrap() {
            assert!(rotation.unwrap_err().to_string().contains("plain"));
        }
        subsystem.shutdown().await;
        let error = namespace.read_at(vec![0; 512], 0).await.0.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ShutDown), "{error}");
    });
}

#[test]
fn a_path_that_is_not_there_at_first_joins_later() {
    let (_served, mut proxies) = two_paths(1 << 20);
    proxies[1].kill();
    run(async {
        let paths = proxies.each_ref().map(|proxy| path(proxy, UnknownWrites::Replay));
        let subsystem = Subsystem::connect(paths, MultipathOptions::default()).await.unwrap();
        let namespace = subsystem.namespace(1).await.unwrap();
        proxies[1].revive();
        until("it does not join", || subsystem.paths(1)[1].error.is_none()).await;
        proxies[0].kill();
        namespace.write_at(vec![7; 512], 0).await.0.unwrap();
        let (result, back) = namespace.read_at(vec![0; 512], 0).await;
        result.unwrap();
        assert_eq!(back, [7; 512]);
        drop(subsystem);
    });
}

#[test]
fn futures_given_up_while_paths_come_and_go_harm_nothing() {
    const LANES: u64 = 4;
    let (len, rounds) = (1_u64 << 16, scaled(40, 10));
    let (_served, mut proxies) = two_paths(LANES * rounds * len);
    run(async {
        let paths = proxies.each_ref().map(|proxy| path(proxy, UnknownWrites::Replay));
        let subsystem = Subsystem::connect(paths, MultipathOptions::default()).await.unwrap();
        let namespace = subsystem.namespace(1).await.unwrap();
        let mut tasks = JoinSet::new();
        for lane in 0..LANES {
            let namespace = namespace.clone();
            tasks.spawn(async move {
                let mut dice = Dice(lane + 11);
                for round in 0..rounds {
                    // Each its own place, as what was given up may still be written.
                    let offset = (lane * rounds + round) * len;
                    let (old, new) = (image(2 * offset + 1, len), image(2 * offset + 2, len));
                    namespace.write_at(old.clone(), offset).await.0.unwrap();
                    let polls = dice.roll(6);
                    match dice.roll(3) {
                        0 => drop(poll_some(namespace.read_at(vec![0; len as usize], offset), polls).await),
                        1 => drop(poll_some(namespace.write_at(new.clone(), offset), polls).await),
                        // Perhaps while it waits for a path, or for a fence.
                        _ => {
                            let limit = Duration::from_millis(dice.roll(30));
                            drop(timeout(limit, namespace.write_at(new.clone(), offset)).await);
                        }
                    }
                    let (result, back) = namespace.read_at(vec![0; len as usize], offset).await;
                    result.unwrap();
                    let blocks = back.chunks(512).zip(old.chunks(512).zip(new.chunks(512)));
                    let whole = blocks.into_iter().all(|(back, (old, new))| back == old || back == new);
                    assert!(whole, "round {round} of lane {lane}");
                }
            });
        }
        let working = tokio::spawn(async move {
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
        });
        let mut kills = 0;
        while !working.is_finished() {
            let path = kills % 2;
            proxies[path].kill();
            tokio::time::sleep(Duration::from_millis(60)).await;
            proxies[path].revive();
            until("the path stays away", || subsystem.paths(1)[path].error.is_none()).await;
            kills += 1;
        }
        working.await.unwrap();
        assert!(kills > 0);
        subsystem.shutdown().await;
    });
}

#[test]
fn without_any_path_futures_wait_as_tasks_and_as_long_as_they_are_told() {
    let (_served, mut proxies) = two_paths(1 << 20);
    // One thread for calls that block: whatever waited there would be in the way of the rest.
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let paths = proxies.each_ref().map(|proxy| path(proxy, UnknownWrites::Replay));
        let patience = MultipathOptions::default().no_path_timeout(Some(DEADLINE));
        let subsystem = Subsystem::connect(paths, patience).await.unwrap();
        let namespace = subsystem.namespace(1).await.unwrap();
        namespace.read_at(vec![0; 512], 0).await.0.unwrap();
        proxies.iter_mut().for_each(Proxy::kill);
        until("the loss is not seen", || subsystem.paths(1).iter().all(|path| path.error.is_some())).await;
        let mut waiting = JoinSet::new();
        for number in 0..32_u64 {
            let namespace = namespace.clone();
            waiting.spawn(async move { namespace.write_at(image(number, 512), number * 512).await.0 });
        }
        let given_up = timeout(Duration::from_millis(50), namespace.read_at(vec![0; 512], 0)).await;
        assert!(given_up.is_err());
        proxies.iter_mut().for_each(Proxy::revive);
        while let Some(result) = waiting.join_next().await {
            result.unwrap().unwrap();
        }
        let (result, back) = namespace.read_at(vec![0; 512], 512 * 31).await;
        result.unwrap();
        assert!(back == image(31, 512));
        subsystem.shutdown().await;
    });
}

#[test]
fn by_choice_a_write_of_unknown_fate_is_reported_to_its_future() {
    let (_served, mut proxies) = two_paths(1 << 20);
    run(async {
        let paths = proxies.each_ref().map(|proxy| path(proxy, UnknownWrites::Report));
        let subsystem = Subsystem::connect(paths, MultipathOptions::default()).await.unwrap();
        let namespace = subsystem.namespace(1).await.unwrap();
        // Both have their queues.
        for _ in 0..4 {
            namespace.read_at(vec![0; 512], 0).await.0.unwrap();
        }
        proxies.iter_mut().for_each(|proxy| proxy.stall(Direction::ToHost));
        let written = tokio::spawn({
            let namespace = namespace.clone();
            async move { namespace.write_at(vec![5; 512], 512).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxies.iter_mut().for_each(Proxy::kill);
        let (result, memory) = written.await.unwrap();
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::UnknownFate { .. }), "{error}");
        assert_eq!(memory, [5; 512]);
        proxies.iter_mut().for_each(Proxy::revive);
        let (result, back) = namespace.read_at(vec![0; 512], 512).await;
        result.unwrap();
        assert!(back == [0; 512] || back == [5; 512]);
        subsystem.shutdown().await;
    });
}
