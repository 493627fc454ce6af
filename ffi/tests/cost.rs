//! What C costs: instructions for each read through the C library, beside the same through Rust.

mod support;

use std::io;
use std::process::Command;
use std::time::Duration;

use nvme_tcp::Options;
use nvme_tcp::host::HostIdentity;
use nvme_tcp_target::{Backend, Namespace};
use support::{SUBSYSTEM_NQN, Scratch, compiled, ended, served_with, skip, tool};

/// Set where this program is run by itself, under callgrind: an address, and how many reads.
const LOAD: &str = "NVME_TCP_FFI_LOAD";
const FEW: u32 = 20;
const MANY: u32 = 320;
/// How long the medium takes: so long that each read is waited for, or chance would say how often one is.
const SLOW: Duration = Duration::from_millis(3);
/// How much more C may cost, in percent of what the same read costs through Rust.
const ALLOWED: u64 = 5;

/// A medium that takes its time.
#[derive(Debug)]
struct Slow;

impl Backend for Slow {
    fn size(&self) -> u64 {
        support::NAMESPACE_SIZE
    }

    fn read_at(&self, data: &mut [u8], _: u64) -> io::Result<()> {
        std::thread::sleep(SLOW);
        data.fill(0);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// What load.c does.
#[test]
fn load() {
    let Ok(load) = std::env::var(LOAD) else { return };
    let (address, count) = load.split_once(' ').unwrap();
    let host = HostIdentity::choose(Some("nqn.2024-01.lab.test:c-host"), None).unwrap();
    let options = Options::new(address, SUBSYSTEM_NQN, host).owned_queues(1).keep_alive(Duration::ZERO);
    let controller = options.connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    let (mut buffer, mut completions) = (vec![0; 4096], Vec::new());
    for _ in 0..count.parse::<u32>().unwrap() {
        queue.submit_read(&namespace, buffer, 0, 1).unwrap();
        assert_eq!(queue.poll(&mut completions, Duration::MAX).unwrap(), 1);
        let done = completions.pop().unwrap();
        done.result.unwrap();
        buffer = done.buffer.unwrap();
    }
}

/// Instructions of a program, as callgrind counts them.
fn instructions(scratch: &Scratch, command: &mut Command) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(command.get_program()).args(command.get_args()).current_dir(scratch.path(""));
    valgrind.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let (good, _, said) = ended(&mut valgrind);
    assert!(good, "{said}");
    let count = said.lines().find_map(|line| line.split_once("Collected : "));
    count.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count in: {said}"))
}

/// For one read: what more reads cost more. The least of some runs, since a wait more or less is chance.
fn for_one_read(mut run: impl FnMut(u32) -> u64) -> u64 {
    let mut least = |count| (0..5).map(|_| run(count)).min().unwrap();
    let (few, many) = (least(FEW), least(MANY));
    (many - few) / u64::from(MANY - FEW)
}

#[test]
fn a_read_through_c_costs_hardly_more_than_through_rust() {
    for name in ["gcc", "valgrind"] {
        if tool(name).is_none() {
            return skip("cost::instructions", &format!("no {name}"));
        }
    }
    let (scratch, served) = (Scratch::new(), served_with(Namespace::backend(Slow)));
    let program = compiled("tests/c/load.c", &scratch, &[]).unwrap();
    let uri = served.uri(false);
    let c =
        for_one_read(|count| instructions(&scratch, Command::new(&program).args([&uri, &count.to_string()])));
    let this = std::env::current_exe().unwrap();
    let rust = for_one_read(|count| {
        let mut command = Command::new(&this);
        command.args(["--exact", "load"]).env(LOAD, format!("{} {count}", served.plain));
        instructions(&scratch, &mut command)
    });
    println!("instructions for a read of 4096 bytes: {c} through C, {rust} through Rust");
    assert!(c * 100 <= rust * (100 + ALLOWED), "{c} through C, {rust} through Rust");
}
