//! The labs: other kernels, run here, for tests that this machine's kernel cannot run.

mod debian;
pub(crate) mod qemu;
mod uml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::suite::read_file;
use crate::tally::{Tally, TestReport};
use crate::workspace::Workspace;
use crate::{Result, process, python};

/// Packages whose tests are about the kernel.
const PACKAGES: [&str; 2] = ["linux-ktls", "system-tests"];
/// A test program of another package that is about the kernel: the package's name, and its own.
const C_PROGRAMS: (&str, &str) = ("nvme-tcp-ffi", "kernel_tls");
/// How the names of the test programs begin that are for the QEMU lab alone.
const QEMU: &str = "qemu_";

/// The step that runs the wheel's tests.
const PYTHON: &str = "python";

const BUILD_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// What tells whether a step went well.
enum Reading {
    /// The lines of Rust's test harness.
    Tests,
    /// The exit code, 0 or not.
    ExitCode,
}

/// A program to run in the lab.
struct Step {
    /// Unique, and fit for a file's name.
    name: String,
    folder: PathBuf,
    command: Vec<String>,
    reading: Reading,
}

/// Programs of a newer suite that tests use inside, with the libraries that they need.
const NEWER_PROGRAMS: [&str; 10] = [
    "openssl",
    "nginx",
    "nginx-common",
    "libc6",
    "libcrypt1",
    "libpcre2-8-0",
    "libssl3t64",
    "libzstd1",
    "zlib1g",
    "openssl-provider-legacy",
];

/// Test programs that a newer kernel changes nothing for: they do no I/O, or are run at length elsewhere.
const ONLY_ONCE: [&str; 5] = ["handshake_interop", "handshake_pair", "memory", "allocations", "examples"];

/// Boots User-Mode Linux kernels, runs the steps in them and adds what they said.
pub(crate) fn uml(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let mut steps = programs(workspace);
    match test_programs(workspace)? {
        Some(tests) => steps.extend(tests),
        None => {
            tally.failed.push("uml: the test programs do not build".to_owned());
            return Ok(());
        }
    }
    match python::kernel_tests(workspace) {
        Some((folder, command)) => {
            steps.push(Step { name: PYTHON.to_owned(), folder, command, reading: Reading::ExitCode });
        }
        None => tally.skipped.push("uml:python: the wheel is not installed: cargo xtask python".to_owned()),
    }
    let programs = debian::Tree::fetch(workspace, "programs", &NEWER_PROGRAMS);
    let runner = match &programs {
        Ok(tree) => Some(tree.runner()),
        Err(error) => {
            println!("lab: no programs of a newer suite, their tests will be skipped: {error}");
            None
        }
    };
    // A lane is run while the other is: each kernel has one processor. The second takes as long as the first.
    let (of_ktls, others): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| step.is_about_ktls());
    let on_newer = steps.iter().filter(|step| step.runs_on_newer()).collect();
    let lanes = [vec![(uml::INSTALLED, of_ktls), (uml::NEWER, on_newer)], vec![(uml::SECOND, others)]];
    let runner = runner.as_deref();
    std::thread::scope(|scope| {
        let run = |lane: Vec<_>| {
            scope.spawn(move || {
                let mut tally = Tally::default();
                lane.into_iter().for_each(|(name, steps)| boot(workspace, name, steps, runner, &mut tally));
                tally
            })
        };
        for lane in lanes.map(run) {
            tally.add(lane.join().map_err(|_| "a lane of the lab panicked")?);
        }
        Ok(())
    })
}

/// Boots one kernel, if it is to be had here, and adds what its steps said.
fn boot(
    workspace: &Workspace,
    name: &'static str,
    steps: Vec<&Step>,
    newer_programs: Option<&Path>,
    tally: &mut Tally,
) {
    let machine = match name {
        uml::NEWER => uml::Machine::newer(workspace),
        name => uml::Machine::installed(name),
    };
    match machine {
        Ok(machine) => {
            if let Err(error) = run(workspace, &machine, &steps, newer_programs, tally) {
                tally.failed.push(format!("{name}: {error}"));
            }
        }
        Err(why) => tally.skipped.extend(steps.iter().map(|step| format!("{name}:{}: {why}", step.name))),
    }
}

fn run(
    workspace: &Workspace,
    machine: &uml::Machine,
    steps: &[&Step],
    newer_programs: Option<&Path>,
    tally: &mut Tally,
) -> Result<()> {
    let name = machine.name;
    let results = machine.run(workspace, steps, newer_programs)?;
    let mut report = TestReport::default();
    for step in steps {
        read_step(name, &results, step, &mut report)?;
    }
    tally.add_tests(&format!("{name}:"), report, &read_file(&results.join(uml::SKIPPED_FILE))?);
    print_counters(
        name,
        &read_file(&results.join("tls_stat.before"))?,
        &read_file(&results.join("tls_stat.after"))?,
    );
    Ok(())
}

