//! `key generate`, `key check` and `key identity`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use nvme_tcp::psk::{self, ConfiguredKey, Derivation, KeyHash, TlsPsk};
use serde::Serialize;

use super::dhchap;
use crate::args::{Identity, KeyArgs, nqn_parser, resolve_host};
use crate::exit::Failure;
use crate::output::{self, OutputArgs};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a random key and print it in its interchange form
    Generate(GenerateArgs),
    /// Check a key's text: form, length and CRC
    Check(CheckArgs),
    /// Print the PSK identity that a key gives between a host and a subsystem
    Identity(IdentityArgs),
    /// Make a random DH-HMAC-CHAP secret and print its text
    GenerateDhchap(dhchap::GenerateArgs),
    /// Check a DH-HMAC-CHAP secret's text: form, length and CRC
    CheckDhchap(dhchap::CheckArgs),
}

/// Does it.
pub fn run(command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Generate(args) => generate(&args),
        KeyCommand::Check(args) => check(&args),
        KeyCommand::Identity(args) => identity(&args),
        KeyCommand::GenerateDhchap(args) => dhchap::generate(&args),
        KeyCommand::CheckDhchap(args) => dhchap::check(&args),
    }
}

/// `key generate`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Hash that goes with the key; sha256 is what every peer understands
    #[arg(long, value_enum, default_value = "sha256")]
    hash: HashName,
    /// The same by its number, as in nvme-cli: 0 none, 1 SHA-256, 2 SHA-384
    #[arg(short = 'm', long, value_name = "N", conflicts_with = "hash", value_parser = clap::value_parser!(u8).range(0..=2))]
    hmac: Option<u8>,
    /// Write the key to this new file (mode 0600), and print nothing
    #[arg(short = 'f', long, value_name = "FILE")]
    keyfile: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HashName {
    /// The key is its own retained PSK, 32 bytes
    None,
    /// 32 bytes
    Sha256,
    /// 48 bytes
    Sha384,
}

impl GenerateArgs {
    fn hash(&self) -> KeyHash {
        let named = match self.hash {
            HashName::None => KeyHash::None,
            HashName::Sha256 => KeyHash::Sha256,
            HashName::Sha384 => KeyHash::Sha384,
        };
        self.hmac.and_then(KeyHash::from_id).unwrap_or(named)
    }
}

fn generate(args: &GenerateArgs) -> Result<(), Failure> {
    let hash = args.hash();
    let key = ConfiguredKey::generate(hash)?;
    match &args.keyfile {
        Some(path) => {
            key.write_file(path)?;
            output::talk(format_args!("the key is in {}", path.display()));
        }
        None => output::data(&*key.to_text())?,
    }
    if hash == KeyHash::Sha384 {
        output::warn("peers with GnuTLS before 3.8.11 cannot use 48-byte keys: SHA-256 works everywhere");
    }
    Ok(())
}

/// `key check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Checked {
    hash: &'static str,
    bytes: usize,
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let key = args.key.require()?;
    let hash = match key.hash() {
        KeyHash::None => "none",
        KeyHash::Sha256 => "sha256",
        KeyHash::Sha384 => "sha384",
    };
    let checked = Checked { hash, bytes: key.psk().len() };
    args.output.print(&checked, |key| format!("the key is good: {} bytes, hash {}", key.bytes, key.hash))
}

/// `key identity`
#[derive(Debug, Args)]
pub struct IdentityArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Host NQN [default: /etc/nvme/hostnqn, else made from the machine id]
    #[arg(short = 'n', long, value_name = "NQN", value_parser = nqn_parser())]
    hostnqn: Option<String>,
    /// Subsystem NQN
    #[arg(short = 'c', long, value_name = "NQN", value_parser = nqn_parser())]
    subsysnqn: String,
    /// Version of the identity; SPDK and Ceph gateways know 0 only
    #[arg(short = 'I', long, value_name = "VERSION", value_enum, default_value = "1")]
    identity: Identity,
    /// Derive as libnvme did before 1.15
    #[arg(long)]
    compat: bool,
    /// Print the derived TLS PSK as well, in hexadecimal: whoever sees it can connect
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Derived<'a> {
    identity: &'a str,
    identity_version: u8,
    compat: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_psk: Option<String>,
}

fn identity(args: &IdentityArgs) -> Result<(), Failure> {
    let key = args.key.require()?;
    let host = resolve_host(args.hostnqn.as_deref(), None)?;
    let derivation = if args.compat { Derivation::Compat } else { Derivation::Rfc8446 };
    let psk = psk::derive(&key, &host.nqn, &args.subsysnqn, args.identity.into(), derivation)?;
    let derived = Derived {
        identity: psk.identity(),
        identity_version: args.identity as u8,
        compat: args.compat,
        tls_psk: args.reveal.then(|| reveal(&psk)),
    };
    args.output.print(&derived, |derived| {
        let lines = [Some(derived.identity), derived.tls_psk.as_deref()];
        lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
    })
}

/// The one place where the tool shows a TLS PSK, on request.
fn reveal(psk: &TlsPsk) -> String {
    psk.secret().expose().iter().map(|byte| format!("{byte:02x}")).collect()
}
