//! `copy`: a file into a namespace, or a namespace into a file.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use ktls::crypto::Hasher;
use nvme_tcp::Controller;
use nvme_tcp::uri::{NamespaceUri, UriError};
use serde::Serialize;

use crate::args::{HostArgs, QueueArgs, TimeArgs, TlsArgs};
use crate::connect;
use crate::exit::{Exit, Failure};
use crate::hashing::{self, Comparing, Hashing};
use crate::output::{self, Format, OutputArgs, Progress};
use crate::report::{self, TlsReport};
use crate::size;
use crate::transfer;

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
    pub time: TimeArgs,
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

/// What a copy did.
#[derive(Debug, Serialize)]
struct CopyReport {
    /// Length of the image.
    bytes: u64,
    /// Zeros behind it, up to a whole block.
    padding: u64,
    seconds: f64,
    mb_s: f64,
    /// Whether it was read back and was the same; absent where it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    tls: Option<TlsReport>,
}

impl CopyReport {
    fn new(bytes: u64, time: Duration, controller: &Controller) -> Self {
        Self {
            bytes,
            padding: 0,
            seconds: time.as_secs_f64(),
            mb_s: report::mb_s(bytes, time),
            verified: None,
            tls: controller.info().tls.as_ref().map(TlsReport::new),
        }
    }
}

/// Copies.
pub fn run(args: &CopyArgs) -> Result<(), Failure> {
    let (report, what) = match args.direction()? {
        Direction::In { file, namespace } => (copy_in(args, file, namespace)?, "copied in"),
        Direction::Out { namespace, file } => (copy_out(args, namespace, file)?, "copied out"),
    };
    let text = |report: &CopyReport| {
        let mut lines =
            format!("{what} {} bytes in {:.3} s, {} MB/s", report.bytes, report.seconds, report.mb_s);
        if report.padding > 0 {
            lines += &format!("\nfilled up with {} bytes of zeros to a whole block", report.padding);
        }
        if report.verified == Some(true) {
            lines += "\nread back over a new connection: the same";
        }
        if let Some(tls) = &report.tls {
            lines += &format!(
                "\n{}, {}: sent records sealed by {}, received opened by {}",
                tls.version, tls.suite, tls.tx_why, tls.rx_why
            );
        }
        lines
    };
    let to_stdout = matches!(&args.destination, Place::File(FilePlace::Stdio));
    match (to_stdout, args.output.format()) {
        // Standard output holds the image.
        (true, Format::Normal) => output::talk(text(&report)),
        (true, Format::Json) => {}
        _ => args.output.print(&report, text)?,
    }
    Ok(())
}

fn copy_in(args: &CopyArgs, file: &FilePlace, uri: &NamespaceUri) -> Result<CopyReport, Failure> {
    let (mut source, expected) = open_source(file)?;
    let controller = connect(args, uri)?;
    let namespace = controller.namespace(uri.namespace_id)?;
    let mut hash = hashing::sha256();
    let start = Instant::now();
    let queues = queue_count(args);
    let bytes = {
        let progress = Progress::start("write", expected);
        match file {
            // What comes from a pipe comes once, so it is compared by its hash.
            FilePlace::Stdio if args.verify => {
                let source = Hashing::new(&mut source, &mut hash);
                transfer::upload(&controller, &namespace, source, expected, queues, &progress)?
            }
            _ => transfer::upload(&controller, &namespace, &mut source, expected, queues, &progress)?,
        }
    };
    namespace.flush()?;
    let time = start.elapsed();
    let mut report = CopyReport::new(bytes, time, &controller);
    report.padding = bytes.next_multiple_of(namespace.block_size().into()) - bytes;
    controller.shutdown();
    if args.verify {
        verify(args, uri, file, bytes, hash)?;
        report.verified = Some(true);
    }
    Ok(report)
}