impl Step {
    /// Whether it is about the sockets, and not about what is built on them.
    fn is_about_ktls(&self) -> bool {
        !self.name.starts_with("system-tests.") && self.name != PYTHON
    }

    /// Whether it says something new on a kernel that can change keys.
    fn runs_on_newer(&self) -> bool {
        let test = self.name.strip_prefix("linux-ktls.");
        test.is_none_or(|test| !ONLY_ONCE.contains(&test)) && !self.name.starts_with("system-tests.")
    }
}

/// Programs that are no test programs. Their exit code tells.
fn programs(workspace: &Workspace) -> Vec<Step> {
    let program = |name: &str, command: &[&str]| Step {
        name: name.to_owned(),
        folder: workspace.root.clone(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        reading: Reading::ExitCode,
    };
    vec![program("kernel-has-tls", &["grep", "-qw", "tls", "/proc/sys/net/ipv4/tcp_available_ulp"])]
}

/// Builds the test programs and asks cargo where they are; `None` if they do not build.
fn test_programs(workspace: &Workspace) -> Result<Option<Vec<Step>>> {
    // The whole workspace, as in `suite`: other features would mean another build.
    let build = workspace.cargo(&["test", "--workspace", "--no-run", "--message-format=json"]);
    let mut steps = Vec::new();
    let ended = process::lines(&build, BUILD_DEADLINE, |line| {
        match serde_json::from_str::<Value>(line).ok().filter(Value::is_object) {
            Some(message) => {
                steps.extend(test_program(workspace, &message));
                if let Some(text) = message["message"]["rendered"].as_str() {
                    print!("{text}");
                }
            }
            None => println!("{line}"),
        }
    })?;
    // cargo tells of them as they are ready.
    steps.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(ended.success().then_some(steps))
}

/// The step that one of cargo's messages leads to, if it tells of a test program for the lab.
fn test_program(workspace: &Workspace, message: &Value) -> Option<Step> {
    if message["profile"]["test"] != true {
        return None;
    }
    let executable = message["executable"].as_str()?;
    let package = workspace.packages.get(message["package_id"].as_str()?)?;
    let name = message["target"]["name"].as_str()?;
    let meant = PACKAGES.contains(&package.name.as_str()) || (package.name.as_str(), name) == C_PROGRAMS;
    if !meant || name.starts_with(QEMU) {
        return None;
    }
    Some(Step {
        name: format!("{}.{name}", package.name),
        folder: package.folder.clone(),
        command: vec![executable.to_owned()],
        reading: Reading::Tests,
    })
}

/// Reads what a step left in the results folder, and shows it if it failed.
fn read_step(machine: &str, results: &Path, step: &Step, report: &mut TestReport) -> Result<()> {
    let output = read_file(&results.join(format!("{}.out", step.name)))?;
    let code = read_file(&results.join(format!("{}.code", step.name)))?;
    let well = code.trim() == "0";
    let (passed, failed) = (report.passed, report.failed.len());
    if matches!(step.reading, Reading::Tests) && !code.is_empty() {
        report.start(&step.name);
        output.lines().for_each(|line| report.line(line));
        report.finish();
    } else if well {
        report.passed += 1;
    }
    if !well {
        let end = match code.trim() {
            "" => "was not run to its end".to_owned(),
            "124" => format!("ended at its deadline of {} s", uml::STEP_DEADLINE.as_secs()),
            "137" => "killed: by its deadline, or by the lab's kernel for want of memory".to_owned(),
            code => format!("exit code {code}"),
        };
        println!("{output}\n{machine}:{}: {end}", step.name);
        if report.failed.len() == failed {
            report.failed.push(format!("{}: {end}", step.name));
        }
    }
    println!(
        "{machine}:{}: {} passed, {} failed",
        step.name,
        report.passed - passed,
        report.failed.len() - failed
    );
    Ok(())
}

/// What the kernel counted during the steps: proof that it sealed and opened records.
fn print_counters(machine: &str, before: &str, after: &str) {
    let read = |text: &str| -> BTreeMap<String, u64> {
        text.lines()
            .filter_map(|line| {
                let (name, value) = line.split_once(char::is_whitespace)?;
                Some((name.to_owned(), value.trim().parse().ok()?))
            })
            .collect()
    };
    let before = read(before);
    for (name, value) in read(after) {
        let grown = value - before.get(&name).copied().unwrap_or(0).min(value);
        if grown > 0 {
            println!("{machine}: {name} +{grown}");
        }
    }
}
