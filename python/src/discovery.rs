//! What a discovery controller knows.

use nvme_tcp::discovery::{self, EntryKind, TlsNeed};
use nvme_tcp::nqn::DISCOVERY_NQN;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::error::Failure;
use crate::options::Wanted;
use crate::record::Record;

/// Asks the discovery controller at `uri` ("nvme+tcp://HOST[:PORT]") what there is: a list of `DiscoveryEntry`.
///
/// The other arguments are those of `connect`. An entry's `uri` is what `connect` takes.
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
) -> PyResult<Bound<'py, PyList>> {
    let wanted = Wanted::read(py, uri, options, Some(DISCOVERY_NQN))?;
    let entries = py.detach(|| discovery::discover(wanted.options)).map_err(Failure::from)?;
    let list = PyList::empty(py);
    for entry in entries {
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
        list.append(
            Record::new(py, "DiscoveryEntry")
                .field("kind", kind)?
                .field("subsystem_nqn", entry.subsystem_nqn)?
                .field("address", entry.address)?
                .field("port_id", entry.port_id)?
                .field("tls", tls)?
                .make()?,
        )?;
    }
    Ok(list)
}
