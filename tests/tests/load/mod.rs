//! Load for tests of what must not disturb it.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nvme_tcp::Namespace;
use system_tests::{DEADLINE, image};

/// Bytes that one thread writes to.
pub(crate) const LANE: u64 = 1 << 20;

/// Writes and reads back in this many threads while `act` runs, every byte compared; how many rounds that were.
pub(crate) fn under_load(namespace: &Namespace, threads: u64, piece: u64, act: impl FnOnce()) -> u64 {
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
pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How long something is done under load, and how often: for 60 s and each second where `NVME_TCP_SOAK` is set.
pub(crate) fn soak(short: Duration, every: Duration) -> (Duration, Duration) {
    match env::var_os("NVME_TCP_SOAK") {
        Some(_) => (Duration::from_secs(60), Duration::from_secs(1)),
        None => (short, every),
    }
}
