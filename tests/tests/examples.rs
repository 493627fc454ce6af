//! The initiator's examples, as a user would run them.

mod proxy;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nvme_tcp::spec::digest::crc32c;
use nvme_tcp_target::{Listener, Namespace, Subsystem, Target};
use proxy::{Direction, Proxy};
use system_tests::{DEADLINE, Embedded, Process, SUBSYSTEM_NQN, embedded, image, key, skip};

const SIZE: u64 = 1 << 20;

/// Starts the example `name`, which cargo builds beside its library's tests; not where only some tests were asked for.
fn example(test: &str, name: &str, words: &[&str]) -> Option<Process> {
    let this = std::env::current_exe().unwrap();
    let path: PathBuf = this.ancestors().nth(2).unwrap().join("examples").join(name);
    if !path.exists() {
        skip(test, &format!("{} is not built (cargo build -p nvme-tcp --examples)", path.display()));
        return None;
    }
    let mut command = Command::new(path);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(Process::start(&mut command))
}

/// Waits until what it printed is as `is` says.
fn wait_for(process: &Process, is: impl Fn(&str) -> bool) {
    let end = Instant::now() + DEADLINE;
    loop {
        let text = String::from_utf8_lossy(&process.stdout()).into_owned();
        if is(&text) {
            return;
        }
        assert!(Instant::now() < end, "it printed: {text}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn stored(served: &Embedded) -> Vec<u8> {
    let mut back = vec![0; SIZE as usize];
    let controller = served.options().connect().unwrap();
    controller.namespace(1).unwrap().read_at(&mut back, 0).unwrap();
    back
}

#[test]
fn copy_puts_a_file_into_a_namespace() {
    const TEST: &str = "copy_puts_a_file_into_a_namespace";
    let folder = tempfile::tempdir().unwrap();
    let (file, key_file) = (folder.path().join("image"), folder.path().join("key"));
    let data = image(1, 300_001);
    fs::write(&file, &data).unwrap();
    for tls in [false, true] {
        let served = embedded(Namespace::ram(SIZE), tls.then(key), |_| {});
        let address = served.address().to_string();
        let mut words = vec![address.as_str(), SUBSYSTEM_NQN, "1", file.to_str().unwrap()];
        if let Some(key) = &served.key {
            key.write_file(&key_file).unwrap();
            words.push(key_file.to_str().unwrap());
        }
        let Some(copy) = example(TEST, "copy", &words) else { return };
        let run = copy.finish().succeeded();
        assert_eq!(run.text(), "300032 bytes\n");
        let back = stored(&served);
        assert!(back[..data.len()] == data && back[data.len()..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn event_loop_reads_a_whole_namespace() {
    const TEST: &str = "event_loop_reads_a_whole_namespace";
    let served = embedded(Namespace::ram(SIZE), None, |_| {});
    let data = image(2, SIZE);
    served.options().connect().unwrap().namespace(1).unwrap().write_at(&data, 0).unwrap();
    let address = served.address().to_string();
    let Some(read) = example(TEST, "event_loop", &[&address, SUBSYSTEM_NQN, "1"]) else { return };
    let sum: u64 = data.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(read.finish().succeeded().text(), format!("{SIZE} bytes, sum {sum}\n"));
}

#[test]
fn tokio_readers_read_every_namespace_at_once() {
    const TEST: &str = "tokio_readers_read_every_namespace_at_once";
    let mut subsystem = Subsystem::new(SUBSYSTEM_NQN);
    for nsid in 1..=5 {
        subsystem = subsystem.namespace(nsid, Namespace::ram(SIZE));
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let target = Target::builder().subsystem(subsystem).listen(Listener::plain(any)).start().unwrap();
    let address = target.local_addrs()[0];
    let controller = system_tests::options(address, None).connect().unwrap();
    for nsid in 1..=5 {
        controller.namespace(nsid).unwrap().write_at(&image(nsid.into(), SIZE), 0).unwrap();
    }
    let Some(read) = example(TEST, "tokio_readers", &[&address.to_string(), SUBSYSTEM_NQN]) else { return };
    let run = read.finish().succeeded();
    for nsid in 1..=5 {
        let line = format!("namespace {nsid}: {SIZE} bytes, CRC-32C {:08x}", crc32c(&image(nsid, SIZE)));
        assert!(run.text().lines().any(|said| said == line), "{line} is not in {}", run.text());
    }
}

#[test]
fn discovery_watcher_prints_what_there_is_and_what_comes() {
    const TEST: &str = "discovery_watcher_prints_what_there_is_and_what_comes";
    const LATER: &str = "nqn.2024-01.io.example:later";
    let served = embedded(Namespace::ram(SIZE), None, |_| {});
    let Some(watch) = example(TEST, "discovery_watcher", &[&served.address().to_string()]) else { return };
    wait_for(&watch, |text| text.contains(SUBSYSTEM_NQN));
    served.target.add_subsystem(Subsystem::new(LATER)).unwrap();
    wait_for(&watch, |text| text.contains("--") && text.contains(LATER));
    watch.kill();
}

#[test]
fn failover_reads_on_while_paths_are_cut() {
    const TEST: &str = "failover_reads_on_while_paths_are_cut";
    let subsystem = Subsystem::new(SUBSYSTEM_NQN).namespace(1, Namespace::ram(SIZE));
    let any = || Listener::plain(SocketAddr::from(([127, 0, 0, 1], 0)));
    let target = Target::builder().subsystem(subsystem).listen(any()).listen(any()).start().unwrap();
    let mut proxies = [0, 1].map(|port| Proxy::start(target.local_addrs()[port]));
    let addresses = proxies.each_ref().map(|proxy| proxy.address().to_string());
    let words = [SUBSYSTEM_NQN, "1", &addresses[0], &addresses[1]];
    let Some(failover) = example(TEST, "failover", &words) else { return };
    let reports = |text: &str| text.lines().filter(|line| line.ends_with(" bytes")).count();
    wait_for(&failover, |text| reports(text) >= 1 && text.contains("Optimized, up"));
    proxies[0].stall(Direction::ToHost);
    proxies[0].kill();
    let before = reports(&String::from_utf8_lossy(&failover.stdout()));
    let down = format!("  {}: Optimized, ", addresses[0]);
    let is_down = |line: &str| line.starts_with(&down) && !line.ends_with(", up");
    wait_for(&failover, |text| reports(text) > before + 1 && text.lines().any(is_down));
    proxies[0].revive();
    let seen = failover.stdout().len();
    wait_for(&failover, |text| {
        text[seen..].lines().any(|line| line.starts_with(&down) && line.ends_with(", up"))
    });
    assert!(proxies[0].accepted() > 0);
    failover.kill();
}
