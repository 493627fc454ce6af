//! `serve`: a target on this machine.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use nvme_tcp::auth::Authentication;
use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp_target::{
    KeyRing, Listener, Namespace, NamespaceError, StartError, Subsystem, SubsystemError, Target,
};
use serde::Serialize;

use crate::args::nqn_parser;
use crate::exit::{self, Exit, Failure};
use crate::output::OutputArgs;
use crate::secrets;
use crate::size::{self, SizeError};

/// The help's examples.
const EXAMPLES: &str = "\
Examples:
  256 MiB of memory, in plain, to this machine only:
    nvme-tcp serve --subsysnqn nqn.2024-01.com.example:a --namespace ram:256M
  A file, over TLS, to one host:
    nvme-tcp serve --listen 0.0.0.0:4420 --subsysnqn nqn.2024-01.com.example:a \\
      --namespace disk.img --keyfile store.key --hostnqn nqn.2024-01.com.example:store

It serves until SIGINT or SIGTERM, and then ends with exit code 0.";

/// `serve`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Address and port to listen on; IPv6 addresses in brackets
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4420")]
    pub listen: SocketAddr,
    /// NQN of the subsystem that holds the namespaces
    #[arg(short = 'n', long, alias = "nqn", value_name = "NQN", value_parser = nqn_parser())]
    pub subsysnqn: String,
    /// A namespace: a file, or ram:SIZE (K, M, G and T are powers of 1024); more of them get the numbers
    /// 1, 2 and so on
    #[arg(long = "namespace", value_name = "FILE|ram:SIZE", required = true)]
    pub namespaces: Vec<Backing>,
    /// File with a key (mode 0600), which makes TLS required; of several, a host may use any
    #[arg(long = "keyfile", value_name = "FILE")]
    pub keyfiles: Vec<PathBuf>,
    /// NQN of a host that is allowed; without any, every host is
    #[arg(short = 'q', long = "hostnqn", value_name = "NQN", value_parser = nqn_parser())]
    pub hostnqns: Vec<String>,
    /// File with the DH-HMAC-CHAP secret (mode 0600) that the hosts named by --hostnqn have to prove they know
    #[arg(long, value_name = "FILE", requires = "hostnqns")]
    pub dhchap_keyfile: Option<PathBuf>,
    /// File with the controller's DH-HMAC-CHAP secret (mode 0600), for hosts that want to know who this target is
    #[arg(long, value_name = "FILE", requires = "dhchap_keyfile")]
    pub dhchap_ctrl_keyfile: Option<PathBuf>,
    /// Require TLS with a key that is made from the secrets (secure channel concatenation)
    #[arg(long, requires = "dhchap_keyfile", conflicts_with = "keyfiles")]
    pub concat: bool,
    /// For how many microseconds a connection at work asks its socket again and again before it sleeps, ever
    /// less often where nothing comes in that time: quicker answers for a CPU of its own
    #[arg(long, value_name = "US", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub busy_poll: u32,
    /// TCP congestion control of the connections, such as dctcp [default: the system's]
    #[arg(long, value_name = "NAME")]
    pub congestion_control: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is served once the target listens.
#[derive(Debug, Serialize)]
struct Serving<'a> {
    /// With the port that the system chose for port 0.
    addresses: Vec<String>,
    tls: bool,
    subsystem: &'a str,
    namespaces: usize,
}

/// What holds a namespace's blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// This process's memory: so many bytes, gone at the end.
    Ram(u64),
    /// A file or a block device.
    File(PathBuf),
}

impl FromStr for Backing {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        match text.strip_prefix("ram:") {
            Some(size) => Ok(Self::Ram(size::parse(size)?)),
            None => Ok(Self::File(text.into())),
        }
    }
}

