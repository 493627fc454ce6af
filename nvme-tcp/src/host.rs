//! Who this host is: its NQN and its 128-bit identifier, the same at every connection.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ktls::crypto::{self, CryptoError, Hash};
use thiserror::Error;

use crate::nqn::{self, NqnError, UUID_NQN_PREFIX};

/// What a host presents in its Connect commands. Targets tie reservations and access lists to it, and
/// refuse one NQN with two identifiers.
///
/// ```
/// use nvme_tcp::host::HostIdentity;
///
/// // As the command line of a program says; what it does not say is taken from this machine.
/// let host = HostIdentity::choose(Some("nqn.2024-01.io.example:store-7"), None)?;
/// println!("{}: {}", host.nqn, host.source);
/// # Ok::<(), nvme_tcp::host::HostError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity {
    /// The host NQN.
    pub nqn: String,
    /// HOSTID, as its UUID's text writes it, the first byte first.
    pub id: [u8; 16],
    /// Where the two come from.
    pub source: HostSource,
}

/// Where a [`HostIdentity`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostSource {
    /// The caller's words.
    Given,
    /// `/etc/nvme/hostnqn` or `/etc/nvme/hostid`.
    Files,
    /// `/etc/machine-id`.
    MachineId,
    /// Nothing here is stable: it is another host at the next start, which a user should be told.
    Random,
}

impl fmt::Display for HostSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "given",
            Self::Files => "from /etc/nvme",
            Self::MachineId => "made from /etc/machine-id",
            Self::Random => "random, because there is neither /etc/nvme/hostnqn nor /etc/machine-id",
        })
    }
}

/// Why this host's identity could not be found out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// A file is there, but cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file for the host NQN holds something else.
    #[error("{}: {source}", path.display())]
    FileNqn {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: NqnError,
    },
    /// The file for the host identifier holds something else.
    #[error("{} does not hold a UUID other than zero", path.display())]
    FileId {
        /// Which file.
        path: PathBuf,
    },
    /// The host NQN given by the caller is none.
    #[error("host NQN: {0}")]
    Nqn(#[source] NqnError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl HostError {
    /// What an operator can do about it, where that does not follow from the message.
    ///
    /// ```
    /// use nvme_tcp::host::HostIdentity;
    ///
    /// let error = HostIdentity::choose(Some("store 7"), None).unwrap_err();
    /// assert!(error.hint().is_some_and(|hint| hint.contains("nqn.2014-08.org.nvmexpress:uuid:")));
    /// ```
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } | Self::Random => None,
            Self::FileNqn { .. } => Some("write one host NQN into it, or remove it".to_owned()),
            Self::FileId { .. } => Some("write one UUID into it, or remove it".to_owned()),
            Self::Nqn(_) => Some(format!("a host NQN looks like {UUID_NQN_PREFIX}UUID")),
        }
    }
}

impl From<CryptoError> for HostError {
    fn from(_: CryptoError) -> Self {
        Self::Random
    }
}

impl HostIdentity {
    /// This machine's: from `/etc/nvme/hostnqn` and `/etc/nvme/hostid`, which nvme-cli and the kernel's
    /// initiator use; a missing one is made from the other. Without both it is made from
    /// `/etc/machine-id` by a one-way function, and random without that.
    ///
    /// ```
    /// use nvme_tcp::host::{HostIdentity, HostSource};
    ///
    /// let host = HostIdentity::load()?;
    /// if host.source == HostSource::Random {
    ///     eprintln!("reservations of this host do not outlive it: its identity is {}", host.source);
    /// }
    /// assert_eq!(nvme_tcp::nqn::validate(&host.nqn), Ok(()));
    /// # Ok::<(), nvme_tcp::host::HostError>(())
    /// ```
    ///
    /// # Errors
    /// A file that is there but cannot be read or does not hold what it should.
    pub fn load() -> Result<Self, HostError> {
        Self::load_below(Path::new("/"))
    }

    /// The same, with another folder in place of `/`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nvme_tcp::host::{HostIdentity, HostSource};
    /// use std::fs;
    ///
    /// // The root of an image that is being built.
    /// let root = tempfile::tempdir()?;
    /// fs::create_dir_all(root.path().join("etc/nvme"))?;
    /// fs::write(root.path().join("etc/nvme/hostnqn"), "nqn.2024-01.io.example:store-7\n")?;
    /// let host = HostIdentity::load_below(root.path())?;
    /// assert_eq!((&*host.nqn, host.source), ("nqn.2024-01.io.example:store-7", HostSource::Files));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`HostIdentity::load`].
    pub fn load_below(root: &Path) -> Result<Self, HostError> {
        let nqn = match read_line(&root.join("etc/nvme/hostnqn"))? {
            Some((path, nqn)) => {
                nqn::validate(&nqn).map_err(|source| HostError::FileNqn { path, source })?;
                Some(nqn)
            }
            None => None,
        };
        let id = match read_line(&root.join("etc/nvme/hostid"))? {
            Some((path, id)) => {
                Some(parse_uuid(&id).filter(|id| *id != [0; 16]).ok_or(HostError::FileId { path })?)
            }
            None => None,
        };
        Ok(match (nqn, id) {
            (Some(nqn), id) => Self { id: id.unwrap_or_else(|| id_of(&nqn)), nqn, source: HostSource::Files },
            (None, Some(id)) => Self::of_uuid(id, HostSource::Files),
            (None, None) => {
                match read_line(&root.join("etc/machine-id"))?.and_then(|(_, id)| parse_uuid(&id)) {
                    Some(machine) => {
                        Self::of_uuid(derived_uuid(b"machine-id", &machine), HostSource::MachineId)
                    }
                    None => {
                        let mut id = [0; 16];
                        crypto::random(&mut id)?;
                        Self::of_uuid(as_uuid(id, 4), HostSource::Random)
                    }
                }
            }
        })
    }

