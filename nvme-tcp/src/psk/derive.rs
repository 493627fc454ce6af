//! From a configured key to the identity and key of a TLS handshake.

use base64::prelude::{BASE64_STANDARD, Engine};
use ktls::crypto::{self, Hash, Prk};
use ktls::secret::Secret;
use thiserror::Error;

use super::key::{ConfiguredKey, KeyHash};
use crate::nqn::{self, NqnError};

/// HKDF-Expand-Label's length byte for its context (RFC 8446, section 7.1).
const MAX_CONTEXT_LEN: usize = 255;

/// The version of a PSK identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentityVersion {
    /// `NVMe0...`: names host and subsystem only, so two keys of theirs share it. SPDK, and so Ceph's
    /// gateways, know no other.
    V0,
    /// `NVMe1...`: a digest at its end names the key as well.
    V1,
}

/// Which info block HKDF-Expand gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Derivation {
    /// HKDF-Expand-Label as RFC 8446, section 7.1, has it.
    Rfc8446,
    /// As libnvme made it before 1.15, and nvme-cli does with `--compat`: the length in little-endian
    /// order, and neither label nor context with a length byte.
    Compat,
}

/// Where a PSK comes from: the letter in its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `R`: made from a configured key.
    Retained,
    /// `G`: agreed on by DH-HMAC-CHAP.
    Generated,
}

/// Why a PSK cannot be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PskError {
    /// The host's name cannot stand in an identity.
    #[error("host NQN: {0}")]
    HostNqn(#[source] NqnError),
    /// The subsystem's name cannot stand in an identity.
    #[error("subsystem NQN: {0}")]
    SubsystemNqn(#[source] NqnError),
    /// HKDF-Expand-Label takes a whole version-0 identity as its context, which has one length byte.
    #[error("the version-0 identity is {len} bytes long, at most {MAX_CONTEXT_LEN} can be derived from")]
    IdentityTooLong {
        /// The identity's length in bytes.
        len: usize,
    },
    /// PSKs exist for SHA-256 and SHA-384 only.
    #[error("there are no PSKs with {0:?}, only with Sha256 and Sha384")]
    Hash(Hash),
}

impl PskError {
    /// What an operator can do about it, where that does not follow from the message.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, KeyHash, derive};
    ///
    /// let (key, long) = (ConfiguredKey::generate(KeyHash::Sha256)?, "s".repeat(223));
    /// let error = derive(&key, "nqn.2024-01.io.example:host", &long, IdentityVersion::V0, Derivation::Rfc8446);
    /// assert!(error.unwrap_err().hint().is_some_and(|hint| hint.contains("version-1")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::HostNqn(_) | Self::SubsystemNqn(_) => None,
            Self::IdentityTooLong { .. } => {
                Some("use version-1 identities, or give host and subsystem shorter NQNs".to_owned())
            }
            Self::Hash(_) => Some("let host and target agree on SHA-256 or SHA-384".to_owned()),
        }
    }
}

/// What a TLS handshake needs: an identity, a key, and the hash that both belong to.
///
/// ```
/// use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, KeyHash, derive};
///
/// let key = ConfiguredKey::generate(KeyHash::Sha256)?;
/// let (host, subsystem) = ("nqn.2024-01.io.example:store-7", "nqn.2024-01.io.example:images");
/// let psk = derive(&key, host, subsystem, IdentityVersion::V1, Derivation::Rfc8446)?;
/// assert!(psk.identity().starts_with("NVMe1R01 nqn.2024-01.io.example:store-7 nqn.2024-01.io.example:images "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPsk {
    pub(super) identity: String,
    pub(super) secret: Secret,
    pub(super) hash: Hash,
    pub(super) origin: Origin,
    pub(super) version: IdentityVersion,
    pub(super) derivation: Derivation,
}

