//! What discovery controllers know.

use nvme_tcp::discovery::{self, Discovery, Entry, EntryKind, TlsNeed};
use nvme_tcp::nqn::DISCOVERY_NQN;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::error::Failure;
use crate::options::Wanted;
use crate::record::Record;

/// Asks the discovery controller at `uri` ("nvme+tcp://HOST[:PORT]") what there is: a list of `DiscoveryEntry`.
///
/// The other arguments are those of `connect`. An entry's `uri` is what `connect` takes. Referrals are told, and not
/// followed: `discover_all` does that.
///
/// >>> import nvme_tcp
/// >>> with nvme_tcp.testing.Target("1M") as target:
/// ...     [entry.kind for entry in nvme_tcp.discover(target.discovery_uri) if entry.kind == "subsystem"]
/// ['subsystem']
#[pyfunction]
#[pyo3(signature = (uri, **options))]
pub(crate) fn discover<'py>(
    py: Python<'py>,
    uri: &str,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let wanted = Wanted::read(py, uri, options, Some(DISCOVERY_NQN))?;
    let entries = py.detach(|| discovery::discover(wanted.options)).map_err(Failure::from)?;
    entries.iter().map(|entry| record(py, entry)).collect()
}

/// Asks the discovery controller at `uri` and those that it refers to, with the same keys and never with less security: a
/// `Discovered`.
///
/// A URI that names a subsystem asks for the discovery subsystem of that name. At most `max_depth` referrals are followed
/// one after the other, and at most `max_controllers` asked. The other arguments are those of `connect`.
///
/// >>> import nvme_tcp
/// >>> with nvme_tcp.testing.Target("1M") as target:
/// ...     found = nvme_tcp.discover_all(target.discovery_uri)
/// ...     [entry.uri == target.uri.removesuffix("/1") for entry in found.subsystems], found.unreached
/// ([True], ())
#[pyfunction]
#[pyo3(signature = (uri, *, max_depth = None, max_controllers = None, **options))]
pub(crate) fn discover_all<'py>(
    py: Python<'py>,
    uri: &str,
    max_depth: Option<u32>,
    max_controllers: Option<usize>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let wanted = Wanted::read(py, uri, options, Some(DISCOVERY_NQN))?;
    let mut walk = Discovery::new(wanted.options);
    if let Some(nqn) = wanted.subsystem_nqn {
        walk = walk.discovery_nqn(nqn);
    }
    if let Some(depth) = max_depth {
        walk = walk.max_depth(depth);
    }
    if let Some(count) = max_controllers {
        walk = walk.max_controllers(count);
    }
    let discovered = py.detach(|| walk.run()).map_err(Failure::from)?;
    let found = discovered.found.iter().map(|found| {
        Record::admin(py, "Found")
            .field("entry", record(py, &found.entry)?)?
            .field("source", &found.from)?
            .field("depth", found.depth)?
            .make()
    });
    let unreached = discovered.unreached.iter().map(|referral| {
        Record::admin(py, "Unreached")
            .field("entry", record(py, &referral.entry)?)?
            .field("why", referral.why.to_string())?
            .make()
    });
    Record::admin(py, "Discovered")
        .field("found", PyTuple::new(py, found.collect::<PyResult<Vec<_>>>()?)?)?
        .field("unreached", PyTuple::new(py, unreached.collect::<PyResult<Vec<_>>>()?)?)?
        .make()
}

/// A `DiscoveryEntry`.
fn record<'py>(py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyAny>> {
    let kind = match entry.kind {
        EntryKind::Subsystem => "subsystem",
        EntryKind::Referral => "referral",
        EntryKind::ThisDiscovery => "discovery",
        _ => "other",
    };
    let tls = match entry.tls {
        TlsNeed::Off => "off",
        TlsNeed::Possible => "possible",
        TlsNeed::Required => "required",
    };
    Record::new(py, "DiscoveryEntry")
        .field("kind", kind)?
        .field("subsystem_nqn", &entry.subsystem_nqn)?
        .field("address", &entry.address)?
        .field("port_id", entry.port_id)?
        .field("tls", tls)?
        .field("controller_id", entry.controller_id)?
        .field("admin_queue_size", entry.admin_queue_size)?
        .make()
}
