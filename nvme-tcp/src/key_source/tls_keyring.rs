//! TLS PSKs in a keyring of the kernel's, as its own initiator and tlshd have them.

use std::ffi::CString;
use std::fs;
use std::io;

use super::keyring::KeyringError;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::find_nvme_keyring;
use crate::psk::TlsPsk;
use crate::retention;

/// A keyring whose keys are TLS PSKs, each described by its identity: `.nvme`, which the kernel's initiator and tlshd
/// take them from, or another. Of its keys those count that are of type `psk`, or `user` where the kernel has no such
/// type, and whose description is an identity.
///
/// To read `.nvme` takes root, or a session that it is linked to (`keyctl link %:.nvme @s`).
///
/// ```no_run
/// # fn main() -> nvme_tcp::Result<()> {
/// use nvme_tcp::{KeySource, Options, TlsKeyring, host::HostIdentity};
///
/// // What `nvme gen-tls-key --insert` put there for this host and the subsystem.
/// let controller = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?)
///     .tls_from(KeySource::tls_keyring(TlsKeyring::nvme()))
///     .connect()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsKeyring {
    serial: Option<i32>,
}

impl TlsKeyring {
    /// `.nvme`, which is looked for each time.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// // There is one as soon as the kernel's initiator is loaded.
    /// for psk in nvme_tcp::TlsKeyring::nvme().load()? {
    ///     println!("{}", psk.identity());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn nvme() -> Self {
        Self { serial: None }
    }

    /// The keyring with this serial number, or one of the special numbers of `keyctl(2)`.
    ///
    /// ```
    /// use nvme_tcp::{KeySource, TlsKeyring};
    ///
    /// // KEY_SPEC_SESSION_KEYRING: that of this login, for whoever is not root.
    /// let source = KeySource::tls_keyring(TlsKeyring::serial(-3));
    /// assert!(format!("{source:?}").contains("-3"));
    /// ```
    pub fn serial(serial: i32) -> Self {
        Self { serial: Some(serial) }
    }

    /// Puts a TLS PSK there, in the place of what it had of this identity.
    ///
    /// ```no_run
    /// # fn example(keyring: &nvme_tcp::TlsKeyring) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, derive};
    ///
    /// let (host, subsystem) = ("nqn.2024-01.io.example:host", "nqn.2024-01.io.example:images");
    /// let key = ConfiguredKey::from_file("/etc/nvme/image.key")?;
    /// // As `nvme gen-tls-key --insert` does.
    /// keyring.store(&derive(&key, host, subsystem, IdentityVersion::V1, Derivation::Rfc8446)?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such keyring, or this process may not write to it.
    pub fn store(&self, psk: &TlsPsk) -> Result<()> {
        let description = CString::new(psk.identity()).map_err(|e| Error::invalid(e.to_string()))?;
        let (serial, payload) = (self.find()?, psk.secret().expose());
        let added = match retention::add(c"psk", &description, payload, serial) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {
                retention::add(c"user", &description, payload, serial)
            }
            added => added,
        };
        added.map(drop).map_err(|error| self.failed("write to", &error))
    }

    /// The TLS PSKs as they are now.
    ///
    /// ```no_run
    /// # fn example(keyring: &nvme_tcp::TlsKeyring) -> nvme_tcp::Result<()> {
    /// // Those of every host and subsystem: the identities say whose each is.
    /// let psks = keyring.load()?;
    /// let ours = psks.iter().filter(|psk| psk.identity().contains(" nqn.2024-01.io.example:images"));
    /// println!("{} of {}", ours.count(), psks.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such keyring; this process may not read it or one of its keys, with the mend as the
    /// [hint](Error::hint); a key is not as long as its identity says.
    pub fn load(&self) -> Result<Vec<TlsPsk>> {
        let serial = self.find()?;
        let members = possessing(serial, || retention::members(serial));
        let mut psks = Vec::new();
        for member in members.map_err(|error| self.failed("read", &error))? {
            let described = match retention::describe(member) {
                // It is gone since, by its time for example.
                Err(error) if is_gone(&error) => continue,
                described => described.map_err(|error| self.failed("read a key of", &error))?,
            };
            // Type, UID, GID, permissions, description.
            let mut fields = described.splitn(5, ';');
            let (kind, identity) = (fields.next(), fields.nth(3));
            let Some(identity) = identity.filter(|_| matches!(kind, Some("psk" | "user"))) else { continue };
            if TlsPsk::new(identity, &[]).is_err_and(|error| !error.is_of_its_key()) {
                continue;
            }
            let payload = match possessing(serial, || retention::read(member)) {
                Err(error) if is_gone(&error) => continue,
                payload => payload.map_err(|error| self.failed("read a key of", &error))?,
            };
            let psk =
                TlsPsk::new(identity, &payload).map_err(|error| self.wrong(&error.to_string(), None))?;
            psks.push(psk);
        }
        Ok(psks)
    }

    fn find(&self) -> Result<i32> {
        if let Some(serial) = self.serial {
            return Ok(serial);
        }
        let keys = fs::read_to_string("/proc/keys").map_err(|error| self.failed("find", &error))?;
        find_nvme_keyring(&keys).ok_or_else(|| self.wrong("the kernel shows none", Some(libc::ENOKEY)))
    }

    fn failed(&self, action: &str, error: &io::Error) -> Error {
        self.wrong(&format!("cannot {action} it: {error}"), error.raw_os_error())
    }

    fn wrong(&self, what: &str, errno: Option<i32>) -> Error {
        let (name, what) = (self.name(), what.to_owned());
        ErrorKind::KeySource(KeyringError { name, what, errno }.into()).into()
    }

    /// What errors call it.
    pub(super) fn name(&self) -> String {
        match self.serial {
            None => "keyring .nvme".to_owned(),
            Some(serial) => format!("keyring {serial}"),
        }
    }
}

