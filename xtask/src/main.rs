//! `cargo xtask`: the one door to every check of this repository, for people and for machines alike.

mod checks;
mod install;
mod lab;
mod packages;
mod process;
mod python;
mod suite;
mod tally;
mod workspace;

use std::process::{Command, ExitCode};
use std::time::Instant;

use tally::Tally;
use workspace::Workspace;

/// Errors that end the run itself; a check that fails is a line in the tally instead.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check      format, clippy, rustdoc, packaging and unit tests: quick, before each commit
  miri       what makes no system call, under Miri: minutes
  test       everything: distribution packages, check, Miri, all tests, those of Python, both labs
  lab uml    the tests that need kernel TLS, in a User-Mode Linux kernel
  lab qemu   the tests with the Linux kernel's own NVMe target and initiator, in a guest under QEMU; --write puts
             the table of peers into docs/, --hold boots the guest and waits, for tests by hand
  python     the Python wheel, built, installed and tested in an environment below target/
  bench      the end-to-end table: the initiator beside a bare loop (--quick, --cell, --mode,
             --congestion-control, --json FILE)
  install    the C library: --prefix P (--libdir L, --destdir D, --from FOLDER with a built libnvme_tcp_c.a)
  packages   the Debian packages that the tests use, installed where that is allowed";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<ExitCode> {
    let mut tally = Tally::default();
    match arguments {
        ["check"] => {
            let workspace = Workspace::find()?;
            checks::run(&workspace, &mut tally);
            timed("unit tests", || suite::unit_tests(&workspace, &mut tally))?;
        }
        ["miri"] => checks::miri(&Workspace::find()?, &mut tally),
        ["test"] => {
            let workspace = Workspace::find()?;
            timed("packages", packages::ensure);
            checks::run(&workspace, &mut tally);
            timed("tool", || suite::build_tool(&workspace, &mut tally))?;
            let lab = timed("lab qemu", || lab::qemu::Lab::boot(&workspace))?;
            timed("tests", || suite::all_tests(&workspace, &lab, &mut tally))?;
            tally.failed.extend(lab.failure.clone());
            lab.finish()?;
            timed("python", || python::run(&workspace, &mut tally))?;
            timed("lab uml", || lab::uml(&workspace, &mut tally))?;
        }
        ["python"] => {
            let workspace = Workspace::find()?;
            timed("python", || python::run(&workspace, &mut tally))?;
        }
        ["lab", "uml"] => {
            let workspace = Workspace::find()?;
            timed("tool", || suite::build_tool(&workspace, &mut tally))?;
            timed("lab uml", || lab::uml(&workspace, &mut tally))?;
        }
        ["lab", "qemu", "--hold"] => {
            let workspace = Workspace::find()?;
            let lab = timed("lab qemu", || lab::qemu::Lab::boot(&workspace))?;
            lab.hold()?;
            return Ok(ExitCode::SUCCESS);
        }
        ["lab", "qemu", rest @ ..] if matches!(rest, [] | ["--write"]) => {
            let workspace = Workspace::find()?;
            timed("tool", || suite::build_tool(&workspace, &mut tally))?;
            let lab = timed("lab qemu", || lab::qemu::Lab::boot(&workspace))?;
            timed("tests", || suite::qemu_tests(&workspace, &lab, &mut tally))?;
            tally.failed.extend(lab.failure.clone());
            if let Some(table) = lab.finish()? {
                println!("the table of peers is in {}", table.display());
                if !rest.is_empty() {
                    std::fs::copy(table, workspace.root.join("docs/peers.md"))?;
                }
            }
        }
        ["bench", options @ ..] => return bench(options),
        ["install", options @ ..] => {
            install::run(options)?;
            return Ok(ExitCode::SUCCESS);
        }
        ["packages"] => {
            timed("packages", packages::ensure);
            return Ok(ExitCode::SUCCESS);
        }
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    }
    print!("{tally}");
    Ok(if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures; a person watches, so there is no deadline.
fn bench(options: &[&str]) -> Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--release", "--package", "benches", "--"]).args(options);
    Ok(if command.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one step between a headline and the time it took.
fn timed<T>(step: &str, work: impl FnOnce() -> T) -> T {
    println!("==== {step}");
    let start = Instant::now();
    let result = work();
    println!("---- {step}: {:.1} s", start.elapsed().as_secs_f64());
    result
}
