//! `Controller`: a connection, and what it says of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nvme_tcp::TlsFacts;
use nvme_tcp::psk::{Derivation, IdentityVersion, Origin};
use nvme_tcp::spec::identify::{CNS_CONTROLLER, CNS_NAMESPACE, IdentifyController, IdentifyNamespace};
use nvme_tcp::spec::text;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{Failure, Outcome};
use crate::events::Events;
use crate::namespace::Namespace;
use crate::options::Wanted;
use crate::queue::Queue;
use crate::record::Record;

/// What went through one controller's namespaces, for `Controller.statistics`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reads: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) errors: AtomicU64,
}

impl Counters {
    /// Counts a call and its bytes, or its failure.
    pub(crate) fn count<T>(
        &self,
        calls: &AtomicU64,
        bytes: Option<(&AtomicU64, usize)>,
        result: &Outcome<T>,
    ) {
        if result.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
            return;
        }
        calls.fetch_add(1, Ordering::Relaxed);
        if let Some((sum, bytes)) = bytes {
            sum.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

/// A connected controller: what `connect` gives. Any thread may use it, several at once.
///
/// It is a context manager; `close` shuts the controller down, and so does forgetting it. It does not survive
/// `os.fork`: connect in the child, or start children by "spawn".
#[pyclass(frozen, module = "nvme_tcp")]
#[derive(Debug)]
pub(crate) struct Controller {
    open: Mutex<Option<Arc<nvme_tcp::Controller>>>,
    namespace_id: Option<u32>,
    counters: Arc<Counters>,
}

impl Controller {
    fn get(&self) -> Outcome<Arc<nvme_tcp::Controller>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| Failure::closed("controller"))
    }

    /// Something that may wait, with the interpreter free for other threads.
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        what: impl FnOnce(&nvme_tcp::Controller) -> nvme_tcp::Result<T> + Send,
    ) -> PyResult<T> {
        let controller = self.get()?;
        Ok(py.detach(|| what(&controller)).map_err(Failure::from)?)
    }
}

