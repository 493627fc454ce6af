//! `copy`: a file into a namespace, or a namespace into a file.

use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use ktls::crypto::Hasher;
use nvme_tcp::Controller;
use nvme_tcp::uri::{NamespaceUri, UriError};
use serde::Serialize;

use crate::args::{HostArgs, QueueArgs, TimeArgs};
use crate::connect;
use crate::exit::{Exit, Failure};
use crate::hashing::{self, Comparing, Hashing};
use crate::local::{Local, Sink, Source};
use crate::output::{self, OutputArgs, Progress};
use crate::report::{self, TlsReport};
use crate::size;
use crate::tls_args::TlsArgs;
use crate::transfer::{self, Width};

/// The help's examples.
const EXAMPLES: &str = "\
Examples:
  An image into namespace 1, over TLS, read back and compared:
    nvme-tcp copy disk.img nvme+tcp://10.0.0.7:4420/nqn.2024-01.com.example:a/1 \\
      --tls --keyfile store.key --verify
  From a web server, unpacked on the way:
    curl -sf https://store/disk.img.zst | zstd -d | nvme-tcp copy - nvme+tcp://...
  The first GiB of a namespace into a file:
    nvme-tcp copy nvme+tcp://10.0.0.7:4420/nqn.2024-01.com.example:a/1 disk.img --length 1G

The report goes to standard output, or to standard error where the image goes to standard output.
`nvme-tcp --help` tells the exit codes.";

/// `copy`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
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
    /// Connect, look whether it can be done, and say what would be; change nothing
    #[arg(long, conflicts_with = "verify")]
    pub dry_run: bool,
    /// Copy so many bytes out of the namespace instead of all of it; K, M, G and T are powers of 1024
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
    File(Local),
    /// A namespace of a target.
    Namespace(NamespaceUri),
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

/// Which way a copy goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction<'a> {
    /// From a file into a namespace.
    In { file: &'a Local, namespace: &'a NamespaceUri },
    /// From a namespace into a file.
    Out { namespace: &'a NamespaceUri, file: &'a Local },
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

