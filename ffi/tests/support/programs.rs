//! C programs, compiled and run in one of several ways against a target in this process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nvme_tcp::spec::pdu::PduType;
use nvme_tcp_target::{Fault, FaultPlan, Field};

use super::documented::PROVOKED;
use super::{
    NAMESPACE_SIZE, SUBSYSTEM_NQN, Scratch, Served, compiled, ended, faulty, folder, image, run, served,
    skip, tool,
};

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Plain,
    Sanitized,
    Valgrind,
}

/// Runs C sources, each with its arguments, one after the other, in one of the ways.
pub(crate) struct Programs {
    way: Way,
    pub(crate) scratch: Scratch,
    pub(crate) served: Served,
}

impl Programs {
    pub(crate) fn new(way: Way, test: &str) -> Option<Self> {
        let missing = match way {
            _ if tool("gcc").is_none() => Some("no gcc (package gcc)"),
            Way::Valgrind if tool("valgrind").is_none() => Some("no valgrind (package valgrind)"),
            _ => None,
        };
        if let Some(why) = missing {
            skip(&format!("programs::{test}"), why);
            return None;
        }
        Some(Self { way, scratch: Scratch::new(), served: served() })
    }

    /// The command that runs a source; its arguments are to be added.
    pub(crate) fn command(&self, source: &str) -> Command {
        let flags: &[&str] = match self.way {
            Way::Sanitized => &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
            _ => &[],
        };
        let program = compiled(source, &self.scratch, flags).unwrap();
        if self.way != Way::Valgrind {
            let mut command = Command::new(program);
            command.env("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0").env(PROVOKED, self.provoked());
            return command;
        }
        let mut command = Command::new("valgrind");
        command.arg(format!("--suppressions={}", folder().join("tests/valgrind.supp").display()));
        command.args(["-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
        command.arg(program).env(PROVOKED, self.provoked());
        command
    }

    /// Where programs note which errors they have provoked.
    pub(crate) fn provoked(&self) -> PathBuf {
        self.scratch.path("provoked")
    }

    pub(crate) fn good(&self, source: &str, arguments: &[&str]) -> String {
        run(self.command(source).args(arguments))
    }

    pub(crate) fn all_calls(&self) {
        let (plain, tls) = (self.served.uri(false), self.served.uri(true));
        let (key, folder) = (self.served.key_file(&self.scratch), self.scratch.path(""));
        let (key, folder) = (key.to_str().unwrap(), folder.to_str().unwrap());
        let secret = self.served.secret.to_text();
        assert_eq!(self.good("tests/c/setup.c", &[&plain, &tls, folder]), "good\n");
        assert_eq!(self.good("tests/c/sync.c", &[&plain, &tls, key, &secret]), "good\n");
        self.queues(&[&plain]);
        self.queues(&[&tls, key, "digests"]);
        self.queues(&[&plain, "uring"]);
        // Nothing is waited for that is here already, and only the descriptor does not show: by seconds, it would be.
        let without = self.queues(&[&tls, key]);
        let with = self.queues(&[&tls, key, "uring"]);
        assert!(with < 5 * without + Duration::from_secs(20), "{with:?} by io_uring, {without:?} without");
        assert_eq!(self.good("tests/c/ktls.c", &[folder]), "good\n");
        assert_eq!(self.good("tests/c/ktls_ends.c", &[]), "good\n");
        // A child leaves what its parent made as it is, which valgrind takes for leaks.
        if self.way != Way::Valgrind {
            assert_eq!(self.good("tests/c/forked.c", &[&tls, key]), "good\n");
        }
        self.faults();
    }

    /// Every call of a queue; how long that took.
    fn queues(&self, arguments: &[&str]) -> Duration {
        let mut command = self.command("tests/c/queue.c");
        let start = Instant::now();
        assert_eq!(run(command.args(arguments)), "good\n");
        start.elapsed()
    }

    /// What has to do with TLS.
    pub(crate) fn over_tls(&self) {
        let (tls, key) = (self.served.uri(true), self.served.key_file(&self.scratch));
        let (key, folder) = (key.to_str().unwrap(), self.scratch.path(""));
        assert_eq!(self.good("tests/c/ktls.c", &[folder.to_str().unwrap()]), "good\n");
        assert_eq!(self.good("tests/c/ktls_ends.c", &[]), "good\n");
        assert_eq!(self.good("tests/c/queue.c", &[&tls, key]), "good\n");
        self.echo();
    }

    /// The programs that say what the target is to do wrong before they make it do that.
    fn faults(&self) {
        let key = self.scratch.path("faulty.key");
        let plan = FaultPlan::new();
        let served = faulty(&plan);
        served.key.write_file(&key).unwrap();
        let mut command = self.command("tests/c/faults.c");
        command.args([served.uri(false), served.uri(true), served.secret.to_text().to_string()]).arg(key);
        with_faults(&mut command, &plan);
        with_faults(self.command("tests/c/commands.c").arg(served.uri(false)), &plan);
    }

    pub(crate) fn examples(&self) {
        let (plain, tls) = (self.served.uri(false), self.served.uri(true));
        let key = self.served.key_file(&self.scratch);
        let key = key.to_str().unwrap();
        let said = self.good("examples/discover.c", &[&self.served.plain.to_string()]);
        assert!(said.contains(SUBSYSTEM_NQN) && said.contains("TLS required"), "{said}");
        let file = self.scratch.path("image");
        image(&file, NAMESPACE_SIZE as usize - 100);
        let said = self.good("examples/copy.c", &[file.to_str().unwrap(), &tls, key]);
        assert!(said.contains("TLS_AES_128_GCM_SHA256"), "{said}");
        let sum: u64 = fs::read(&file).unwrap().iter().map(|byte| u64::from(*byte)).sum();
        for said in
            [self.good("examples/event_loop.c", &[&plain]), self.good("examples/event_loop.c", &[&tls, key])]
        {
            assert_eq!(said, format!("{} pieces, sum {sum}\n", NAMESPACE_SIZE / 65536));
        }
        self.echo();
        let (good, _, complaint) =
            ended(self.command("examples/copy.c").args([file.to_str().unwrap(), "nvme+tcp://"]));
        assert!(!good && complaint.contains("host"), "{complaint}");
    }

    pub(crate) fn echo(&self) {
        let mut server = self.command("examples/ktls_echo.c");
        let server = server.args(["serve", "0", "a secret of 32 bytes, more or less"]);
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let said = self.good(
            "examples/ktls_echo.c",
            &["connect", port.trim(), "a secret of 32 bytes, more or less", "hello"],
        );
        assert_eq!(said, "hello\n");
        assert!(server.wait().unwrap().success());
    }
}

/// Runs a program whose target follows this plan, as `fault.h` says.
fn with_faults(command: &mut Command, plan: &FaultPlan) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = child.stdin.take().unwrap();
    let mut last = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        last = line.unwrap();
        plan.clear();
        let words: Vec<&str> = last.split(' ').collect();
        match words[..] {
            ["good"] => break,
            [place, ref what @ ..] => plant(plan, place, what),
            [] => {}
        }
        answers.write_all(b"\n").unwrap();
    }
    assert!(child.wait().unwrap().success(), "{command:?}, after {last:?}");
    assert_eq!(last, "good");
}

