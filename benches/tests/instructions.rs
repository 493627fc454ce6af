//! How many instructions the cores take: counted by callgrind, which other work on the machine does not change. A
//! number that grows is a change that somebody should know of.

#[path = "../benches/loads/mod.rs"]
mod loads;

use std::process::Command;

/// The environment variable that makes the program run a load: its name and how often.
const LOAD: &str = "NVME_TCP_BENCH_LOAD";
const FEW: u64 = 50;
const MANY: u64 = 550;

/// What each took when this was written, with the profile of tests and Rust 1.95, and a tenth for other compilers.
const MOST: [(&str, u64); 5] =
    [("read", 1855), ("foreseen read", 1215), ("flush", 1365), ("seal", 41_500), ("handshake", 2_480_000)];

fn run(name: &str, count: u64) {
    let mut load: Box<dyn FnMut()> = match name {
        "read" => Box::new(loads::read()),
        "foreseen read" => Box::new(loads::foreseen_read()),
        "flush" => Box::new(loads::flush()),
        "seal" => Box::new(loads::seal()),
        _ => Box::new(loads::handshake()),
    };
    (0..count).for_each(|_| load());
}

/// What is counted.
#[test]
fn load() {
    let Ok(load) = std::env::var(LOAD) else { return };
    let (name, count) = load.rsplit_once(' ').unwrap();
    run(name, count.parse().unwrap());
}

/// Instructions of the whole program with so many loads.
fn counted(name: &str, count: u64) -> Option<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap());
    let output = valgrind.args(["--exact", "load"]).env(LOAD, format!("{name} {count}")).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let number = said.lines().find_map(|line| line.split_once("Collected : "))?.1.trim();
    Some(number.parse().unwrap())
}

#[test]
fn the_cores_take_no_more_instructions_than_they_did() {
    for (name, most) in MOST {
        let (Some(few), Some(many)) = (counted(name, FEW), counted(name, MANY)) else {
            eprintln!("SKIPPED the_cores_take_no_more_instructions_than_they_did: no valgrind");
            return;
        };
        let each = (many - few) / (MANY - FEW);
        println!("{name}: {each} instructions");
        assert!(each <= most, "{name}: {each} instructions, {most} are allowed");
    }
}
