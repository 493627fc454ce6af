//! C programs against a target in this process: every function, every documented error, the examples; as they
//! are, under the sanitizers of gcc, and under valgrind.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use support::programs::{Programs, Way};
use support::{documented, library, run, skip, tool};

#[test]
fn every_call_and_every_documented_error() {
    let Some(programs) = Programs::new(Way::Plain, "every_call") else { return };
    programs.all_calls();
    documented::all_were_provoked(&programs.provoked());
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
