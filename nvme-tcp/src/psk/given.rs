//! TLS PSKs that were derived elsewhere: those of the kernel's keyring `.nvme`, and of the file that nvme-cli exports
//! them to.

use std::path::Path;
use std::str::FromStr;

use ktls::crypto::Hash;
use ktls::secret::Secret;
use thiserror::Error;
use zeroize::Zeroizing;

use super::derive::{Derivation, IdentityVersion, Origin, TlsPsk};
use super::key::{ConfiguredKey, KeyHash};
use super::text::KeyTextError;
use crate::key_file::{self, KeyFileError};
use crate::nqn;

/// The file where nvme-cli keeps TLS PSKs for the next start (`nvme tls-key --export`).
pub const TLS_KEYS_FILE: &str = "/etc/nvme/tls-keys";

/// No file of TLS PSKs is nearly as long: one line has less than a kilobyte.
const MAX_FILE_LEN: u64 = 1 << 20;

/// Why a text is no identity with its TLS PSK. No variant holds a byte of the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsPskError {
    /// The identity does not begin as one does.
    #[error("the PSK identity begins with {found:?}, expected NVMe0R or NVMe1R (or G) and hash 01 or 02")]
    Identity {
        /// Its first word, as far as one could be.
        found: String,
    },
    /// The identity has not the words of its version.
    #[error(
        "the PSK identity has {found} words, expected {expected}: host NQN, subsystem NQN and, in version 1, a digest"
    )]
    Words {
        /// How many it has.
        found: usize,
        /// How many its version has.
        expected: usize,
    },
    /// There is no key after the identity.
    #[error("no TLS PSK stands after the identity")]
    NoKey,
    /// The key's text is wrong.
    #[error("the TLS PSK after the identity: {0}")]
    Key(#[source] KeyTextError),
    /// The key is not as long as the hash of its identity.
    #[error("the TLS PSK is {found} bytes long, but the hash of its identity asks for {expected}")]
    Length {
        /// The length of that hash in bytes.
        expected: usize,
        /// The key's length in bytes.
        found: usize,
    },
}

impl TlsPskError {
    /// Whether the identity is one, and only its key is not.
    pub(crate) fn is_of_its_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::Key(_) | Self::Length { .. })
    }
}

/// What an identity says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names<'a> {
    pub(crate) version: IdentityVersion,
    pub(crate) origin: Origin,
    hash: Hash,
    pub(crate) host_nqn: &'a str,
    pub(crate) subsystem_nqn: &'a str,
}

/// Takes an identity apart: `NVMe<version><R|G><hash> <host NQN> <subsystem NQN>[ <digest>]`.
pub(crate) fn names(identity: &str) -> Result<Names<'_>, TlsPskError> {
    let mut words = identity.split(' ');
    let first = words.next().unwrap_or_default();
    // The rest of a longer one could be anything, a key for example.
    let wrong = || TlsPskError::Identity { found: first.chars().take(8).collect() };
    let rest = first.strip_prefix("NVMe").ok_or_else(wrong)?;
    let (version, rest) = match rest.split_at_checked(1).ok_or_else(wrong)? {
        ("0", rest) => (IdentityVersion::V0, rest),
        ("1", rest) => (IdentityVersion::V1, rest),
        _ => return Err(wrong()),
    };
    let (origin, hash) = match rest {
        "R01" => (Origin::Retained, Hash::Sha256),
        "R02" => (Origin::Retained, Hash::Sha384),
        "G01" => (Origin::Generated, Hash::Sha256),
        "G02" => (Origin::Generated, Hash::Sha384),
        _ => return Err(wrong()),
    };
    let words: Vec<&str> = words.collect();
    let expected = if version == IdentityVersion::V0 { 2 } else { 3 };
    match *words {
        [host_nqn, subsystem_nqn, ..]
            if words.len() == expected
                && [host_nqn, subsystem_nqn].iter().all(|nqn| nqn::validate(nqn).is_ok()) =>
        {
            Ok(Names { version, origin, hash, host_nqn, subsystem_nqn })
        }
        _ => Err(TlsPskError::Words { found: words.len(), expected }),
    }
}

