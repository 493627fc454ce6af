//! Pre-shared keys of NVMe/TCP.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

use nvme_tcp::KeyringKey;
use nvme_tcp::psk::{ConfiguredKey, Derivation, KeyHash, TlsPsk, derive};

use crate::call::{Born, Outcome, call, free, get, handle, place, value};
use crate::error::Failure;
use crate::options::identity_version;
use crate::text::{bytes_mut, copy, text};

/// The key is used as it is.
pub const NVME_TCP_HASH_NONE: c_int = 0;
/// SHA-256, with keys of 32 bytes: what every target understands.
pub const NVME_TCP_HASH_SHA256: c_int = 1;
/// SHA-384, with keys of 48 bytes.
pub const NVME_TCP_HASH_SHA384: c_int = 2;

/// The derivation of RFC 8446, as libnvme has it from 1.15 on.
pub const NVME_TCP_DERIVATION_RFC8446: c_int = 0;
/// The derivation of libnvme before 1.15.
pub const NVME_TCP_DERIVATION_COMPAT: c_int = 1;

/// Room for every key's text with its zero byte, in bytes.
pub const NVME_TCP_KEY_TEXT_SIZE: usize = 96;
/// Room for every PSK identity with its zero byte, in bytes.
pub const NVME_TCP_IDENTITY_SIZE: usize = 544;

/// A pre-shared key, as "NVMeTLSkey-1:hh:...:" has it. It is wiped when it is freed.
#[derive(Debug)]
pub struct nvme_tcp_key {
    born: Born,
    key: ConfiguredKey,
}

handle!(nvme_tcp_key, "key");

impl nvme_tcp_key {
    fn new(key: ConfiguredKey) -> Self {
        Self { born: Born::here(), key }
    }

    pub(crate) fn key(&self) -> &ConfiguredKey {
        &self.key
    }
}

fn hash(number: c_int) -> Outcome<KeyHash> {
    let hash = u8::try_from(number).ok().and_then(KeyHash::from_id);
    hash.ok_or_else(|| Failure::here(libc::EINVAL, format!("the key's hash is {number}, expected 0 to 2")))
}

/// Makes a new random key for one of NVME_TCP_HASH_*.
///
/// Errors: -EINVAL for another hash; -EIO where the system gives no random bytes. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_key_generate(
    hash: c_int,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_key>>,
) -> c_int {
    call(|| {
        let (out, hash) = (place(out)?, self::hash(hash)?);
        let key = ConfiguredKey::generate(hash);
        let key = key.map_err(|_| Failure::here(libc::EIO, "the system gives no random bytes"))?;
        out.give(nvme_tcp_key::new(key));
        Ok(())
    })
}

/// Takes a key from its text, "NVMeTLSkey-1:hh:...:", and so checks it.
///
/// Errors: -EINVAL; the message says what is wrong, and holds no byte of the key. Threads: any.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_key_parse(
    text: *const c_char,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_key>>,
) -> c_int {
    call(|| {
        let out = place(out)?;
        // SAFETY: the caller gives a C string.
        let key: Result<ConfiguredKey, _> = unsafe { self::text(text, "the key's text") }?.parse();
        let key = key.map_err(|error| Failure::here(libc::EINVAL, error.to_string()).hint(error.hint()))?;
        out.give(nvme_tcp_key::new(key));
        Ok(())
    })
}

/// Reads a key from a file that holds its text.
///
/// Errors: -EACCES where group or others may read the file; -ENOENT and others of open(2) and read(2);
/// -EINVAL where it holds no key. Threads: any.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_key_load(
    path: *const c_char,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_key>>,
) -> c_int {
    call(|| {
        let out = place(out)?;
        // SAFETY: the caller gives a C string.
        let path = unsafe { text(path, "the path") }?;
        let key = ConfiguredKey::from_file(path).map_err(nvme_tcp::Error::from)?;
        out.give(nvme_tcp_key::new(key));
        Ok(())
    })
}

/// Reads a key from the kernel's key retention service: the first text of a key of type "user" with this
/// description (`keyctl padd user DESCRIPTION @u`), which is looked for in the keyrings of the thread, the process
/// and the session.
///
/// Errors: -ENOKEY where there is none that this process may use; others of request_key(2) and keyctl(2);
/// -EINVAL where it holds no key text. Threads: any.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_key_load_keyring(
    description: *const c_char,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_key>>,
) -> c_int {
    call(|| {
        let out = place(out)?;
        // SAFETY: the caller gives a C string.
        let keys = unsafe { keyring(description) }?.load()?;
        let first = keys.into_iter().next();
        out.give(nvme_tcp_key::new(
            first.ok_or_else(|| Failure::here(libc::EINVAL, "there is no key text"))?,
        ));
        Ok(())
    })
}

/// The key of the kernel's that C names.
///
/// # Safety
/// A C string, or NULL.
pub(crate) unsafe fn keyring(description: *const c_char) -> Outcome<KeyringKey> {
    // SAFETY: this function's contract.
    Ok(KeyringKey::new(unsafe { text(description, "the key's description") }?)?)
}

