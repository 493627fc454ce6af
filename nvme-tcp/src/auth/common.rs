//! What both ends do alike: what they are given, and what they compute.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use ktls::crypto::{self, CryptoError, Hash, Hasher};
use ktls::secret::Secret;
use zeroize::Zeroizing;

use super::dh::{DhGroup, EXPONENT_LEN};
use super::error::AuthError;
use super::message::SecureChannel;
use super::secret::DhchapSecret;
use crate::psk::{TlsPsk, generated};

/// The secrets and settings of one end for one host and one subsystem.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use nvme_tcp::auth::{Authentication, DhchapSecret};
/// use nvme_tcp::{Options, host::HostIdentity};
///
/// let host = DhchapSecret::from_file("/etc/nvme/host.secret")?;
/// let controller = DhchapSecret::from_file("/etc/nvme/images.secret")?;
/// let both_ways = Authentication::new(host).controller_secret(controller);
/// let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?)
///     .authentication(both_ways);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Authentication {
    pub(super) secret: DhchapSecret,
    pub(super) controller_secret: Option<DhchapSecret>,
    pub(super) hashes: Vec<Hash>,
    pub(super) groups: Vec<DhGroup>,
}

impl Authentication {
    /// The host authenticates itself with `secret`. Every hash and group is allowed, SHA-256 and no
    /// Diffie-Hellman preferred, as in Linux.
    ///
    /// ```
    /// use nvme_tcp::auth::{Authentication, DhchapSecret};
    ///
    /// let secret: DhchapSecret = "DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:".parse()?;
    /// // One way: whoever is at the other end is believed.
    /// assert!(!Authentication::new(secret).is_mutual());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(secret: DhchapSecret) -> Self {
        Self {
            secret,
            controller_secret: None,
            hashes: vec![Hash::Sha256, Hash::Sha384, Hash::Sha512],
            groups: DhGroup::ALL.to_vec(),
        }
    }

    /// The controller authenticates itself as well, with this secret: a host insists on it.
    ///
    /// ```
    /// use nvme_tcp::auth::{Authentication, DhchapSecret, SecretHash};
    ///
    /// // A secret of each end's own: who knows the host's cannot pass for the target.
    /// let host = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    /// assert!(host.controller_secret(DhchapSecret::generate(SecretHash::Sha256)?).is_mutual());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn controller_secret(self, secret: DhchapSecret) -> Self {
        Self { controller_secret: Some(secret), ..self }
    }

    /// Allows these hashes only, the preferred first.
    ///
    /// ```
    /// use ktls::crypto::Hash;
    /// use nvme_tcp::auth::{Authentication, DhchapSecret, SecretHash};
    ///
    /// // The hash of the transaction has nothing to do with that of the secret.
    /// let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?).hashes([Hash::Sha384]);
    /// assert!(format!("{settings:?}").contains("hashes: [Sha384]"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn hashes(self, hashes: impl Into<Vec<Hash>>) -> Self {
        Self { hashes: hashes.into(), ..self }
    }

    /// Allows these Diffie-Hellman groups only, the preferred first.
    ///
    /// ```
    /// use nvme_tcp::auth::{Authentication, DhGroup, DhchapSecret, SecretHash};
    ///
    /// // Never without Diffie-Hellman: who reads along cannot try secrets out afterwards.
    /// let groups = [DhGroup::Ffdhe3072, DhGroup::Ffdhe2048];
    /// let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?).groups(groups);
    /// assert!(!format!("{settings:?}").contains("Null"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn groups(self, groups: impl Into<Vec<DhGroup>>) -> Self {
        Self { groups: groups.into(), ..self }
    }

    /// The host's secret, and the controller's.
    pub(crate) fn secrets(&self) -> (&DhchapSecret, Option<&DhchapSecret>) {
        (&self.secret, self.controller_secret.as_ref())
    }

    /// Whether the controller has to authenticate itself.
    ///
    /// ```
    /// use nvme_tcp::auth::{Authentication, DhchapSecret, SecretHash};
    ///
    /// let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    /// if !settings.is_mutual() {
    ///     eprintln!("the target is not asked to prove who it is");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_mutual(&self) -> bool {
        self.controller_secret.is_some()
    }

    /// The hashes allowed for `channel`: PSKs exist for SHA-256 and SHA-384 only.
    pub(crate) fn hashes_for(&self, channel: SecureChannel) -> Vec<Hash> {
        let usable = |hash: &Hash| channel == SecureChannel::None || *hash != Hash::Sha512;
        self.hashes.iter().copied().filter(usable).collect()
    }

    /// The groups allowed for `channel`: a TLS PSK that nobody else can work out needs Diffie-Hellman.
    pub(crate) fn groups_for(&self, channel: SecureChannel) -> Vec<DhGroup> {
        let usable = |group: &DhGroup| channel == SecureChannel::None || *group != DhGroup::Null;
        self.groups.iter().copied().filter(usable).collect()
    }
}

