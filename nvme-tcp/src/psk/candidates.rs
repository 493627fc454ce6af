//! Which identities to try, in which order.

use super::derive::{Derivation, IdentityVersion, PskError, TlsPsk, derive};
use super::key::ConfiguredKey;

/// Which identities [`candidates`] may give. The default is all of them.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use nvme_tcp::psk::{ConfiguredKey, IdentityVersion, Policy};
/// use nvme_tcp::{Options, Security, host::HostIdentity};
///
/// let keys = ConfiguredKey::all_from_file("/etc/nvme/image.keys")?.into();
/// let policy = Policy::ALL.only_version(IdentityVersion::V1);
/// let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?)
///     .security(Security::Tls { keys, policy });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    version: Option<IdentityVersion>,
    derivation: Option<Derivation>,
}

impl Policy {
    /// Every version with every derivation.
    pub const ALL: Self = Self { version: None, derivation: None };

    /// Identities of this version only.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, IdentityVersion, KeyHash, Policy, candidates};
    ///
    /// // For a target that knows no other, a gateway of Ceph's for example.
    /// let policy = Policy::ALL.only_version(IdentityVersion::V0);
    /// let keys = [ConfiguredKey::generate(KeyHash::Sha256)?];
    /// let psks = candidates(&keys, "nqn.2024-01.io.example:host", "nqn.2024-01.io.example:images", policy)?;
    /// assert!(psks.iter().all(|psk| psk.identity().starts_with("NVMe0R01 ")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn only_version(self, version: IdentityVersion) -> Self {
        Self { version: Some(version), ..self }
    }

    /// Keys of this derivation only.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, Derivation, KeyHash, Policy, candidates};
    ///
    /// // What RFC 8446 has: half as many attempts where the key is wrong.
    /// let policy = Policy::ALL.only_derivation(Derivation::Rfc8446);
    /// let keys = [ConfiguredKey::generate(KeyHash::Sha256)?];
    /// let psks = candidates(&keys, "nqn.2024-01.io.example:host", "nqn.2024-01.io.example:images", policy)?;
    /// assert_eq!(psks.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn only_derivation(self, derivation: Derivation) -> Self {
        Self { derivation: Some(derivation), ..self }
    }

    pub(crate) fn allows(self, version: IdentityVersion, derivation: Derivation) -> bool {
        self.version.is_none_or(|only| only == version)
            && self.derivation.is_none_or(|only| only == derivation)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::ALL
    }
}

/// Every identity that `keys` give between this host and this subsystem, the best first: the RFC's
/// derivation before the older one, version 1 before version 0, SHA-384 before SHA-256, and then in the
/// order of `keys`.
///
/// A client uses ONE of them for each connection attempt and remembers which was taken: servers in the
/// field give up at the first identity that they do not know. A server may know them all. Version-0
/// identities hold no digest, so several candidates may share one.
///
/// ```
/// use ktls::crypto::Hash;
/// use nvme_tcp::psk::{ConfiguredKey, IdentityVersion, KeyHash, Policy, candidates};
///
/// let keys = [ConfiguredKey::generate(KeyHash::Sha256)?, ConfiguredKey::generate(KeyHash::Sha384)?];
/// let psks =
///     candidates(&keys, "nqn.2024-01.io.example:host", "nqn.2024-01.io.example:images", Policy::ALL)?;
/// // Two keys, two versions, two derivations.
/// assert_eq!(psks.len(), 8);
/// assert_eq!((psks[0].version(), psks[0].hash()), (IdentityVersion::V1, Hash::Sha384));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A name that cannot stand in an identity. A version-0 identity too long to be derived from is left
/// out, and is an error only where nothing else remains.
pub fn candidates(
    keys: &[ConfiguredKey],
    host_nqn: &str,
    subsystem_nqn: &str,
    policy: Policy,
) -> Result<Vec<TlsPsk>, PskError> {
    let mut psks = Vec::new();
    let mut too_long = None;
    for derivation in [Derivation::Rfc8446, Derivation::Compat] {
        for version in [IdentityVersion::V1, IdentityVersion::V0] {
            if !policy.allows(version, derivation) {
                continue;
            }
            let first = psks.len();
            for key in keys {
                match derive(key, host_nqn, subsystem_nqn, version, derivation) {
                    Ok(psk) => psks.push(psk),
                    Err(error @ PskError::IdentityTooLong { .. }) => too_long = Some(error),
                    Err(error) => return Err(error),
                }
            }
            // Stable: keys of one hash stay in the caller's order.
            psks[first..].sort_by_key(|psk| std::cmp::Reverse(psk.hash().output_len()));
        }
    }
    match too_long {
        Some(error) if psks.is_empty() => Err(error),
        _ => Ok(psks),
    }
}
