//! The command line, and the groups of flags that several commands share. Letters are nvme-cli's.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Args, Parser, ValueEnum};
use nvme_tcp::host::{self, HostIdentity, HostSource};
use nvme_tcp::nqn;
use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, Policy};
use zeroize::Zeroizing;

use crate::commands::Command;
use crate::exit::{self, Exit, Failure};
use crate::output;
use crate::secrets::AuthArgs;

/// The environment variable that may hold a key's text.
pub const KEY_VARIABLE: &str = "NVME_TCP_TLS_KEY";
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

/// A key's text as it stands on the command line: not shown by any error or `Debug`.
#[derive(Clone)]
pub struct KeyText(Zeroizing<String>);

impl KeyText {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText")
    }
}

/// Where the configured key comes from.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// File with the key in its interchange form (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub keyfile: Option<PathBuf>,
    /// The key itself; every user of this machine can see it: rather use --keyfile, or the environment
    /// variable NVME_TCP_TLS_KEY
    #[arg(long, value_name = "TEXT", conflicts_with = "keyfile")]
    pub tls_key: Option<KeyText>,
}

impl KeyArgs {
    /// Where the key comes from, in words; nothing of the key itself.
    fn source(&self) -> String {
        match (&self.keyfile, &self.tls_key) {
            (Some(path), _) => format!("key from {}", path.display()),
            (None, Some(_)) => "key from the command line".to_owned(),
            (None, None) => format!("key from {KEY_VARIABLE}"),
        }
    }

    /// The key that the flags name, else the environment's, if there is one.
    pub fn load(&self) -> Result<Option<ConfiguredKey>, Failure> {
        if let Some(path) = &self.keyfile {
            return Ok(Some(ConfiguredKey::from_file(path)?));
        }
        if let Some(KeyText(text)) = &self.tls_key {
            output::warn(
                "a key on the command line can be seen by every user of this machine and stays in the \
                 shell's history; --keyfile keeps it private",
            );
            return Ok(Some(text.parse()?));
        }
        match std::env::var(KEY_VARIABLE).map(Zeroizing::new) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => match text.parse() {
                Ok(key) => Ok(Some(key)),
                Err(error) => {
                    let failure =
                        Failure::usage(format_args!("environment variable {KEY_VARIABLE}: {error}"));
                    Err(failure.hint(error.hint()))
                }
            },
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::usage(format_args!("environment variable {KEY_VARIABLE} is not text")))
            }
        }
    }

    /// The same where there must be one.
    pub fn require(&self) -> Result<ConfiguredKey, Failure> {
        self.load()?.ok_or_else(|| {
            let hint = format!(
                "name a file by --keyfile, or set {KEY_VARIABLE}; `nvme-tcp key generate --keyfile FILE` makes one"
            );
            Failure::usage("no key is given").hint(hint)
        })
    }
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

/// The version of a PSK identity, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Identity {
    /// Names host and subsystem
    #[value(name = "0")]
    V0,
    /// Names the key as well, by a digest
    #[value(name = "1")]
    V1,
}

impl From<Identity> for IdentityVersion {
    fn from(identity: Identity) -> Self {
        match identity {
            Identity::V0 => Self::V0,
            Identity::V1 => Self::V1,
        }
    }
}

/// Whether and how the connection is sealed.
#[derive(Clone, Debug, Args)]
pub struct TlsArgs {
    /// Require TLS 1.3: nothing is sent in plain, whatever the target answers
    #[arg(long)]
    pub tls: bool,
    #[command(flatten)]
    pub key: KeyArgs,
    /// Try PSK identities of this version only
    #[arg(long, value_name = "VERSION", requires = "tls")]
    pub identity: Option<Identity>,
    /// Try keys of the derivation that libnvme had before 1.15 only
    #[arg(long, requires = "tls")]
    pub compat: bool,
    #[command(flatten)]
    pub auth: AuthArgs,
}

impl TlsArgs {
    /// What is asked for, in words.
    pub fn summary(&self) -> String {
        match (self.tls, self.auth.concat) {
            (true, _) => format!("TLS required, {}", self.key.source()),
            (false, true) => "TLS required, key by DH-HMAC-CHAP".to_owned(),
            (false, false) => "plain".to_owned(),
        }
    }

    /// The key and the identities to try; `None` for a plain connection.
    pub fn resolve(&self) -> Result<Option<(ConfiguredKey, Policy)>, Failure> {
        if !self.tls {
            return match self.key.keyfile.is_some() || self.key.tls_key.is_some() {
                // Whoever gives a key does not expect plain text.
                true => Err(Failure::usage("a key is given, but not --tls").hint(
                    "add --tls to require TLS, or leave the key out for a plain connection".to_owned(),
                )),
                false => Ok(None),
            };
        }
        let mut policy = Policy::default();
        if let Some(version) = self.identity {
            policy = policy.only_version(version.into());
        }
        if self.compat {
            policy = policy.only_derivation(Derivation::Compat);
        }
        Ok(Some((self.key.require()?, policy)))
    }
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
        tls: TlsArgs,
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
        let args = shared(&format!("-q nqn.test:h -I {uuid} -i 4 -Q 128 -g -G -k 10")).unwrap();
        let host = args.host.resolve().unwrap();
        assert_eq!((host.nqn.as_str(), host::format_uuid(&host.id).as_str()), ("nqn.test:h", uuid));
        let queues = args.queues;
        assert_eq!(
            (queues.nr_io_queues, queues.queue_size, queues.keep_alive_tmo),
            (Some(4), Some(128), Some(10))
        );
        assert!(queues.hdr_digest && queues.data_digest);
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
            "--identity 0",
        ];
        for line in
            lines.into_iter().chain(["--tls --identity 2", "--tls --keyfile f --tls-key k", "--compat"])
        {
            assert!(shared(line).is_err(), "{line}");
        }
        assert!(Shared::try_parse_from(["test", "-q", "nqn with spaces"]).is_err());
    }

    #[test]
    fn no_key_no_tls_and_no_tls_no_key() {
        assert!(shared("").unwrap().tls.resolve().unwrap().is_none());
        let failure = shared("--keyfile f").unwrap().tls.resolve().unwrap_err();
        assert!(failure.to_string().contains("hint: add --tls"), "{failure}");
    }

    #[test]
    fn the_flags_choose_the_identities() {
        const TEXT: &str = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:";
        let policy = |flags: &str| {
            shared(&format!("--tls --tls-key {TEXT} {flags}")).unwrap().tls.resolve().unwrap().unwrap().1
        };
        assert_eq!(policy(""), Policy::ALL);
        let only = Policy::ALL.only_version(IdentityVersion::V0).only_derivation(Derivation::Compat);
        assert_eq!(policy("--identity 0 --compat"), only);
        assert!(!format!("{:?}", shared(&format!("--tls --tls-key {TEXT}")).unwrap()).contains("VRLb"));
    }
}
