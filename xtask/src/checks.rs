//! What can be said of the sources without running them.

use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::tally::Tally;
use crate::timed;
use crate::workspace::Workspace;

const DEADLINE: Duration = Duration::from_secs(15 * 60);
const POSSIBLE_DEADLINE: Duration = Duration::from_secs(60);

/// One check: a line in the tally.
struct Check {
    name: &'static str,
    command: Command,
    /// Succeeds where the check can be made: its tool is there, and what the tool needs.
    possible: Command,
    /// What is to be done where it cannot.
    mend: &'static str,
}

/// Runs every check that is quick.
pub(crate) fn run(workspace: &Workspace, tally: &mut Tally) {
    for check in all(workspace) {
        check.make(tally);
    }
}

/// Runs under Miri what makes no system call and does not end in ring's assembler: tests that do are marked so where
/// they stand. Slow, so it is not among the others.
pub(crate) fn miri(workspace: &Workspace, tally: &mut Tally) {
    let nightly = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo", "miri"]).args(arguments).current_dir(&workspace.root);
        command
    };
    let packages = ["-p", "linux-ktls-sys", "-p", "linux-ktls"];
    let mut command = nightly(&["test"]);
    command.args(packages).args(["--lib", "--test", "freebsd", "--test", "fuzz"]);
    // The corpus is in files; a case takes a thousand times as long as elsewhere.
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
    let check = Check {
        name: "miri",
        command,
        possible: nightly(&["--version"]),
        mend: "rustup component add --toolchain nightly miri rust-src",
    };
    check.make(tally);
}

impl Check {
    fn make(&self, tally: &mut Tally) {
        let possible = process::kept(&self.possible, POSSIBLE_DEADLINE);
        if !possible.is_ok_and(|(ended, _)| ended.success()) {
            tally.skipped.push(format!("{}: cannot be had here ({})", self.name, self.mend));
            return;
        }
        match timed(self.name, || process::shown(&self.command, DEADLINE)) {
            Ok(ended) if ended.success() => tally.passed += 1,
            Ok(ended) => tally.failed.push(format!("{}: {ended}", self.name)),
            Err(error) => tally.failed.push(format!("{}: {error}", self.name)),
        }
    }
}

fn all(workspace: &Workspace) -> Vec<Check> {
    let cargo = |arguments: &[&str]| workspace.cargo(arguments);

    let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");

    let mut typos = Command::new("typos");
    typos.current_dir(&workspace.root);

    // Together, so that those that need each other are found here and not in the registry.
    let mut package = cargo(&["package", "--quiet", "--no-verify", "--allow-dirty"]);
    for public in workspace.packages.values().filter(|package| package.public) {
        package.args(["-p", &public.name]);
    }

    let version = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version");
        command
    };

    vec![
        Check {
            name: "format",
            command: cargo(&["fmt", "--all", "--check"]),
            possible: cargo(&["fmt", "--version"]),
            mend: "rustup component add rustfmt",
        },
        Check {
            name: "clippy",
            command: cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            possible: cargo(&["clippy", "--version"]),
            mend: "rustup component add clippy",
        },
        Check {
            name: "rustdoc",
            command: doc,
            possible: version("rustdoc"),
            mend: "it is part of Rust: put it on the PATH",
        },
        Check {
            name: "package",
            command: package,
            possible: cargo(&["--version"]),
            mend: "it is part of Rust",
        },
        Check { name: "typos", command: typos, possible: version("typos"), mend: "cargo install typos-cli" },
        Check {
            name: "cargo-deny",
            command: cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"]),
            possible: cargo(&["deny", "--version"]),
            mend: "cargo install cargo-deny",
        },
        // By itself, because the database comes over the network: that it cannot be reached says nothing
        // of the sources.
        Check {
            name: "cargo-deny advisories",
            command: cargo(&["deny", "--workspace", "check", "advisories"]),
            possible: cargo(&["deny", "fetch", "db"]),
            mend: "cargo install cargo-deny, and a network that reaches github.com",
        },
    ]
}