/// What a copy did, or would do.
#[derive(Debug, Serialize)]
struct CopyReport {
    /// Whether nothing was done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    /// Length of the image; for a dry run of a pipe, 0.
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
            dry_run: false,
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
    let direction = args.direction()?;
    if args.dry_run {
        return dry_run(args, &direction);
    }
    let (report, what) = match direction {
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
    match args.destination {
        // Standard output holds the image.
        Place::File(Local::Stdio) => output::talk(args.output.render(&report, text)?),
        _ => args.output.print(&report, text)?,
    }
    Ok(())
}

/// Looks at both sides, changes neither, and tells what a copy would do.
fn dry_run(args: &CopyArgs, direction: &Direction<'_>) -> Result<(), Failure> {
    let start = Instant::now();
    let (uri, file) = match direction {
        Direction::In { file, namespace } => (*namespace, *file),
        Direction::Out { namespace, file } => (*namespace, *file),
    };
    let source = match direction {
        Direction::In { .. } => Some(Source::open(file)?),
        Direction::Out { .. } => None,
    };
    let controller = connect(args, uri)?;
    let namespace = controller.namespace(uri.namespace_id)?;
    let (bytes, text) = match &source {
        Some(source) => {
            transfer::check_room(&namespace, source.len().unwrap_or(0))?;
            let what = source.len().map_or("all that comes".to_owned(), |bytes| format!("{bytes} bytes"));
            let room = namespace.size();
            let text = format!("would overwrite {what} of {uri}, which has {room}, with {file}");
            (source.len().unwrap_or(0), text)
        }
        None => {
            let bytes = args.length.unwrap_or(namespace.size());
            transfer::check_length(&namespace, bytes)?;
            let how = if file.exists() { "overwrite" } else { "make" };
            (bytes, format!("would {how} {file} with {bytes} bytes of {uri}"))
        }
    };
    let report = CopyReport { dry_run: true, ..CopyReport::new(bytes, start.elapsed(), &controller) };
    controller.shutdown();
    args.output.print(&report, |_| text)
}

fn copy_in(args: &CopyArgs, file: &Local, uri: &NamespaceUri) -> Result<CopyReport, Failure> {
    let source = Source::open(file)?;
    let expected = source.len();
    let controller = connect(args, uri)?;
    let namespace = controller.namespace(uri.namespace_id)?;
    let hashes = args.verify && !source.is_lasting();
    let mut hash = hashing::sha256();
    let source = if hashes { source.hashed(&mut hash) } else { source };
    let start = Instant::now();
    output::step(format_args!("writing {file} to namespace {}", namespace.id()));
    let bytes = {
        let progress = Progress::start("write", expected);
        transfer::upload(&controller, &namespace, source, width(args), &progress)?
    };
    output::step("flushing");
    namespace.flush()?;
    let time = start.elapsed();
    let mut report = CopyReport::new(bytes, time, &controller);
    report.padding = bytes.next_multiple_of(namespace.block_size().into()) - bytes;
    controller.shutdown();
    if args.verify {
        verify(args, uri, file, bytes, hashes.then_some(hash))?;
        report.verified = Some(true);
    }
    Ok(report)
}

fn copy_out(args: &CopyArgs, uri: &NamespaceUri, file: &Local) -> Result<CopyReport, Failure> {
    let controller = connect(args, uri)?;
    let namespace = controller.namespace(uri.namespace_id)?;
    let bytes = args.length.unwrap_or(namespace.size());
    // Before a file that is there already is emptied.
    transfer::check_length(&namespace, bytes)?;
    output::step(format_args!("reading {bytes} bytes of namespace {} into {file}", namespace.id()));
    let mut sink = Sink::create(file)?;
    let hashes = args.verify && !sink.is_lasting();
    let mut hash = hashing::sha256();
    let start = Instant::now();
    {
        let progress = Progress::start("read", Some(bytes));
        let width = width(args);
        if hashes {
            let sink = Hashing::new(&mut sink, &mut hash);
            transfer::download(&controller, &namespace, sink, bytes, width, &progress)?;
        } else {
            transfer::download(&controller, &namespace, &mut sink, bytes, width, &progress)?;
        }
    }
    sink.finish().map_err(|e| Failure::file("write", file, &e))?;
    let mut report = CopyReport::new(bytes, start.elapsed(), &controller);
    controller.shutdown();
    if args.verify {
        verify(args, uri, file, bytes, hashes.then_some(hash))?;
        report.verified = Some(true);
    }
    Ok(report)
}

/// What to do about an image that is not the same when it is read back.
pub const DIFFERS_HINT: &str = "see that nobody else writes to the namespace, and copy again with --data-digest: where it \
                                differs again, the target's storage or memory is at fault";

/// Reads the namespace over a new connection and compares: with the hash of what passed by, where there is
/// one since it came or went only once, else with the file.
fn verify(
    args: &CopyArgs,
    uri: &NamespaceUri,
    file: &Local,
    bytes: u64,
    passed: Option<Hasher>,
) -> Result<(), Failure> {
    output::step("reading back over a new connection");
    let controller = connect(args, uri)?;
    let namespace = controller.namespace(uri.namespace_id)?;
    let progress = Progress::start("verify", Some(bytes));
    let width = width(args);
    let differs = |what: String| {
        let failure = Failure::new(Exit::Io, format_args!("the namespace differs from {file}: {what}"));
        failure.hint(DIFFERS_HINT.to_owned())
    };
    match passed {
        None => {
            let mut compared = Comparing::new(Source::open(file)?.reader);
            let read = transfer::download(&controller, &namespace, &mut compared, bytes, width, &progress);
            if let Some(offset) = compared.difference() {
                return Err(differs(format!("the first difference is at byte {offset}")));
            }
            read?;
        }
        Some(passed) => {
            let mut hash = hashing::sha256();
            let sink = Hashing::new(io::sink(), &mut hash);
            transfer::download(&controller, &namespace, sink, bytes, width, &progress)?;
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
    let options = connect::options(
        &uri.address,
        &uri.subsystem_nqn,
        &args.host,
        &args.tls,
        &args.time,
        Some(&args.queues),
    )?;
    connect::controller(options.owned_queues(width(args).queues))
}

fn width(args: &CopyArgs) -> Width {
    let Width { queues, depth } = Width::default();
    Width {
        queues: args.queues.nr_io_queues.unwrap_or(queues),
        depth: args.queues.queue_size.unwrap_or(depth),
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
            Direction::In { file: &Local::Path("image.bin".into()), namespace }
        );
        assert!(args.verify && args.tls.tls);
        let args = copy(&format!("{URI} - --length 1M")).unwrap();
        assert_eq!(args.direction().unwrap(), Direction::Out { namespace, file: &Local::Stdio });
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
