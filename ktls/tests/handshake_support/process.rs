//! Other people's TLS as child processes, and the tests that need what is not there.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

#[path = "port.rs"]
mod port;

pub(crate) use port::Port;

/// How long anything may take on a slow machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Says that a test was skipped, and why: to a person, and to the file that counts.
pub fn skip(name: &str, why: &str) {
    eprintln!("SKIPPED {name}: {why}");
    if let Some(path) = std::env::var_os("NVME_TCP_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{name}: {why}"))
            .expect("the list of skipped tests is writable");
    }
}

/// The first line that a tool says of its version; `None` where it is not installed.
pub fn version(tool: &str, argument: &str) -> Option<String> {
    let output = Command::new(tool).arg(argument).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

#[derive(Default)]
struct Said {
    bytes: Mutex<Vec<u8>>,
    more: Condvar,
}

/// A child process that ends with the test.
pub struct Peer {
    child: Child,
    said: Arc<Said>,
}

impl Peer {
    /// Starts `tool`; both its outputs are kept together.
    pub fn start<S: AsRef<OsStr>>(tool: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(tool);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Said::default());
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        Self { child, said }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// All that it has said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.bytes.lock().unwrap()).into_owned()
    }

    /// Waits until it has said `text`.
    pub fn wait_for(&self, text: &str) {
        let end = Instant::now() + DEADLINE;
        let mut bytes = self.said.bytes.lock().unwrap();
        while !bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in: {}", String::from_utf8_lossy(&bytes));
            bytes = self.said.more.wait_timeout(bytes, left).unwrap().0;
        }
    }

    /// Connects to it as soon as it listens.
    pub fn connect(&mut self, port: &Port) -> TcpStream {
        self.retry(|| TcpStream::connect(port.address()))
    }

    /// Takes its connection.
    pub fn accept(&mut self, listener: &TcpListener) -> TcpStream {
        listener.set_nonblocking(true).unwrap();
        let stream = self.retry(|| listener.accept()).0;
        stream.set_nonblocking(false).unwrap();
        stream
    }

    fn retry<T>(&mut self, mut attempt: impl FnMut() -> std::io::Result<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            match attempt() {
                Ok(done) => return done,
                Err(error) => {
                    let gone = self.child.try_wait().unwrap();
                    assert!(gone.is_none() && Instant::now() < end, "{error}, {gone:?}: {}", self.said());
                    // Nothing tells when another process listens, or that it ended before it connected.
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps what comes out of `source`. The thread ends with the process at its other end.
fn listen(mut source: impl Read + Send + 'static, said: &Arc<Said>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = source.read(&mut chunk) {
            said.bytes.lock().unwrap().extend_from_slice(&chunk[..len]);
            said.more.notify_all();
        }
    });
}

/// Runs the rest of the test `name` in a network namespace of its own, for a server that binds every
/// address: `true` inside of it. Outside, the inner run has been awaited, or the test skipped.
pub fn in_own_network(name: &str) -> bool {
    const INSIDE: &str = "KTLS_TEST_OWN_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|status| status.success()), "the loopback device comes up");
        return true;
    }
    let unshare = |words: &[&OsStr]| {
        let mut command = Command::new("unshare");
        command.arg("--net").args(words).stdin(Stdio::null());
        command
    };
    let probe = unshare(&["ip".as_ref(), "link".as_ref()]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        skip(name, "no network namespace can be made here (`unshare --net ip link`; needs root)");
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let inner = unshare(&[this.as_os_str(), "--exact".as_ref(), name.as_ref(), "--nocapture".as_ref()])
        .env(INSIDE, "1")
        .status();
    assert!(inner.unwrap().success(), "the test fails in its own network namespace");
    false
}
