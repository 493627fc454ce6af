//! Where the pre-shared keys of a controller come from, so that they can change while it is used.

mod keyring;
mod tls_keyring;
mod watch;

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::driver::bell::Bell;
use crate::error::{Error, ErrorKind, Result};
use crate::psk::{ConfiguredKey, TlsPsk};

pub(crate) use keyring::KeyringError;
pub use keyring::KeyringKey;
pub use tls_keyring::TlsKeyring;
pub(crate) use watch::FileWatch;

/// Why a callback gives no keys.
pub type KeySourceError = Box<dyn StdError + Send + Sync>;

/// Where the configured keys of a controller come from, each time that an association is brought up: the preferred
/// first. A clone is the same source, so that one can serve many controllers.
///
/// Of a source in [`memory`](Self::memory) and of a file a controller notices by itself that the
/// keys changed, and rotates to them; of the others at
/// [`Controller::rotate_keys`](crate::Controller::rotate_keys), and at the next association.
///
/// ```no_run
/// use nvme_tcp::{KeySource, Options, host::HostIdentity};
///
/// # fn main() -> nvme_tcp::Result<()> {
/// let keys = KeySource::file("/etc/nvme/image.key");
/// let controller = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?)
///     .tls_from(keys)
///     .connect()?;
/// // Once the target knows tomorrow's key as well: put it into the file, by rename(2).
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeySource(Arc<Source>);

type Callback = dyn Fn() -> Result<Vec<ConfiguredKey>, KeySourceError> + Send + Sync;

enum Source {
    Memory(Mutex<Memory>),
    File(PathBuf),
    Keyring(KeyringKey),
    TlsKeys(PathBuf),
    TlsKeyring(TlsKeyring),
    Callback(Box<Callback>),
}

/// What a source gives.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) configured: Vec<ConfiguredKey>,
    /// TLS PSKs that were derived elsewhere, those of other hosts and subsystems among them.
    pub(crate) derived: Vec<TlsPsk>,
}

#[derive(Default)]
struct Memory {
    keys: Vec<ConfiguredKey>,
    bells: Vec<Weak<Bell>>,
}

