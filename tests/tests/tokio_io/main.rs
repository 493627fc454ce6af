//! Controllers and namespaces on tokio: many commands in flight, futures given up at any point, lost and replaced
//! associations, several paths, and runtimes that end.

mod calls;
mod given_up;
mod here_already;
mod lost;
mod paths;
#[path = "../proxy/mod.rs"]
mod proxy;
mod shut_down;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use nvme_tcp::tokio::{Controller, Namespace};
use nvme_tcp::{Options, Result};
use nvme_tcp_target as target;
use system_tests::{DEADLINE, Embedded, embedded, image, key};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) const PIECE: usize = 16_384;

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs `test` on a runtime; what takes too long has failed.
pub(crate) fn run(test: impl Future<Output = ()>) {
    runtime().block_on(async { timeout(DEADLINE, test).await.expect("in time") });
}

pub(crate) async fn open(options: Options) -> (Controller, Namespace) {
    let controller = Controller::connect(options).await.unwrap();
    let namespace = controller.namespace(1).await.unwrap();
    (controller, namespace)
}

pub(crate) fn served(size: u64, tls: bool) -> Embedded {
    embedded(target::Namespace::ram(size), tls.then(key), |_| {})
}

/// Polls `future` a few times as a task would, then gives it up; what it came to if it was done before.
pub(crate) async fn poll_some<T>(future: impl Future<Output = T>, times: u64) -> Option<T> {
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

/// A stream of numbers, the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Writes and reads back until `stop`, once at least.
pub(crate) async fn load(namespace: Namespace, lane: u64, stop: Arc<AtomicBool>) -> Result<()> {
    let offset = lane << 18;
    let mut back = vec![0; 1 << 18];
    for round in 0.. {
        let (result, data) = namespace.write_at(image(lane + round, 1 << 18), offset).await;
        result?;
        let result;
        (result, back) = namespace.read_at(back, offset).await;
        result?;
        assert!(back == data, "round {round} of lane {lane}");
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// Runs [`load`] in some tasks while `act` does.
pub(crate) async fn under_load(namespace: &Namespace, act: impl Future<Output = ()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for lane in 0..4 {
        tasks.spawn(load(namespace.clone(), lane, stop.clone()));
    }
    act.await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap().unwrap();
    }
}

pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
