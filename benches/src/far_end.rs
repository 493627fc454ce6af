//! The other end, in a process of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;
use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp_target::{KeyRing, Listener, Namespace, Subsystem, Target};

use crate::cell::SPAN;
use crate::{Result, measure, raw};

/// The subsystem that is measured.
pub(crate) const SUBSYSTEM: &str = "nqn.2024-01.io.github.nvme-tcp:bench";
/// A key for the measurement alone.
pub(crate) const KEY: &str = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:";

/// A running far end; it ends with the pipe to it.
#[derive(Debug)]
pub(crate) struct FarEnd {
    child: Child,
    pub(crate) address: String,
}

impl FarEnd {
    pub(crate) fn start(what: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--far-end", what])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl FarEnd {
    /// Its process.
    pub(crate) fn id(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing else to do about either.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Is a far end: a target, plain or TLS, or the bare loop's. Until standard input ends.
pub(crate) fn serve(what: &str) -> Result<()> {
    measure::pin(0)?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    if what == "raw" {
        let listener = TcpListener::bind(any)?;
        say(listener.local_addr()?)?;
        return raw::serve(&listener);
    }
    let listener = match what {
        "tls" => Listener::tls(any, KeyRing::new().key(KEY.parse::<ConfiguredKey>()?)),
        _ => Listener::plain(any),
    };
    let namespace = Namespace::ram(SPAN).block_size(4096);
    let subsystem = Subsystem::new(SUBSYSTEM).namespace(1, namespace);
    let target =
        Target::builder().subsystem(subsystem).listen(listener).config(|c| c.queue_entries = 1024).start()?;
    say(target.local_addrs()[0])?;
    io::stdin().read_to_end(&mut Vec::new())?;
    target.shutdown();
    Ok(())
}

fn say(address: SocketAddr) -> Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{address}")?;
    Ok(stdout.flush()?)
}