/// Writes a key's text to a new file of mode 0600.
///
/// Errors: -EEXIST where there is such a file, which stays as it is; others of open(2) and write(2). Threads:
/// any.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_key_save(key: Option<&nvme_tcp_key>, path: *const c_char) -> c_int {
    call(|| {
        // SAFETY: the caller gives a C string.
        let path = unsafe { text(path, "the path") }?;
        Ok(get(key)?.key.write_file(path).map_err(nvme_tcp::Error::from)?)
    })
}

/// Copies a key's text to a buffer, for which NVME_TCP_KEY_TEXT_SIZE bytes always do. It is the key: wipe it.
///
/// Errors: -ENOSPC where it does not fit; -EINVAL. Threads: any.
///
/// # Safety
/// A buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_key_text(
    key: Option<&nvme_tcp_key>,
    text: *mut c_char,
    text_size: usize,
) -> c_int {
    call(|| {
        let key = get(key)?.key.to_text();
        // SAFETY: the caller gives a buffer of this size.
        unsafe { copy(&key, text, text_size, "the buffer for the key's text") }
    })
}

/// A key's hash, one of NVME_TCP_HASH_*; -1 for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_key_hash(key: Option<&nvme_tcp_key>) -> c_int {
    value(-1, || Ok(get(key)?.key.hash().id().into()))
}

/// Copies the PSK identity that a key has between a host and a subsystem to a buffer, for which
/// NVME_TCP_IDENTITY_SIZE bytes always do. It is no secret. version is 0 or 1, derivation one of
/// NVME_TCP_DERIVATION_*.
///
/// Errors: -EINVAL for names and numbers that are none; -ENOSPC where it does not fit. Threads: any.
///
/// # Safety
/// C strings, or NULL; a buffer of that size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_key_identity(
    key: Option<&nvme_tcp_key>,
    hostnqn: *const c_char,
    subsysnqn: *const c_char,
    version: c_int,
    derivation: c_int,
    identity: *mut c_char,
    identity_size: usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller gives C strings.
        let psk = unsafe { derived(key, hostnqn, subsysnqn, version, derivation) }?;
        // SAFETY: the caller gives a buffer of this size.
        unsafe { copy(psk.identity(), identity, identity_size, "the buffer for the identity") }
    })
}

/// Copies the TLS PSK that a key gives between a host and a subsystem to a buffer of 32 (SHA-256) or 48 bytes
/// (SHA-384), and its length to psk_len: the secret for another TLS stack, with the identity of
/// nvme_tcp_key_identity(). Wipe it.
///
/// Errors: as nvme_tcp_key_identity(). Threads: any.
///
/// # Safety
/// C strings, or NULL; a buffer of that size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_key_derive(
    key: Option<&nvme_tcp_key>,
    hostnqn: *const c_char,
    subsysnqn: *const c_char,
    version: c_int,
    derivation: c_int,
    psk: *mut c_void,
    psk_size: usize,
    psk_len: Option<&mut MaybeUninit<usize>>,
) -> c_int {
    call(|| {
        let psk_len = place(psk_len)?;
        // SAFETY: the caller gives C strings.
        let derived = unsafe { derived(key, hostnqn, subsysnqn, version, derivation) }?;
        // SAFETY: the caller gives a buffer of this size.
        let room = unsafe { bytes_mut(psk, psk_size, "the buffer for the TLS PSK") }?;
        let secret = derived.secret().expose();
        let room = room.get_mut(..secret.len()).ok_or_else(|| {
            let (has, needed) = (psk_size, secret.len());
            Failure::here(
                libc::ENOSPC,
                format!("the buffer for the TLS PSK has {has} bytes, {needed} are needed"),
            )
        })?;
        room.copy_from_slice(secret);
        psk_len.put(secret.len());
        Ok(())
    })
}

/// # Safety
/// C strings, or NULL.
unsafe fn derived(
    key: Option<&nvme_tcp_key>,
    hostnqn: *const c_char,
    subsysnqn: *const c_char,
    version: c_int,
    derivation: c_int,
) -> Outcome<TlsPsk> {
    let key = get(key)?;
    // SAFETY: this function's contract.
    let host_nqn = unsafe { text(hostnqn, "the host NQN") }?;
    // SAFETY: the same.
    let subsystem_nqn = unsafe { text(subsysnqn, "the subsystem NQN") }?;
    let derivation = match derivation {
        NVME_TCP_DERIVATION_RFC8446 => Derivation::Rfc8446,
        NVME_TCP_DERIVATION_COMPAT => Derivation::Compat,
        other => {
            return Err(Failure::here(libc::EINVAL, format!("the derivation is {other}, expected 0 or 1")));
        }
    };
    let psk = derive(&key.key, host_nqn, subsystem_nqn, identity_version(version)?, derivation);
    Ok(psk.map_err(nvme_tcp::Error::from)?)
}

/// Frees a key and wipes it.
///
/// Threads: no other call on it may run or follow.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_key_free(key: Option<Box<nvme_tcp_key>>) {
    free(key);
}
