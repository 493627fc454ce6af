//! What TLS keys and DH-HMAC-CHAP secrets have in common: both are random bytes with a hash, written as a line
//! of text.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ktls::crypto::CryptoError;
use nvme_tcp::auth::{DhchapSecret, SecretHash};
use nvme_tcp::psk::{ConfiguredKey, KeyFileError, KeyHash};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::output::{self, OutputArgs};

/// The names of the hashes. A hash's number, in texts and in nvme-cli, is its place.
pub const HASHES: [&str; 4] = ["none", "sha256", "sha384", "sha512"];

/// Takes the name of one of these hashes, and gives its number.
pub fn hash_name(names: &'static [&'static str]) -> impl TypedValueParser<Value = u8> {
    let number = |name: String| HASHES.iter().position(|known| *known == name).unwrap_or_default() as u8;
    PossibleValuesParser::new(names).map(number)
}

/// Where something new is written.
#[derive(Clone, Debug, Args)]
pub struct NewFile {
    /// Write it to this new file (mode 0600), and print nothing
    #[arg(short = 'f', long, value_name = "FILE")]
    pub keyfile: Option<PathBuf>,
}

/// A key or a secret.
pub trait Material: Sized {
    /// What it is called.
    const NAME: &'static str;

    /// A random one; `None` where no hash has this number.
    fn random(hash: u8) -> Option<Result<Self, CryptoError>>;
    /// Writes its text to a new file.
    fn write_file(&self, path: &Path) -> Result<(), KeyFileError>;
    /// Its text.
    fn to_text(&self) -> Zeroizing<String>;
    /// Its hash's number, and how many bytes it has.
    fn facts(&self) -> (u8, usize);
}

macro_rules! material {
    ($type:ty, $name:literal, $hash:ty, $bytes:ident) => {
        impl Material for $type {
            const NAME: &'static str = $name;

            fn random(hash: u8) -> Option<Result<Self, CryptoError>> {
                <$hash>::from_id(hash).map(Self::generate)
            }

            fn write_file(&self, path: &Path) -> Result<(), KeyFileError> {
                self.write_file(path)
            }

            fn to_text(&self) -> Zeroizing<String> {
                self.to_text()
            }

            fn facts(&self) -> (u8, usize) {
                (self.hash().id(), self.$bytes().len())
            }
        }
    };
}

material!(ConfiguredKey, "key", KeyHash, psk);
material!(DhchapSecret, "secret", SecretHash, key);

/// Makes a random one with the hash of this number, and writes or prints it.
pub fn generate<M: Material>(hash: u8, file: &NewFile) -> Result<M, Failure> {
    let made =
        M::random(hash).ok_or_else(|| Failure::usage(format_args!("no hash has the number {hash}")))??;
    match &file.keyfile {
        Some(path) => {
            made.write_file(path)?;
            output::talk(format_args!("the {} is in {}", M::NAME, path.display()));
        }
        None => output::data(&*made.to_text())?,
    }
    Ok(made)
}

#[derive(Serialize)]
struct Checked {
    hash: &'static str,
    bytes: usize,
}

/// Tells of one whose text was good.
pub fn check<M: Material>(good: &M, output: &OutputArgs) -> Result<(), Failure> {
    let (hash, bytes) = good.facts();
    let hash = HASHES.get(usize::from(hash)).copied().unwrap_or("unknown");
    output.print(&Checked { hash, bytes }, |Checked { hash, bytes }| {
        format!("the {} is good: {bytes} bytes, hash {hash}", M::NAME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_at_the_place_of_its_number() {
        let known = [SecretHash::None, SecretHash::Sha256, SecretHash::Sha384, SecretHash::Sha512];
        for (name, hash) in HASHES.into_iter().zip(known) {
            assert_eq!(HASHES[usize::from(hash.id())], name);
        }
        for hash in [KeyHash::None, KeyHash::Sha256, KeyHash::Sha384] {
            assert_eq!(<ConfiguredKey as Material>::random(hash.id()).unwrap().unwrap().hash(), hash);
        }
        assert!(<ConfiguredKey as Material>::random(3).is_none());
    }
}
