//! The QEMU lab: a guest with the Linux kernel's own NVMe target and initiator. `cargo xtask lab qemu` boots it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::{DEADLINE, Process, Run, Tool, append, skip};

/// The kernel's target, and our initiator on this machine.
pub const NVMET: &str = "Linux nvmet, our initiator on the host (records sealed by the process)";
/// The kernel's initiator, and our target on this machine.
pub const KERNEL_HOST: &str = "Linux initiator (nvme-cli), our target on the host";
/// Both ends in the guest, sealed by its kernel.
pub const KERNEL_TLS: &str = "in the guest (records sealed by the kernel)";

/// The well-known name of discovery controllers (Base, section 3.1.3.3).
pub const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";
const DEBIAN_13: &str = "trixie";
/// The host ID that the kernel's initiator gives with any host NQN of these tests.
const HOST_ID: &str = "07070707-0707-0707-0707-070707070707";

/// Runs one cell of the matrix in the lab: what `peer` does with `feature`. It is recorded, and skipped by
/// its test's name where there is no lab.
pub fn cell(test: &str, peer: &str, feature: &str, body: impl FnOnce(&Lab)) {
    run(test, peer, feature, None, body);
}

/// The same for what Debian 13 does not have, and `why`.
pub fn newer(test: &str, peer: &str, feature: &str, why: &str, body: impl FnOnce(&Lab)) {
    run(test, peer, feature, Some(why), body);
}

fn run(test: &str, peer: &str, feature: &str, newer: Option<&str>, body: impl FnOnce(&Lab)) {
    let lab = match &*LAB {
        Ok(lab) => lab,
        Err(why) => return record(peer, feature, Err((test, why))),
    };
    if let Some(why) = newer.filter(|_| lab.is_debian_13()) {
        return record(peer, feature, Err((test, why)));
    }
    // One at a time: counters, logs and the keyring are those of the whole guest, and tlshd 1.4.0 (Linux 7.2) now and then
    // does not find a key that is there while others are being inserted.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A test that panics leaves this behind.
    let failed = Failed { peer, feature };
    body(lab);
    std::mem::forget(failed);
    record(peer, feature, Ok("passed"));
}

struct Failed<'a> {
    peer: &'a str,
    feature: &'a str,
}

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        record(self.peer, self.feature, Ok("FAILED"));
    }
}

fn record(peer: &str, feature: &str, result: Result<&str, (&str, &str)>) {
    let result = match result {
        Ok(result) => result.to_owned(),
        Err((test, why)) => {
            skip(test, why);
            format!("skipped: {why}")
        }
    };
    append("NVME_TCP_CELLS", &format!("{peer}\t{feature}\t{result}\n"));
}

static LAB: LazyLock<Result<Lab, String>> = LazyLock::new(|| {
    let Some(path) = std::env::var_os("NVME_TCP_QEMU") else {
        let why = std::env::var("NVME_TCP_QEMU_MISSING");
        return Err(why.unwrap_or_else(|_| "runs in the QEMU lab: cargo xtask lab qemu".to_owned()));
    };
    let text = std::fs::read_to_string(path).expect("xtask describes the lab");
    let lab: Value = serde_json::from_str(&text).expect("the lab's description is JSON");
    let word = |name: &str| lab[name].as_str().expect("a word in the lab's description").to_owned();
    let port =
        |(service, port): (&String, &Value)| Some((service.parse().ok()?, port.as_u64()?.try_into().ok()?));
    let ports = lab["ports"].as_object().expect("the lab's ports").iter().filter_map(port).collect();
    let stream = UnixStream::connect(word("agent")).expect("the guest's agent is there");
    let reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
    thread::spawn(|| dispatch(reader));
    Ok(Lab { agent: Mutex::new(stream), ports, suite: word("suite"), kernel: word("kernel") })
});

/// Who waits for which answer.
static WAITING: LazyLock<Mutex<HashMap<String, Sender<Run>>>> = LazyLock::new(Mutex::default);

