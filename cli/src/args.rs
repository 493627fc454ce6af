//! The command line, and the groups of flags that several commands share. Letters are nvme-cli's.

use std::process::ExitCode;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Args, Parser};
use nvme_tcp::host::{self, HostIdentity, HostSource};
use nvme_tcp::nqn;

use crate::commands::Command;
use crate::exit::{self, Exit, Failure};
use crate::output;

/// What the texts of keys and secrets begin with.
const KEY_PREFIXES: [&str; 2] = ["NVMeTLSkey-", "DHHC-1:"];

/// NVMe/TCP with TLS 1.3, in the user's own process.
#[derive(Debug, Parser)]
#[command(name = "nvme-tcp", version, arg_required_else_help = true, after_help = exit::HELP)]
pub struct Cli {
    /// Say on standard error what is done
    #[arg(short, long, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Tells of a wrong command line, or prints the help that was asked for. A key that stands in the wrong
/// place is not repeated.
pub fn refuse(error: &clap::Error) -> ExitCode {
    let code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(Exit::Usage as u8),
    };
    let text = error.render().to_string();
    let misplaced =
        |prefix: &&str| text.contains(*prefix) && std::env::args().any(|arg| arg.contains(*prefix));
    if let Some(prefix) = KEY_PREFIXES.into_iter().find(misplaced) {
        let hint = match prefix {
            "DHHC-1:" => "--dhchap-secret takes a secret's text, --dhchap-keyfile the name of a file",
            _ => "--tls-key takes a key's text, --keyfile the name of a file",
        };
        let failure = Failure::usage("a key's text stands where none belongs on the command line");
        return failure.hint(hint.to_owned()).report();
    }
    // Nobody is left to tell when even this cannot be written.
    let _ = error.print();
    code
}

/// Who connects.
#[derive(Clone, Debug, Args)]
pub struct HostArgs {
    /// Host NQN [default: /etc/nvme/hostnqn, else made from the machine id]
    #[arg(short = 'q', long, value_name = "NQN", value_parser = nqn_parser())]
    pub hostnqn: Option<String>,
    /// Host identifier, a UUID [default: the host NQN's own, or /etc/nvme/hostid]
    #[arg(short = 'I', long, value_name = "UUID", value_parser = uuid)]
    pub hostid: Option<[u8; 16]>,
}

impl HostArgs {
    /// The identity to present.
    pub fn resolve(&self) -> Result<HostIdentity, Failure> {
        resolve_host(self.hostnqn.as_deref(), self.hostid)
    }
}

/// What the flags say, and this machine's values for what they do not say. One that does not last is
/// warned about.
pub fn resolve_host(nqn: Option<&str>, id: Option<[u8; 16]>) -> Result<HostIdentity, Failure> {
    let host = HostIdentity::choose(nqn, id)?;
    if host.source == HostSource::Random {
        output::warn(format_args!("host NQN {} is {}", host.nqn, host.source));
    }
    Ok(host)
}

/// A queue has at most 4096 entries, of which one stays free.
const MAX_DEPTH: i64 = 4095;

/// How the queues are set up.
#[derive(Clone, Debug, Args)]
pub struct QueueArgs {
    /// Number of I/O queues, each a connection of its own [default: 4]
    #[arg(short = 'i', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub nr_io_queues: Option<u16>,
    /// Commands in flight on each I/O queue, at most; each takes 256 KiB of memory [default: 32]
    #[arg(short = 'Q', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_DEPTH))]
    pub queue_size: Option<u16>,
    /// Protect PDU headers with CRC-32C
    #[arg(short = 'g', long)]
    pub hdr_digest: bool,
    /// Protect data with CRC-32C
    #[arg(short = 'G', long)]
    pub data_digest: bool,
    /// Keep-alive timeout in seconds; 0 turns it off [default: 10]
    #[arg(short = 'k', long, value_name = "SECONDS")]
    pub keep_alive_tmo: Option<u32>,
    /// TCP congestion control of the connections, such as dctcp [default: the system's]
    #[arg(long, value_name = "NAME")]
    pub congestion_control: Option<String>,
}

/// How long to wait.
#[derive(Clone, Debug, Args)]
pub struct TimeArgs {
    /// Seconds that a connection may take to come up, and each command to be answered
    /// [default: 10 and 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: Option<u32>,
}

/// Takes an NQN and says what is wrong with it.
pub fn nqn_parser() -> impl TypedValueParser<Value = String> {
    clap::builder::NonEmptyStringValueParser::new().try_map(|text| nqn::validate(&text).map(|()| text))
}

fn uuid(text: &str) -> Result<[u8; 16], &'static str> {
    host::parse_uuid(text).filter(|id| *id != [0; 16]).ok_or("expected a UUID other than zero")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[derive(Debug, Parser)]
    struct Shared {
        #[command(flatten)]
        host: HostArgs,
        #[command(flatten)]
        queues: QueueArgs,
        #[command(flatten)]
        time: TimeArgs,
    }

    fn shared(line: &str) -> Result<Shared, clap::Error> {
        Shared::try_parse_from(["test"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        Shared::command().debug_assert();
    }

    #[test]
    fn nvme_clis_letters_are_taken() {
        let uuid = "11111111-2222-3333-4444-555555555555";
        let args =
            shared(&format!("-q nqn.test:h -I {uuid} -i 4 -Q 128 -g -G -k 10 --congestion-control reno"))
                .unwrap();
        let host = args.host.resolve().unwrap();
        assert_eq!((host.nqn.as_str(), host::format_uuid(&host.id).as_str()), ("nqn.test:h", uuid));
        let queues = args.queues;
        assert_eq!(
            (queues.nr_io_queues, queues.queue_size, queues.keep_alive_tmo),
            (Some(4), Some(128), Some(10))
        );
        assert!(queues.hdr_digest && queues.data_digest);
        assert_eq!(queues.congestion_control.as_deref(), Some("reno"));
        assert_eq!(shared("--timeout 5").unwrap().time.timeout, Some(5));
    }

    #[test]
    fn wrong_values_are_refused() {
        let lines = [
            "-q",
            "-I 12",
            "-I 00000000-0000-0000-0000-000000000000",
            "-i 0",
            "-Q 0",
            "-Q 4096",
            "-k -1",
            "--timeout 0",
        ];
        for line in lines {
            assert!(shared(line).is_err(), "{line}");
        }
        assert!(Shared::try_parse_from(["test", "-q", "nqn with spaces"]).is_err());
    }
}
