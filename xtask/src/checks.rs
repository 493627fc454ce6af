//! What can be said of the sources without running them.

use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::tally::Tally;
use crate::timed;
use crate::workspace::Workspace;

const DEADLINE: Duration = Duration::from_secs(15 * 60);
const POSSIBLE_DEADLINE: Duration = Duration::from_secs(60);

/// One check.
struct Check {
    name: &'static str,
    command: Command,
    /// Succeeds where the check can be made: its tool is there, and what the tool needs.
    possible: Command,
    /// What is to be done where it cannot.
    mend: &'static str,
}

/// Runs every check; each is one line in the tally.
pub(crate) fn run(workspace: &Workspace, tally: &mut Tally) {
    for check in all(workspace) {
        let possible = process::kept(&check.possible, POSSIBLE_DEADLINE);
        if !possible.is_ok_and(|(ended, _)| ended.success()) {
            tally.skipped.push(format!("{}: cannot be had here ({})", check.name, check.mend));
            continue;
        }
        match timed(check.name, || process::shown(&check.command, DEADLINE)) {
            Ok(ended) if ended.success() => tally.passed += 1,
            Ok(ended) => tally.failed.push(format!("{}: {ended}", check.name)),
            Err(error) => tally.failed.push(format!("{}: {error}", check.name)),
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