fn waiting() -> MutexGuard<'static, HashMap<String, Sender<Run>>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands each answer to who waits for it: `ID CODE BASE64(output) BASE64(errors)`.
fn dispatch(reader: impl BufRead) {
    for line in reader.lines().map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        if let [id, code, stdout, stderr] = words[..] {
            let bytes = |text| BASE64_STANDARD.decode(text).unwrap_or_default();
            let stderr = String::from_utf8_lossy(&bytes(stderr)).into_owned();
            let run = Run { code: code.parse().ok(), stdout: bytes(stdout), stderr };
            // Of an earlier process, or who waited gave up.
            waiting().remove(id).map(|sender| sender.send(run));
        }
    }
}

/// The guest, as the tests of one process share it.
#[derive(Debug)]
pub struct Lab {
    agent: Mutex<UnixStream>,
    ports: BTreeMap<u16, u16>,
    suite: String,
    /// The version of its kernel.
    pub kernel: String,
}

/// A port of the kernel's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Plain NVMe/TCP.
    Plain = 4420,
    /// TLS required.
    Tls = 4421,
    /// Both; secure concatenation needs it.
    Both = 4422,
    /// Plain, with no subsystem of its own, for referrals.
    Referring = 4423,
}

impl Lab {
    /// Whether the guest is made of Debian 13's packages: Linux 6.12, nvme-cli 2.13, tlshd 1.0.0.
    pub fn is_debian_13(&self) -> bool {
        self.suite == DEBIAN_13
    }

    /// Runs a script in the guest, with the functions of `lab.sh`.
    ///
    /// # Panics
    /// There is no answer in time.
    pub fn sh(&self, script: &str) -> Run {
        static NEXT: Mutex<u32> = Mutex::new(0);
        let id = {
            let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            format!("{}-{next}", std::process::id())
        };
        let (sender, answer) = mpsc::channel();
        waiting().insert(id.clone(), sender);
        let script = BASE64_STANDARD.encode(format!(". /lab.sh\n{script}\n"));
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        agent.write_all(format!("{id} {script}\n").as_bytes()).expect("the guest lives");
        drop(agent);
        // A guest that is emulated on a busy machine.
        answer.recv_timeout(2 * DEADLINE).unwrap_or_else(|_| panic!("no answer of the guest to: {script}"))
    }

    /// Runs a script that succeeds, and gives what it prints.
    #[track_caller]
    pub fn ask(&self, script: &str) -> String {
        let run = self.sh(script);
        assert_eq!(run.code, Some(0), "{script}: {}{}", run.text(), run.stderr);
        run.text().trim().to_owned()
    }

    /// Where a port of the guest's is reached from here.
    ///
    /// # Panics
    /// It is not forwarded.
    pub fn address(&self, port: Port) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[&(port as u16)]))
    }

    /// Has the kernel's target serve a new subsystem, in whose name `name` stands, on all three ports: a namespace
    /// for each block size, which keeps up to 64 MiB in memory.
    pub fn export(&self, name: &str, blocks: &[u32]) -> Export<'_> {
        let nqn = format!("nqn.2024-01.org.example:{name}");
        let disks: Vec<_> = blocks.iter().map(|block| format!("{name}-{block}")).collect();
        let export = Export { lab: self, nqn, disks };
        let nqn = &export.nqn;
        let mut script = format!("subsystem {nqn}\n");
        for ((disk, block), nsid) in export.disks.iter().zip(blocks).zip(1..) {
            writeln!(script, "disk {disk} 64 {block}; namespace {nqn} {nsid} /dev/{disk}")
                .expect("a String grows");
        }
        self.ask(&format!("{script}offer {nqn} 1 2 3"));
        export
    }

    /// Puts what a key text gives between a host and a subsystem into the guest's keyring `.nvme`, by nvme-cli.
    pub fn insert_key(&self, text: &str, version: u8, host: &str, subsystem: &str, flags: &str) -> String {
        let said = self.ask(&format!(
            "nvme check-tls-key --identity={version} --hostnqn={host} --subsysnqn={subsystem} --keydata={text} --insert {flags}"
        ));
        said.rsplit(' ').next().unwrap_or_default().to_owned()
    }

    /// Connects the kernel's initiator to a target on this machine.
    #[track_caller]
    pub fn connect(&self, to: SocketAddr, subsystem: &str, host: &str, flags: &str) -> Connected<'_> {
        let name = self.ask(&format!("connected {} {flags}", arguments(to, subsystem, host)));
        Connected { lab: self, name }
    }

    /// The same where it fails: what nvme-cli says.
    #[track_caller]
    pub fn refused(&self, to: SocketAddr, subsystem: &str, host: &str, flags: &str) -> String {
        let run = self.sh(&format!("connected {} {flags}", arguments(to, subsystem, host)));
        assert_ne!(run.code, Some(0), "connected: {}", run.text());
        run.stderr
    }

    /// What tlshd and the guest's kernel log while `act` runs.
    pub fn logged(&self, act: impl FnOnce()) -> String {
        let before = self.ask("wc -c </tmp/tlshd.log; dmesg | wc -l");
        let mut before = before.lines().map(|count| count.trim().parse::<u64>().expect("a count"));
        let mut from = || before.next().expect("two counts") + 1;
        let (tlshd, kernel) = (from(), from());
        act();
        self.ask(&format!("tail -c +{tlshd} /tmp/tlshd.log; dmesg | tail -n +{kernel}"))
    }

    /// That a log holds every line of the fixture of this suite's peers; the fixture's own words begin with `#`.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn said(&self, log: &str, fixture: &str) {
        let path = format!("{}/tests/fixtures/{}/{fixture}.txt", env!("CARGO_MANIFEST_DIR"), self.suite);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(log.contains(line), "no {line:?} in:\n{log}");
        }
    }

    /// How the guest's kernel counts TLS connections, by the names of /proc/net/tls_stat.
    pub fn tls_stat(&self) -> BTreeMap<String, u64> {
        let text = self.ask("cat /proc/net/tls_stat");
        let pair = |line: &str| {
            let (name, value) = line.split_once(char::is_whitespace)?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        text.lines().filter_map(pair).collect()
    }
}

