//! Associations take over from one another, and no I/O fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nvme_tcp::Controller;
use nvme_tcp_target::Namespace;
use system_tests::{DEADLINE, embedded, image, key, scaled};

const LANE: u64 = 1 << 20;

/// Writes and reads back in this many threads while `act` runs, every byte compared; how many rounds that
/// were.
fn under_load(controller: &Controller, threads: u64, piece: u64, act: impl FnOnce()) -> u64 {
    let namespace = &controller.namespace(1).unwrap();
    let (stop, rounds) = (&AtomicBool::new(false), &AtomicU64::new(0));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    let mut back = vec![0; piece as usize];
                    while !stop.load(Ordering::Relaxed) {
                        let round = rounds.fetch_add(1, Ordering::Relaxed);
                        let offset = number * LANE + round % (LANE / piece) * piece;
                        let data = image(round, piece);
                        namespace.write_at(&data, offset).unwrap();
                        namespace.read_at(&mut back, offset).unwrap();
                        assert!(back == data, "round {round}");
                    }
                })
            })
            .collect();
        // Whatever becomes of `act`, the threads end.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stopped = Stop(stop);
        act();
        drop(stopped);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    rounds.load(Ordering::Relaxed)
}

/// Waits until `done`, which nothing tells of.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn reconnecting_under_load_fails_no_command() {
    for tls in [false, true] {
        let served = embedded(Namespace::ram(4 * LANE), tls.then(key), |_| {});
        let controller = served.options().io_queues(2).connect().unwrap();
        let times = scaled(20, 5);
        let rounds = under_load(&controller, 4, 65_536, || {
            for _ in 0..times {
                controller.reconnect().unwrap();
            }
        });
        assert!(rounds > 0);
        assert_eq!(controller.info().generation, times);
        // The old associations are shut down: three connections of the present one are left.
        wait_until("old connections stay", || served.target.statistics().open_connections == 3);
        assert_eq!(served.target.statistics().failed_commands, 0);
        controller.shutdown();
        wait_until("connections stay", || served.target.statistics().open_connections == 0);
    }
}

#[test]
fn an_owned_queue_follows_its_controller() {
    let served = embedded(Namespace::ram(LANE), Some(key()), |_| {});
    let controller = served.options().owned_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    let mut completions = Vec::new();
    let mut submitted = 0;
    for round in 0..scaled(10, 4) {
        for index in 0..4 {
            queue.submit_write(&namespace, image(round, 65_536), index * 65_536, round).unwrap();
            submitted += 1;
        }
        // In flight on the old connection, while the new one comes up.
        controller.reconnect().unwrap();
        queue.submit_write(&namespace, image(round, 65_536), 4 * 65_536, round).unwrap();
        submitted += 1;
        while completions.len() < submitted {
            assert!(queue.poll(&mut completions, DEADLINE).unwrap() > 0);
        }
    }
    assert!(completions.iter().all(|completion| completion.result.is_ok()));
    assert_eq!(served.target.statistics().failed_commands, 0);
}

#[test]
fn before_a_key_s_records_are_used_up_the_next_association_takes_over() {
    let served = embedded(Namespace::ram(4 * LANE), Some(key()), |_| {});
    let budget = ktls::Options::new().record_limit(4000).record_alarm(2000);
    let controller = served.options().io_queues(2).tls_options(budget).connect().unwrap();
    under_load(&controller, 2, 16_384, || {
        wait_until("no new association", || controller.info().generation >= scaled(4, 2));
    });
    controller.shutdown();
    assert_eq!(served.target.statistics().failed_commands, 0);
}

#[test]
fn many_keep_alives_hold_an_idle_controller() {
    let served = embedded(Namespace::ram(LANE), Some(key()), |_| {});
    let controller = served.options().keep_alive(Duration::from_secs(1)).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let before = served.target.statistics().commands;
    // Nothing but the housekeeper sends.
    wait_until("no keep-alive", || served.target.statistics().commands >= before + 3);
    namespace.write_at(&image(1, 512), 0).unwrap();
    assert_eq!(controller.info().generation, 0);
}
