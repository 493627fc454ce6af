//! `Key`: a configured pre-shared key, and what is derived from it.

use std::path::PathBuf;

use nvme_tcp::KeySource;
use nvme_tcp::auth::{DhchapSecret, SecretHash};
use nvme_tcp::psk::{ConfiguredKey, KeyHash, Policy, TlsPsk, candidates, derive};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{Failure, Outcome};
use crate::identify::version_number;
use crate::options::{derivation_of, version_of};
use crate::record::Record;

/// A configured key ("NVMeTLSkey-1:..."). It is printed as its kind only; `to_text` is the one way to see it.
#[pyclass(frozen, eq, module = "nvme_tcp.keys")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) inner: ConfiguredKey,
}

impl Key {
    /// The key that an argument is, or whose text it is; `None` where it is something else.
    pub(crate) fn read(given: &Bound<'_, PyAny>) -> PyResult<Option<ConfiguredKey>> {
        if let Ok(key) = given.cast::<Self>() {
            return Ok(Some(key.get().inner.clone()));
        }
        match given.extract::<String>() {
            Ok(text) => Ok(Some(text.trim().parse().map_err(Failure::from)?)),
            Err(_) => Ok(None),
        }
    }

    /// The keys of a key, its text, or several of either; at least one, since an empty list is no way to plain text.
    pub(crate) fn read_all(given: &Bound<'_, PyAny>) -> PyResult<Vec<ConfiguredKey>> {
        if let Some(key) = Self::read(given)? {
            return Ok(vec![key]);
        }
        let mut keys = Vec::new();
        for each in given.try_iter()? {
            let key = Self::read(&each?)?;
            keys.push(
                key.ok_or_else(|| PyTypeError::new_err("key: expected a Key, its text, or a list of them"))?,
            );
        }
        match keys.is_empty() {
            true => Err(Failure::argument("key: the list is empty").into()),
            false => Ok(keys),
        }
    }
}

/// Keys that change while controllers use them: what `connect` takes as `key`.
///
/// >>> import nvme_tcp
/// >>> old, new = nvme_tcp.keys.generate(), nvme_tcp.keys.generate()
/// >>> source = nvme_tcp.keys.Source(old)
/// >>> with nvme_tcp.testing.Target("1M", key=old) as target:
/// ...     with nvme_tcp.connect(target.uri, key=source) as controller:
/// ...         source.set([new, old])  # the target knows the new one first, then this host, then the old one goes
/// ...         controller.rotate_keys().generation > 0
/// True
#[pyclass(frozen, module = "nvme_tcp.keys")]
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) inner: KeySource,
}

#[pymethods]
impl Source {
    /// These keys, until `set` gives others: a `Key`, its text, or several of either, the preferred first.
    #[new]
    fn new(keys: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { inner: KeySource::memory(Key::read_all(keys)?) })
    }

    /// The key in a file, which is watched: controllers go over to another key when one is put into its place.
    #[staticmethod]
    fn file(path: PathBuf) -> Self {
        Self { inner: KeySource::file(path) }
    }

    /// Other keys from now on: each controller that uses them goes over by itself, without being waited for.
    fn set(&self, keys: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.inner.set(Key::read_all(keys)?) {
            true => Ok(()),
            false => Err(Failure::argument("the keys of this source come from a file").into()),
        }
    }

    #[allow(clippy::unused_self, reason = "keys are not shown")]
    fn __repr__(&self) -> &'static str {
        "<nvme_tcp.keys.Source>"
    }
}

/// A new random DH-HMAC-CHAP secret: its text ("DHHC-1:..."). `hash` ties it to its owner's NQN: "none", "sha256",
/// "sha384" or "sha512", by which the length goes.
#[pyfunction]
#[pyo3(signature = (hash = "sha256"))]
pub(crate) fn generate_secret(hash: &str) -> PyResult<String> {
    let hash = match hash {
        "none" => SecretHash::None,
        "sha256" => SecretHash::Sha256,
        "sha384" => SecretHash::Sha384,
        "sha512" => SecretHash::Sha512,
        other => {
            let known = "\"none\", \"sha256\", \"sha384\" or \"sha512\"";
            return Err(Failure::argument(format!("hash is {other:?}, expected {known}")).into());
        }
    };
    let secret = DhchapSecret::generate(hash).map_err(|_| no_random_bytes())?;
    Ok(secret.to_text().as_str().to_owned())
}