    /// What the caller says, and this machine's values for what it does not say. An identifier that is
    /// missing beside an NQN of the caller's own is made from that NQN, so that they always go together.
    ///
    /// ```
    /// use nvme_tcp::host::HostIdentity;
    ///
    /// let host = HostIdentity::choose(Some("nqn.2024-01.io.example:store-7"), None)?;
    /// // The same on every machine, and at every start.
    /// assert_eq!(host, HostIdentity::choose(Some("nqn.2024-01.io.example:store-7"), None)?);
    /// # Ok::<(), nvme_tcp::host::HostError>(())
    /// ```
    ///
    /// # Errors
    /// `nqn` is none, or as [`HostIdentity::load`].
    pub fn choose(nqn: Option<&str>, id: Option<[u8; 16]>) -> Result<Self, HostError> {
        let Some(nqn) = nqn else {
            let machine = Self::load()?;
            return Ok(match id {
                Some(id) => Self { id, ..machine },
                None => machine,
            });
        };
        nqn::validate(nqn).map_err(HostError::Nqn)?;
        let id = match id {
            Some(id) => id,
            // A machine's own name keeps the machine's own identifier.
            None => match Self::load()? {
                machine if machine.nqn == nqn => return Ok(machine),
                _ => id_of(nqn),
            },
        };
        Ok(Self { nqn: nqn.to_owned(), id, source: HostSource::Given })
    }

    fn of_uuid(id: [u8; 16], source: HostSource) -> Self {
        Self { nqn: format!("{UUID_NQN_PREFIX}{}", format_uuid(&id)), id, source }
    }
}

/// Reads a UUID of 32 hexadecimal digits, with its four hyphens or with none (as in
/// `/etc/machine-id`).
///
/// ```
/// use nvme_tcp::host::parse_uuid;
///
/// let id = parse_uuid("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6");
/// assert!(id.is_some() && id == parse_uuid("f81d4fae7dec11d0a76500a0c91e6bf6"));
/// assert_eq!(parse_uuid("f81d-4fae-7dec11d0a76500a0c91e6bf6"), None);
/// ```
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hyphens = text.bytes().enumerate().filter(|(_, byte)| *byte == b'-').map(|(at, _)| at);
    let digits: Vec<u8> = match text.len() {
        32 => text.bytes().collect(),
        36 if hyphens.eq([8, 13, 18, 23]) => text.bytes().filter(|byte| *byte != b'-').collect(),
        _ => return None,
    };
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(id)
}

