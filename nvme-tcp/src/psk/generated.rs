//! PSKs that DH-HMAC-CHAP leaves behind, for secure channel concatenation.

use ktls::crypto::{self, Hash};
use ktls::secret::Secret;

use super::derive::{Derivation, IdentityVersion, Origin, PskError, TlsPsk, tls_psk};

/// The generated PSK: `HMAC(session key, C1 || C2)` with the challenges of controller and host.
///
/// The session key is the hash of the Diffie-Hellman secret (NVMe Base, 8.3.4.5.9). Older kernels take
/// the secret itself, which comes to the same: HMAC hashes a key longer than its block (RFC 2104, section 2), and
/// no group's secret is shorter than 256 bytes.
///
/// ```
/// use ktls::crypto::Hash;
/// use nvme_tcp::psk::generated;
///
/// // Of a transaction, but for an example.
/// let (session_key, c1, c2) = ([1; 32], [2; 32], [3; 32]);
/// let psk = generated::psk(Hash::Sha256, &session_key, &c1, &c2);
/// assert_eq!(psk.len(), Hash::Sha256.output_len());
/// // The order of the challenges counts: the controller's comes first.
/// assert_ne!(psk, generated::psk(Hash::Sha256, &session_key, &c2, &c1));
/// ```
pub fn psk(hash: Hash, session_key: &[u8], c1: &[u8], c2: &[u8]) -> Secret {
    crypto::hmac(hash, session_key, &[c1, c2])
}

/// The identity `NVMe1G...` and the TLS PSK of a generated PSK, both of version 1.
///
/// ```
/// use ktls::crypto::Hash;
/// use nvme_tcp::psk::generated;
///
/// // libnvme's own test values.
/// let (c1, c2): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (0xe0..=0xff).rev().collect());
/// let psk = generated::psk(Hash::Sha256, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`", &c1, &c2);
/// let tls = generated::derive(Hash::Sha256, &psk, "hostnqn", "subsysnqn")?;
/// let expected = "NVMe1G01 hostnqn subsysnqn OldoKuTfKddMuyCznAZojkWD7P4D9/AtzDzLimtOxqI=";
/// assert_eq!(tls.identity(), expected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A name that cannot stand in an identity, or a hash other than SHA-256 and SHA-384.
pub fn derive(hash: Hash, psk: &Secret, host_nqn: &str, subsystem_nqn: &str) -> Result<TlsPsk, PskError> {
    let version = IdentityVersion::V1;
    tls_psk(psk, Origin::Generated, hash, host_nqn, subsystem_nqn, version, Derivation::Rfc8446)
}
