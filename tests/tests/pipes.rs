//! Pipes: what comes once and may be long in coming, and what keeps nothing of what it is given.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp_target::{Fault, FaultPlan, Namespace};
use system_tests::{DEADLINE, HOST_NQN, KeyFile, Process, Server, Tool, faulty, image, skip};
use tempfile::TempDir;

const SIZE: u64 = 8 << 20;
/// The most that a transfer may take to notice that the target is gone. It takes a few milliseconds on a
/// machine that does nothing else.
const PROMPTLY: Duration = Duration::from_secs(5);

/// A file that a target serves, so that a test sees what was written.
struct Disk {
    folder: TempDir,
    path: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
        Self { folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Waits until it begins with `bytes`. A file has no event to wait for.
    fn holds(&self, bytes: &[u8]) {
        let end = Instant::now() + DEADLINE;
        while fs::read(&self.path).unwrap()[..bytes.len()] != *bytes {
            assert!(Instant::now() < end, "the image did not arrive");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A named pipe beside it.
    fn pipe(&self) -> PathBuf {
        let path = self.folder.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }
}

/// Starts to copy from a pipe, gives it the beginning of an image, and waits until that has arrived.
fn begin(server: &Server, disk: &Disk, flags: &[&str]) -> (Process, ChildStdin) {
    let mut copy = Tool::new(["copy", "-", &server.uri(1)]).args(flags).piped_input().start();
    let mut stdin = copy.take_stdin();
    let beginning = image(1, 1 << 20);
    stdin.write_all(&beginning).unwrap();
    disk.holds(&beginning);
    (copy, stdin)
}

/// Kills the target of a copy whose source rests.
fn target_dies(server: Server, disk: &Disk, flags: &[&str]) {
    let (copy, stdin) = begin(&server, disk, flags);
    let killed = Instant::now();
    server.kill();
    let run = copy.finish();
    let took = killed.elapsed();
    run.failed(1, "connection", "what was not flushed may not be written");
    assert!(took < PROMPTLY, "{took:?}");
    drop(stdin);
}

#[test]
fn a_target_that_dies_while_its_source_rests_ends_the_copy() {
    for queues in ["1", "4"] {
        let disk = Disk::new();
        target_dies(Server::plain([disk.path()]), &disk, &["-i", queues]);
    }
}

#[test]
fn a_target_that_dies_while_its_source_rests_ends_the_copy_over_tls() {
    let (disk, key) = (Disk::new(), KeyFile::generate("sha256"));
    target_dies(Server::tls([disk.path()], &key), &disk, &key.flags());
}

#[test]
fn a_target_that_falls_silent_while_its_source_rests_ends_the_copy() {
    let disk = Disk::new();
    let server = Server::plain([disk.path()]);
    let (copy, stdin) = begin(&server, &disk, &["--keep-alive-tmo", "1"]);
    // Its connections stay open, and nobody answers.
    kill(Pid::from_raw(server.id() as i32), Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    copy.finish().failed(1, "no answer to ", "the target is overloaded or gone");
    // Not when a command would have had its time.
    assert!(stopped.elapsed() < Duration::from_secs(20), "{:?}", stopped.elapsed());
    drop(stdin);
}

#[test]
fn a_pipe_with_a_name_is_verified_by_what_came_out_of_it() {
    let disk = Disk::new();
    let server = Server::plain([disk.path()]);
    let pipe = disk.pipe();
    let bytes = image(2, (1 << 20) + 3);
    let copy = Tool::new(["copy", pipe.to_str().unwrap(), &server.uri(1), "--verify", "--json"]).start();
    fs::write(&pipe, &bytes).unwrap();
    let report = copy.finish().succeeded().json();
    assert_eq!((&report["bytes"], &report["verified"]), (&bytes.len().into(), &true.into()));
    disk.holds(&bytes);
    // Other names of standard input, as a shell's <(...) gives them.
    for source in ["-", "/dev/stdin", "/proc/self/fd/0"] {
        let copy = Tool::new(["copy", source, &server.uri(1), "--verify"]).input(bytes.clone());
        let run = copy.run().succeeded();
        assert!(run.text().contains("read back over a new connection: the same"), "{}", run.text());
    }
}

#[test]
fn what_went_into_a_pipe_with_a_name_is_verified() {
    let disk = Disk::new();
    let server = Server::plain([disk.path()]);
    let pipe = disk.pipe();
    let copy = Tool::new(["copy", &server.uri(1), pipe.to_str().unwrap(), "--verify", "--json"]).start();
    // Whoever opens a pipe waits for its other end.
    let reader = thread::spawn(move || fs::read(&pipe).unwrap());
    assert_eq!(copy.finish().succeeded().json()["verified"], true);
    assert!(reader.join().unwrap() == vec![0; SIZE as usize]);
}

#[test]
fn a_difference_is_found_without_reading_a_pipe_again() {
    let plan = FaultPlan::new();
    plan.io(PduType::C2hData, 1, Fault::Data);
    let served = faulty(Namespace::ram(1 << 20), None, &plan);
    let disk = Disk::new();
    let pipe = disk.pipe();
    let name = pipe.to_str().unwrap();
    let copy = Tool::new(["copy", name, &served.uri(), "-i", "1", "--verify"]).start();
    fs::write(&pipe, image(1, 1 << 20)).unwrap();
    copy.finish().failed(1, &format!("the namespace differs from {name}: SHA-256 "), "--data-digest");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_to_talk_about() {
    let server = Server::plain(["ram:64M"]);
    let (mut out, taken) = std::os::unix::net::UnixStream::pair().unwrap();
    let copy = Tool::new(["copy", &server.uri(1), "-", "--hostnqn", HOST_NQN]);
    let copy = copy.stdout(std::os::fd::OwnedFd::from(taken)).start();
    out.read_exact(&mut [0; 4096]).unwrap();
    drop(out);
    let run = copy.finish();
    assert_eq!((run.code, &*run.stderr), (Some(1), ""));
}

/// The calls of fdatasync(2) by a copy to `destination`, as strace shows them.
fn syncs(server: &Server, destination: &str, stdout: Stdio) -> Option<String> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=fdatasync", "-o"]).arg(log.path()).arg(Tool::path());
    command.args(["copy", &server.uri(1), destination]);
    command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let run = Process::try_start(&mut command)?.finish();
    // Where this process may not be traced, neither may its children.
    match run.stderr.contains("strace: ") {
        true => None,
        false => {
            drop(run.succeeded());
            Some(fs::read_to_string(log.path()).unwrap())
        }
    }
}

#[test]
fn what_was_copied_out_is_on_the_device_before_the_copy_succeeds() {
    let server = Server::plain(["ram:1M"]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let Some(calls) = syncs(&server, &name(&file("image")), Stdio::null()) else {
        return skip(
            "what_was_copied_out_is_on_the_device_before_the_copy_succeeds",
            "strace is absent, or may not trace",
        );
    };
    assert!(calls.contains("= 0"), "{calls}");
    // Standard output as well, where it is a file.
    let redirected = fs::File::create(file("redirected")).unwrap();
    assert!(syncs(&server, "-", redirected.into()).unwrap().contains("= 0"));
    // What keeps nothing cannot be asked to, and that is no failure.
    assert!(syncs(&server, "/dev/null", Stdio::null()).unwrap().contains("EINVAL"));
}
