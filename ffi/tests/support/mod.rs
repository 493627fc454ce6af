//! What the tests of the C library share: tools, compiled programs, targets.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nvme_tcp::auth::{Authentication, DhchapSecret, SecretHash};
use nvme_tcp::psk::{ConfiguredKey, KeyHash};
use nvme_tcp_target::proto::C2hSuccess;
use nvme_tcp_target::{FaultPlan, KeyRing, Listener, Namespace, Subsystem, Target, TargetBuilder};

pub(crate) mod documented;
pub(crate) mod programs;

/// Longer than anything here takes on a slow machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);
pub(crate) const SUBSYSTEM_NQN: &str = "nqn.2024-01.lab.test:c";
/// A subsystem that wants its host to authenticate itself.
pub(crate) const CHECKED_NQN: &str = "nqn.2024-01.lab.test:c-checked";
pub(crate) const HOST_NQN: &str = "nqn.2024-01.lab.test:c-host";
pub(crate) const NAMESPACE_SIZE: u64 = 8 << 20;

/// The folder of this package.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// Where cargo has put the C library: beside this program.
pub(crate) fn built() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.parent().unwrap().to_owned()
}

/// The C library as cargo has built it: "so" or "a".
pub(crate) fn library(kind: &str) -> PathBuf {
    let path = built().join(format!("libnvme_tcp_c.{kind}"));
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// A folder that goes away again.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A program of this machine.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Says that a test was skipped, and why: to a person, and to the file that counts.
pub(crate) fn skip(name: &str, why: &str) {
    eprintln!("SKIPPED {name}: {why}");
    if let Some(path) = std::env::var_os("NVME_TCP_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{name}: {why}\n").as_bytes())).unwrap();
    }
}

/// Runs a program to its end, which must be a good one; gives its output.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let (good, said, complaints) = ended(command);
    assert!(good, "{command:?} failed:\n{said}{complaints}");
    said
}

/// Runs a program to its end: whether that was a good one, its output and its error output.
#[track_caller]
pub(crate) fn ended(command: &mut Command) -> (bool, String, String) {
    ended_within(command, DEADLINE)
}

/// The same within another time.
#[track_caller]
pub(crate) fn ended_within(command: &mut Command, limit: Duration) -> (bool, String, String) {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Read beside the wait, so that a full pipe holds up nobody; both end with the program.
    let out = listen(child.stdout.take().unwrap());
    let err = listen(child.stderr.take().unwrap());
    let (send, over) = mpsc::channel::<()>();
    let id = child.id();
    let watch = std::thread::spawn(move || {
        if over.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Its own process, by its id, not waited for yet.
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
    });
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    let status = child.wait().unwrap();
    drop(send);
    watch.join().unwrap();
    (status.success(), out, err)
}

fn listen(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Compiles a C source of this package against the header and the shared library; `None` without a compiler.
pub(crate) fn compiled(source: &str, scratch: &Scratch, flags: &[&str]) -> Option<PathBuf> {
    let gcc = tool("gcc")?;
    let out = scratch.path(&source.replace('/', "_").replace(".c", ""));
    let mut command = Command::new(gcc);
    command.args([
        "-std=c11",
        "-D_GNU_SOURCE",
        "-O1",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "-pthread",
    ]);
    command
        .args(flags)
        .arg("-I")
        .arg(folder().join("include"))
        .arg(folder().join(source))
        .arg("-o")
        .arg(&out);
    // By its name, as any program would find it: the SONAME is not that of the file that cargo makes.
    let name = scratch.path("libnvme_tcp.so.0");
    if !name.exists() {
        std::os::unix::fs::symlink(library("so"), &name).unwrap();
    }
    command.arg(&name).arg(format!("-Wl,-rpath,{}", name.parent().unwrap().display()));
    run(command.arg("-ldl"));
    Some(out)
}

/// A target in this process: two subsystems, one plain, one with TLS.
pub(crate) struct Served {
    pub(crate) target: Target,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) key: ConfiguredKey,
    pub(crate) secret: DhchapSecret,
}

/// Starts one.
pub(crate) fn served() -> Served {
    served_with(Namespace::ram(NAMESPACE_SIZE))
}

/// Starts one with this for namespace 1.
pub(crate) fn served_with(first: Namespace) -> Served {
    start(first, |target| target)
}

/// Starts one that does wrong what this plan says. Each read has a response of its own, which may then be one with
/// another status.
pub(crate) fn faulty(plan: &FaultPlan) -> Served {
    start(Namespace::ram(NAMESPACE_SIZE), |target| {
        target.faults(plan.clone()).config(|config| config.connection.c2h_success = C2hSuccess::Never)
    })
}

fn start(first: Namespace, change: impl FnOnce(TargetBuilder) -> TargetBuilder) -> Served {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let subsystem = Subsystem::new(SUBSYSTEM_NQN)
        .namespace(1, first)
        .namespace(2, Namespace::ram(NAMESPACE_SIZE))
        .namespace(3, Namespace::ram(NAMESPACE_SIZE).metadata_bytes(8));
    let secret = DhchapSecret::generate(SecretHash::Sha256).unwrap();
    let checked = Subsystem::new(CHECKED_NQN)
        .namespace(1, Namespace::ram(NAMESPACE_SIZE))
        .allow_host_with(HOST_NQN, Authentication::new(secret.clone()));
    let target = Target::builder()
        .subsystem(subsystem)
        .subsystem(checked)
        .listen(Listener::plain(any))
        .listen(Listener::tls(any, KeyRing::new().key(key.clone())));
    let target = change(target).start().unwrap();
    let [plain, tls] = target.local_addrs()[..] else { panic!("two listeners") };
    Served { target, plain, tls, key, secret }
}

impl Served {
    /// A namespace of it, for a program.
    pub(crate) fn uri(&self, tls: bool) -> String {
        let address = if tls { self.tls } else { self.plain };
        format!("nvme+tcp://{address}/{SUBSYSTEM_NQN}/1")
    }

    /// Its key, in a file.
    pub(crate) fn key_file(&self, scratch: &Scratch) -> PathBuf {
        let path = scratch.path("image.key");
        if !path.exists() {
            self.key.write_file(&path).unwrap();
        }
        path
    }
}

/// A file with bytes that repeat nowhere.
pub(crate) fn image(path: &Path, len: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    std::fs::write(path, bytes).unwrap();
}