impl KeySource {
    /// These keys, until [`set`](Self::set) gives others.
    ///
    /// ```
    /// use nvme_tcp::KeySource;
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// let source = KeySource::memory([ConfiguredKey::generate(KeyHash::Sha256)?]);
    /// assert_eq!(format!("{source:?}"), "KeySource::memory(1 keys)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory(keys: impl Into<Vec<ConfiguredKey>>) -> Self {
        Self(Arc::new(Source::Memory(Mutex::new(Memory { keys: keys.into(), bells: Vec::new() }))))
    }

    /// The keys in this file (see [`ConfiguredKey::all_from_file`]), which is watched: a controller rotates when the file
    /// is written, or another takes its place.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{KeySource, Options, host::HostIdentity};
    ///
    /// // Kubernetes changes a secret's file by another in its place, which is noticed too.
    /// let keys = KeySource::file("/run/secrets/image.key");
    /// let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?);
    /// println!("{:?}", options.tls_from(keys).connect()?.info().tls);
    /// # Ok(())
    /// # }
    /// ```
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Source::File(path.into())))
    }

    /// The key texts, one a line, in a key of the kernel's key retention service (`keyrings(7)`).
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{KeySource, KeyringKey};
    ///
    /// // After `keyctl padd user nvme-image @u < image.key`; to change it is followed by `rotate_keys`.
    /// let controller = options.tls_from(KeySource::keyring(KeyringKey::new("nvme-image")?)).connect()?;
    /// println!("{}", controller.rotate_keys()?.key_changed);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keyring(key: KeyringKey) -> Self {
        Self(Arc::new(Source::Keyring(key)))
    }

    /// The TLS PSKs in this file, one a line with its identity, as [`TlsPsk::all_from_file`] reads it and
    /// `nvme tls-key --export` writes it: [`TLS_KEYS_FILE`](crate::psk::TLS_KEYS_FILE), for example. Those of this
    /// host and the subsystem are tried. It is watched, as a [`file`](Self::file) is.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{KeySource, psk::TLS_KEYS_FILE};
    ///
    /// // The file that the kernel's initiator is given its keys from when the machine starts.
    /// let controller = options.tls_from(KeySource::tls_keys(TLS_KEYS_FILE)).connect()?;
    /// println!("{:?}", controller.info().tls);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls_keys(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Source::TlsKeys(path.into())))
    }

    /// The TLS PSKs in a keyring of the kernel's, as its own initiator takes them from `.nvme`. Those of this host and
    /// the subsystem are tried.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{KeySource, TlsKeyring};
    ///
    /// // One key for both initiators, where the kernel's has it.
    /// let controller = options.tls_from(KeySource::tls_keyring(TlsKeyring::nvme())).connect()?;
    /// println!("{:?}", controller.info().tls);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls_keyring(keyring: TlsKeyring) -> Self {
        Self(Arc::new(Source::TlsKeyring(keyring)))
    }

    /// What `load` gives: it is called on a thread of the library's, or in `connect` or `rotate_keys`, and may take
    /// its time.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{KeySource, psk::ConfiguredKey};
    ///
    /// // A credential that systemd unsealed for this service.
    /// let keys = KeySource::callback(|| {
    ///     let folder = std::env::var("CREDENTIALS_DIRECTORY")?;
    ///     Ok(ConfiguredKey::all_from_file(format!("{folder}/image.key"))?)
    /// });
    /// let controller = options.tls_from(keys).connect()?;
    /// println!("{:?}", controller.info().tls);
    /// # Ok(())
    /// # }
    /// ```
    pub fn callback(
        load: impl Fn() -> Result<Vec<ConfiguredKey>, KeySourceError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Source::Callback(Box::new(load))))
    }

    /// Other keys from now on: each controller that uses this source rotates to them by itself, without being
    /// waited for. Whether the source is one in memory; another takes no keys.
    ///
    /// ```
    /// use nvme_tcp::KeySource;
    /// use nvme_tcp::psk::{ConfiguredKey, KeyHash};
    ///
    /// let today = ConfiguredKey::generate(KeyHash::Sha256)?;
    /// let tomorrow = ConfiguredKey::generate(KeyHash::Sha256)?;
    /// let source = KeySource::memory([today.clone()]);
    /// // Controllers rotate now; where the target does not know tomorrow's key yet, today's is tried after it.
    /// assert!(source.set([tomorrow.clone(), today]));
    /// assert!(!KeySource::file("/etc/nvme/image.key").set([tomorrow]), "a file is written instead");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&self, keys: impl Into<Vec<ConfiguredKey>>) -> bool {
        let Source::Memory(memory) = &*self.0 else { return false };
        let mut memory = lock(memory);
        memory.keys = keys.into();
        memory.bells.retain(|bell| {
            let bell = bell.upgrade();
            bell.inspect(|bell| bell.ring(|calls| calls.keys_changed = true)).is_some()
        });
        true
    }

    /// The keys as they are now; at least one.
    pub(crate) fn load(&self) -> Result<Keys> {
        let mut keys = Keys::default();
        match &*self.0 {
            Source::Memory(memory) => keys.configured = lock(memory).keys.clone(),
            Source::File(path) => {
                keys.configured = ConfiguredKey::all_from_file(path).map_err(Error::from)?
            }
            Source::Keyring(key) => keys.configured = key.load()?,
            Source::Callback(load) => keys.configured = load().map_err(ErrorKind::KeySource)?,
            Source::TlsKeys(path) => keys.derived = TlsPsk::all_from_file(path).map_err(Error::from)?,
            Source::TlsKeyring(keyring) => keys.derived = keyring.load()?,
        }
        match keys.configured.is_empty() && keys.derived.is_empty() {
            true => Err(ErrorKind::KeySource(self.empty().into()).into()),
            false => Ok(keys),
        }
    }

    /// What is said of it where it gives no key.
    fn empty(&self) -> String {
        match &*self.0 {
            Source::TlsKeys(path) => format!("{}: no line is a TLS PSK", path.display()),
            Source::TlsKeyring(keyring) => format!("{}: no key is a TLS PSK", keyring.name()),
            _ => "it gives no key".to_owned(),
        }
    }

    /// Has a controller's bell rung when the keys change, where the source can say so by itself.
    pub(crate) fn subscribe(&self, bell: &Arc<Bell>) {
        if let Source::Memory(memory) = &*self.0 {
            lock(memory).bells.push(Arc::downgrade(bell));
        }
    }

    /// What tells that the file may have changed, where there is one.
    pub(crate) fn watch(&self) -> Option<FileWatch> {
        match &*self.0 {
            Source::File(path) | Source::TlsKeys(path) => FileWatch::new(path),
            _ => None,
        }
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Source::Memory(memory) => write!(f, "KeySource::memory({} keys)", lock(memory).keys.len()),
            Source::File(path) => write!(f, "KeySource::file({path:?})"),
            Source::Keyring(key) => write!(f, "KeySource::keyring({key:?})"),
            Source::TlsKeys(path) => write!(f, "KeySource::tls_keys({path:?})"),
            Source::TlsKeyring(keyring) => write!(f, "KeySource::tls_keyring({keyring:?})"),
            Source::Callback(_) => f.write_str("KeySource::callback(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psk::KeyHash;

    fn key(fill: u8) -> ConfiguredKey {
        ConfiguredKey::new(KeyHash::Sha256, &[fill; 32]).unwrap()
    }

    fn configured(source: &KeySource) -> Vec<ConfiguredKey> {
        source.load().unwrap().configured
    }

    #[test]
    fn memory_rings_who_uses_it_and_only_memory_takes_keys() {
        let bell = Arc::new(Bell::new().unwrap());
        let source = KeySource::memory([key(1)]);
        source.subscribe(&bell);
        assert!(source.clone().set([key(2), key(3)]));
        assert!(bell.take().keys_changed && !bell.take().keys_changed);
        assert_eq!(configured(&source), [key(2), key(3)]);
        assert!(!KeySource::file("/nowhere").set([key(1)]));
        drop(bell);
        assert!(source.set([]));
        assert!(matches!(source.load().err().unwrap().kind(), ErrorKind::KeySource(_)));
    }

    #[test]
    fn a_callback_is_asked_each_time_and_its_error_is_told() {
        let source = KeySource::callback(|| Err("the vault is sealed".into()));
        let error = source.load().err().unwrap();
        assert!(error.to_string().contains("the vault is sealed"), "{error}");
    }

    #[test]
    fn a_file_holds_one_key_a_line() {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        writeln!(file, "{}\n\n {}", key(1).to_text().as_str(), key(2).to_text().as_str()).unwrap();
        assert_eq!(configured(&KeySource::file(&path)), [key(1), key(2)]);
        writeln!(file, "nonsense").unwrap();
        assert!(matches!(KeySource::file(&path).load().err().unwrap().kind(), ErrorKind::KeyFile(_)));
        file.set_len(0).unwrap();
        assert!(matches!(KeySource::file(&path).load().err().unwrap().kind(), ErrorKind::KeyFile(_)));
    }

    #[test]
    fn no_key_is_printed() {
        let printed = format!("{:?}", KeySource::memory([key(0xa5)]));
        assert_eq!(printed, "KeySource::memory(1 keys)");
    }
}