impl TlsPsk {
    /// An identity with the TLS PSK that belongs to it, derived elsewhere.
    ///
    /// ```
    /// use nvme_tcp::psk::TlsPsk;
    ///
    /// let psk = TlsPsk::new("NVMe0R01 nqn.2024-01.io.example:host nqn.2024-01.io.example:images", &[7; 32])?;
    /// assert_eq!(psk.identity().split(' ').count(), 3);
    /// # Ok::<(), nvme_tcp::psk::TlsPskError>(())
    /// ```
    ///
    /// # Errors
    /// It is no identity of this transport, or the key has not the length of its hash.
    pub fn new(identity: &str, psk: &[u8]) -> Result<Self, TlsPskError> {
        let Names { version, origin, hash, .. } = names(identity)?;
        let length = TlsPskError::Length { expected: hash.output_len(), found: psk.len() };
        let secret = Secret::new(psk).filter(|_| psk.len() == hash.output_len()).ok_or(length)?;
        let (identity, derivation) = (identity.to_owned(), Derivation::Rfc8446);
        Ok(Self { identity, secret, hash, origin, version, derivation })
    }

    /// Its line in a file such as [`TLS_KEYS_FILE`], without a line's end: the identity, a space, and the key as an
    /// interchange text. It holds the key: keep it out of logs.
    ///
    /// ```
    /// use nvme_tcp::psk::TlsPsk;
    ///
    /// let psk = TlsPsk::new("NVMe0R01 nqn.2024-01.io.example:host nqn.2024-01.io.example:images", &[7; 32])?;
    /// assert_eq!(psk.to_line().parse::<TlsPsk>()?, psk);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_line(&self) -> Zeroizing<String> {
        let hash = if self.hash == Hash::Sha384 { KeyHash::Sha384 } else { KeyHash::Sha256 };
        let key = ConfiguredKey::new(hash, self.secret.expose()).map(|key| key.to_text());
        // Its length is that of its hash, which is one of the two.
        let key = key.unwrap_or_default();
        let mut line = Zeroizing::new(String::with_capacity(self.identity.len() + 1 + key.len()));
        line.push_str(&self.identity);
        line.push(' ');
        line.push_str(&key);
        line
    }

    /// Reads every TLS PSK from a file such as [`TLS_KEYS_FILE`], one a line as [`to_line`](Self::to_line) makes
    /// them; empty lines do not count.
    ///
    /// ```
    /// use std::os::unix::fs::OpenOptionsExt;
    /// use nvme_tcp::psk::TlsPsk;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("tls-keys");
    /// let psk = TlsPsk::new("NVMe0R01 nqn.2024-01.io.example:host nqn.2024-01.io.example:images", &[7; 32])?;
    /// let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    /// std::io::Write::write_all(&mut file, psk.to_line().as_bytes())?;
    /// assert_eq!(TlsPsk::all_from_file(&path)?, [psk]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Group or others have access to the file, or it cannot be read; [`KeyFileError::TlsPsk`] names a line that is
    /// none.
    pub fn all_from_file(path: impl AsRef<Path>) -> Result<Vec<Self>, KeyFileError> {
        let path = path.as_ref();
        key_file::read_up_to(MAX_FILE_LEN, path, |text| {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let wrong = |at, source| KeyFileError::TlsPsk { path: path.to_owned(), line: at + 1, source };
            lines.map(|(at, line)| line.parse().map_err(|source| wrong(at, source))).collect()
        })
    }
}

impl FromStr for TlsPsk {
    type Err = TlsPskError;

    /// Reads a line as [`TlsPsk::to_line`] makes it.
    fn from_str(line: &str) -> Result<Self, TlsPskError> {
        let (identity, key) = line.trim().rsplit_once(' ').ok_or(TlsPskError::NoKey)?;
        // The identity first: where the key is missing, the last word is part of it.
        let identity = identity.trim_end();
        names(identity).map_err(|error| match names(line.trim()) {
            // Where it is a key, the identity lacks a word.
            Ok(_) if key.parse::<ConfiguredKey>().is_err() => TlsPskError::NoKey,
            _ => error,
        })?;
        let key: ConfiguredKey = key.parse().map_err(TlsPskError::Key)?;
        Self::new(identity, key.psk().expose())
    }
}

