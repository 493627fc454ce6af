//! `Controller`: a connection, and what it says of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nvme_tcp::spec::identify::{CNS_CONTROLLER, CNS_NAMESPACE};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{Failure, Outcome};
use crate::events::Events;
use crate::features::Features;
use crate::identify;
use crate::logs::Logs;
use crate::namespace::Namespace;
use crate::options::Wanted;
use crate::passthrough;
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
    pub(crate) fn call<T: Send>(
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
/// Keys: `key` is a `keys.Key`, its text ("NVMeTLSkey-1:...") or a list of either, the preferred first, or a
/// `keys.Source` of keys that change; `keyfile` is the path of a file that holds one, readable by its owner only. With a key every connection is TLS 1.3, or fails;
/// without one it is plain. `identity_version` (0 or 1) and `compat` (libnvme's derivation before 1.15) allow only
/// such identities. `layer` says who seals the records: "auto" (the kernel where it can), "kernel" or "process";
/// `record_limit` for how many records a key is used at most, before the next association takes over.
///
/// `host_nqn` and `host_id` (a UUID) say who this host is; by default the machine's own, from /etc/nvme.
/// `dhchap_secret` and `dhchap_ctrl_secret` ("DHHC-1:...") authenticate by DH-HMAC-CHAP; `concat=True` makes the TLS
/// key of it.
///
/// `io_queues` connections are made (1 by default), each with `queue_size` entries (128); a thread stays with one of
/// them. `header_digest` and `data_digest` ask for CRC-32C, which `digests_optional` goes on without where the controller
/// declines. `owned_queues` are kept for `nvme_tcp.aio`. Seconds: `timeout` for a command (30), `connect_timeout`
/// for a connection to come up (10), `keep_alive` (10; 0 for none), `busy_poll` for how long a call asks the socket again
/// and again before it sleeps (0; 0.0001 where an answer's delay matters more than CPU time), ever less often where
/// nothing comes in that time. `private_memory=True` says that only this process can reach the buffers that are read into
/// (no shared memory), that nothing else writes to them meanwhile, and that outstanding reads have none of them in common: it
/// spares a copy with TLS, and of `nvme_tcp.aio`'s reads of 4 to 32 KiB. `congestion_control` is the name of TCP's on these connections, such as "dctcp" (the
/// system's own). Raises `NvmeError` or one of its subclasses.
///
/// `recovery=True` brings a lost association up again by itself (after 0.1 s, then every 10 s, for 10 minutes) and
/// holds the commands meanwhile, and a `Recovery` says in which times; without it they fail, and `Controller.reconnect`
/// is the caller's to call.
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
        identify::controller(py, &bytes, self.get()?.info().traits)
    }

    /// What the controller says of a namespace: a `NamespaceIdentity`.
    fn identify_namespace<'py>(&self, py: Python<'py>, nsid: u32) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.call(py, |controller| controller.identify(CNS_NAMESPACE, nsid))?;
        identify::namespace(py, nsid, &bytes)
    }

    /// What tells a namespace from every other: a `NamespaceIds`.
    fn namespace_ids<'py>(&self, py: Python<'py>, nsid: u32) -> PyResult<Bound<'py, PyAny>> {
        identify::ids(py, &self.call(py, |controller| controller.namespace_ids(nsid))?)
    }

    /// The IDs of the controllers of the subsystem, or of those that a namespace is attached to.
    #[pyo3(signature = (nsid = None))]
    fn controllers(&self, py: Python<'_>, nsid: Option<u32>) -> PyResult<Vec<u16>> {
        self.call(py, |controller| controller.controllers(nsid))
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

    /// Its log pages.
    #[getter]
    fn logs(this: Py<Self>) -> Logs {
        Logs::new(this)
    }

    /// Its features.
    #[getter]
    fn features(this: Py<Self>) -> Features {
        Features::new(this)
    }

    /// Runs any admin command: a `Completion`, whatever its status says.
    ///
    /// `data` goes to the controller; `into` is filled with what comes. `timeout` is in seconds. Fabrics commands, Keep
    /// Alive and Asynchronous Event Request are refused: they are this library's own to send.
    ///
    /// >>> import nvme_tcp
    /// >>> with nvme_tcp.testing.Target("1M") as target, nvme_tcp.connect(target.uri) as controller:
    /// ...     page = bytearray(512)
    /// ...     done = controller.admin_passthrough(0x02, nsid=0xFFFFFFFF, cdw10=127 << 16 | 0x02, into=page)
    /// ...     done.ok, done.received
    /// (True, 512)
    #[pyo3(signature = (opcode, *, nsid = 0, data = None, into = None, timeout = None, **dwords))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn admin_passthrough<'py>(
        &self,
        py: Python<'py>,
        opcode: u8,
        nsid: u32,
        data: Option<&Bound<'py, PyAny>>,
        into: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        dwords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let command = passthrough::command(opcode, nsid, timeout, dwords)?;
        let controller = self.get()?;
        passthrough::run(py, data, into, |data| controller.admin_passthrough(&command, data))
    }

    /// Runs any I/O command, as `admin_passthrough` does an admin command, on this thread's queue.
    #[pyo3(signature = (opcode, *, nsid = 0, data = None, into = None, timeout = None, **dwords))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn io_passthrough<'py>(
        &self,
        py: Python<'py>,
        opcode: u8,
        nsid: u32,
        data: Option<&Bound<'py, PyAny>>,
        into: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        dwords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let command = passthrough::command(opcode, nsid, timeout, dwords)?;
        let controller = self.get()?;
        passthrough::run(py, data, into, |data| controller.io_passthrough(&command, data))
    }

    /// What TLS is on the connections: a `TlsFacts`, or None where they are plain.
    #[getter]
    fn tls<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let info = self.get()?.info();
        info.tls.map(|facts| identify::tls(py, &facts)).transpose()
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

    /// Goes over to the keys that the `keys.Source` has now, and to new ones made of them in any case, while the
    /// controller is used: a `Rotation`. No command fails, and none is carried out twice.
    fn rotate_keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        rotation(py, &self.call(py, nvme_tcp::Controller::rotate_keys)?)
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

fn rotation<'py>(py: Python<'py>, rotation: &nvme_tcp::Rotation) -> PyResult<Bound<'py, PyAny>> {
    Record::new(py, "Rotation")
        .field("generation", rotation.generation)?
        .field("key_changed", rotation.key_changed)?
        .field("identity_version", rotation.identity_version.map(identify::version_number))?
        .field("gap", rotation.gap)?
        .field("held", rotation.held.map(|held| held.as_secs_f64()))?
        .make()
}
