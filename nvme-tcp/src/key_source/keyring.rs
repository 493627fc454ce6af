//! Keys in the kernel's key retention service.

use std::ffi::{CStr, CString};
use std::io;

use crate::error::{Error, ErrorKind, Result};
use crate::key_text;
use crate::psk::ConfiguredKey;
use crate::retention;

/// Why a key of the kernel's gives no key text, with what the kernel said.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {what}")]
pub(crate) struct KeyringError {
    /// Of what.
    pub(super) name: String,
    pub(super) what: String,
    /// The number of <errno.h>, where the kernel gave one.
    pub(crate) errno: Option<i32>,
}

impl KeyringError {
    /// What an operator can do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        Some(match self.errno? {
            libc::EACCES | libc::EPERM => {
                "run as root, or possess it: `keyctl link %:.nvme @s` as root in the session that starts this, \
                 `keyctl link @u @s` for a user's own keys"
            }
            libc::ENOKEY => {
                "`keyctl show` shows what there is; the kernel makes .nvme when nvme-tcp is loaded: modprobe nvme-tcp"
            }
            libc::EKEYEXPIRED | libc::EKEYREVOKED => "put the key there anew",
            libc::ENOSYS => {
                "this kernel, or a sandbox, has no keyrings: take the keys from a file (KeySource::file, KeySource::tls_keys)"
            }
            _ => return None,
        })
    }
}

const USER: &CStr = c"user";

/// A key of type `user` whose payload is one key text or more, one a line (`keyctl padd user <name> @u`). It is
/// looked for in the keyrings of the thread, the process and the session.
///
/// ```no_run
/// # fn main() -> nvme_tcp::Result<()> {
/// use nvme_tcp::{KeySource, KeyringKey};
///
/// // After `keyctl padd user image @u < image.key`.
/// let source = KeySource::keyring(KeyringKey::new("image")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringKey {
    description: CString,
}

impl KeyringKey {
    /// The key of this description.
    ///
    /// ```
    /// use nvme_tcp::{KeySource, KeyringKey};
    ///
    /// let source = KeySource::keyring(KeyringKey::new("nvme-image")?);
    /// assert!(format!("{source:?}").contains("nvme-image"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// It has a NUL character.
    pub fn new(description: impl Into<Vec<u8>>) -> Result<Self> {
        let description = CString::new(description).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(Self { description })
    }

    /// Puts these key texts there, one a line, in the keyring of this process, in the place of what was there.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{KeyringKey, psk::ConfiguredKey};
    ///
    /// // From a file that only root may read into this process, which may give its rights up then.
    /// let text = ConfiguredKey::from_file("/etc/nvme/image.key")?.to_text();
    /// KeyringKey::new("nvme-image")?.store(&text)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The kernel has no such service, or does not let this process use it.
    pub fn store(&self, texts: &str) -> Result<()> {
        let added = retention::add(USER, &self.description, texts.as_bytes(), retention::PROCESS_KEYRING);
        added.map(drop).map_err(|e| self.failed("add", &e))
    }

    /// Makes the key useless for everybody.
    ///
    /// ```no_run
    /// # fn example(key: &nvme_tcp::KeyringKey) -> nvme_tcp::Result<()> {
    /// // Connections that are up go on; the next one finds no key.
    /// key.revoke()?;
    /// assert!(key.load().is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such key, or this process may not.
    pub fn revoke(&self) -> Result<()> {
        let id = retention::find(USER, &self.description).map_err(|e| self.failed("find", &e))?;
        retention::revoke(id).map_err(|e| self.failed("revoke", &e))
    }

    /// The keys as they are now, at least one; the preferred first.
    ///
    /// ```no_run
    /// # fn example(key: &nvme_tcp::KeyringKey) -> nvme_tcp::Result<()> {
    /// match key.load() {
    ///     Ok(keys) => println!("{} keys, the preferred of {} bytes", keys.len(), keys[0].psk().len()),
    ///     Err(error) => eprintln!("{error}: {}", error.hint().unwrap_or_default()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such key, or this process may not read it; its payload is no key text.
    pub fn load(&self) -> Result<Vec<ConfiguredKey>> {
        let found = retention::find(USER, &self.description).and_then(retention::read);
        let payload = found.map_err(|e| self.failed("read", &e))?;
        let text = std::str::from_utf8(&payload).map_err(|_| self.wrong("its payload is not text", None))?;
        key_text::lines(text)
            .map(|line| line.parse().map_err(|e| self.wrong(&format!("{e}"), None)))
            .collect()
    }

    fn failed(&self, action: &str, error: &io::Error) -> Error {
        self.wrong(&format!("cannot {action} it: {error}"), error.raw_os_error())
    }

    fn wrong(&self, what: &str, errno: Option<i32>) -> Error {
        let name = format!("user key {:?}", self.description.to_string_lossy());
        ErrorKind::KeySource(KeyringError { name, what: what.to_owned(), errno }.into()).into()
    }
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
        assert_eq!(source.load().unwrap().configured, [first, second]);
        key.store("nonsense").unwrap();
        let error = source.load().err().unwrap();
        assert!(error.to_string().contains("nvme-tcp-test") && error.errno() == libc::EINVAL, "{error}");
        key.revoke().unwrap();
        assert!(matches!(source.load().err().unwrap().kind(), ErrorKind::KeySource(_)));
    }

    #[test]
    fn a_key_that_is_not_there_is_named() {
        let error = KeyringKey::new("nvme-tcp-test:none").unwrap().load().unwrap_err();
        assert!(error.to_string().contains("nvme-tcp-test:none"), "{error}");
        // Not there, or a sandbox that has no such calls.
        assert!([libc::ENOKEY, libc::ENOSYS, libc::EPERM].contains(&error.errno()), "{error}");
    }
}
