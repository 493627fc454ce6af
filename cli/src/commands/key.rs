//! `key generate`, `key check` and `key identity`.

use clap::{Args, Subcommand};
use nvme_tcp::psk::{self, ConfiguredKey, Derivation, KeyHash, TlsPsk};
use serde::Serialize;

use super::dhchap;
use super::material::{self, NewFile, hash_name};
use crate::args::{nqn_parser, resolve_host};
use crate::exit::Failure;
use crate::output::{self, OutputArgs};
use crate::report;
use crate::tls_args::{Identity, KeyArgs};

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
    #[arg(long, value_name = "HASH", value_parser = hash_name(&["none", "sha256", "sha384"]), default_value = "sha256")]
    hash: u8,
    /// The same by its number, as in nvme-cli: 0 none, 1 SHA-256, 2 SHA-384
    #[arg(short = 'm', long, value_name = "N", conflicts_with = "hash", value_parser = clap::value_parser!(u8).range(0..=2))]
    hmac: Option<u8>,
    #[command(flatten)]
    file: NewFile,
}

fn generate(args: &GenerateArgs) -> Result<(), Failure> {
    let key: ConfiguredKey = material::generate(args.hmac.unwrap_or(args.hash), &args.file)?;
    if key.hash() == KeyHash::Sha384 {
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

fn check(args: &CheckArgs) -> Result<(), Failure> {
    material::check(&args.key.require()?, &args.output)
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
    report::hex(psk.secret().expose())
}