fn copy_out(args: &CopyArgs, uri: &NamespaceUri, file: &FilePlace) -> Result<CopyReport, Failure> {
    let controller = connect(args, uri)?;
    let namespace = controller.namespace(uri.namespace_id)?;
    let bytes = args.length.unwrap_or(namespace.size());
    // Before a file that is there already is emptied.
    transfer::check_length(&namespace, bytes)?;
    let mut sink = open_sink(file)?;
    let mut hash = hashing::sha256();
    let start = Instant::now();
    {
        let progress = Progress::start("read", Some(bytes));
        let queues = queue_count(args);
        match file {
            FilePlace::Stdio if args.verify => {
                let sink = Hashing::new(&mut sink, &mut hash);
                transfer::download(&controller, &namespace, sink, bytes, queues, &progress)?;
            }
            _ => transfer::download(&controller, &namespace, &mut sink, bytes, queues, &progress)?,
        }
    }
    sink.flush().map_err(|e| Failure::new(Exit::Io, format_args!("cannot write {file}: {e}")))?;
    let mut report = CopyReport::new(bytes, start.elapsed(), &controller);
    controller.shutdown();
    if args.verify {
        verify(args, uri, file, bytes, hash)?;
        report.verified = Some(true);
    }
    Ok(report)
}

/// Reads the namespace over a new connection and compares: with the file, or with the hash of what passed by.
fn verify(
    args: &CopyArgs,
    uri: &NamespaceUri,
    file: &FilePlace,
    bytes: u64,
    passed: Hasher,
) -> Result<(), Failure> {
    let controller = connect(args, uri)?;
    let namespace = controller.namespace(uri.namespace_id)?;
    let progress = Progress::start("verify", Some(bytes));
    let queues = queue_count(args);
    let differs =
        |what: String| Failure::new(Exit::Io, format_args!("the namespace differs from {file}: {what}"));
    match file {
        FilePlace::Path(_) => {
            let mut compared = Comparing::new(open_source(file)?.0);
            let read = transfer::download(&controller, &namespace, &mut compared, bytes, queues, &progress);
            if let Some(offset) = compared.difference() {
                return Err(differs(format!("the first difference is at byte {offset}")));
            }
            read?;
        }
        FilePlace::Stdio => {
            let mut hash = hashing::sha256();
            let sink = Hashing::new(io::sink(), &mut hash);
            transfer::download(&controller, &namespace, sink, bytes, queues, &progress)?;
            let (passed, read) = (passed.finish(), hash.finish());
            if passed.as_ref() != read.as_ref() {
                let (read, passed) = (report::hex(read.as_ref()), report::hex(passed.as_ref()));
                return Err(differs(format!("SHA-256 {read} instead of {passed}")));
            }
        }
    }
    controller.shutdown();
    Ok(())
}

fn connect(args: &CopyArgs, uri: &NamespaceUri) -> Result<Controller, Failure> {
    let queues = queue_count(args) as u16;
    let options = connect::options(
        &uri.address,
        &uri.subsystem_nqn,
        &args.host,
        &args.tls,
        &args.time,
        Some(&args.queues),
    )?;
    Ok(options.owned_queues(queues).connect()?)
}

fn queue_count(args: &CopyArgs) -> usize {
    args.queues.nr_io_queues.unwrap_or(transfer::DEFAULT_QUEUES).into()
}

/// The bytes to copy in, and how many they are where that can be known.
fn open_source(file: &FilePlace) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    let FilePlace::Path(path) = file else { return Ok((Box::new(io::stdin()), None)) };
    let failed = |e| Failure::new(Exit::Io, format_args!("cannot read {}: {e}", path.display()));
    let source = File::open(path).map_err(failed)?;
    let metadata = source.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let expected = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(source), expected))
}

fn open_sink(file: &FilePlace) -> Result<Box<dyn Write + Send>, Failure> {
    let FilePlace::Path(path) = file else { return Ok(Box::new(io::stdout())) };
    let sink = File::create(path);
    let sink =
        sink.map_err(|e| Failure::new(Exit::Io, format_args!("cannot write {}: {e}", path.display())))?;
    Ok(Box::new(sink))
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
