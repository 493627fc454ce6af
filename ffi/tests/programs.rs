//! C programs against a target in this process: every function, every documented error, the examples; as they
//! are, under the sanitizers of gcc, and under valgrind.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{NAMESPACE_SIZE, Scratch, Served, compiled, ended, image, library, run, served, skip, tool};

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    Sanitized,
    Valgrind,
}

/// Runs C sources, each with its arguments, one after the other, in one of the ways.
struct Programs {
    way: Way,
    scratch: Scratch,
    served: Served,
}

impl Programs {
    fn new(way: Way, test: &str) -> Option<Self> {
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
    fn command(&self, source: &str) -> Command {
        let flags: &[&str] = match self.way {
            Way::Sanitized => &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
            _ => &[],
        };
        let program = compiled(source, &self.scratch, flags).unwrap();
        if self.way != Way::Valgrind {
            let mut command = Command::new(program);
            command.env("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0");
            return command;
        }
        let mut command = Command::new("valgrind");
        command.arg(format!("--suppressions={}", support::folder().join("tests/valgrind.supp").display()));
        command.args(["-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
        command.arg(program);
        command
    }

    fn good(&self, source: &str, arguments: &[&str]) -> String {
        run(self.command(source).args(arguments))
    }

    fn all_calls(&self) {
        let (plain, tls) = (self.served.uri(false), self.served.uri(true));
        let (key, folder) = (self.served.key_file(&self.scratch), self.scratch.path(""));
        let (key, folder) = (key.to_str().unwrap(), folder.to_str().unwrap());
        let secret = self.served.secret.to_text();
        assert_eq!(self.good("tests/c/sync.c", &[&plain, &tls, key, folder, &secret]), "good\n");
        assert_eq!(self.good("tests/c/queue.c", &[&plain]), "good\n");
        assert_eq!(self.good("tests/c/queue.c", &[&tls, key, "digests"]), "good\n");
        assert_eq!(self.good("tests/c/ktls.c", &[folder]), "good\n");
    }

    fn examples(&self) {
        let (plain, tls) = (self.served.uri(false), self.served.uri(true));
        let key = self.served.key_file(&self.scratch);
        let key = key.to_str().unwrap();
        let said = self.good("examples/discover.c", &[&self.served.plain.to_string()]);
        assert!(said.contains(support::SUBSYSTEM_NQN) && said.contains("TLS required"), "{said}");
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

    fn echo(&self) {
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

#[test]
fn every_call_and_every_documented_error() {
    let Some(programs) = Programs::new(Way::Plain, "every_call") else { return };
    programs.all_calls();
}

#[test]
fn every_call_under_the_sanitizers() {
    let Some(programs) = Programs::new(Way::Sanitized, "every_call_sanitized") else { return };
    programs.all_calls();
}

#[test]
fn every_call_under_valgrind() {
    let Some(programs) = Programs::new(Way::Valgrind, "every_call_valgrind") else { return };
    programs.all_calls();
}

#[test]
fn the_examples() {
    let Some(programs) = Programs::new(Way::Plain, "examples") else { return };
    programs.examples();
}

#[test]
fn the_examples_under_the_sanitizers() {
    let Some(programs) = Programs::new(Way::Sanitized, "examples_sanitized") else { return };
    programs.examples();
}

#[test]
fn the_examples_under_valgrind() {
    let Some(programs) = Programs::new(Way::Valgrind, "examples_valgrind") else { return };
    programs.examples();
}

#[test]
fn signals_forks_and_unloading() {
    let Some(programs) = Programs::new(Way::Plain, "boundary") else { return };
    let mut command = programs.command("tests/c/boundary.c");
    command.arg(library("so")).arg(programs.served.uri(false));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    programs.served.target.shutdown();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    line.clear();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "good\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_shared_library_has_its_name() {
    let Some(readelf) = tool("readelf") else {
        return skip("programs::soname", "no readelf (package binutils)");
    };
    let said = run(Command::new(readelf).arg("-d").arg(Path::new(&library("so"))));
    assert!(said.contains("[libnvme_tcp.so.0]") && said.contains("NODELETE"), "{said}");
}
