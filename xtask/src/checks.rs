//! What can be said of the sources without running them.

use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::tally::Tally;
use crate::timed;
use crate::workspace::{Workspace, answers};

const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// One check: a name, the command, and what tells that its tool is there.
struct Check {
    name: &'static str,
    command: Command,
    tool: Command,
    /// How to get the tool.
    mend: &'static str,
}

/// Runs every check; each is one line in the tally.
pub(crate) fn run(workspace: &Workspace, tally: &mut Tally) {
    for mut check in all(workspace) {
        if !answers(&mut check.tool) {
            tally.skipped.push(format!("{}: not installed ({})", check.name, check.mend));
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

    vec![
        Check {
            name: "format",
            command: cargo(&["fmt", "--all", "--check"]),
            tool: cargo(&["fmt"]),
            mend: "rustup component add rustfmt",
        },
        Check {
            name: "clippy",
            command: cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            tool: cargo(&["clippy"]),
            mend: "rustup component add clippy",
        },
        Check { name: "rustdoc", command: doc, tool: Command::new("rustdoc"), mend: "part of Rust" },
        Check { name: "package", command: package, tool: cargo(&[]), mend: "part of Rust" },
        Check { name: "typos", command: typos, tool: Command::new("typos"), mend: "cargo install typos-cli" },
        Check {
            name: "cargo-deny",
            command: cargo(&["deny", "--workspace", "check"]),
            tool: cargo(&["deny"]),
            mend: "cargo install cargo-deny",
        },
    ]
}
