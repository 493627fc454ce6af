//! Asking the socket again and again before sleeping, at both ends. Alone in its process: the kernel counts for all
//! of it.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nvme_tcp::Options;
use nvme_tcp::host::HostIdentity;
use nvme_tcp_target::{Config, Listener, Namespace, Subsystem, Target};
use system_tests::skip;

const NQN: &str = "nqn.2024-01.io.example:busy-poll";
/// Longer than a machine with other work keeps the other end waiting.
const BUSY_POLL: Duration = Duration::from_millis(20);
const READS: u64 = 50;

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let time = |t: nix::sys::time::TimeVal| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

/// How often this thread slept while it read, one block at a time.
fn sleeps(busy_poll: Duration) -> u64 {
    let subsystem = Subsystem::new(NQN).namespace(1, Namespace::ram(1 << 20));
    let listener = Listener::plain(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = |c: &mut Config| c.busy_poll = busy_poll;
    let target = Target::builder().subsystem(subsystem).listen(listener).config(config).start().unwrap();
    let host = HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16])).unwrap();
    let options = Options::new(target.local_addrs()[0].to_string(), NQN, host).keep_alive(Duration::ZERO);
    let controller = options.owned_queues(1).busy_poll(busy_poll).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    let switches = || getrusage(UsageWho::RUSAGE_THREAD).unwrap().voluntary_context_switches() as u64;
    let before = switches();
    for n in 0..READS {
        // By the shared queue and by an owned one.
        namespace.read_at(&mut [0; 4096], 0).unwrap();
        let mut done = Vec::new();
        queue.submit_read(&namespace, vec![0; 4096], 0, n).unwrap();
        queue.poll(&mut done, Duration::from_secs(30)).unwrap();
        done.remove(0).result.unwrap();
    }
    let slept = switches() - before;

    // What has been idle for that long spins no more.
    thread::sleep(3 * BUSY_POLL);
    let before = cpu_time();
    thread::sleep(3 * BUSY_POLL);
    let spent = cpu_time() - before;
    assert!(spent < BUSY_POLL, "{spent:?} of CPU time while nothing happened");
    controller.shutdown();
    target.shutdown();
    slept
}

#[test]
fn who_polls_does_not_sleep_and_whoever_is_idle_does_not_poll() {
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1) {
        let why = "on one processor the other end may always answer before this one sleeps";
        return skip("who_polls_does_not_sleep_and_whoever_is_idle_does_not_poll", why);
    }
    let (sleeping, polling) = (sleeps(Duration::ZERO), sleeps(BUSY_POLL));
    eprintln!("{} reads: {sleeping} sleeps, {polling} with polling", 2 * READS);
    assert!(sleeping > READS / 2, "{sleeping}");
    // One answer that takes longer lets more than one wait sleep.
    assert!(polling < READS / 5, "{polling}");
}
