//! What a load asks of the kernel and of the processor, counted by strace and by callgrind: TLS that the kernel seals
//! costs the process hardly more than plain.

use std::process::{Command, Stdio};
use std::time::Duration;

use ktls::probe;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvme_tcp::Options;
use system_tests::{DEADLINE, KeyFile, Process, SUBSYSTEM_NQN, Server, host, in_lab, scaled, skip};

/// Runs the load under `tool`, and gives what that says.
fn under(tool: &[&str], server: &Server, load: &str, key: Option<&KeyFile>) -> Option<String> {
    let [program, flags @ ..] = tool else { return None };
    let mut command = Command::new(program);
    command.args(flags).arg(env!("CARGO_BIN_EXE_load"));
    command.arg(server.address.to_string()).arg(SUBSYSTEM_NQN).args(load.split(' '));
    command.args(key.map(KeyFile::path));
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{load}: {said}");
    Some(said)
}

/// How many system calls of these names, together, with and without the load.
fn calls(names: &str, server: &Server, load: &str, key: Option<&KeyFile>) -> Option<u64> {
    let trace = format!("trace={names}");
    let said = under(&["strace", "-f", "-q", "-c", "-e", &trace], server, load, key)?;
    // "% time  seconds  usecs/call  calls  errors  syscall", and a line without a name where nothing was called.
    let count = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.last()?;
        names.split(',').any(|wanted| wanted == *name).then(|| words.get(3)?.parse::<u64>().ok()).flatten()
    };
    Some(said.lines().filter_map(count).sum())
}

/// Of `count` commands alone: what connecting takes is taken off.
fn each(count: u64, of: impl Fn(u64) -> Option<u64>) -> Option<f64> {
    let (few, many) = (of(count)?, of(3 * count)?);
    Some(many.saturating_sub(few) as f64 / (2 * count) as f64)
}

#[test]
fn threads_with_a_queue_each_wait_for_no_lock() {
    let name = "threads_with_a_queue_each_wait_for_no_lock";
    let server = Server::plain(["ram:64M"]);
    let count = scaled(1000, 200);
    let futexes = each(count, |count| calls("futex", &server, &format!("threads {count} 4096 8"), None));
    let Some(futexes) = futexes.map(|of_all| of_all / 8.0) else { return skip(name, "no strace") };
    eprintln!("{futexes} futex calls a read with 8 threads");
    assert!(futexes < 0.02, "{futexes} futex calls a read with 8 threads on one namespace");
}

