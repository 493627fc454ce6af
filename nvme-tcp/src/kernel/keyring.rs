//! The keyring `.nvme`, from which the kernel and tlshd take TLS keys: type `psk`, described by the identity
//! (drivers/nvme/common/keyring.c).

use std::ffi::CString;

use super::KernelError;
use crate::error::{Error, Result};
use crate::psk::TlsPsk;
use crate::retention;

/// What the kernel takes of one write to `/dev/nvme-fabrics`, in bytes.
pub(super) const PAGE: usize = 4096;

/// Puts `psk` into the keyring with this serial number, in the place of what it had of this identity; the key's own
/// serial number.
pub(super) fn add(psk: &TlsPsk, keyring: i32) -> Result<i32> {
    let description = CString::new(psk.identity()).map_err(|e| Error::invalid(e.to_string()))?;
    retention::add(c"psk", &description, psk.secret().expose(), keyring)
        .map_err(|source| KernelError::Keyring(source).into())
}

/// The serial number of the keyring `.nvme` in the text of `/proc/keys` (`proc_keys(5)`).
pub(crate) fn find(keys: &str) -> Option<i32> {
    let mut lines = keys.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut fields| {
        let serial = fields.next()?;
        // Flags, usage, expiry, permissions, UID, GID.
        let kind = fields.nth(6)?;
        let name = fields.next()?;
        let found = kind == "keyring" && name == ".nvme:";
        found.then(|| i32::from_str_radix(serial, 16).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::psk::{ConfiguredKey, Derivation, IdentityVersion, KeyHash, derive};

    const KEYS: &str = "\
00d1c2b3 I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid.0: empty
13a9b0c1 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 1
2b1a09ff I------     3 perm 1f1f0000     0     0 keyring   .nvme: 1
3f001122 I--Q---     1 perm 3f010000     0     0 user      .nvme: 32
";

    #[test]
    fn the_keyring_is_found_by_type_and_name() {
        assert_eq!(find(KEYS), Some(0x2b1a_09ff));
        assert_eq!(find(&KEYS.replace("keyring   .nvme", "keyring   .nvm")), None);
        assert_eq!(find("2b1a09ff I------\n\n"), None);
    }

    #[test]
    fn a_keyring_that_is_none_is_refused_without_a_word_of_the_key() {
        let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
        let psk = derive(
            &key,
            "nqn.2024-01.io.example:host",
            "nqn.2024-01.io.example:sub",
            IdentityVersion::V1,
            Derivation::Rfc8446,
        );
        // The largest number there is: no keyring has it.
        let error = add(&psk.unwrap(), i32::MAX).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Kernel(KernelError::Keyring(_))), "{error}");
        assert!(!format!("{error:?}").contains(key.to_text().as_str()));
    }
}
