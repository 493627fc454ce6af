//! `serve`: a target on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::args::nqn_parser;
use crate::size::{self, SizeError};

/// `serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on; IPv6 addresses in brackets
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4420")]
    pub listen: SocketAddr,
    /// NQN of the subsystem that holds the namespaces
    #[arg(short = 'n', long, alias = "nqn", value_name = "NQN", value_parser = nqn_parser())]
    pub subsysnqn: String,
    /// A namespace: a file (or block device), or ram:SIZE; more of them get the numbers 1, 2 and so on
    #[arg(long = "namespace", value_name = "FILE|ram:SIZE", required = true)]
    pub namespaces: Vec<Backing>,
    /// File with a key (mode 0600), which makes TLS required; of several, a host may use any
    #[arg(long = "keyfile", value_name = "FILE")]
    pub keyfiles: Vec<PathBuf>,
    /// NQN of a host that is allowed; without any, every host is
    #[arg(short = 'q', long = "hostnqn", value_name = "NQN", value_parser = nqn_parser())]
    pub hostnqns: Vec<String>,
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
            "--listen [::1]:4421 --subsysnqn nqn.test:s --namespace /a.img --namespace ram:256M \
             --keyfile k1 --keyfile k2 --hostnqn nqn.test:h --hostnqn nqn.test:i",
        )
        .unwrap();
        assert_eq!(args.listen, "[::1]:4421".parse().unwrap());
        assert_eq!(args.namespaces, [Backing::File("/a.img".into()), Backing::Ram(256 << 20)]);
        assert_eq!((args.keyfiles.len(), args.hostnqns.len()), (2, 2));
    }

    #[test]
    fn what_is_refused() {
        for line in [
            "--subsysnqn nqn.test:s",
            "--namespace ram:1M",
            "--subsysnqn nqn.test:s --namespace ram:",
            "--subsysnqn nqn.test:s --namespace ram:1KB",
            "--subsysnqn nqn.test:s --namespace ram:1M --listen 127.0.0.1",
        ] {
            assert!(serve(line).is_err(), "{line}");
        }
    }
}
