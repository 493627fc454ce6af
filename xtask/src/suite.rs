//! The tests of the workspace, run on this machine.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::lab::qemu::Lab;
use crate::process;
use crate::tally::{Tally, TestReport};
use crate::workspace::Workspace;

/// The file to which a test that cannot run appends `name: why`. The test harness counts such a test as
/// passed and keeps its output to itself.
pub(crate) const SKIPPED: &str = "NVME_TCP_SKIPPED";
/// The path of the tool `nvme-tcp`, for tests that run it.
pub(crate) const TOOL: &str = "NVME_TCP_TOOL";

/// How many random fault plans the simulation goes through: all that are asked for, whatever the profile.
const PLANS: (&str, &str) = ("NVME_TCP_PLANS", "10000");

const BUILD_DEADLINE: Duration = Duration::from_secs(30 * 60);
const TEST_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Builds the tool as its users get it.
pub(crate) fn build_tool(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let build = workspace.cargo(&["build", "--release", "-p", "nvme-tcp-cli"]);
    let ended = process::shown(&build, BUILD_DEADLINE)?;
    if ended.success() {
        tally.passed += 1;
    } else {
        tally.failed.push(format!("release build of nvme-tcp: {ended}"));
    }
    Ok(())
}

/// Tests that sit beside the code they test; quick.
pub(crate) fn unit_tests(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    tests(workspace, &["test", "--workspace", "--no-fail-fast", "--lib", "--bins"], None, tally)
}

/// Every test there is.
pub(crate) fn all_tests(workspace: &Workspace, lab: &Lab, tally: &mut Tally) -> Result<()> {
    tests(workspace, &["test", "--workspace", "--no-fail-fast"], Some(lab), tally)
}

/// The tests that are for the QEMU lab alone.
pub(crate) fn qemu_tests(workspace: &Workspace, lab: &Lab, tally: &mut Tally) -> Result<()> {
    tests(workspace, &["test", "--workspace", "--no-fail-fast", "--test", "qemu_*"], Some(lab), tally)
}

fn tests(workspace: &Workspace, arguments: &[&str], lab: Option<&Lab>, tally: &mut Tally) -> Result<()> {
    // First by itself: how long a machine compiles says nothing about the tests' own time.
    let ended = process::shown(&workspace.cargo(&[arguments, &["--no-run"]].concat()), BUILD_DEADLINE)?;
    if !ended.success() {
        tally.failed.push(format!("building the tests: {ended}"));
        return Ok(());
    }
    let skipped = workspace.target.join("xtask-skipped");
    remove_file(&skipped)?;
    let mut command: Command = workspace.cargo(arguments);
    command.env(SKIPPED, &skipped).env(TOOL, workspace.tool()).env(PLANS.0, PLANS.1);
    if let Some(lab) = lab {
        lab.tell(&mut command);
    }

    let mut report = TestReport::default();
    let ended = process::lines(&command, TEST_DEADLINE, |line| {
        println!("{line}");
        report.line(line);
    })?;
    report.finish();
    if !ended.success() && report.failed.is_empty() {
        report.failed.push(format!("cargo {}: {ended}", arguments.join(" ")));
    }
    tally.add_tests("", report, &read_file(&skipped)?);
    Ok(())
}

/// The text of a file, empty if it is not there.
pub(crate) fn read_file(path: &Path) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
