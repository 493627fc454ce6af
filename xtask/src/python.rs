//! The Python package: its wheel is built and installed in an environment of its own, and its tests are run there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::process;
use crate::suite::read_file;
use crate::tally::Tally;
use crate::workspace::Workspace;

const PROBE_DEADLINE: Duration = Duration::from_secs(60);
const INSTALL_DEADLINE: Duration = Duration::from_secs(10 * 60);
const BUILD_DEADLINE: Duration = Duration::from_secs(20 * 60);
const TEST_DEADLINE: Duration = Duration::from_secs(20 * 60);

/// Succeeds on a Python that can make an environment and is new enough.
const SUITABLE: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
/// What the build and the tests are made with; `python/pyproject.toml` says what of it.
const EXTRAS: &str = "[test,check]";
const STEP: &str = "Python suite";
/// The environment of the tests, below the target folder.
const ENVIRONMENT: &str = "python-venv";
/// What is about TLS, and quick.
const KERNEL_TESTS: [&str; 6] = [
    "tests/test_ktls.py",
    "tests/test_connect.py",
    "tests/test_namespace.py",
    "tests/test_rotation.py",
    "tests/test_authentication.py",
    "tests/test_aio.py::test_calls",
];
/// Runs the example that the package's documentation begins with.
const FIRST_EXAMPLE: &str = "import doctest, nvme_tcp; raise SystemExit(doctest.testmod(nvme_tcp).failed)";

/// Runs the tests of `python/`; where that cannot be done, one line in the tally says what is missing.
pub(crate) fn run(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    match tests(workspace, tally)? {
        Outcome::Run => {}
        Outcome::Missing(what) => tally.skipped.push(format!("{STEP}: {what}")),
        Outcome::Failed(what) => tally.failed.push(format!("{STEP}: {what}")),
    }
    Ok(())
}

/// The tests of kernel TLS from Python, for a kernel that has it: a command, and the folder to run it in. It wants what
/// [`run`] installs, and writes nowhere but in `TMPDIR`.
pub(crate) fn kernel_tests(workspace: &Workspace) -> Option<(PathBuf, Vec<String>)> {
    let folder = workspace.root.join("python");
    let python = workspace.target.join(ENVIRONMENT).join("bin/python");
    let mut installed = Command::new(&python);
    installed.args(["-c", "import nvme_tcp, pytest"]).current_dir(&workspace.target);
    if !process::kept(&installed, PROBE_DEADLINE).is_ok_and(|(ended, _)| ended.success()) {
        return None;
    }
    let script = "export PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=$TMPDIR/hypothesis
        exec \"$0\" -X dev -m pytest -p no:cacheprovider \"$@\"";
    let mut command = vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()];
    command.push(python.to_string_lossy().into_owned());
    command.extend(KERNEL_TESTS.map(str::to_owned));
    Some((folder, command))
}

