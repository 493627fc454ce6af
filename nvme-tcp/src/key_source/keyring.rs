//! Keys in the kernel's key retention service: `request_key(2)`, `add_key(2)`, `keyctl(2)`.
//!
//! Unsafe because libc has no wrappers for these system calls.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;

use libc::{c_char, c_int, c_long, c_void};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::psk::ConfiguredKey;

/// Why a key of the kernel's gives no key text, with what the kernel said.
#[derive(Debug, thiserror::Error)]
#[error("user key {name:?}: {what}")]
pub(crate) struct KeyringError {
    name: String,
    what: String,
    /// The number of <errno.h>, where the kernel gave one.
    pub(crate) errno: Option<i32>,
}

/// `KEYCTL_READ` of linux/keyctl.h.
const KEYCTL_READ: c_int = 11;
/// `KEYCTL_REVOKE` of linux/keyctl.h.
const KEYCTL_REVOKE: c_int = 3;
/// `KEY_SPEC_PROCESS_KEYRING` of linux/keyctl.h.
const PROCESS_KEYRING: c_int = -2;
/// No payload of key texts is nearly as long.
const MAX_PAYLOAD: usize = 4096;
const USER: &CStr = c"user";

/// A key of type `user` whose payload is one key text or more, one a line (`keyctl padd user <name> @u`). It is
/// looked for in the keyrings of the thread, the process and the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringKey {
    description: CString,
}

impl KeyringKey {
    /// The key of this description.
    ///
    /// # Errors
    /// It has a NUL character.
    pub fn new(description: impl Into<Vec<u8>>) -> Result<Self> {
        let description = CString::new(description).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(Self { description })
    }

    /// Puts these key texts there, one a line, in the keyring of this process, in the place of what was there.
    ///
    /// # Errors
    /// The kernel has no such service, or does not let this process use it.
    pub fn store(&self, texts: &str) -> Result<()> {
        let payload = texts.as_bytes();
        // SAFETY: both strings end with NUL and the payload is as long as is said; all outlive the call, which
        // copies them.
        let result = unsafe {
            libc::syscall(
                libc::SYS_add_key,
                USER.as_ptr(),
                self.description.as_ptr(),
                payload.as_ptr().cast::<c_void>(),
                payload.len(),
                PROCESS_KEYRING,
            )
        };
        checked(result).map(drop).map_err(|e| self.failed("add", &e))
    }

    /// Makes the key useless for everybody.
    ///
    /// # Errors
    /// There is no such key, or this process may not.
    pub fn revoke(&self) -> Result<()> {
        let id = self.find().map_err(|e| self.failed("find", &e))?;
        // SAFETY: the operation takes a number only.
        let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_REVOKE, id) };
        checked(result).map(drop).map_err(|e| self.failed("revoke", &e))
    }

    /// The keys as they are now, at least one; the preferred first.
    ///
    /// # Errors
    /// There is no such key, or this process may not read it; its payload is no key text.
    pub fn load(&self) -> Result<Vec<ConfiguredKey>> {
        let payload = self.read().map_err(|e| self.failed("read", &e))?;
        let wrong = |what: &str| self.wrong(what, None);
        let text = std::str::from_utf8(&payload).map_err(|_| wrong("its payload is not text"))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Vec<_> =
            lines.map(|line| line.parse().map_err(|e| wrong(&format!("{e}")))).collect::<Result<_>>()?;
        if keys.is_empty() { Err(wrong("its payload is empty")) } else { Ok(keys) }
    }

    fn find(&self) -> io::Result<c_int> {
        let no_callout: *const c_char = std::ptr::null();
        // SAFETY: both strings end with NUL and outlive the call; null says that nobody is to be asked for the key.
        let result = unsafe {
            libc::syscall(libc::SYS_request_key, USER.as_ptr(), self.description.as_ptr(), no_callout, 0)
        };
        checked(result).map(|id| id as c_int)
    }

    fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let id = self.find()?;
        let mut payload = Zeroizing::new(vec![0; MAX_PAYLOAD]);
        // SAFETY: the buffer is writable and as long as is said.
        let result =
            unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_READ, id, payload.as_mut_ptr(), payload.len()) };
        let len = checked(result)? as usize;
        if len > payload.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its payload is longer than 4096 bytes"));
        }
        payload.truncate(len);
        Ok(payload)
    }

    fn failed(&self, action: &str, error: &io::Error) -> Error {
        self.wrong(&format!("cannot {action} it: {error}"), error.raw_os_error())
    }

    fn wrong(&self, what: &str, errno: Option<i32>) -> Error {
        let name = self.description.to_string_lossy().into_owned();
        ErrorKind::KeySource(KeyringError { name, what: what.to_owned(), errno }.into()).into()
    }
}

fn checked(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_source::KeySource;
    use crate::psk::KeyHash;

    #[test]
    fn a_key_text_is_found_in_the_keyring_until_it_is_revoked() {
        let key = KeyringKey::new(format!("nvme-tcp-test:{}", std::process::id())).unwrap();
        let first = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
        let second = ConfiguredKey::generate(KeyHash::Sha384).unwrap();
        let texts = format!("{}\n{}\n", first.to_text().as_str(), second.to_text().as_str());
        if let Err(error) = key.store(&texts) {
            eprintln!("SKIPPED a_key_text_is_found_in_the_keyring_until_it_is_revoked: {error}");
            return;
        }
        let source = KeySource::keyring(key.clone());
        assert_eq!(source.load().unwrap(), [first, second]);
        key.store("nonsense").unwrap();
        let error = source.load().unwrap_err();
        assert!(error.to_string().contains("nvme-tcp-test") && error.errno() == libc::EINVAL, "{error}");
        key.revoke().unwrap();
        assert!(matches!(source.load().unwrap_err().kind(), ErrorKind::KeySource(_)));
    }

    #[test]
    fn a_key_that_is_not_there_is_named() {
        let error = KeyringKey::new("nvme-tcp-test:none").unwrap().load().unwrap_err();
        assert!(error.to_string().contains("nvme-tcp-test:none"), "{error}");
        // Not there, or a sandbox that has no such calls.
        assert!([libc::ENOKEY, libc::ENOSYS, libc::EPERM].contains(&error.errno()), "{error}");
    }
}