/// The random bytes and numbers of one transaction at one end, used once.
#[derive(Clone)]
pub struct Entropy {
    pub(super) exponent: Zeroizing<[u8; EXPONENT_LEN]>,
    pub(super) challenge: [u8; 64],
    pub(super) sequence: u32,
    pub(super) transaction: u16,
}

impl Entropy {
    /// Draws them from the system.
    ///
    /// ```
    /// use nvme_tcp::auth::Entropy;
    ///
    /// // Once for each transaction: sequence numbers of a process never come twice.
    /// let [one, other] = [Entropy::gather()?, Entropy::gather()?];
    /// assert_ne!(format!("{one:?}"), format!("{other:?}"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When it gives no random bytes.
    pub fn gather() -> Result<Self, CryptoError> {
        // Sequence numbers ascend from a random one on, which no earlier process is likely to have been near.
        static SEQUENCE: OnceLock<AtomicU32> = OnceLock::new();
        let mut start = [0; 4];
        crypto::random(&mut start)?;
        let counter = SEQUENCE.get_or_init(|| AtomicU32::new(u32::from_le_bytes(start) >> 1));
        let sequence = counter.fetch_add(1, Ordering::Relaxed);
        let mut entropy = Self {
            exponent: Zeroizing::new([0; EXPONENT_LEN]),
            challenge: [0; 64],
            sequence: sequence.max(1),
            transaction: sequence as u16,
        };
        crypto::random(&mut *entropy.exponent)?;
        crypto::random(&mut entropy.challenge)?;
        Ok(entropy)
    }

    /// For tests: what [`gather`](Self::gather) would have drawn. `sequence` is not zero.
    ///
    /// ```
    /// use nvme_tcp::auth::{EXPONENT_LEN, Entropy};
    ///
    /// let entropy = Entropy::fixed([1; EXPONENT_LEN], [2; 64], 7, 3);
    /// assert_eq!(format!("{entropy:?}"), "Entropy(S 7, T_ID 3)");
    /// ```
    pub fn fixed(exponent: [u8; EXPONENT_LEN], challenge: [u8; 64], sequence: u32, transaction: u16) -> Self {
        Self { exponent: Zeroizing::new(exponent), challenge, sequence: sequence.max(1), transaction }
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entropy(S {}, T_ID {})", self.sequence, self.transaction)
    }
}

/// What a transaction that succeeded came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreed {
    /// The hash that was used.
    pub hash: Hash,
    /// The Diffie-Hellman group that was used.
    pub group: DhGroup,
    /// Whether the controller authenticated itself as well.
    pub mutual: bool,
    /// The generated TLS PSK, where secure channel concatenation was asked for.
    pub tls_psk: Option<TlsPsk>,
    /// C1: the controller's challenge, which is not to come again.
    pub challenge: Vec<u8>,
}