enum Outcome {
    /// The tests are in the tally.
    Run,
    Missing(&'static str),
    Failed(String),
}

fn tests(workspace: &Workspace, tally: &mut Tally) -> Result<Outcome> {
    let mut suitable = Command::new("python3");
    suitable.args(["-c", SUITABLE]);
    if !process::kept(&suitable, PROBE_DEADLINE).is_ok_and(|(ended, _)| ended.success()) {
        return Ok(Outcome::Missing(
            "no Python 3.11 or later with venv: apt-get install python3 python3-venv",
        ));
    }
    let folder = workspace.root.join("python");
    let environment = workspace.target.join(ENVIRONMENT);
    let python = environment.join("bin/python");
    let ended = process::shown(&make_environment(&environment), INSTALL_DEADLINE)?;
    if !ended.success() {
        return Ok(Outcome::Failed(format!("python3 -m venv: {ended}")));
    }

    let tools = pip(&python, &["--upgrade", "maturin>=1.9,<2"]);
    if !process::shown(&tools, INSTALL_DEADLINE)?.success() {
        return Ok(Outcome::Missing("maturin cannot be had: is the package index reached?"));
    }
    let wheels = workspace.target.join("wheels");
    // One of another version would be found as well.
    std::fs::remove_dir_all(&wheels).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    let mut build = Command::new(environment.join("bin/maturin"));
    build.args(["build", "--release", "--locked", "--out"]).arg(&wheels).current_dir(&folder);
    build.env("CARGO_TARGET_DIR", &workspace.target);
    let ended = process::shown(&build, BUILD_DEADLINE)?;
    if !ended.success() {
        return Ok(Outcome::Failed(format!("maturin build: {ended}")));
    }
    tally.passed += 1;

    let Some(wheel) = wheel_in(&wheels)? else {
        return Ok(Outcome::Failed(format!("maturin left no wheel in {}", wheels.display())));
    };
    let mut own = wheel.clone().into_os_string();
    own.push(EXTRAS);
    let mut install = pip(&python, &[]);
    install.arg(own);
    if !process::shown(&install, INSTALL_DEADLINE)?.success() {
        return Ok(Outcome::Missing("what the tests use cannot be had: is the package index reached?"));
    }
    // The same version may be there already, from an earlier build.
    let mut replace = pip(&python, &["--force-reinstall", "--no-deps"]);
    replace.arg(&wheel);
    let ended = process::shown(&replace, INSTALL_DEADLINE)?;
    if !ended.success() {
        return Ok(Outcome::Failed(format!("pip install of the wheel: {ended}")));
    }

    let report = workspace.target.join("python-tests.xml");
    let mut pytest = Command::new(&python);
    pytest.args(["-X", "dev", "-m", "pytest", "--junit-xml"]).arg(&report).current_dir(&folder);
    pytest.env("NVME_TCP_WHEEL", &wheel);
    let ended = process::shown(&pytest, TEST_DEADLINE)?;
    let found = read_report(&read_file(&report)?);
    if !ended.success() && found.failed.is_empty() {
        tally.failed.push(format!("{STEP}: pytest: {ended}"));
    }
    tally.skipped.extend(found.skipped);
    tally.passed += found.passed;
    tally.failed.extend(found.failed);
    from_source(workspace, tally)?;
    Ok(Outcome::Run)
}

/// Installs the package from its source into an environment that holds nothing else, as on a fresh machine, and runs its
/// first example there.
fn from_source(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let environment = workspace.target.join("python-fresh");
    let python = environment.join("bin/python");
    let mut make = make_environment(&environment);
    make.arg("--clear");
    let mut install = pip(&python, &[]);
    install.arg(workspace.root.join("python")).env("CARGO_TARGET_DIR", &workspace.target);
    let mut example = Command::new(&python);
    example.args(["-c", FIRST_EXAMPLE]).current_dir(&workspace.target);
    for (what, command, deadline) in [
        ("python3 -m venv", make, INSTALL_DEADLINE),
        ("pip install python/", install, BUILD_DEADLINE),
        ("the first example", example, PROBE_DEADLINE),
    ] {
        let ended = process::shown(&command, deadline)?;
        if !ended.success() {
            tally.failed.push(format!("{STEP}: {what}, in a fresh environment: {ended}"));
            return Ok(());
        }
    }
    tally.passed += 1;
    Ok(())
}

/// Makes an environment, or leaves it as it is.
fn make_environment(folder: &Path) -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "venv"]).arg(folder);
    command
}

/// `pip install` that asks nothing.
fn pip(python: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--no-input"]).args(arguments);
    command
}

fn wheel_in(folder: &Path) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// What a JUnit report says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

/// Reads pytest's JUnit report: one `testcase` for each test, with a `failure`, `error` or `skipped` in it where it
/// did not pass.
fn read_report(text: &str) -> Report {
    let mut report = Report::default();
    for case in text.split("<testcase ").skip(1) {
        let (head, rest) = case.split_once('>').unwrap_or((case, ""));
        let name = ["classname", "name"].map(|field| attribute(head, field));
        let name = format!("python {}::{}", name[0], name[1]);
        let body = if head.ends_with('/') { "" } else { rest.split("</testcase>").next().unwrap_or("") };
        if body.contains("<failure ") || body.contains("<error ") {
            report.failed.push(name);
        } else if let Some((_, skipped)) = body.split_once("<skipped ") {
            report.skipped.push(format!("{name}: {}", attribute(skipped, "message")));
        } else {
            report.passed += 1;
        }
    }
    report
}

/// The value of an attribute of the tag that `text` begins in.
fn attribute(text: &str, name: &str) -> String {
    let value = |start: &str| text.split_once(start).and_then(|(_, rest)| rest.split('"').next());
    let given = if text.starts_with(&format!("{name}=")) { value(&format!("{name}=\"")) } else { None };
    let value = given.or_else(|| value(&format!(" {name}=\""))).unwrap_or_default();
    value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_pytest_writes() {
        let text = r#"<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest">
            <testcase classname="tests.test_a" name="test_one[x&gt;y]" time="0.001" />
            <testcase classname="tests.test_a" name="test_two" time="0.1"><failure message="no &lt;skipped">x
            </failure></testcase>
            <testcase classname="tests.test_b" name="test_three" time="0.1"><skipped type="pytest.skip" message="no openssl">why</skipped></testcase>
            <testcase classname="tests.test_b" name="test_four" time="0.1"><error message="setup"></error></testcase>
            <testcase classname="tests.test_b" name="test_five" time="0.1"><system-out>said</system-out></testcase>
            </testsuite></testsuites>"#;
        let expected = Report {
            passed: 2,
            failed: vec!["python tests.test_a::test_two".into(), "python tests.test_b::test_four".into()],
            skipped: vec!["python tests.test_b::test_three: no openssl".into()],
        };
        assert_eq!(read_report(text), expected);
        assert_eq!(read_report(""), Report::default());
    }
}
