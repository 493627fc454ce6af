//! Several paths to one subsystem.

use std::time::Duration;

use nvme_tcp::multipath::MultipathOptions;
use nvme_tcp::tokio::Subsystem;
use nvme_tcp::{ErrorKind, Options, Recovery, UnknownWrites};
use nvme_tcp_target as target;
use system_tests::{DEADLINE, SUBSYSTEM_NQN, host, image, scaled};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::proxy::{Direction, Proxy};
use super::{Dice, poll_some, run, under_load, until};

/// A target with two listeners, and a path to each through something that can be cut.
pub(crate) fn two_paths(size: u64) -> (target::Target, [Proxy; 2]) {
    let any = || target::Listener::plain(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let subsystem = target::Subsystem::new(SUBSYSTEM_NQN).namespace(1, target::Namespace::ram(size));
    let served = target::Target::builder().subsystem(subsystem).listen(any()).listen(any()).start().unwrap();
    let proxies = [0, 1].map(|port| Proxy::start(served.local_addrs()[port]));
    (served, proxies)
}

pub(crate) fn path(proxy: &Proxy, unknown: UnknownWrites) -> Options {
    let soon = Duration::from_millis(20);
    let recovery = Recovery::default().reconnect_delay(soon, soon * 4).unknown_writes(unknown);
    let options = Options::new(proxy.address().to_string(), SUBSYSTEM_NQN, host());
    options.keep_alive(Duration::from_millis(400)).io_queues(2).recovery(recovery)
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