impl TlsPsk {
    /// The PSK identity: visible ASCII and spaces, at most 530 bytes, no secret.
    ///
    /// ```
    /// use nvme_tcp::psk::TlsPsk;
    ///
    /// let psk = TlsPsk::new("NVMe0R01 nqn.2024-01.io.example:host nqn.2024-01.io.example:images", &[7; 32])?;
    /// // It goes over the wire in plain, in the ClientHello.
    /// assert_eq!(psk.identity().split(' ').nth(1), Some("nqn.2024-01.io.example:host"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The TLS PSK itself.
    ///
    /// ```
    /// use nvme_tcp::psk::TlsPsk;
    ///
    /// let psk = TlsPsk::new("NVMe0R01 nqn.2024-01.io.example:host nqn.2024-01.io.example:images", &[7; 32])?;
    /// // For a TLS library, or the kernel's keyring; printed it is its length only.
    /// assert_eq!(format!("{:?}", psk.secret()), "Secret(32 bytes)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The hash of the key, which that of the cipher suite must be too.
    ///
    /// ```
    /// use ktls::crypto::Hash;
    /// use nvme_tcp::psk::TlsPsk;
    ///
    /// let psk = TlsPsk::new("NVMe0R02 nqn.2024-01.io.example:host nqn.2024-01.io.example:images", &[7; 48])?;
    /// // So the suite is TLS_AES_256_GCM_SHA384.
    /// assert_eq!(psk.hash(), Hash::Sha384);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Whether it comes from a configured key or from authentication.
    ///
    /// ```
    /// use nvme_tcp::psk::{Origin, TlsPsk};
    ///
    /// let psk = TlsPsk::new("NVMe0G01 nqn.2024-01.io.example:host nqn.2024-01.io.example:images", &[7; 32])?;
    /// assert_eq!(psk.origin(), Origin::Generated);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Its identity's version.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, IdentityVersion, KeyHash, Policy, candidates};
    ///
    /// let keys = [ConfiguredKey::generate(KeyHash::Sha256)?];
    /// let psks =
    ///     candidates(&keys, "nqn.2024-01.io.example:host", "nqn.2024-01.io.example:images", Policy::ALL)?;
    /// // The version that names the key is tried first.
    /// assert_eq!(psks[0].version(), IdentityVersion::V1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn version(&self) -> IdentityVersion {
        self.version
    }

    /// Which derivation made it. One that was made elsewhere is taken for the RFC's.
    ///
    /// ```
    /// use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, KeyHash, derive};
    ///
    /// let key = ConfiguredKey::generate(KeyHash::Sha256)?;
    /// let derived = |derivation| derive(&key, "nqn.a", "nqn.b", IdentityVersion::V0, derivation);
    /// let [rfc, compat] = [derived(Derivation::Rfc8446)?, derived(Derivation::Compat)?];
    /// // Nothing in a version-0 identity tells them apart, but the keys differ.
    /// assert_eq!(rfc.identity(), compat.identity());
    /// assert!(rfc.secret() != compat.secret() && compat.derivation() == Derivation::Compat);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn derivation(&self) -> Derivation {
        self.derivation
    }
}

/// The identity and the TLS PSK that `key` gives between this host and this subsystem.
///
/// ```
/// use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, derive};
///
/// let key: ConfiguredKey = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:".parse()?;
/// let (host, subsystem) = ("nqn.psk-test-host", "nqn.psk-test-subsys");
/// let psk = derive(&key, host, subsystem, IdentityVersion::V1, Derivation::Rfc8446)?;
/// // The digest at the end is that of libnvme and the kernel.
/// assert!(psk.identity().ends_with(" iSbjiStwJ/1TrTvDlt2fjFmzvsytOJelidNnA+X5lEU="));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A name that cannot stand in an identity, or a version-0 identity too long for HKDF-Expand-Label.
pub fn derive(
    key: &ConfiguredKey,
    host_nqn: &str,
    subsystem_nqn: &str,
    version: IdentityVersion,
    derivation: Derivation,
) -> Result<TlsPsk, PskError> {
    let retained = retained(key, host_nqn, derivation)?;
    tls_psk(&retained, Origin::Retained, key.psk_hash(), host_nqn, subsystem_nqn, version, derivation)
}

