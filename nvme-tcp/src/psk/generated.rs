//! PSKs that DH-HMAC-CHAP leaves behind, for secure channel concatenation.

use ktls::crypto::{self, Hash};
use ktls::secret::Secret;

use super::derive::{Derivation, IdentityVersion, Origin, PskError, TlsPsk, tls_psk};

/// The generated PSK: `HMAC(session key, C1 || C2)` with the challenges of controller and host.
///
/// The session key is the hash of the Diffie-Hellman secret (NVMe Base, 8.3.4.5.9). Older kernels take
/// the secret itself, which comes to the same: HMAC hashes a key longer than its block (RFC 2104, section 2), and
/// no group's secret is shorter than 256 bytes.
pub fn psk(hash: Hash, session_key: &[u8], c1: &[u8], c2: &[u8]) -> Secret {
    crypto::hmac(hash, session_key, &[c1, c2])
}

/// The identity `NVMe1G...` and the TLS PSK of a generated PSK, both of version 1.
///
/// # Errors
/// A name that cannot stand in an identity, or a hash other than SHA-256 and SHA-384.
pub fn derive(hash: Hash, psk: &Secret, host_nqn: &str, subsystem_nqn: &str) -> Result<TlsPsk, PskError> {
    let version = IdentityVersion::V1;
    tls_psk(psk, Origin::Generated, hash, host_nqn, subsystem_nqn, version, Derivation::Rfc8446)
}
