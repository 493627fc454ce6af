//! The guest: its agent, its ports and its logs.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::Side;
use crate::{DEADLINE, Run};

const DEBIAN_13: &str = "trixie";

static GUEST: LazyLock<Result<Guest, String>> = LazyLock::new(|| {
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
    Ok(Guest { agent: Mutex::new(stream), ports, suite: word("suite") })
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
struct Guest {
    agent: Mutex<UnixStream>,
    ports: BTreeMap<u16, u16>,
    suite: String,
}

/// The guest, as one cell has it.
#[derive(Clone, Copy, Debug)]
pub struct Lab {
    guest: &'static Guest,
    /// Where our initiator runs.
    pub side: Side,
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
    /// Plain, with no subsystem of its own, for a second path.
    Second = 4424,
}

impl Lab {
    /// The lab, for an initiator on this side, or why there is none.
    pub(super) fn find(side: Side) -> Result<Self, &'static str> {
        GUEST.as_ref().map(|guest| Self { guest, side }).map_err(String::as_str)
    }

    /// Whether the guest is made of Debian 13's packages: Linux 6.12, nvme-cli 2.13, tlshd 1.0.0.
    pub fn is_debian_13(&self) -> bool {
        self.guest.suite == DEBIAN_13
    }

    /// Runs a script in the guest, with the functions of `lab.sh`.
    ///
    /// # Panics
    /// There is no answer in time.
    pub fn sh(&self, script: &str) -> Run {
        // A guest that is emulated on a busy machine.
        self.sh_within(script, 2 * DEADLINE)
    }

    /// The same for what takes long.
    ///
    /// # Panics
    /// There is no answer in time.
    pub fn sh_within(&self, script: &str, limit: Duration) -> Run {
        static NEXT: Mutex<u32> = Mutex::new(0);
        let id = {
            let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            format!("{}-{next}", std::process::id())
        };
        let (sender, answer) = mpsc::channel();
        waiting().insert(id.clone(), sender);
        let script = BASE64_STANDARD.encode(format!(". /lab.sh\n{script}\n"));
        let mut agent = self.guest.agent.lock().unwrap_or_else(PoisonError::into_inner);
        agent.write_all(format!("{id} {script}\n").as_bytes()).expect("the guest lives");
        drop(agent);
        answer.recv_timeout(limit).unwrap_or_else(|_| panic!("no answer of the guest to: {script}"))
    }

    /// Runs a script that succeeds, and gives what it prints.
    #[track_caller]
    pub fn ask(&self, script: &str) -> String {
        let run = self.sh(script);
        assert_eq!(run.code, Some(0), "{script}: {}{}", run.text(), run.stderr);
        run.text().trim().to_owned()
    }

    /// Where our initiator reaches a port of the guest's.
    ///
    /// # Panics
    /// It is not forwarded.
    pub fn address(&self, port: Port) -> SocketAddr {
        let service = port as u16;
        let port = match self.side {
            Side::Host => self.guest.ports[&service],
            Side::Guest => service,
        };
        SocketAddr::from(([127, 0, 0, 1], port))
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
        let path =
            format!("{}/tests/fixtures/{}/{fixture}.txt", env!("CARGO_MANIFEST_DIR"), self.guest.suite);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(log.contains(line), "no {line:?} in:\n{log}");
        }
    }

    /// How many connections' sending and receiving ends the guest's kernel took over to seal and open records while
    /// `act` ran, where nothing failed to decrypt.
    ///
    /// # Panics
    /// Something did.
    pub fn tls_grown(&self, act: impl FnOnce()) -> [u64; 2] {
        let before = self.tls_stat();
        act();
        let after = self.tls_stat();
        assert_eq!(before["TlsDecryptError"], after["TlsDecryptError"]);
        ["TlsTxSw", "TlsRxSw"].map(|name| after[name] - before[name])
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