/// Serves until SIGINT or SIGTERM.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    // Before the first thread: those that follow inherit the mask, and the signals wait for `wait`.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block().map_err(|e| Failure::new(Exit::Io, format_args!("cannot block signals: {e}")))?;
    let mut subsystem = Subsystem::new(&args.subsysnqn);
    let secret = secrets::load(args.dhchap_keyfile.as_deref(), None)?;
    let controller_secret = secrets::load(args.dhchap_ctrl_keyfile.as_deref(), None)?;
    let authentication = secret.map(|secret| match controller_secret {
        Some(controller_secret) => Authentication::new(secret).controller_secret(controller_secret),
        None => Authentication::new(secret),
    });
    for host in &args.hostnqns {
        subsystem = match &authentication {
            Some(authentication) => subsystem.allow_host_with(host, authentication.clone()),
            None => subsystem.allow_host(host),
        };
    }
    for (backing, nsid) in args.namespaces.iter().zip(1..) {
        subsystem = subsystem.namespace(
            nsid,
            match backing {
                Backing::Ram(size) => Namespace::ram(*size),
                Backing::File(path) => Namespace::file(path, None),
            },
        );
    }
    let mut listener = match args.keyfiles.is_empty() {
        true if args.concat => Listener::concat(args.listen),
        true => Listener::plain(args.listen),
        false => {
            let keys = args.keyfiles.iter().try_fold(KeyRing::new(), |ring, path| {
                Ok::<_, Failure>(ring.key(ConfiguredKey::from_file(path)?))
            });
            Listener::tls(args.listen, keys?)
        }
    };
    if let Some(name) = &args.congestion_control {
        listener = listener.congestion_control(name);
    }
    let busy_poll = Duration::from_micros(args.busy_poll.into());
    let builder = Target::builder().subsystem(subsystem).listen(listener);
    let target = builder.config(|config| config.busy_poll = busy_poll).start().map_err(failure)?;
    let serving = Serving {
        addresses: target.local_addrs().iter().map(ToString::to_string).collect(),
        tls: args.concat || !args.keyfiles.is_empty(),
        subsystem: &args.subsysnqn,
        namespaces: args.namespaces.len(),
    };
    args.output.print(&serving, |serving| {
        let tls = if serving.tls { "TLS required" } else { "plain" };
        let line = |address| format!("listening on {address} ({tls}), subsystem {}", serving.subsystem);
        serving.addresses.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    signals.wait().map_err(|e| Failure::new(Exit::Io, format_args!("cannot wait for signals: {e}")))?;
    target.shutdown();
    Ok(())
}

/// A target did not start.
pub fn failure(error: StartError) -> Failure {
    Failure::new(Exit::Io, &error).hint(hint(&error))
}

fn hint(error: &StartError) -> Option<String> {
    let hint = match error {
        StartError::Listen { source, .. } => match source.kind() {
            io::ErrorKind::AddrInUse => "another program has this port: choose another one by --listen",
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address: choose one that it has by --listen"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 are for root: choose another one by --listen"
            }
            _ => return None,
        },
        StartError::CongestionControl { source, .. } => match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "net.ipv4.tcp_allowed_congestion_control lists those that are not for root alone"
            }
            _ => "net.ipv4.tcp_available_congestion_control lists those that this kernel has",
        },
        StartError::Subsystem(SubsystemError::Namespace { source, .. }) => match source {
            NamespaceError::Io { source, .. } => return exit::file_hint("read and write", source),
            NamespaceError::NotRegular { .. } => "name a file, or memory as ram:SIZE",
            NamespaceError::Locked { path } => {
                return Some(format!("`fuser {}` shows which process serves it", path.display()));
            }
            NamespaceError::Size { .. } => "make its size a multiple of 512 bytes, as with truncate(1)",
            _ => return None,
        },
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn serve(line: &str) -> Result<ServeArgs, clap::Error> {
        Ok(Serve::try_parse_from(["serve"].into_iter().chain(line.split_whitespace()))?.args)
    }

    #[test]
    fn the_documented_line() {
        let args = serve(
            "--listen [::1]:4421 --busy-poll 100 --congestion-control reno --subsysnqn nqn.test:s --namespace /a.img \
             --namespace ram:256M --keyfile k1 --keyfile k2 --hostnqn nqn.test:h --hostnqn nqn.test:i",
        )
        .unwrap();
        assert_eq!(args.listen, "[::1]:4421".parse().unwrap());
        assert_eq!(args.namespaces, [Backing::File("/a.img".into()), Backing::Ram(256 << 20)]);
        assert_eq!(args.congestion_control.as_deref(), Some("reno"));
        assert_eq!((args.keyfiles.len(), args.hostnqns.len(), args.busy_poll), (2, 2, 100));
    }

    #[test]
    fn what_is_refused() {
        for line in [
            "--subsysnqn nqn.test:s",
            "--namespace ram:1M",
            "--subsysnqn nqn.test:s --namespace ram:",
            "--subsysnqn nqn.test:s --namespace ram:1KB",
            "--subsysnqn nqn.test:s --namespace ram:1M --listen 127.0.0.1",
            "--subsysnqn nqn.test:s --namespace ram:1M --busy-poll 1000001",
            "--subsysnqn nqn.test:s --namespace ram:1M --dhchap-keyfile s",
            "--subsysnqn nqn.test:s --namespace ram:1M --hostnqn nqn.test:h --concat",
            "--subsysnqn nqn.test:s --namespace ram:1M --hostnqn nqn.test:h --dhchap-ctrl-keyfile s",
            "--subsysnqn nqn.test:s --namespace ram:1M --hostnqn nqn.test:h --dhchap-keyfile s --concat --keyfile k",
        ] {
            assert!(serve(line).is_err(), "{line}");
        }
    }
}