/// What both ends put into their responses.
#[derive(Clone, Debug)]
pub(super) struct Transcript {
    pub(super) host_nqn: String,
    pub(super) subsystem_nqn: String,
    pub(super) transaction: u16,
    pub(super) channel: SecureChannel,
    pub(super) hash: Hash,
    pub(super) dh_secret: Zeroizing<Vec<u8>>,
}

impl Transcript {
    /// R1: the host's response to challenge and sequence number of the controller.
    pub(super) fn host_response(&self, secret: &DhchapSecret, challenge: &[u8], sequence: u32) -> Secret {
        let (owner, other) = (&self.host_nqn, &self.subsystem_nqn);
        self.response(secret, challenge, sequence, b"HostHost", owner, other)
    }

    /// R2: the controller's response to challenge and sequence number of the host.
    pub(super) fn controller_response(
        &self,
        secret: &DhchapSecret,
        challenge: &[u8],
        sequence: u32,
    ) -> Secret {
        let (owner, other) = (&self.subsystem_nqn, &self.host_nqn);
        self.response(secret, challenge, sequence, b"Controller", owner, other)
    }

    fn response(
        &self,
        secret: &DhchapSecret,
        challenge: &[u8],
        sequence: u32,
        role: &[u8],
        owner: &str,
        other: &str,
    ) -> Secret {
        let augmented = self.augmented(challenge);
        let augmented = augmented.as_ref().map_or(challenge, Secret::expose);
        crypto::hmac(
            self.hash,
            secret.transformed(owner).expose(),
            &[
                augmented,
                &sequence.to_le_bytes(),
                &self.transaction.to_le_bytes(),
                &[self.channel as u8],
                role,
                owner.as_bytes(),
                &[0],
                other.as_bytes(),
            ],
        )
    }

    /// The challenge with the Diffie-Hellman secret mixed in; `None` where there is none.
    fn augmented(&self, challenge: &[u8]) -> Option<Secret> {
        (!self.dh_secret.is_empty())
            .then(|| crypto::hmac(self.hash, self.hashed_dh_secret().expose(), &[challenge]))
    }

    fn hashed_dh_secret(&self) -> Secret {
        let mut hasher = Hasher::new(self.hash);
        hasher.update(&self.dh_secret);
        // A hash always fits a secret.
        Secret::new(hasher.finish().as_ref()).unwrap_or_else(|| unreachable!("a hash fits a secret"))
    }

    /// The TLS PSK that the two challenges leave behind; `None` where none was asked for.
    ///
    /// The session key is the hash of the Diffie-Hellman secret (NVMe Base, 8.3.4.5.9). Kernels that take the secret
    /// itself come to the same PSK: HMAC hashes a key that is longer than its block, and every group's is.
    pub(super) fn tls_psk(&self, c1: &[u8], c2: &[u8]) -> Result<Option<TlsPsk>, AuthError> {
        if self.channel == SecureChannel::None {
            return Ok(None);
        }
        let psk = generated::psk(self.hash, self.hashed_dh_secret().expose(), c1, c2);
        Ok(Some(generated::derive(self.hash, &psk, &self.host_nqn, &self.subsystem_nqn)?))
    }
}

/// Whether `found` is the response that `expected` is, in constant time.
pub(super) fn same(expected: &Secret, found: &[u8]) -> bool {
    Secret::new(found).is_some_and(|found| found == *expected)
}

/// Whether a message's T_ID is this transaction's.
pub(super) fn check_transaction(expected: u16, found: u16) -> Result<(), AuthError> {
    if expected == found { Ok(()) } else { Err(AuthError::Transaction { expected, found }) }
}

/// Whether a value has the length of the hash.
pub(super) fn check_length(hash: Hash, value: &[u8]) -> Result<(), AuthError> {
    let (expected, found) = (hash.output_len(), value.len());
    if expected == found { Ok(()) } else { Err(AuthError::HashLength { expected, found }) }
}
