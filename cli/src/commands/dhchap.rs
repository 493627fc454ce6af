//! `key generate-dhchap` and `key check-dhchap`: the secrets of DH-HMAC-CHAP.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use nvme_tcp::auth::{DhchapSecret, SecretHash};
use serde::Serialize;

use crate::args::KeyText;
use crate::exit::Failure;
use crate::output::{self, OutputArgs};
use crate::secrets;

/// `key generate-dhchap`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Hash that ties the secret to its owner's NQN
    #[arg(long, value_enum, default_value = "sha256")]
    hash: HashName,
    /// The same by its number, as in nvme-cli: 0 none, 1 SHA-256, 2 SHA-384, 3 SHA-512
    #[arg(short = 'm', long, value_name = "N", conflicts_with = "hash", value_parser = clap::value_parser!(u8).range(0..=3))]
    hmac: Option<u8>,
    /// Write the secret to this new file (mode 0600), and print nothing
    #[arg(short = 'f', long, value_name = "FILE")]
    keyfile: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HashName {
    /// The secret is used as it is, 32 bytes
    None,
    /// 32 bytes
    Sha256,
    /// 48 bytes
    Sha384,
    /// 64 bytes
    Sha512,
}

impl GenerateArgs {
    fn hash(&self) -> SecretHash {
        let named = match self.hash {
            HashName::None => SecretHash::None,
            HashName::Sha256 => SecretHash::Sha256,
            HashName::Sha384 => SecretHash::Sha384,
            HashName::Sha512 => SecretHash::Sha512,
        };
        self.hmac.and_then(SecretHash::from_id).unwrap_or(named)
    }
}

/// Makes a random secret.
pub fn generate(args: &GenerateArgs) -> Result<(), Failure> {
    let secret = DhchapSecret::generate(args.hash())?;
    match &args.keyfile {
        Some(path) => {
            secret.write_file(path)?;
            output::talk(format_args!("the secret is in {}", path.display()));
            Ok(())
        }
        None => output::data(&*secret.to_text()),
    }
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

#[derive(Serialize)]
struct Checked {
    hash: &'static str,
    bytes: usize,
}

/// Checks a secret's text: form, length and CRC.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let secret = secrets::load(args.keyfile.as_deref(), args.dhchap_secret.as_ref())?;
    let secret = secret.ok_or_else(|| Failure::usage("no secret is given"))?;
    let hash = match secret.hash() {
        SecretHash::None => "none",
        SecretHash::Sha256 => "sha256",
        SecretHash::Sha384 => "sha384",
        SecretHash::Sha512 => "sha512",
    };
    let checked = Checked { hash, bytes: secret.key().len() };
    args.output
        .print(&checked, |secret| format!("the secret is good: {} bytes, hash {}", secret.bytes, secret.hash))
}