/// Connects to `uri`: "nvme+tcp://HOST[:PORT]/SUBSYSTEM-NQN[/NSID]", IPv6 addresses in brackets, port 4420 by default.
///
/// Keys: `key` is a `keys.Key`, its text ("NVMeTLSkey-1:...") or a list of either, the preferred first; `keyfile` is
/// the path of a file that holds one, readable by its owner only. With a key every connection is TLS 1.3, or fails;
/// without one it is plain. `identity_version` (0 or 1) and `compat` (libnvme's derivation before 1.15) allow only
/// such identities. `layer` says who seals the records: "auto" (the kernel where it can), "kernel" or "process".
///
/// `host_nqn` and `host_id` (a UUID) say who this host is; by default the machine's own, from /etc/nvme.
/// `dhchap_secret` and `dhchap_ctrl_secret` ("DHHC-1:...") authenticate by DH-HMAC-CHAP; `concat=True` makes the TLS
/// key of it.
///
/// `io_queues` connections are made (1 by default), each with `queue_size` entries (128); a thread stays with one of
/// them. `header_digest` and `data_digest` ask for CRC-32C. Seconds: `timeout` for a command (30), `connect_timeout`
/// for a connection to come up (10), `keep_alive` (10; 0 for none). Raises `NvmeError` or one of its subclasses.
///
/// `recovery=True` brings a lost association up again by itself (after 0.1 s, then every 10 s, for 10 minutes) and
/// holds the commands meanwhile; without it they fail, and `Controller.reconnect` is the caller's to call.
#[pyfunction]
#[pyo3(signature = (uri, **options))]
pub(crate) fn connect(
    py: Python<'_>,
    uri: &str,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Controller> {
    let wanted = Wanted::read(py, uri, options, None)?;
    let controller = py.detach(|| wanted.options.connect()).map_err(Failure::from)?;
    Ok(Controller {
        open: Mutex::new(Some(Arc::new(controller))),
        namespace_id: wanted.namespace_id,
        counters: Arc::default(),
    })
}

#[pymethods]
impl Controller {
    /// A namespace; without `nsid` the one that the URI names.
    #[pyo3(signature = (nsid = None))]
    fn namespace(&self, py: Python<'_>, nsid: Option<u32>) -> PyResult<Namespace> {
        let nsid = nsid
            .or(self.namespace_id)
            .ok_or_else(|| Failure::argument("the URI names no namespace, so namespace() needs its ID"))?;
        let namespace = self.call(py, |controller| controller.namespace(nsid))?;
        Ok(Namespace::new(namespace, self.counters.clone()))
    }

    /// The IDs of the namespaces that this host may use.
    fn namespaces(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        self.call(py, nvme_tcp::Controller::namespaces)
    }

    /// What the controller says of itself: a `ControllerIdentity`.
    fn identify<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.call(py, |controller| controller.identify(CNS_CONTROLLER, 0))?;
        let data: &IdentifyController = structure(&bytes)?;
        let traits = self.get()?.info().traits;
        Record::new(py, "ControllerIdentity")
            .field("controller_id", data.cntlid.get())?
            .field("version", version(data.version.get()))?
            .field("subsystem_nqn", traits.subsystem_nqn)?
            .field("serial_number", text::from_field(&data.serial_number))?
            .field("model_number", text::from_field(&data.model_number))?
            .field("firmware_revision", text::from_field(&data.firmware_revision))?
            .field("max_transfer", traits.max_transfer)?
            .field("max_namespace", data.nn.get())?
            .field("volatile_write_cache", traits.volatile_write_cache)?
            .field("io_queues", traits.io_queues)?
            .field("queue_entries", traits.io_entries)?
            .field("in_capsule_bytes", traits.in_capsule)?
            .field("is_discovery", traits.discovery)?
            .field("raw", PyBytes::new(py, &bytes))?
            .make()
    }

    /// What the controller says of a namespace: a `NamespaceIdentity`.
    fn identify_namespace<'py>(&self, py: Python<'py>, nsid: u32) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.call(py, |controller| controller.identify(CNS_NAMESPACE, nsid))?;
        let data: &IdentifyNamespace = structure(&bytes)?;
        let format = data.format();
        let block_size = 1u64.checked_shl(format.data_shift.into()).unwrap_or(0);
        let bytes_of = |blocks: u64| u128::from(blocks) * u128::from(block_size);
        let id = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0).then(|| PyBytes::new(py, bytes));
        Record::new(py, "NamespaceIdentity")
            .field("nsid", nsid)?
            .field("size", bytes_of(data.nsze.get()))?
            .field("capacity", bytes_of(data.ncap.get()))?
            .field("used", bytes_of(data.nuse.get()))?
            .field("block_size", block_size)?
            .field("metadata_bytes", format.metadata)?
            .field("protection_type", data.dps & 0b111)?
            .field("read_only", data.nsattr & 1 != 0)?
            .field("nguid", id(&data.nguid))?
            .field("eui64", id(&data.eui64))?
            .field("raw", PyBytes::new(py, &bytes))?
            .make()
    }

    /// An Identify data structure, 4,096 bytes: `cns` says which.
    fn identify_raw<'py>(&self, py: Python<'py>, cns: u8, nsid: u32) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.call(py, |controller| controller.identify(cns, nsid))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// `length` bytes (a multiple of 4) of log page `lid`, from `offset` on.
    #[pyo3(signature = (lid, length, offset = 0))]
    fn log_page<'py>(
        &self,
        py: Python<'py>,
        lid: u8,
        length: usize,
        offset: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let controller = self.get()?;
        PyBytes::new_with(py, length, |buffer| {
            let result = py.detach(|| controller.get_log_page(lid, offset, buffer));
            Ok(result.map_err(Failure::from)?)
        })
    }

    /// What TLS is on the connections: a `TlsFacts`, or None where they are plain.
    #[getter]
    fn tls<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let info = self.get()?.info();
        info.tls.map(|facts| tls_facts(py, &facts)).transpose()
    }

    /// Whether headers have a CRC-32C.
    #[getter]
    fn header_digest(&self) -> PyResult<bool> {
        Ok(self.get()?.info().negotiated.header_digest)
    }

    /// Whether data has a CRC-32C.
    #[getter]
    fn data_digest(&self) -> PyResult<bool> {
        Ok(self.get()?.info().negotiated.data_digest)
    }

    /// How many associations there were before this one.
    #[getter]
    fn generation(&self) -> PyResult<u64> {
        Ok(self.get()?.info().generation)
    }

    /// What went through this controller's namespaces so far: a `Statistics`.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Record::new(py, "Statistics")
            .field("reads", of(&self.counters.reads))?
            .field("bytes_read", of(&self.counters.bytes_read))?
            .field("writes", of(&self.counters.writes))?
            .field("bytes_written", of(&self.counters.bytes_written))?
            .field("flushes", of(&self.counters.flushes))?
            .field("errors", of(&self.counters.errors))?
            .make()
    }

    /// What the controller reports from now on, and what becomes of the association with it: an `Events`.
    fn events(&self) -> PyResult<Events> {
        Ok(Events::new(self.get()?.events().map_err(Failure::from)?))
    }

    /// Raises what the association was lost for, if it was. It asks nobody and waits for nothing.
    fn check(&self) -> PyResult<()> {
        Ok(self.get()?.check().map_err(Failure::from)?)
    }

    /// Brings up a new association with new keys; commands that are outstanding are finished on the old one. A lost
    /// association is replaced in the same way.
    fn reconnect(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, nvme_tcp::Controller::reconnect)
    }

    /// Authenticates both ends once more by DH-HMAC-CHAP, while the queues are in use.
    fn reauthenticate(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, nvme_tcp::Controller::reauthenticate)
    }

    /// A queue of one thread's own, for `nvme_tcp.aio`.
    fn _queue(&self, py: Python<'_>) -> PyResult<Queue> {
        Ok(Queue::new(self.call(py, nvme_tcp::Controller::queue)?, self.counters.clone()))
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Shuts the controller down and closes its connections. Calls that run in other threads end first.
    fn close(&self, py: Python<'_>) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever still calls keeps it until the call returns; the last one shuts it down.
        py.detach(|| drop(open));
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        match self.get() {
            Ok(controller) => format!("<nvme_tcp.Controller {:?}>", controller.info().traits.subsystem_nqn),
            Err(_) => "<nvme_tcp.Controller closed>".to_owned(),
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if open.is_some() {
            // The shutdown waits for the controller's answer: not with the interpreter held.
            let _ = Python::try_attach(|py| py.detach(|| drop(open)));
        }
    }
}

fn structure<T>(bytes: &[u8]) -> Outcome<&T>
where
    T: zerocopy::FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned,
{
    T::ref_from_bytes(bytes).map_err(|_| Failure::argument("an Identify structure has another length"))
}

/// VS as people write it.
fn version(vs: u32) -> String {
    format!("{}.{}.{}", vs >> 16, vs >> 8 & 0xff, vs & 0xff)
}

fn tls_facts<'py>(py: Python<'py>, facts: &TlsFacts) -> PyResult<Bound<'py, PyAny>> {
    let info = &facts.info;
    Record::new(py, "TlsFacts")
        .field("version", info.version())?
        .field("suite", info.suite.name())?
        .field("group", info.group.map(|group| format!("{group:?}")))?
        .field("psk_identity", String::from_utf8_lossy(&info.psk_identity).into_owned())?
        .field(
            "identity_version",
            match facts.identity_version {
                IdentityVersion::V0 => 0,
                IdentityVersion::V1 => 1,
            },
        )?
        .field("compat", facts.derivation == Derivation::Compat)?
        .field("generated", facts.origin == Origin::Generated)?
        .field("send", crate::tls::direction(py, &info.send)?)?
        .field("receive", crate::tls::direction(py, &info.receive)?)?
        .make()
}