#[test]
fn short_data_goes_in_portions_to_an_end_that_waits_for_it() {
    let name = "short_data_goes_in_portions_to_an_end_that_waits_for_it";
    let server = Server::plain(["ram:64M"]);
    let strace = ["strace", "-f", "-e", "trace=sendmsg"];
    // Nothing is in flight before the 32 commands.
    let Some(writes) = under(&strace, &server, "write 32 4096 32", None) else {
        return skip(name, "no strace");
    };
    let options = Options::new(server.address.to_string(), SUBSYSTEM_NQN, host()).keep_alive(Duration::ZERO);
    let controller = options.owned_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    let mut done = Vec::new();
    let mut read = |count: u64| {
        for number in 0..count {
            queue.submit_read(&namespace, vec![0; 4096], number * 4096, number).unwrap();
        }
        while !done.is_empty() || queue.outstanding() > 0 {
            queue.poll(&mut done, DEADLINE).unwrap();
            done.drain(..).for_each(|completion| completion.result.map(drop).unwrap());
        }
    };
    // One command, behind which the target does not look for more before it waits; which it does once strace has it.
    read(1);
    let mut attached = Command::new(strace[0]);
    attached.args(&strace[1..]).args(["-p", &server.id().to_string()]);
    let attached = Process::start(attached.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
    if !attached.has_said("attached") {
        return skip(
            name,
            &format!("strace may not attach: {}", attached.finish().stderr.replace('\n', " ")),
        );
    }
    read(32);
    // Once this is answered strace has seen how the sends before it ended.
    read(1);
    kill(Pid::from_raw(attached.id() as i32), Signal::SIGINT).unwrap();
    let reads = attached.finish().stderr;
    for (how, trace) in [("write", writes), ("read", reads)] {
        let sizes = trace.lines().filter(|line| line.contains("sendmsg")).filter_map(|line| {
            // Not of a line that only says how a call began.
            line.rsplit_once("= ")?.1.parse::<usize>().ok()
        });
        let data: Vec<usize> = sizes.filter(|size| *size > 4120).collect();
        eprintln!("{how}: sends of {data:?} bytes");
        assert_eq!(data.len(), 4, "{how}: {trace}");
        assert!(data.iter().all(|size| (32 << 10..34 << 10).contains(size)), "{how}: {data:?}");
    }
}

/// A server in plain and one with TLS that the kernel seals, or why there is none.
fn servers() -> Result<(Server, Server, KeyFile), String> {
    if let Some(why) = probe().missing {
        assert!(!in_lab(), "no kernel TLS in the lab: {why}");
        return Err(why.to_string());
    }
    let key = KeyFile::generate("sha256");
    Ok((Server::plain(["ram:64M"]), Server::tls(["ram:64M"], &key), key))
}

const LOADS: [&str; 2] = ["read", "write"];
/// System calls of a command in plain where hardly any are shared.
const SHARED: f64 = 1.4;

#[test]
fn the_kernels_tls_takes_no_more_system_calls_than_plain() {
    let name = "the_kernels_tls_takes_no_more_system_calls_than_plain";
    let (plain, tls, key) = match servers() {
        Ok(servers) => servers,
        Err(why) => return skip(name, &why),
    };
    for how in LOADS {
        let count = |server: &Server, key| {
            each(64, |count| calls("sendmsg,recvmsg,poll", server, &format!("{how} {count} 131072 16"), key))
        };
        let (Some(in_plain), Some(sealed)) = (count(&plain, None), count(&tls, Some(&key))) else {
            return skip(name, "no strace");
        };
        let gib = |of_each: f64| of_each * 8192.0;
        eprintln!("{how}: {:.0} system calls a GiB in plain, {:.0} with TLS", gib(in_plain), gib(sealed));
        // What comes at once depends on who is faster: alone a command takes two calls, and where the far end, which
        // does not seal, is ahead, several share one. A call for each record would be eight more.
        assert!(
            sealed <= in_plain.max(SHARED) * 1.1 + 0.1,
            "{how}: {sealed} system calls a command, {in_plain} in plain"
        );
    }
}

/// The most instructions of a command beside one in plain: what the record layer looks after between two system calls.
const INSTRUCTIONS: f64 = 1.05;

#[test]
fn the_kernels_tls_takes_hardly_more_instructions_than_plain() {
    let name = "the_kernels_tls_takes_hardly_more_instructions_than_plain";
    let (plain, tls, key) = match servers() {
        Ok(servers) => servers,
        Err(why) => return skip(name, &why),
    };
    for how in LOADS {
        let count = |server: &Server, key| {
            each(100, |count| {
                let tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
                let said = under(&tool, server, &format!("{how} {count} 4096 1"), key)?;
                let number = said.lines().find_map(|line| line.split_once("Collected : "))?.1.trim();
                number.parse().ok()
            })
        };
        let (Some(in_plain), Some(sealed)) = (count(&plain, None), count(&tls, Some(&key))) else {
            return skip(name, "no valgrind");
        };
        eprintln!("{how}: {in_plain:.0} instructions a command in plain, {sealed:.0} with TLS");
        assert!(
            sealed <= in_plain * INSTRUCTIONS,
            "{how}: {sealed} instructions a command, {in_plain} in plain"
        );
    }
}
