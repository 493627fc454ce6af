//! `demo`: the whole way of an image in one process.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use nvme_tcp::Options;
use nvme_tcp::psk::{ConfiguredKey, KeyHash};
use nvme_tcp_target::{KeyRing, Listener, Namespace, Subsystem, Target};
use serde::Serialize;

use super::image::Image;
use super::serve;
use crate::args;
use crate::exit::{Exit, Failure};
use crate::hashing::{self, Hashing};
use crate::local::{Local, Source};
use crate::output::{self, OutputArgs, Progress};
use crate::report::{self, TlsReport};
use crate::size;
use crate::transfer::{self, Width};

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Take this file as the image
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    pub file: Option<PathBuf>,
    /// Size of the image that the demo makes itself
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "256M")]
    pub size: u64,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Bytes in a block of the demo's namespace.
const BLOCK: u64 = 4096;
/// The demo's subsystem.
const SUBSYSTEM: &str = "nqn.2024-01.io.github.nvme-tcp:demo";
/// Seed of the image that the demo makes itself: any would do, the same each time is easier to compare.
const SEED: u64 = 20;

/// What the demo found.
#[derive(Debug, Serialize)]
struct DemoReport {
    verified: bool,
    bytes: u64,
    write_seconds: f64,
    write_mb_s: f64,
    read_seconds: f64,
    read_mb_s: f64,
    sha256: String,
    tls: TlsReport,
}

/// Where the image comes from, as often as it is wanted.
enum Origin {
    Made { image: Image, len: u64 },
    File { file: Local, len: u64 },
}

impl Origin {
    fn of(args: &DemoArgs) -> Result<Self, Failure> {
        let Some(path) = &args.file else {
            return Ok(Self::Made { image: Image::new(SEED), len: args.size });
        };
        let file = Local::Path(path.clone());
        let metadata = std::fs::metadata(path).map_err(|e| Failure::file("read", &file, &e))?;
        if !metadata.is_file() {
            let failure = Failure::usage(format_args!("{file} is no regular file"));
            return Err(
                failure.hint("name one, or leave --file out for an image that the demo makes".to_owned())
            );
        }
        Ok(Self::File { file, len: metadata.len() })
    }

    fn len(&self) -> u64 {
        match self {
            Self::Made { len, .. } | Self::File { len, .. } => *len,
        }
    }

    fn open(&self) -> Result<Source<'_>, Failure> {
        match self {
            Self::Made { image, len } => Ok(Source::ready(image.reader(*len), *len)),
            Self::File { file, .. } => Source::open(file),
        }
    }
}

/// Shows the whole way of an image.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let source = Origin::of(args)?;
    let bytes = source.len();
    if bytes == 0 {
        return Err(Failure::usage("an empty image shows nothing"));
    }
    let host = args::resolve_host(None, None)?;
    let key = ConfiguredKey::generate(KeyHash::Sha256)?;
    let namespace = Namespace::ram(bytes.next_multiple_of(BLOCK)).block_size(BLOCK as u32);
    let subsystem = Subsystem::new(SUBSYSTEM).allow_host(&host.nqn).namespace(1, namespace);
    let listener = Listener::tls(SocketAddr::from(([127, 0, 0, 1], 0)), KeyRing::new().key(key.clone()));
    let target = Target::builder().subsystem(subsystem).listen(listener).start().map_err(serve::failure)?;
    let address = target.local_addrs().first().copied();
    let address = address.ok_or_else(|| Failure::new(Exit::Io, "the target does not listen"))?;
    output::talk(format_args!("target: {address}, TLS required, namespace 1 of {SUBSYSTEM}"));
    let connect = || -> Result<_, Failure> {
        let options = Options::new(address.to_string(), SUBSYSTEM, host.clone()).tls(key.clone());
        let controller = options.owned_queues(Width::default().queues).connect()?;
        let namespace = controller.namespace(1)?;
        Ok((controller, namespace))
    };
    let mut expected = hashing::sha256();
    let hashed = io::copy(&mut source.open()?.hashed(&mut expected).reader, &mut io::sink());
    hashed.map_err(|e| Failure::file("read", "the image", &e))?;
    let expected = expected.finish();

    let (controller, namespace) = connect()?;
    let start = Instant::now();
    {
        let progress = Progress::start("write", Some(bytes));
        transfer::upload(&controller, &namespace, source.open()?, Width::default(), &progress)?;
    }
    namespace.flush()?;
    let write = start.elapsed();
    controller.shutdown();

    let (controller, namespace) = connect()?;
    let tls = controller.info().tls;
    let tls = tls.as_ref().ok_or_else(|| Failure::new(Exit::Tls, "the connection is not TLS"))?;
    let tls = TlsReport::new(tls);
    let width = Width::default();
    let start = Instant::now();
    {
        let progress = Progress::start("read", Some(bytes));
        transfer::download(&controller, &namespace, io::sink(), bytes, width, &progress)?;
    }
    let read = start.elapsed();
    controller.shutdown();

    // SHA-256 is slower than the connection on many machines, so it has a reading of its own.
    let (controller, namespace) = connect()?;
    let mut read_back = hashing::sha256();
    {
        let progress = Progress::start("verify", Some(bytes));
        let sink = Hashing::new(io::sink(), &mut read_back);
        transfer::download(&controller, &namespace, sink, bytes, width, &progress)?;
    }
    controller.shutdown();
    target.shutdown();

    let verified = read_back.finish().as_ref() == expected.as_ref();
    let report = DemoReport {
        verified,
        bytes,
        write_seconds: write.as_secs_f64(),
        write_mb_s: report::mb_s(bytes, write),
        read_seconds: read.as_secs_f64(),
        read_mb_s: report::mb_s(bytes, read),
        sha256: report::hex(expected.as_ref()),
        tls,
    };
    args.output.print(&report, |report| table(report, write, read))?;
    match verified {
        true => Ok(()),
        false => {
            let failure = Failure::new(Exit::Io, "what was read back is not what was written");
            Err(failure.hint("this machine's memory or processor is at fault".to_owned()))
        }
    }
}

fn table(report: &DemoReport, write: Duration, read: Duration) -> String {
    let size = format!("{} ({} bytes)", size::human(report.bytes), report.bytes);
    let speed = |time, rate| format!("{}, {rate} MB/s", report::seconds(time));
    let same = if report.verified { "the same" } else { "DIFFERENT" };
    let mut rows = vec![
        ["image".to_owned(), size],
        ["written".to_owned(), speed(write, report.write_mb_s)],
        ["read back".to_owned(), speed(read, report.read_mb_s)],
        ["SHA-256".to_owned(), format!("{same}, {}", report.sha256)],
    ];
    rows.extend(report.tls.rows());
    output::pairs(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Demo {
        #[command(flatten)]
        args: DemoArgs,
    }

    #[test]
    fn an_image_of_its_own_or_a_file() {
        assert_eq!(Demo::try_parse_from(["demo"]).unwrap().args.size, 256 << 20);
        let args = Demo::try_parse_from(["demo", "--file", "f", "--json"]).unwrap().args;
        assert_eq!(args.file, Some("f".into()));
        assert!(Demo::try_parse_from(["demo", "--file", "f", "--size", "1M"]).is_err());
        assert!(Demo::try_parse_from(["demo", "--size", "1.5M"]).is_err());
    }
}