/// Does what the permissions of a keyring, or of a key in it, may refuse; then once more as one who possesses the
/// keyring, and so its keys, which root may come to without being let read them.
fn possessing<T>(serial: i32, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    act().or_else(|error| {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error);
        }
        retention::link(serial, retention::PROCESS_KEYRING)?;
        act()
    })
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOKEY | libc::EKEYEXPIRED | libc::EKEYREVOKED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_source::KeySource;
    use crate::psk::{ConfiguredKey, Derivation, IdentityVersion, KeyHash, derive};

    const HOST: &str = "nqn.2024-01.io.example:host";
    const SUBSYSTEM: &str = "nqn.2024-01.io.example:images";

    /// A keyring of this process's own; `None`, said by name, where the kernel or a sandbox refuses it.
    fn keyring(test: &str) -> Option<(TlsKeyring, i32)> {
        match retention::add(c"keyring", c"nvme-tcp-test", &[], retention::PROCESS_KEYRING) {
            Ok(serial) => Some((TlsKeyring::serial(serial), serial)),
            Err(error) => {
                eprintln!("SKIPPED {test}: {error}");
                None
            }
        }
    }

    fn psk(version: IdentityVersion) -> TlsPsk {
        let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
        derive(&key, HOST, SUBSYSTEM, version, Derivation::Rfc8446).unwrap()
    }

    #[test]
    fn tls_psks_come_back_from_a_keyring_and_other_keys_there_do_not_count() {
        let name = "tls_psks_come_back_from_a_keyring_and_other_keys_there_do_not_count";
        let Some((keyring, serial)) = keyring(name) else { return };
        assert_eq!(keyring.load().unwrap(), []);
        let psks = [IdentityVersion::V0, IdentityVersion::V1].map(psk);
        psks.iter().for_each(|psk| keyring.store(psk).unwrap());
        retention::add(c"user", c"something else", b"nothing", serial).unwrap();
        let mut loaded = keyring.load().unwrap();
        loaded.sort_by_key(TlsPsk::version);
        assert_eq!(loaded, psks);
        let loaded = KeySource::tls_keyring(keyring.clone()).load().unwrap();
        assert_eq!((loaded.configured.len(), loaded.derived.len()), (0, 2));
        // One of the same identity takes its place.
        let other = TlsPsk::new(psks[0].identity(), &[9; 32]).unwrap();
        keyring.store(&other).unwrap();
        assert!(keyring.load().unwrap().contains(&other) && keyring.load().unwrap().len() == 2);
        let description = CString::new(psks[0].identity().replace("NVMe0R01", "NVMe0R02")).unwrap();
        retention::add(c"user", &description, &[9; 32], serial).unwrap();
        let error = keyring.load().unwrap_err();
        assert!(error.to_string().contains("32 bytes long"), "{error}");
    }

    #[test]
    fn a_keyring_that_may_not_be_used_says_how_it_may() {
        let error = TlsKeyring::serial(i32::MAX).load().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::KeySource(_)), "{error}");
        for (errno, mend) in
            [(libc::EACCES, "root"), (libc::ENOKEY, "modprobe"), (libc::ENOSYS, "KeySource::tls_keys")]
        {
            let error = TlsKeyring::nvme().failed("read", &io::Error::from_raw_os_error(errno));
            assert!(error.hint().is_some_and(|hint| hint.contains(mend)), "{error}");
            assert_eq!(error.errno(), errno);
        }
    }
}
