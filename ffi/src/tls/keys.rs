//! Keys for connections of the caller's own.

use std::ffi::{c_int, c_void};
use std::ptr;

use ktls::cipher::{CipherSuite, RecordCipher, Version};
use ktls::crypto::Hash;
use ktls::handshake::Psk;
use ktls::keys::{DirectionKey, TrafficSecret};
use ktls::secret::Secret;

use super::cipher_of;
use crate::call::{Outcome, read, sizing};
use crate::error::{self, Failure};
use crate::key::{NVME_TCP_HASH_SHA256, NVME_TCP_HASH_SHA384};
use crate::text::bytes;

/// A pre-shared key for a TLS 1.3 handshake.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_ktls_psk {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// Its name, which goes over the wire in the clear.
    pub identity: *const c_void,
    /// The length of the name in bytes, 1 to 16384.
    pub identity_len: usize,
    /// The secret.
    pub secret: *const c_void,
    /// The length of the secret in bytes, 1 to 64.
    pub secret_len: usize,
    /// NVME_TCP_HASH_SHA256 or NVME_TCP_HASH_SHA384: names the suite too.
    pub hash: c_int,
}

sizing!(nvme_tcp_ktls_psk, hash: c_int);

const NO_PSK: nvme_tcp_ktls_psk = nvme_tcp_ktls_psk {
    size: 0,
    identity: ptr::null(),
    identity_len: 0,
    secret: ptr::null(),
    secret_len: 0,
    hash: 0,
};

/// The key of one direction, as another TLS stack has agreed on it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_ktls_key {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// 0x0304 for TLS 1.3, 0x0303 for TLS 1.2.
    pub version: u16,
    /// TLS_CIPHER_* of linux/tls.h.
    pub cipher: u16,
    /// Zero.
    pub reserved: u32,
    /// The number of the next record.
    pub sequence: u64,
    /// TLS 1.3's application traffic secret, from which key, IV and the keys after them are made; or NULL.
    pub traffic_secret: *const c_void,
    /// The length of the traffic secret in bytes.
    pub traffic_secret_len: usize,
    /// The key, where no traffic secret is given.
    pub key: *const c_void,
    /// The length of the key in bytes.
    pub key_len: usize,
    /// The IV, 12 bytes: TLS 1.3's write IV; in TLS 1.2 with AES-GCM the 4 bytes of the salt, then the
    /// explicit nonce of the next record.
    pub iv: *const c_void,
    /// The length of the IV in bytes.
    pub iv_len: usize,
}

sizing!(nvme_tcp_ktls_key, iv_len: usize);

const NO_KEY: nvme_tcp_ktls_key = nvme_tcp_ktls_key {
    size: 0,
    version: 0,
    cipher: 0,
    reserved: 0,
    sequence: 0,
    traffic_secret: ptr::null(),
    traffic_secret_len: 0,
    key: ptr::null(),
    key_len: 0,
    iv: ptr::null(),
    iv_len: 0,
};

/// # Safety
/// The struct is there as far as its first member says, and so are the bytes that it names.
pub(super) unsafe fn psk(from: *const nvme_tcp_ktls_psk) -> Outcome<Psk> {
    // SAFETY: this function's contract.
    let given = unsafe { read(from, NO_PSK) }?;
    // SAFETY: the same.
    let identity = unsafe { bytes(given.identity, given.identity_len, "the identity") }?;
    // SAFETY: the same.
    let bytes = unsafe { bytes(given.secret, given.secret_len, "the secret") }?;
    let hash = match given.hash {
        NVME_TCP_HASH_SHA256 => Hash::Sha256,
        NVME_TCP_HASH_SHA384 => Hash::Sha384,
        other => {
            return Err(Failure::here(libc::EINVAL, format!("the key's hash is {other}, expected 1 or 2")));
        }
    };
    let psk = Psk::new(identity.to_vec(), secret(bytes)?, hash);
    psk.map_err(|error| error::tls(&error.into()))
}

/// # Safety
/// The struct is there as far as its first member says, and so are the bytes that it names.
pub(super) unsafe fn direction_key(from: *const nvme_tcp_ktls_key) -> Outcome<DirectionKey> {
    let invalid = |what: String| Failure::here(libc::EINVAL, what);
    // SAFETY: this function's contract.
    let given = unsafe { read(from, NO_KEY) }?;
    let version = [Version::Tls13, Version::Tls12].into_iter().find(|version| version.id() == given.version);
    let cipher =
        version.zip(cipher_of(given.cipher)).and_then(|(version, cipher)| RecordCipher::new(version, cipher));
    let cipher = cipher.ok_or_else(|| {
        invalid(format!(
            "TLS version {:#06x} with cipher {}: there is no such thing",
            given.version, given.cipher
        ))
    })?;
    if !given.traffic_secret.is_null() {
        // SAFETY: this function's contract.
        let bytes = unsafe { bytes(given.traffic_secret, given.traffic_secret_len, "the traffic secret") }?;
        let suite = CipherSuite::ALL.into_iter().find(|suite| cipher == *suite);
        let traffic =
            suite.zip(Some(secret(bytes)?)).and_then(|(suite, secret)| TrafficSecret::new(suite, secret));
        let traffic = traffic.ok_or_else(|| {
            invalid(format!("a traffic secret of {} bytes does not belong to {cipher}", bytes.len()))
        })?;
        return Ok(DirectionKey::from_secret(traffic, given.sequence));
    }
    // SAFETY: this function's contract.
    let key = unsafe { bytes(given.key, given.key_len, "the key") }?;
    // SAFETY: the same.
    let iv = unsafe { bytes(given.iv, given.iv_len, "the IV") }?;
    DirectionKey::new(cipher, key, iv, given.sequence).map_err(|error| invalid(error.to_string()))
}

fn secret(bytes: &[u8]) -> Outcome<Secret> {
    let len = bytes.len();
    Secret::new(bytes)
        .ok_or_else(|| Failure::here(libc::EINVAL, format!("a secret has at most 64 bytes, not {len}")))
}
