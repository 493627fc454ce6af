//! `copy`: a file into a namespace, or a namespace into a file.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::args::{HostArgs, QueueArgs, TlsArgs};
use crate::exit::Failure;
use crate::output::OutputArgs;
use crate::size;
use crate::uri::{NamespaceUri, UriError};

/// `copy`
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Where the bytes come from: a file, - for standard input, or nvme+tcp://HOST:PORT/SUBNQN/NSID
    #[arg(value_name = "SRC")]
    pub source: Place,
    /// Where they go: a file, - for standard output, or nvme+tcp://HOST:PORT/SUBNQN/NSID
    #[arg(value_name = "DST")]
    pub destination: Place,
    /// Flush, read everything back over a new connection, and compare
    #[arg(long)]
    pub verify: bool,
    /// Copy so many bytes out of the namespace instead of all of it
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub length: Option<u64>,
    #[command(flatten)]
    pub host: HostArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub queues: QueueArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file of this machine.
    File(FilePlace),
    /// A namespace of a target.
    Namespace(NamespaceUri),
}

/// The side of a copy that is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilePlace {
    /// Standard input or output.
    Stdio,
    /// A file or a block device.
    Path(PathBuf),
}

impl FromStr for Place {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        // What looks like a URI is one, or a typing error would become a file's name.
        if text.split_once("://").is_some_and(|(scheme, _)| scheme.to_ascii_lowercase().starts_with("nvme")) {
            return Ok(Self::Namespace(text.parse()?));
        }
        let Ok(file) = text.parse();
        Ok(Self::File(file))
    }
}

impl FromStr for FilePlace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "-" => Self::Stdio,
            path => Self::Path(path.into()),
        })
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio => f.write_str("-"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// Which way a copy goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction<'a> {
    /// From a file into a namespace.
    In { file: &'a FilePlace, namespace: &'a NamespaceUri },
    /// From a namespace into a file.
    Out { namespace: &'a NamespaceUri, file: &'a FilePlace },
}

impl CopyArgs {
    /// Which way it goes: one side is a file, the other a namespace.
    pub fn direction(&self) -> Result<Direction<'_>, Failure> {
        match (&self.source, &self.destination) {
            (Place::File(file), Place::Namespace(namespace)) => match self.length {
                None => Ok(Direction::In { file, namespace }),
                Some(_) => Err(Failure::usage("--length is for copying out of a namespace")
                    .hint("copy in from a file of the length that is wanted, or from a pipe".to_owned())),
            },
            (Place::Namespace(namespace), Place::File(file)) => Ok(Direction::Out { namespace, file }),
            (Place::File(_), Place::File(_)) => Err(Failure::usage("neither side is a namespace")
                .hint("name one as nvme+tcp://HOST:PORT/SUBNQN/NSID".to_owned())),
            (Place::Namespace(_), Place::Namespace(_)) => Err(Failure::usage("both sides are namespaces")
                .hint("copy by way of a pipe: nvme-tcp copy SRC - | nvme-tcp copy - DST".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const URI: &str = "nvme+tcp://127.0.0.1:4420/nqn.test:s/1";

    #[derive(Parser)]
    struct Copy {
        #[command(flatten)]
        args: CopyArgs,
    }

    fn copy(line: &str) -> Result<CopyArgs, clap::Error> {
        Ok(Copy::try_parse_from(["copy"].into_iter().chain(line.split_whitespace()))?.args)
    }

    #[test]
    fn both_ways() {
        let line = format!("image.bin {URI} --tls --keyfile f --hostnqn nqn.test:h --verify -i 2");
        let args = copy(&line).unwrap();
        let namespace = &URI.parse().unwrap();
        assert_eq!(
            args.direction().unwrap(),
            Direction::In { file: &FilePlace::Path("image.bin".into()), namespace }
        );
        assert!(args.verify && args.tls.tls);
        let args = copy(&format!("{URI} - --length 1M")).unwrap();
        assert_eq!(args.direction().unwrap(), Direction::Out { namespace, file: &FilePlace::Stdio });
        assert_eq!(args.length, Some(1 << 20));
    }

    #[test]
    fn what_is_refused() {
        for line in
            ["a", "a nvme+tcp://h", "a NVMe+tcp://h/nqn.s/1", "a nvme+rdma://h/nqn.s/1", "a b --length x"]
        {
            assert!(copy(line).is_err(), "{line}");
        }
        for line in ["a b".to_owned(), format!("{URI} {URI}"), format!("a {URI} --length 1")] {
            assert!(copy(&line).unwrap().direction().is_err(), "{line}");
        }
    }
}
