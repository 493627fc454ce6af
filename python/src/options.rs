//! What Python's `connect` takes, as the library's options.

use std::sync::Arc;
use std::time::Duration;

use nvme_tcp::auth::{Authentication, DhchapSecret};
use nvme_tcp::host::{self, HostIdentity};
use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, Policy};
use nvme_tcp::uri::TargetUri;
use nvme_tcp::{Options, Security};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Failure, Outcome};
use crate::key::Key;

/// Where to connect, and how.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) options: Options,
    /// The namespace that the URI names.
    pub(crate) namespace_id: Option<u32>,
}

/// Keyword arguments that are taken off one by one, so that those nobody knows are found.
struct Arguments<'a, 'py> {
    given: &'a Bound<'py, PyDict>,
}

impl<'py> Arguments<'_, 'py> {
    /// The argument of this name; `None` where it is not given or None.
    fn take<T: for<'a> FromPyObject<'a, 'py>>(&self, name: &str) -> PyResult<Option<T>>
    where
        for<'a> <T as FromPyObject<'a, 'py>>::Error: Into<PyErr>,
    {
        let Some(value) = self.given.get_item(name)? else { return Ok(None) };
        self.given.del_item(name)?;
        if value.is_none() {
            return Ok(None);
        }
        value.extract::<T>().map(Some).map_err(|error| {
            let error: PyErr = error.into();
            pyo3::exceptions::PyTypeError::new_err(format!("{name}: {}", error.value(self.given.py())))
        })
    }

    fn duration(&self, name: &str) -> PyResult<Option<Duration>> {
        let Some(seconds) = self.take::<f64>(name)? else { return Ok(None) };
        let wrong = || Failure::argument(format!("{name} is {seconds}, expected seconds from 0 up"));
        Ok(Some(Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?))
    }
}

impl Wanted {
    /// Reads `uri` and the keyword arguments that `nvme_tcp.connect` documents. A URI that names no subsystem is
    /// for `otherwise`.
    pub(crate) fn read(
        py: Python<'_>,
        uri: &str,
        given: Option<&Bound<'_, PyDict>>,
        otherwise: Option<&str>,
    ) -> PyResult<Self> {
        let uri: TargetUri = uri.parse().map_err(Failure::from)?;
        let subsystem = match (&uri.subsystem_nqn, otherwise) {
            (Some(nqn), _) => nqn.clone(),
            (None, Some(nqn)) => nqn.to_owned(),
            (None, None) => return Err(Failure::from(nvme_tcp::uri::UriError::NoSubsystem).into()),
        };
        let given = given.map_or_else(|| Ok(PyDict::new(py)), |given| given.copy())?;
        let arguments = Arguments { given: &given };
        let nqn: Option<String> = arguments.take("host_nqn")?;
        let host = identity(nqn.as_deref(), arguments.take("host_id")?)?;
        let options = Self::apply(&arguments, Options::new(uri.address.to_string(), subsystem, host))?;
        if let Some(name) = given.keys().iter().next() {
            let message = format!("connect() got an unexpected keyword argument {}", name.repr()?);
            return Err(pyo3::exceptions::PyTypeError::new_err(message));
        }
        Ok(Self { options, namespace_id: uri.namespace_id })
    }

    fn apply(arguments: &Arguments<'_, '_>, mut options: Options) -> PyResult<Options> {
        options = security(arguments, options)?;
        if let Some(count) = arguments.take("io_queues")? {
            options = options.io_queues(count);
        }
        if let Some(count) = arguments.take("owned_queues")? {
            options = options.owned_queues(count);
        }
        if let Some(size) = arguments.take("queue_size")? {
            options = options.queue_size(size);
        }
        if arguments.take("recovery")?.unwrap_or(false) {
            options = options.recovery(nvme_tcp::Recovery::default());
        }
        let header = arguments.take("header_digest")?.unwrap_or(false);
        let data = arguments.take("data_digest")?.unwrap_or(false);
        options = options.digests(header, data);
        if let Some(keep_alive) = arguments.duration("keep_alive")? {
            options = options.keep_alive(keep_alive);
        }
        if let Some(timeout) = arguments.duration("timeout")? {
            options = options.timeout(timeout);
        }
        if let Some(timeout) = arguments.duration("connect_timeout")? {
            options = options.connect_timeout(timeout);
        }
        Ok(options)
    }
}