/// Those of `psks` that a host may try for a subsystem, the best first. Keys that authentication agreed on are left
/// out: each is one connection's own.
pub(crate) fn chosen(
    psks: Vec<TlsPsk>,
    host_nqn: &str,
    subsystem_nqn: &str,
    allows: impl Fn(IdentityVersion) -> bool,
) -> Vec<TlsPsk> {
    let is_meant = |psk: &TlsPsk| {
        let Ok(names) = names(&psk.identity) else { return false };
        (names.host_nqn, names.subsystem_nqn) == (host_nqn, subsystem_nqn)
            && names.origin == Origin::Retained
            && allows(names.version)
    };
    let mut psks: Vec<TlsPsk> = psks.into_iter().filter(is_meant).collect();
    psks.sort_by_key(|psk| std::cmp::Reverse((psk.version, psk.hash.output_len())));
    psks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psk::derive;

    const HOST: &str = "nqn.2024-01.io.example:host";
    const SUBSYSTEM: &str = "nqn.2024-01.io.example:images";

    fn psk(hash: KeyHash, version: IdentityVersion) -> TlsPsk {
        let key = ConfiguredKey::generate(hash).unwrap();
        derive(&key, HOST, SUBSYSTEM, version, Derivation::Rfc8446).unwrap()
    }

    #[test]
    fn what_is_derived_comes_back_from_its_line() {
        for hash in [KeyHash::Sha256, KeyHash::Sha384] {
            for version in [IdentityVersion::V0, IdentityVersion::V1] {
                let psk = psk(hash, version);
                assert_eq!(psk.to_line().parse::<TlsPsk>().unwrap(), psk);
                assert_eq!(TlsPsk::new(psk.identity(), psk.secret().expose()).unwrap(), psk);
                let names = names(psk.identity()).unwrap();
                assert_eq!((names.host_nqn, names.subsystem_nqn, names.version), (HOST, SUBSYSTEM, version));
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named_without_its_key() {
        let good = psk(KeyHash::Sha256, IdentityVersion::V0).to_line();
        let (identity, key) = good.rsplit_once(' ').unwrap();
        let error = |line: &str| line.parse::<TlsPsk>().unwrap_err();
        assert_eq!(error(identity), TlsPskError::NoKey);
        assert_eq!(error(""), TlsPskError::NoKey);
        assert!(matches!(error(key), TlsPskError::NoKey));
        let wrong = error(&good.replace("NVMe0R01", "NVMe2R01"));
        assert_eq!(wrong, TlsPskError::Identity { found: "NVMe2R01".to_owned() });
        assert!(matches!(error(&good.replace("R01", "R03")), TlsPskError::Identity { .. }));
        assert_eq!(error(&good.replace("NVMe0", "NVMe1")), TlsPskError::Words { found: 2, expected: 3 });
        let wrong = error(&good.replace("NVMe0R01", "NVMe0R02"));
        assert_eq!(wrong, TlsPskError::Length { expected: 48, found: 32 });
        let cut = &good[..good.len() - 1];
        assert!(matches!(error(cut), TlsPskError::Key(KeyTextError::Truncated { .. })));
        // A line that is a key only, with a space in it.
        let spaced = format!("{} {}", &key[..40], &key[40..]);
        assert!(!format!("{} {:?}", error(&spaced), error(&spaced)).contains(&key[14..20]));
    }

    #[test]
    fn those_for_this_host_and_subsystem_are_taken_the_best_first() {
        let [v0, v1] =
            [IdentityVersion::V0, IdentityVersion::V1].map(|version| psk(KeyHash::Sha256, version));
        let better = psk(KeyHash::Sha384, IdentityVersion::V1);
        let generated = TlsPsk::new(&v0.identity().replace("R01", "G01"), v0.secret().expose()).unwrap();
        let other = TlsPsk::new(&v0.identity().replace(":host", ":other"), v0.secret().expose()).unwrap();
        let all = vec![v0.clone(), generated, other, v1.clone(), better.clone()];
        assert_eq!(chosen(all.clone(), HOST, SUBSYSTEM, |_| true), [better, v1, v0.clone()]);
        assert_eq!(chosen(all.clone(), HOST, SUBSYSTEM, |version| version == IdentityVersion::V0), [v0]);
        assert_eq!(chosen(all, SUBSYSTEM, HOST, |_| true), []);
    }

    #[test]
    fn a_file_holds_one_a_line_and_a_wrong_line_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tls-keys");
        let psks = [KeyHash::Sha256, KeyHash::Sha384].map(|hash| psk(hash, IdentityVersion::V1));
        let lines = format!("{}\n\n{}\n", psks[0].to_line().as_str(), psks[1].to_line().as_str());
        key_file::write(&path, &lines).unwrap();
        assert_eq!(TlsPsk::all_from_file(&path).unwrap(), psks);
        let other = directory.path().join("other");
        key_file::write(&other, &format!("{lines}\nnonsense")).unwrap();
        let error = TlsPsk::all_from_file(&other).unwrap_err();
        assert!(matches!(error, KeyFileError::TlsPsk { line: 5, .. }), "{error}");
        assert!(error.hint().is_some());
        // Longer than any file with one key may be.
        let many = directory.path().join("many");
        key_file::write(&many, &lines.repeat(20)).unwrap();
        assert_eq!(TlsPsk::all_from_file(&many).unwrap().len(), 40);
    }
}
