//! The embedded target, for tests of scripts: `nvme_tcp.testing`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use nvme_tcp::spec::pdu::PduType;
use nvme_tcp_target::{Fault, FaultPlan, KeyRing, Listener, Namespace, StartError, Subsystem};
use pyo3::prelude::*;

use crate::error::{Failure, Outcome};
use crate::key::Key;
use crate::record::Record;

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
    address: SocketAddr,
    faults: FaultPlan,
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
    #[pyo3(signature = (nqn, size, block_size, key, path, read_only, max_transfer, queue_entries))]
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
        let listener = match key.map(Key::read).transpose()? {
            Some(Some(key)) => Listener::tls(any, KeyRing::new().key(key)),
            Some(None) => {
                return Err(pyo3::exceptions::PyTypeError::new_err("key: expected a Key or its text"));
            }
            None => Listener::plain(any),
        };
        let faults = FaultPlan::new();
        let builder = nvme_tcp_target::Target::builder()
            .subsystem(Subsystem::new(nqn).namespace(1, namespace))
            .listen(listener)
            .faults(faults.clone())
            .config(|config| {
                config.max_transfer = max_transfer;
                config.queue_entries = queue_entries;
            });
        let target = py.detach(|| builder.start()).map_err(Failure::from)?;
        let address = target.local_addrs().first().copied();
        let address = address.ok_or_else(|| Failure::argument("the target listens nowhere"))?;
        Ok(Self { running: Mutex::new(Some(target)), address, faults })
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