/// nvme-cli's arguments for a target on this machine, which the guest sees at another address.
pub fn arguments(to: SocketAddr, subsystem: &str, host: &str) -> String {
    format!("-a 10.0.2.2 -s {} -n {subsystem} --hostnqn={host} --hostid={HOST_ID}", to.port())
}

/// A subsystem of the kernel's target. It goes when this is dropped.
#[derive(Debug)]
pub struct Export<'a> {
    lab: &'a Lab,
    /// Its name.
    pub nqn: String,
    /// The block devices of its namespaces, in the guest's /dev.
    pub disks: Vec<String>,
}

impl Export<'_> {
    /// Where a namespace of it is, or itself.
    pub fn uri(&self, port: Port, nsid: impl Into<Option<u32>>) -> String {
        let nsid = nsid.into().map(|nsid| format!("/{nsid}")).unwrap_or_default();
        format!("nvme+tcp://{}/{}{nsid}", self.lab.address(port), self.nqn)
    }

    /// Of the first `bytes` of a namespace, as the guest reads them: SHA-256.
    pub fn sha256(&self, nsid: usize, bytes: usize) -> String {
        let script = format!(
            "dd if=/dev/{} bs=1M count={bytes} iflag=count_bytes,direct 2>/dev/null | sha256sum",
            self.disks[nsid - 1]
        );
        self.lab.ask(&script).split(' ').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Export<'_> {
    fn drop(&mut self) {
        // What stays is in nobody's way.
        self.lab.sh(&format!("gone {} {}", self.nqn, self.disks.join(" ")));
    }
}

/// A controller of the kernel's initiator. It is disconnected when this is dropped.
#[derive(Debug)]
pub struct Connected<'a> {
    lab: &'a Lab,
    /// Its name, as `nvme0`.
    pub name: String,
}

impl Connected<'_> {
    /// The block device of its first namespace.
    #[track_caller]
    pub fn device(&self) -> String {
        self.lab.ask(&format!("device {}", self.name))
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.lab.sh(&format!("nvme disconnect -d {}", self.name));
    }
}

/// A DH-HMAC-CHAP secret, made by the tool; `hmac` as in nvme-cli: 0 to 3.
pub fn secret(hmac: &str) -> String {
    Tool::new(["key", "generate-dhchap", "-m", hmac]).run().succeeded().text().trim().to_owned()
}

/// SHA-256 of these bytes, in hexadecimal.
///
/// # Panics
/// There is no `sha256sum` here.
pub fn sha256(bytes: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    process.feed(bytes.to_vec());
    process.finish().text().split(' ').next().unwrap_or_default().to_owned()
}