/// Later than any test lasts.
const LATE: Duration = Duration::from_secs(3600);

/// The next PDU of the kind there goes wrong in this way.
fn plant(plan: &FaultPlan, place: &str, what: &[&str]) {
    let hello = place == "hello";
    let answer = if hello { PduType::IcResp } else { PduType::CapsuleResp };
    let (kind, fault) = match what {
        ["cut"] => (answer, Fault::Cut),
        ["stall"] => (answer, Fault::Stall),
        ["foreign"] if hello => (answer, Fault::Set(Field::Type, 0x42)),
        // A slot that no queue has: the next one may hold an Asynchronous Event Request.
        ["foreign"] => (answer, Fault::Flip(Field::CommandId, 0x0800)),
        ["status", number] => (answer, Fault::Set(Field::Status, number.parse::<u32>().unwrap() << 1)),
        ["digest"] => (PduType::C2hData, Fault::DataDigest),
        ["data"] => (PduType::C2hData, Fault::Data),
        ["late"] => (PduType::C2hData, Fault::Overtaken(LATE)),
        // "nothing"
        _ => return,
    };
    match place {
        "io" => plan.io(kind, 1, fault),
        "admin" => plan.admin(kind, 1, fault),
        _ => plan.any(kind, 1, fault),
    }
}
