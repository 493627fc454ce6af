//! `key generate-dhchap` and `key check-dhchap`: the secrets of DH-HMAC-CHAP.

use std::path::PathBuf;

use clap::Args;
use nvme_tcp::auth::DhchapSecret;

use super::material::{self, NewFile, hash_name};
use crate::exit::Failure;
use crate::output::OutputArgs;
use crate::secrets;
use crate::tls_args::KeyText;

/// `key generate-dhchap`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Hash that ties the secret to its owner's NQN
    #[arg(long, value_name = "HASH", value_parser = hash_name(&material::HASHES), default_value = "sha256")]
    hash: u8,
    /// The same by its number, as in nvme-cli: 0 none, 1 SHA-256, 2 SHA-384, 3 SHA-512
    #[arg(short = 'm', long, value_name = "N", conflicts_with = "hash", value_parser = clap::value_parser!(u8).range(0..=3))]
    hmac: Option<u8>,
    #[command(flatten)]
    file: NewFile,
}

/// Makes a random secret.
pub fn generate(args: &GenerateArgs) -> Result<(), Failure> {
    material::generate::<DhchapSecret>(args.hmac.unwrap_or(args.hash), &args.file).map(drop)
}

/// `key check-dhchap`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// File with the secret (mode 0600)
    #[arg(short = 'f', long, value_name = "FILE", required_unless_present = "dhchap_secret")]
    keyfile: Option<PathBuf>,
    /// The secret itself; every user of this machine can see it: rather use --keyfile
    #[arg(short = 'S', long, value_name = "TEXT", conflicts_with = "keyfile")]
    dhchap_secret: Option<KeyText>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Checks a secret's text: form, length and CRC.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let secret = secrets::load(args.keyfile.as_deref(), args.dhchap_secret.as_ref())?;
    let secret = secret.ok_or_else(|| Failure::usage("no secret is given"))?;
    material::check(&secret, &args.output)
}
