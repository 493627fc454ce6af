//! What Python's `connect` takes, as the library's options.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nvme_tcp::auth::{Authentication, DhchapSecret};
use nvme_tcp::host::{self, HostIdentity};
use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, Policy};
use nvme_tcp::uri::TargetUri;
use nvme_tcp::{KeySource, Options, Recovery, Security, UnknownWrites};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Failure, Outcome};
use crate::key::{Key, Source};

/// Where to connect, and how.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) options: Options,
    /// The subsystem that the URI names.
    pub(crate) subsystem_nqn: Option<String>,
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
            PyTypeError::new_err(format!("{name}: {}", error.value(self.given.py())))
        })
    }

    fn duration(&self, name: &str) -> PyResult<Option<Duration>> {
        let Some(given) = self.take::<f64>(name)? else { return Ok(None) };
        Ok(Some(seconds(name, given)?))
    }
}

/// A time that the caller gave in seconds, by the name of its argument.
pub(crate) fn seconds(name: &str, seconds: f64) -> Outcome<Duration> {
    let wrong = || Failure::argument(format!("{name} is {seconds}, expected seconds from 0 up"));
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
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
            return Err(PyTypeError::new_err(message));
        }
        Ok(Self { options, subsystem_nqn: uri.subsystem_nqn, namespace_id: uri.namespace_id })
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
        if let Some(given) = arguments.take::<Bound<'_, PyAny>>("recovery")? {
            options = match recovery(&given)? {
                Some(recovery) => options.recovery(recovery),
                None => options,
            };
        }
        let header = arguments.take("header_digest")?.unwrap_or(false);
        let data = arguments.take("data_digest")?.unwrap_or(false);
        options = options.digests(header, data);
        if let Some(optional) = arguments.take("digests_optional")? {
            options = options.digests_optional(optional);
        }
        if let Some(keep_alive) = arguments.duration("keep_alive")? {
            options = options.keep_alive(keep_alive);
        }
        if let Some(timeout) = arguments.duration("timeout")? {
            options = options.timeout(timeout);
        }
        if let Some(timeout) = arguments.duration("connect_timeout")? {
            options = options.connect_timeout(timeout);
        }
        if let Some(busy_poll) = arguments.duration("busy_poll")? {
            options = options.busy_poll(busy_poll);
        }
        options = options.private_memory(arguments.take("private_memory")?.unwrap_or(false));
        if let Some(name) = arguments.take::<String>("congestion_control")? {
            options = options.congestion_control(name);
        }
        Ok(options)
    }
}

/// `recovery`: False, True or a `Recovery`, whose fields that are None stay as the library has them.
fn recovery(given: &Bound<'_, PyAny>) -> PyResult<Option<Recovery>> {
    if let Ok(on) = given.extract::<bool>() {
        return Ok(on.then(Recovery::default));
    }
    let class = given.py().import("nvme_tcp._admin")?.getattr("Recovery")?;
    if !given.is_instance(&class)? {
        return Err(PyTypeError::new_err("recovery: expected True, False or a Recovery"));
    }
    let time = |name: &str| -> PyResult<Option<f64>> { given.getattr(name)?.extract() };
    let within = |name: &str| -> PyResult<Option<Duration>> {
        Ok(time(name)?.map(|given| seconds(name, given)).transpose()?)
    };
    // Infinity is for ever.
    let limit = |name: &str| -> PyResult<Option<Option<Duration>>> {
        let limit =
            |given: f64| if given == f64::INFINITY { Ok(None) } else { Ok(Some(seconds(name, given)?)) };
        time(name)?.map(limit).transpose()
    };
    let mut recovery = Recovery::default();
    match (within("first_delay")?, within("longest_delay")?) {
        (None, None) => {}
        (Some(first), Some(longest)) => recovery = recovery.reconnect_delay(first, longest),
        _ => return Err(Failure::argument("first_delay and longest_delay belong together").into()),
    }
    if let Some(limit) = limit("controller_loss_timeout")? {
        recovery = recovery.controller_loss_timeout(limit);
    }
    if let Some(limit) = limit("fast_fail_timeout")? {
        recovery = recovery.fast_fail_timeout(limit);
    }
    match given.getattr("unknown_writes")?.extract::<Option<String>>()?.as_deref() {
        None => {}
        Some("replay") => recovery = recovery.unknown_writes(UnknownWrites::Replay),
        Some("report") => recovery = recovery.unknown_writes(UnknownWrites::Report),
        Some(other) => {
            let message = format!("unknown_writes is {other:?}, expected \"replay\" or \"report\"");
            return Err(Failure::argument(message).into());
        }
    }
    if let Some(time) = within("assumed_quiesce_time")? {
        recovery = recovery.assumed_quiesce_time(time);
    }
    if let Some(retries) = given.getattr("retries")?.extract()? {
        recovery = recovery.retries(retries);
    }
    Ok(Some(recovery))
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
    let mut tls_options = ktls::Options::new().layer(layer_of(layer.as_deref())?);
    if let Some(records) = arguments.take("record_limit")? {
        tls_options = tls_options.record_limit(records);
    }
    options = options.tls_options(tls_options);
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
    Ok(match (keys, concat) {
        (Some(_), true) => {
            let message = "concat makes a TLS key from the DH-HMAC-CHAP secret: give no other key";
            return Err(Failure::argument(message).into());
        }
        (Some(Keys::These(keys)), false) => options.security(Security::Tls { keys: Arc::from(keys), policy }),
        (Some(Keys::From(source)), false) => options.security(Security::TlsFrom { source, policy }),
        (None, true) => options.security(Security::Concat),
        (None, false) => options,
    })
}

/// The keys of TLS.
enum Keys {
    These(Vec<ConfiguredKey>),
    From(KeySource),
}

/// `key` (a Key, its text, several of them, or a Source of them) and `keyfile`.
fn keys(arguments: &Arguments<'_, '_>) -> PyResult<Option<Keys>> {
    let mut keys = Vec::new();
    let key = arguments.take::<Bound<'_, PyAny>>("key")?;
    let keyfile = arguments.take::<PathBuf>("keyfile")?;
    if let Some(source) = key.as_ref().and_then(|given| given.cast::<Source>().ok()) {
        return match keyfile {
            None => Ok(Some(Keys::From(source.get().inner.clone()))),
            Some(_) => Err(Failure::argument("key is a Source: give no keyfile").into()),
        };
    }
    if let Some(given) = key {
        keys = Key::read_all(&given)?;
    }
    if let Some(path) = keyfile {
        keys.push(ConfiguredKey::from_file(path).map_err(Failure::from)?);
    }
    Ok((!keys.is_empty()).then_some(Keys::These(keys)))
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
    Ok(arguments.take::<String>(name)?.map(|text| secret_from(name, &text)).transpose()?)
}

/// The DH-HMAC-CHAP secret that the argument of this name holds.
pub(crate) fn secret_from(name: &str, text: &str) -> Outcome<DhchapSecret> {
    // The text itself is not told: it is a secret.
    text.trim().parse().map_err(|error| Failure::argument(format!("{name}: {error}")))
}

fn secret_of(arguments: &Arguments<'_, '_>, name: &str, wanted: bool) -> PyResult<Option<DhchapSecret>> {
    let found = secret(arguments, name)?;
    match found.is_some() && !wanted {
        true => Err(Failure::argument(format!("{name} needs dhchap_secret as well")).into()),
        false => Ok(found),
    }
}
