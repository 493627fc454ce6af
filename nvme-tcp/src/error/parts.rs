//! What an error says beside its cause.

use std::collections::BTreeSet;

use crate::psk::{IdentityVersion, Origin};

/// Which PSK identities a connection was tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TriedIdentities {
    /// Those of a configured key, of either version.
    BothVersions,
    /// Those of a configured key, of version 0 only.
    Version0,
    /// Those of a configured key, of version 1 only.
    Version1,
    /// That of the key that authentication agreed on.
    Generated,
}

impl TriedIdentities {
    pub(crate) fn of(tried: impl Iterator<Item = (IdentityVersion, Origin)>) -> Self {
        let mut versions = BTreeSet::new();
        for (version, origin) in tried {
            if origin == Origin::Generated {
                return Self::Generated;
            }
            versions.insert(version == IdentityVersion::V0);
        }
        match versions.iter().collect::<Vec<_>>()[..] {
            [true] => Self::Version0,
            [false] => Self::Version1,
            _ => Self::BothVersions,
        }
    }
}

/// How far an error reaches.
///
/// ```no_run
/// use nvme_tcp::{Options, Scope, host::HostIdentity};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?);
/// let namespace = options.connect()?.namespace(1)?;
/// match namespace.read_at(&mut [0; 4096], 0) {
///     // Another block may be read well.
///     Err(error) if error.scope() == Scope::Command => println!("{error}"),
///     Err(error) => println!("{error}\n{}", error.hint().unwrap_or_default()),
///     Ok(()) => {}
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One command; the rest goes on.
    Command,
    /// One queue, and with it its association.
    Queue,
    /// The controller, or the way to it.
    Controller,
    /// What the caller asked for, before anything was sent.
    Configuration,
}

/// Who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller: another argument, another key, another address.
    Caller,
    /// The controller at the other end, or who runs it.
    Peer,
    /// Whatever lies between the two.
    Network,
    /// This machine's kernel.
    Kernel,
}

/// Why a namespace cannot be used, found out before the first byte of data went either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceRefusal {
    /// Identify knows no such namespace.
    #[error("does not exist, or this host may not see it")]
    Missing,
    /// Each block has metadata.
    #[error("is formatted with {0} bytes of metadata for each block")]
    Metadata(u16),
    /// End-to-end protection is on.
    #[error("is formatted with protection information of type {0}")]
    Protection(u8),
    /// The block size is none that can be used.
    #[error("has blocks of 2^{0} bytes, expected 2^9 to 2^16")]
    BlockSize(u8),
}