/// Who this host is.
fn identity(nqn: Option<&str>, id: Option<String>) -> Outcome<HostIdentity> {
    let id = match id {
        Some(text) => {
            let wrong = || Failure::argument(format!("host_id: {text:?} is not a UUID"));
            Some(host::parse_uuid(&text).ok_or_else(wrong)?)
        }
        None => None,
    };
    HostIdentity::choose(nqn, id).map_err(|error| nvme_tcp::Error::from(error).into())
}

/// Keys, who seals the records, and DH-HMAC-CHAP.
fn security(arguments: &Arguments<'_, '_>, mut options: Options) -> PyResult<Options> {
    let keys = keys(arguments)?;
    let layer: Option<String> = arguments.take("layer")?;
    options = options.tls_options(ktls::Options::new().layer(layer_of(layer.as_deref())?));
    let policy = policy(arguments)?;
    let secret = secret(arguments, "dhchap_secret")?;
    let controller_secret = secret_of(arguments, "dhchap_ctrl_secret", secret.is_some())?;
    if let Some(secret) = secret {
        let authentication = Authentication::new(secret);
        options = options.authentication(match controller_secret {
            Some(secret) => authentication.controller_secret(secret),
            None => authentication,
        });
    }
    let concat = arguments.take("concat")?.unwrap_or(false);
    Ok(match (keys.is_empty(), concat) {
        (false, true) => {
            let message = "concat makes a TLS key from the DH-HMAC-CHAP secret: give no other key";
            return Err(Failure::argument(message).into());
        }
        (false, false) => options.security(Security::Tls { keys: Arc::from(keys), policy }),
        (true, true) => options.security(Security::Concat),
        (true, false) => options,
    })
}

/// `key` (a Key, its text, or several of them) and `keyfile`.
fn keys(arguments: &Arguments<'_, '_>) -> PyResult<Vec<ConfiguredKey>> {
    let mut keys = Vec::new();
    if let Some(given) = arguments.take::<Bound<'_, PyAny>>("key")? {
        match Key::read(&given)? {
            Some(key) => keys.push(key),
            None => {
                for each in given.try_iter()? {
                    let each = each?;
                    keys.push(Key::read(&each)?.ok_or_else(|| {
                        pyo3::exceptions::PyTypeError::new_err(
                            "key: expected a Key, its text, or a list of them",
                        )
                    })?);
                }
            }
        }
        // An empty list is no way to plain text.
        if keys.is_empty() {
            return Err(Failure::argument("key: the list is empty").into());
        }
    }
    if let Some(path) = arguments.take::<std::path::PathBuf>("keyfile")? {
        keys.push(ConfiguredKey::from_file(path).map_err(Failure::from)?);
    }
    Ok(keys)
}

fn policy(arguments: &Arguments<'_, '_>) -> PyResult<Policy> {
    let mut policy = Policy::ALL;
    if let Some(version) = arguments.take::<u8>("identity_version")? {
        policy = policy.only_version(version_of(version)?);
    }
    if let Some(compat) = arguments.take::<bool>("compat")? {
        policy = policy.only_derivation(derivation_of(compat));
    }
    Ok(policy)
}

pub(crate) fn version_of(version: u8) -> Outcome<IdentityVersion> {
    match version {
        0 => Ok(IdentityVersion::V0),
        1 => Ok(IdentityVersion::V1),
        other => Err(Failure::argument(format!("identity version {other}, expected 0 or 1"))),
    }
}

pub(crate) fn derivation_of(compat: bool) -> Derivation {
    if compat { Derivation::Compat } else { Derivation::Rfc8446 }
}

pub(crate) fn layer_of(name: Option<&str>) -> Outcome<ktls::Layer> {
    match name {
        None | Some("auto") => Ok(ktls::Layer::Auto),
        Some("kernel") => Ok(ktls::Layer::Kernel),
        Some("process") => Ok(ktls::Layer::Process),
        Some(other) => Err(Failure::argument(format!(
            "layer is {other:?}, expected \"auto\", \"kernel\" or \"process\""
        ))),
    }
}

fn secret(arguments: &Arguments<'_, '_>, name: &str) -> PyResult<Option<DhchapSecret>> {
    let Some(text) = arguments.take::<String>(name)? else { return Ok(None) };
    // The text itself is not told: it is a secret.
    text.parse().map(Some).map_err(|error| Failure::argument(format!("{name}: {error}")).into())
}

fn secret_of(arguments: &Arguments<'_, '_>, name: &str, wanted: bool) -> PyResult<Option<DhchapSecret>> {
    let found = secret(arguments, name)?;
    match found.is_some() && !wanted {
        true => Err(Failure::argument(format!("{name} needs dhchap_secret as well")).into()),
        false => Ok(found),
    }
}
