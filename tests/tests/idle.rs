//! What connections cost while nothing happens on them, at both ends. Alone in its process: the kernel counts for
//! all of it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nvme_tcp::Controller;
use nvme_tcp::psk::ConfiguredKey;
use system_tests::{KeyFile, Server, options, scaled};

/// The most that a connection may take at either end, in KiB. At the target each has a thread of its own.
const MEMORY: u64 = 64;
/// How long nothing happens.
const REST: Duration = Duration::from_secs(2);
/// KATO. A Keep Alive goes out at every quarter of it, since this target counts any command as one.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The number after `name:` in a process's or thread's status (proc_pid_status(5)).
fn status(path: &str, name: &str) -> u64 {
    // A thread may have ended.
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The memory of a process in KiB.
fn memory(pid: u32) -> u64 {
    status(&format!("/proc/{pid}/status"), "VmRSS")
}

/// How often the threads of a process have waited for something so far.
fn waits(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let waits =
        |task: fs::DirEntry| status(&task.path().join("status").to_string_lossy(), "voluntary_ctxt_switches");
    tasks.flatten().map(waits).sum()
}

fn controllers(server: &Server, key: Option<&KeyFile>, count: u64, keep_alive: Duration) -> Vec<Controller> {
    let key = key.map(|key| ConfiguredKey::from_file(key.path()).unwrap());
    let options = options(server.address, key.as_ref()).keep_alive(keep_alive);
    let connect = |_| {
        let controller = options.clone().connect().unwrap();
        // What a first command needs is there.
        controller.namespace(1).unwrap().read_at(&mut [0; 4096], 0).unwrap();
        controller
    };
    let all = (0..count).map(connect).collect();
    // Who was at work a moment ago may still look whether there is more.
    thread::sleep(Duration::from_millis(500));
    all
}

#[test]
fn an_idle_connection_takes_little_memory_and_wakes_for_its_keep_alive_only() {
    let this = std::process::id();
    let key = KeyFile::generate("sha256");
    for tls in [None, Some(&key)] {
        let server = tls.map_or_else(|| Server::plain(["ram:1M"]), |key| Server::tls(["ram:1M"], key));
        // The first one brings what is there once.
        let first = controllers(&server, tls, 1, Duration::ZERO);
        let before = [memory(this), memory(server.id())];
        let count = scaled(200, 20);
        let silent = controllers(&server, tls, count, Duration::ZERO);
        // Each has an admin queue and an I/O queue.
        let each = [memory(this) - before[0], memory(server.id()) - before[1]].map(|all| all / (2 * count));
        eprintln!(
            "tls: {}, memory of a connection: {} KiB here, {} KiB there",
            tls.is_some(),
            each[0],
            each[1]
        );
        assert!(each.iter().all(|each| *each < MEMORY), "{each:?} KiB");

        let began = [waits(this), waits(server.id())];
        thread::sleep(REST);
        let rest = [waits(this) - began[0], waits(server.id()) - began[1]];
        eprintln!("{count} controllers without keep-alive waited {rest:?} times in {REST:?}");
        // This thread, and what the system itself may do.
        assert!(rest.iter().all(|waits| *waits < 20), "{rest:?}");
        drop((first, silent));

        let alive = controllers(&server, tls, scaled(50, 5), KEEP_ALIVE);
        let (began, before) = (Instant::now(), [waits(this), waits(server.id())]);
        thread::sleep(REST);
        let rest = [waits(this) - before[0], waits(server.id()) - before[1]];
        // A busy machine lets this thread sleep for longer; and a quarter may end just within.
        let quarters = u64::try_from(began.elapsed().as_millis() / (KEEP_ALIVE / 4).as_millis()).unwrap();
        let alive = alive.len() as u64;
        let (due, most) = (alive * quarters, alive * (quarters + 1));
        eprintln!("{alive} controllers waited {rest:?} times for {due} to {most} keep-alives");
        // Once to send it and once to hear the answer.
        assert!(rest.iter().all(|waits| (due / 2..=2 * most + 20).contains(waits)), "{rest:?} for {due}");
    }
}
