//! The program that users get, and a target of its own for it.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub(crate) const HOST: &str = "nqn.2024-01.test:host";
pub(crate) const SUBSYSTEM: &str = "nqn.2024-01.test:images";

/// The program with these arguments, without a key from the environment.
pub(crate) fn tool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvme-tcp"));
    command.args(args).env_remove("NVME_TCP_TLS_KEY");
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    tool(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `serve` with these flags and 1 MiB of RAM; it ends with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) uri: String,
}

impl Server {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let serve = ["serve", "--listen", "127.0.0.1:0", "-n", SUBSYSTEM, "--namespace", "ram:1M"];
        let mut command = tool(&serve);
        command.args(["--hostnqn", HOST]).args(flags).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().nth(2).unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { uri: format!("nvme+tcp://{address}/{SUBSYSTEM}"), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
