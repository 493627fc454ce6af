//! The other end, in a process of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use nix::unistd::Pid;
use nvme_tcp::host::HostIdentity;
use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp_target::{Config, KeyRing, Listener, Namespace, Subsystem, Target};

use crate::cell::{MAX_DEPTH, Mode, SPAN};
use crate::{Result, measure, raw};

/// The subsystem that is measured.
const SUBSYSTEM: &str = "nqn.2024-01.io.github.nvme-tcp:bench";
/// A key for the measurement alone.
const KEY: &str = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:";

/// How long both ends ask before they sleep, where they do.
pub(crate) const BUSY_POLL: Duration = Duration::from_micros(200);

/// A running far end.
#[derive(Debug)]
pub(crate) struct FarEnd {
    /// It ends with the pipe to it; `None` where somebody else has started it.
    child: Option<Child>,
    process: Option<Pid>,
    pub(crate) address: String,
    pub(crate) subsystem: String,
    pub(crate) key: ConfiguredKey,
    pub(crate) host: HostIdentity,
    /// What the near end's connections are to have.
    pub(crate) congestion_control: Option<String>,
}

impl FarEnd {
    pub(crate) fn start(what: &str, congestion_control: Option<&str>) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--far-end", what])
            .args(congestion_control.map(|name| format!("--congestion-control={name}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        Ok(Self {
            process: Some(Pid::from_raw(child.id() as i32)),
            child: Some(child),
            address: address.trim().to_owned(),
            subsystem: SUBSYSTEM.to_owned(),
            key: KEY.parse()?,
            host: HostIdentity::load()?,
            congestion_control: congestion_control.map(str::to_owned),
        })
    }

    /// A target that runs already.
    pub(crate) fn elsewhere(
        address: &str,
        args: &Elsewhere,
        congestion_control: Option<&str>,
    ) -> Result<Self> {
        Ok(Self {
            child: None,
            process: args.target_pid.map(Pid::from_raw),
            address: address.to_owned(),
            subsystem: args.subsysnqn.clone(),
            key: match &args.keyfile {
                Some(file) => ConfiguredKey::from_file(file)?,
                None => KEY.parse()?,
            },
            host: HostIdentity::choose(args.hostnqn.as_deref(), None)?,
            congestion_control: congestion_control.map(str::to_owned),
        })
    }

    /// What its process has used so far; nothing where it is not known.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        Ok(self.process.map_or(Ok(Duration::ZERO), measure::cpu_time)?)
    }
}

/// Where a target is that runs already.
#[derive(Debug, clap::Args)]
pub(crate) struct Elsewhere {
    /// Measure the target that listens there, instead of the embedded one, and write over its first 256 MiB
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) target: Option<String>,
    /// Its process, to count its CPU time
    #[arg(long, value_name = "PID", requires = "target")]
    target_pid: Option<i32>,
    /// Its subsystem
    #[arg(long, value_name = "NQN", default_value = SUBSYSTEM)]
    subsysnqn: String,
    /// This host's name
    #[arg(long, value_name = "NQN")]
    hostnqn: Option<String>,
    /// The key for mode tls
    #[arg(long, value_name = "FILE")]
    keyfile: Option<std::path::PathBuf>,
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing else to do about either.
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Is a far end: a target, plain or TLS, or the bare loop's. Until standard input ends.
pub(crate) fn serve(what: &str, congestion_control: Option<&str>) -> Result<()> {
    measure::pin(0)?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    if what == "raw" {
        let listener = TcpListener::bind(any)?;
        raw::set_congestion_control(&listener, congestion_control)?;
        say(listener.local_addr()?)?;
        return raw::serve(&listener);
    }
    let mode = Mode::from_str(what, false)?;
    let mut listener = if mode.is_tls() {
        Listener::tls(any, KeyRing::new().key(KEY.parse::<ConfiguredKey>()?))
    } else {
        Listener::plain(any)
    };
    if let Some(name) = congestion_control {
        listener = listener.congestion_control(name);
    }
    let namespace = Namespace::ram(SPAN).block_size(4096);
    let subsystem = Subsystem::new(SUBSYSTEM).namespace(1, namespace);
    let config = |c: &mut Config| {
        c.queue_entries = MAX_DEPTH as u32 + 2;
        if mode.polls() {
            c.busy_poll = BUSY_POLL;
        }
    };
    let target = Target::builder().subsystem(subsystem).listen(listener).config(config).start()?;
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
