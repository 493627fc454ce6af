//! The tool among others: signals, closed outputs, terminals, and what scripts read.
#![allow(unsafe_code, reason = "signals get their default back")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use nix::pty::openpty;
use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::Pid;
use system_tests::{HOST_NQN, KeyFile, Process, SUBSYSTEM_NQN, Server, Tool, image, uri};

fn signal(process: &Process, signal: Signal) {
    kill(Pid::from_raw(process.id() as i32), signal).unwrap();
}

#[test]
fn a_copy_ends_by_a_signal_as_a_shell_expects() {
    let server = Server::plain(["ram:4M"]);
    for interrupt in [Signal::SIGINT, Signal::SIGTERM] {
        // Who runs the tests in the background of a shell has them ignore SIGINT, and so what they start.
        // SAFETY: it is no handler.
        unsafe { nix::sys::signal::signal(interrupt, SigHandler::SigDfl) }.unwrap();
        let mut copy = Tool::new(["copy", "-", &server.uri(1), "--hostnqn", HOST_NQN]).piped_input().start();
        let mut stdin = copy.take_stdin();
        // More than a pipe holds: it is at work.
        stdin.write_all(&image(1, 1 << 20)).unwrap();
        signal(&copy, interrupt);
        let run = copy.finish();
        assert_eq!((run.code, &*run.stderr, run.text()), (None, "", ""), "{interrupt}");
    }
}

#[test]
fn a_target_ends_by_a_signal_in_good_order_and_tells_scripts_where_it_listens() {
    let key = KeyFile::generate("sha256");
    for interrupt in [Signal::SIGINT, Signal::SIGTERM] {
        let serve =
            Tool::new(["serve", "--listen", "127.0.0.1:0", "-n", SUBSYSTEM_NQN, "--namespace", "ram:1M"])
                .args(["--keyfile", key.path(), "--hostnqn", HOST_NQN, "--json"])
                .start();
        assert!(serve.has_printed("}", system_tests::DEADLINE));
        // Another process talks to it by what it has said.
        let said: serde_json::Value = serde_json::from_slice(&serve.stdout()).unwrap();
        assert_eq!((&said["tls"], &said["namespaces"]), (&true.into(), &1.into()));
        let address: SocketAddr = said["addresses"][0].as_str().unwrap().parse().unwrap();
        let copy = Tool::new(["copy", "-", &uri(address, 1)]).args(key.flags()).input(image(1, 4096));
        drop(copy.run().succeeded());
        signal(&serve, interrupt);
        drop(serve.finish().succeeded());
    }
}

#[test]
fn nobody_to_talk_to_changes_no_exit_code() {
    let server = Server::plain(["ram:1M"]);
    let closed = || OwnedFd::from(UnixStream::pair().unwrap().0);
    let list = format!("nvme+tcp://{}", server.address);
    drop(Tool::new(["list", &list]).stderr(closed()).run().succeeded());
    let missing = Tool::new(["copy", "-", &server.uri(9)]).stderr(closed()).run();
    assert_eq!(missing.code, Some(1));
    let wrong = Tool::new(["copy", "a"]).stderr(closed()).run();
    assert_eq!(wrong.code, Some(2));
    // Whoever reads the data has seen enough.
    let run = Tool::new(["list", &list, "--hostnqn", HOST_NQN]).stdout(closed()).run();
    assert_eq!((run.code, &*run.stderr), (Some(1), ""));
}

#[test]
fn a_bar_is_for_terminals_only() {
    let server = Server::plain(["ram:4M"]);
    let copy = || Tool::new(["copy", "-", &server.uri(1), "--hostnqn", HOST_NQN]).input(image(1, 3 << 20));
    assert_eq!(copy().run().succeeded().stderr, "");
    let pty = openpty(None, None).unwrap();
    let mut terminal = File::from(pty.master);
    // Linux ends a terminal that nobody has open any more by EIO, after what was written to it.
    let shown = thread::spawn(move || {
        let mut shown = Vec::new();
        let _ = terminal.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    // Without a word on its kind, it would be one that cannot move its cursor.
    let run = copy().env("TERM", "xterm").stderr(pty.slave).run().succeeded();
    assert!(run.text().starts_with("copied in 3145728 bytes"), "{}", run.text());
    let shown = shown.join().unwrap();
    assert!(shown.contains("write "), "{shown:?}");
}