fn no_random_bytes() -> Failure {
    Failure::argument("the system gives no random bytes")
}

fn hash_of(name: &str) -> Outcome<KeyHash> {
    match name {
        "none" => Ok(KeyHash::None),
        "sha256" => Ok(KeyHash::Sha256),
        "sha384" => Ok(KeyHash::Sha384),
        other => {
            Err(Failure::argument(format!("hash is {other:?}, expected \"sha256\", \"sha384\" or \"none\"")))
        }
    }
}

fn hash_name(hash: KeyHash) -> &'static str {
    match hash {
        KeyHash::None => "none",
        KeyHash::Sha256 => "sha256",
        KeyHash::Sha384 => "sha384",
    }
}

fn derived<'py>(py: Python<'py>, psk: &TlsPsk) -> PyResult<Bound<'py, PyAny>> {
    Record::new(py, "DerivedKey")
        .field("identity", psk.identity())?
        .field("hash", format!("{:?}", psk.hash()).to_lowercase())?
        .field("version", version_number(psk.version()))?
        .field("compat", psk.derivation() == derivation_of(true))?
        .field("secret", PyBytes::new(py, psk.secret().expose()))?
        .make()
}

#[pymethods]
impl Key {
    /// A new random key: 48 bytes for "sha384", else 32.
    #[staticmethod]
    #[pyo3(signature = (hash = "sha256"))]
    fn generate(hash: &str) -> PyResult<Self> {
        Ok(Self { inner: ConfiguredKey::generate(hash_of(hash)?).map_err(|_| no_random_bytes())? })
    }

    /// The key of this text.
    #[staticmethod]
    fn from_text(text: &str) -> PyResult<Self> {
        Ok(Self { inner: text.trim().parse().map_err(Failure::from)? })
    }

    /// The key of these bytes: 32, or 48.
    #[staticmethod]
    #[pyo3(signature = (secret, hash = "sha256"))]
    fn from_bytes(secret: &[u8], hash: &str) -> PyResult<Self> {
        Ok(Self { inner: ConfiguredKey::new(hash_of(hash)?, secret).map_err(Failure::from)? })
    }

    /// The key in a file that only its owner can read.
    #[staticmethod]
    fn from_file(path: PathBuf) -> PyResult<Self> {
        Ok(Self { inner: ConfiguredKey::from_file(path).map_err(Failure::from)? })
    }

    /// Writes the text to a new file that only its owner can read.
    fn write_file(&self, path: PathBuf) -> PyResult<()> {
        Ok(self.inner.write_file(path).map_err(Failure::from)?)
    }

    /// The text, which is a secret.
    fn to_text(&self) -> String {
        self.inner.to_text().as_str().to_owned()
    }

    /// The hash that makes the retained key from it: "sha256", "sha384" or "none".
    #[getter]
    fn hash(&self) -> &'static str {
        hash_name(self.inner.hash())
    }

    /// Its length in bytes.
    #[getter]
    fn length(&self) -> usize {
        self.inner.psk().len()
    }

    /// The identity and the key of a TLS handshake between this host and this subsystem: a `DerivedKey`.
    #[pyo3(signature = (host_nqn, subsystem_nqn, *, version = 1, compat = false))]
    fn derive<'py>(
        &self,
        py: Python<'py>,
        host_nqn: &str,
        subsystem_nqn: &str,
        version: u8,
        compat: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (version, derivation) = (version_of(version)?, derivation_of(compat));
        let psk = derive(&self.inner, host_nqn, subsystem_nqn, version, derivation).map_err(Failure::from)?;
        derived(py, &psk)
    }

    /// Every identity that this key gives between this host and this subsystem, the best first.
    fn identities(&self, host_nqn: &str, subsystem_nqn: &str) -> PyResult<Vec<String>> {
        let keys = std::slice::from_ref(&self.inner);
        let psks = candidates(keys, host_nqn, subsystem_nqn, Policy::ALL).map_err(Failure::from)?;
        let mut names: Vec<String> = psks.iter().map(|psk| psk.identity().to_owned()).collect();
        // The two derivations of a version-0 identity share its name.
        names.dedup();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(names)
    }

    fn __repr__(&self) -> String {
        format!("<nvme_tcp.keys.Key of {} bytes, {}>", self.inner.psk().len(), self.hash())
    }
}