/// The retained PSK: what the host may keep in the configured key's place.
///
/// ```
/// use nvme_tcp::psk::{ConfiguredKey, Derivation, KeyHash, retained};
///
/// let key = ConfiguredKey::generate(KeyHash::Sha256)?;
/// let [one, other] = ["nqn.2024-01.io.example:one", "nqn.2024-01.io.example:other"]
///     .map(|host| retained(&key, host, Derivation::Rfc8446));
/// // Who steals it can pass for this host, and for no other that was given the same key.
/// assert_ne!(one?, other?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A host NQN that is none.
pub fn retained(key: &ConfiguredKey, host_nqn: &str, derivation: Derivation) -> Result<Secret, PskError> {
    nqn::validate(host_nqn).map_err(PskError::HostNqn)?;
    Ok(match key.hash() {
        KeyHash::None => key.psk().clone(),
        KeyHash::Sha256 | KeyHash::Sha384 => {
            expand(key.psk_hash(), key.psk(), "HostNQN", host_nqn.as_bytes(), derivation)
        }
    })
}

/// The step that retained and generated PSKs share.
pub(super) fn tls_psk(
    psk: &Secret,
    origin: Origin,
    hash: Hash,
    host_nqn: &str,
    subsystem_nqn: &str,
    version: IdentityVersion,
    derivation: Derivation,
) -> Result<TlsPsk, PskError> {
    nqn::validate(host_nqn).map_err(PskError::HostNqn)?;
    nqn::validate(subsystem_nqn).map_err(PskError::SubsystemNqn)?;
    let hash_text = match hash {
        Hash::Sha256 => "01",
        Hash::Sha384 => "02",
        other => return Err(PskError::Hash(other)),
    };
    let letter = match origin {
        Origin::Retained => 'R',
        Origin::Generated => 'G',
    };
    let (identity, context) = match version {
        IdentityVersion::V0 => {
            let identity = format!("NVMe0{letter}{hash_text} {host_nqn} {subsystem_nqn}");
            (identity.clone(), identity)
        }
        IdentityVersion::V1 => {
            let digest = digest(psk, hash, host_nqn, subsystem_nqn);
            let identity = format!("NVMe1{letter}{hash_text} {host_nqn} {subsystem_nqn} {digest}");
            (identity, format!("{hash_text} {digest}"))
        }
    };
    if derivation == Derivation::Rfc8446 && context.len() > MAX_CONTEXT_LEN {
        return Err(PskError::IdentityTooLong { len: context.len() });
    }
    let secret = expand(hash, psk, "nvme-tls-psk", context.as_bytes(), derivation);
    Ok(TlsPsk { identity, secret, hash, origin, version, derivation })
}

/// The PSK digest of a version-1 identity. It goes over the wire: no secret.
fn digest(psk: &Secret, hash: Hash, host_nqn: &str, subsystem_nqn: &str) -> String {
    let parts = [host_nqn.as_bytes(), b" ", subsystem_nqn.as_bytes(), b" NVMe-over-Fabrics"];
    BASE64_STANDARD.encode(crypto::hmac(hash, psk.expose(), &parts).expose())
}

/// HKDF-Extract without a salt, then HKDF-Expand-Label to as many bytes as went in.
fn expand(hash: Hash, ikm: &Secret, label: &str, context: &[u8], derivation: Derivation) -> Secret {
    let prk = Prk::extract(hash, &[], ikm.expose());
    let len = hash.output_len();
    match derivation {
        Derivation::Rfc8446 => prk.expand_label(label, context, len),
        Derivation::Compat => {
            // A hash has at most 64 bytes: one byte of length, and a zero.
            let len_le = [len as u8, 0];
            prk.expand(&[&len_le, b"tls13 ", label.as_bytes(), context], len)
        }
    }
}