/// The text of a UUID, in lower case with hyphens (RFC 9562, section 4).
///
/// ```
/// use nvme_tcp::host::{HostIdentity, format_uuid};
///
/// // A HOSTID as another host's reservation shows it.
/// let host = HostIdentity::choose(Some("nqn.2024-01.io.example:store-7"), Some([0x5a; 16]))?;
/// assert_eq!(format_uuid(&host.id), "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a");
/// # Ok::<(), nvme_tcp::host::HostError>(())
/// ```
pub fn format_uuid(id: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in id.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The identifier that goes with an NQN: the UUID in it, or one made from it.
fn id_of(nqn: &str) -> [u8; 16] {
    let uuid = nqn.strip_prefix(UUID_NQN_PREFIX).and_then(parse_uuid);
    uuid.unwrap_or_else(|| derived_uuid(b"host-nqn", nqn.as_bytes()))
}

/// A UUID that tells nothing of what it is made from: HMAC-SHA-256 keyed with it, over a fixed
/// application label, as machine-id(5) recommends. Version 8, whose bits are the maker's own (RFC 9562,
/// section 5.8).
fn derived_uuid(label: &[u8], from: &[u8]) -> [u8; 16] {
    let hmac = crypto::hmac(Hash::Sha256, from, &[b"nvme-tcp host identity v1 ", label]);
    let mut id = [0; 16];
    for (byte, made) in id.iter_mut().zip(hmac.expose()) {
        *byte = *made;
    }
    as_uuid(id, 8)
}

/// Sets the version and variant bits (RFC 9562, section 4).
fn as_uuid(mut id: [u8; 16], version: u8) -> [u8; 16] {
    id[6] = id[6] & 0x0f | version << 4;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// The trimmed text of a file with its path; `None` where there is no such file or nothing in it.
fn read_line(path: &Path) -> Result<Option<(PathBuf, String)>, HostError> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some((path.to_owned(), text.trim().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HostError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "11111111-2222-3333-4444-555555555555";
    const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/nvme")).unwrap();
        for (name, text) in files {
            fs::write(root.path().join(name), text).unwrap();
        }
        root
    }

    fn load(files: &[(&str, &str)]) -> Result<HostIdentity, HostError> {
        HostIdentity::load_below(root(files).path())
    }

    #[test]
    fn uuids_come_back_as_they_went() {
        assert_eq!(format_uuid(&parse_uuid(UUID).unwrap()), UUID);
        assert_eq!(parse_uuid(MACHINE_ID).unwrap()[..3], [0x01, 0x23, 0x45]);
        let wrong =
            ["", "11111111222233334444-555555555555", "1111111-12222-3333-4444-555555555555", &UUID[1..]];
        for text in wrong
            .into_iter()
            .chain(["g1111111-2222-3333-4444-555555555555", "\u{e9}1111111222233334444555555555555"])
        {
            assert_eq!(parse_uuid(text), None, "{text}");
        }
    }

    #[test]
    fn the_files_are_taken_as_they_are() {
        let host =
            load(&[("etc/nvme/hostnqn", "nqn.2024-01.lab.test:a\n"), ("etc/nvme/hostid", UUID)]).unwrap();
        assert_eq!((host.nqn.as_str(), host.source), ("nqn.2024-01.lab.test:a", HostSource::Files));
        assert_eq!(format_uuid(&host.id), UUID);
    }

    #[test]
    fn one_file_makes_the_other() {
        let nqn = format!("{UUID_NQN_PREFIX}{UUID}");
        let by_nqn = load(&[("etc/nvme/hostnqn", &nqn), ("etc/machine-id", MACHINE_ID)]).unwrap();
        let by_id = load(&[("etc/nvme/hostid", UUID), ("etc/machine-id", MACHINE_ID)]).unwrap();
        assert_eq!(by_nqn, by_id);
        assert_eq!((by_id.nqn, format_uuid(&by_id.id).as_str()), (nqn, UUID));
    }

    #[test]
    fn a_machine_id_makes_a_stable_identity_that_does_not_hold_it() {
        let host = load(&[("etc/machine-id", MACHINE_ID)]).unwrap();
        assert_eq!(host, load(&[("etc/machine-id", MACHINE_ID)]).unwrap());
        assert_ne!(host.nqn, load(&[("etc/machine-id", &MACHINE_ID.replace('0', "f"))]).unwrap().nqn);
        assert_eq!(host.source, HostSource::MachineId);
        // Fixed for ever: another value would make every machine another host.
        assert_eq!(host.nqn, format!("{UUID_NQN_PREFIX}68c26332-bf50-8b17-8bd2-dfb7fa068c2f"));
        assert_ne!(host.id, parse_uuid(MACHINE_ID).unwrap());
    }

    #[test]
    fn without_a_machine_id_it_is_random_and_says_so() {
        for files in [&[][..], &[("etc/machine-id", "uninitialized\n")], &[("etc/machine-id", "")]] {
            let host = load(files).unwrap();
            assert_eq!(host.source, HostSource::Random);
            assert_ne!(host.id, load(files).unwrap().id);
        }
    }

    #[test]
    fn wrong_files_are_named() {
        let error = load(&[("etc/nvme/hostnqn", "nqn with spaces")]).unwrap_err();
        assert!(matches!(error, HostError::FileNqn { source: NqnError::Character { at: 3, .. }, .. }));
        let error = load(&[("etc/nvme/hostid", "12")]).unwrap_err();
        assert!(error.to_string().contains("etc/nvme/hostid does not hold a UUID"), "{error}");
        let error = load(&[("etc/nvme/hostid", "00000000-0000-0000-0000-000000000000")]).unwrap_err();
        assert!(matches!(error, HostError::FileId { .. }));
        let folder = root(&[]);
        fs::create_dir(folder.path().join("etc/nvme/hostnqn")).unwrap();
        assert!(matches!(HostIdentity::load_below(folder.path()), Err(HostError::Io { .. })));
    }

    #[test]
    fn a_name_of_the_callers_own_has_its_own_identifier() {
        let uuid_nqn = format!("{UUID_NQN_PREFIX}{UUID}");
        let host = HostIdentity::choose(Some(&uuid_nqn), None).unwrap();
        assert_eq!((format_uuid(&host.id).as_str(), host.source), (UUID, HostSource::Given));
        let named = HostIdentity::choose(Some("nqn.2024-01.lab.test:b"), None).unwrap();
        assert_eq!(named, HostIdentity::choose(Some("nqn.2024-01.lab.test:b"), None).unwrap());
        assert_ne!(named.id, HostIdentity::choose(Some("nqn.2024-01.lab.test:c"), None).unwrap().id);
        let both = HostIdentity::choose(Some("nqn.2024-01.lab.test:b"), Some([7; 16])).unwrap();
        assert_eq!(both.id, [7; 16]);
        assert!(matches!(HostIdentity::choose(Some(""), None), Err(HostError::Nqn(NqnError::Empty))));
    }
}
