//! `Key`: a configured pre-shared key, and what is derived from it.

use std::path::PathBuf;

use nvme_tcp::psk::{ConfiguredKey, IdentityVersion, KeyHash, Policy, TlsPsk, candidates, derive};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{Failure, Outcome};
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
        .field("version", u8::from(psk.version() == IdentityVersion::V1))?
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
        let random = |_| Failure::argument("the system gives no random bytes");
        Ok(Self { inner: ConfiguredKey::generate(hash_of(hash)?).map_err(random)? })
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
