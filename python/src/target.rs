//! The embedded target, for tests of scripts: `nvme_tcp.testing`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use nvme_tcp::auth::Authentication;
use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp_target::{
    AnaState, Fault, FaultPlan, KeyRing, Listener, Namespace, StartError, Subsystem, SubsystemError,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{Failure, Outcome};
use crate::key::Key;
use crate::options::secret_from;
use crate::record::Record;

/// The ANA group that every namespace is in.
const ANA_GROUP: u32 = 1;

/// The key that an argument is.
fn key_of(given: &Bound<'_, PyAny>) -> PyResult<ConfiguredKey> {
    Key::read(given)?.ok_or_else(|| PyTypeError::new_err("key: expected a Key or its text"))
}

/// What a host has to know.
fn authentication(secret: Option<&str>, controller: Option<&str>) -> Outcome<Option<Authentication>> {
    let Some(secret) = secret else { return Ok(None) };
    let authentication = Authentication::new(secret_from("dhchap_secret", secret)?);
    Ok(Some(match controller {
        Some(text) => authentication.controller_secret(secret_from("dhchap_ctrl_secret", text)?),
        None => authentication,
    }))
}

impl From<SubsystemError> for Failure {
    fn from(error: SubsystemError) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::argument(error.to_string())
    }
}

/// A running target with one subsystem and one namespace, 1.
#[pyclass(frozen, module = "nvme_tcp._native")]
#[derive(Debug)]
pub(crate) struct Target {
    running: Mutex<Option<nvme_tcp_target::Target>>,
    nqn: String,
    address: SocketAddr,
    faults: FaultPlan,
    keys: KeyRing,
}

impl Target {
    fn with<T>(&self, what: impl FnOnce(&nvme_tcp_target::Target) -> T) -> Outcome<T> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(what).ok_or_else(|| Failure::closed("target"))
    }
}

#[pymethods]
impl Target {
    #[new]
    #[pyo3(signature = (
        nqn, size, block_size, key, path, read_only, max_transfer, queue_entries, host_nqn, dhchap_secret,
        dhchap_ctrl_secret, concat
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        nqn: String,
        size: u64,
        block_size: u32,
        key: Option<&Bound<'_, PyAny>>,
        path: Option<PathBuf>,
        read_only: bool,
        max_transfer: u32,
        queue_entries: u32,
        host_nqn: Option<String>,
        dhchap_secret: Option<&str>,
        dhchap_ctrl_secret: Option<&str>,
        concat: bool,
    ) -> PyResult<Self> {
        let mut namespace = match path {
            Some(path) => Namespace::file(path, (size > 0).then_some(size)),
            None => Namespace::ram(size),
        };
        namespace = namespace.block_size(block_size);
        if read_only {
            namespace = namespace.read_only();
        }
        let any = ([127, 0, 0, 1], 0);
        let keys = KeyRing::new();
        let listener = match (key, concat) {
            (Some(key), false) => {
                keys.add(None, None, key_of(key)?);
                Listener::tls(any, keys.clone())
            }
            (Some(_), true) => {
                return Err(Failure::argument("concat makes a TLS key of its own: give no other").into());
            }
            (None, true) => Listener::concat(any),
            (None, false) => Listener::plain(any),
        };
        let mut subsystem = Subsystem::new(&nqn).namespace(1, namespace);
        if let Some(host) = host_nqn {
            subsystem = match authentication(dhchap_secret, dhchap_ctrl_secret)? {
                Some(authentication) => subsystem.allow_host_with(host, authentication),
                None => subsystem.allow_host(host),
            };
        }
        let faults = FaultPlan::new();
        let builder = nvme_tcp_target::Target::builder()
            .subsystem(subsystem)
            .listen(listener)
            .faults(faults.clone())
            .config(|config| {
                config.max_transfer = max_transfer;
                config.queue_entries = queue_entries;
            });
        let target = py.detach(|| builder.start()).map_err(Failure::from)?;
        let address = target.local_addrs().first().copied();
        let address = address.ok_or_else(|| Failure::argument("the target listens nowhere"))?;
        Ok(Self { running: Mutex::new(Some(target)), nqn, address, faults, keys })
    }

    #[getter]
    fn address(&self) -> String {
        self.address.to_string()
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let found = self.with(|target| target.statistics())?;
        Record::new(py, "TargetStatistics")
            .field("connections", found.connections)?
            .field("open_connections", found.open_connections)?
            .field("refused_connections", found.refused_connections)?
            .field("commands", found.commands)?
            .field("failed_commands", found.failed_commands)?
            .field("bytes_received", found.bytes_received)?
            .field("bytes_sent", found.bytes_sent)?
            .make()
    }

    /// Adds a namespace of RAM; hosts are told.
    fn add_namespace(&self, nsid: u32, size: u64, block_size: u32) -> PyResult<()> {
        let namespace = Namespace::ram(size).block_size(block_size);
        Ok(self.with(|target| target.add_namespace(&self.nqn, nsid, namespace))?.map_err(Failure::from)?)
    }

    /// Takes a namespace away; hosts are told.
    fn remove_namespace(&self, nsid: u32) -> PyResult<()> {
        Ok(self.with(|target| target.remove_namespace(&self.nqn, nsid))?.map_err(Failure::from)?)
    }

    /// Gives a namespace another size; hosts are told.
    fn resize_namespace(&self, nsid: u32, size: u64) -> PyResult<()> {
        Ok(self.with(|target| target.resize_namespace(&self.nqn, nsid, size))?.map_err(Failure::from)?)
    }

    /// Sets how well the namespaces are reached; hosts are told.
    fn set_ana_state(&self, state: &str) -> PyResult<()> {
        let state = match state {
            "optimized" => AnaState::Optimized,
            "non-optimized" => AnaState::NonOptimized,
            "inaccessible" => AnaState::Inaccessible,
            "persistent-loss" => AnaState::PersistentLoss,
            "change" => AnaState::Change,
            other => return Err(Failure::argument(format!("there is no ANA state {other:?}")).into()),
        };
        Ok(self
            .with(|target| target.set_ana_state(&self.nqn, None, ANA_GROUP, state))?
            .map_err(Failure::from)?)
    }

    /// Knows one more key from now on.
    fn add_key(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.keys.add(None, None, key_of(key)?);
        Ok(())
    }

    /// Knows a key no longer: whether it was known.
    fn remove_key(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.keys.remove(&key_of(key)?))
    }

    /// Does something wrong with the `nth` PDU of this kind that is sent on an I/O queue from now on.
    fn inject(&self, pdu: &str, fault: &str, nth: u64) -> PyResult<()> {
        let kind = match pdu {
            "response" => PduType::CapsuleResp,
            "data" => PduType::C2hData,
            "r2t" => PduType::R2t,
            other => {
                let message = format!("pdu is {other:?}, expected \"response\", \"data\" or \"r2t\"");
                return Err(Failure::argument(message).into());
            }
        };
        let fault = match fault {
            "cut" => Fault::Cut,
            "stall" => Fault::Stall,
            "drop" => Fault::Drop,
            "corrupt" => Fault::Data,
            other => {
                let known = "\"cut\", \"stall\", \"drop\" or \"corrupt\"";
                return Err(Failure::argument(format!("fault is {other:?}, expected {known}")).into());
            }
        };
        if nth == 0 {
            return Err(Failure::argument("nth is 0: PDUs are counted from 1").into());
        }
        self.faults.io(kind, nth, fault);
        Ok(())
    }

    /// How many faults have happened.
    fn injected(&self) -> usize {
        self.faults.happened()
    }

    fn close(&self, py: Python<'_>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(running));
    }
}
