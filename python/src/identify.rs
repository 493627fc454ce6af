//! What a controller says of itself, of its namespaces and of the connection, as Python's records.

use nvme_tcp::proto::ControllerTraits;
use nvme_tcp::psk::{Derivation, IdentityVersion, Origin};
use nvme_tcp::spec::identify::{IdentifyController, IdentifyNamespace};
use nvme_tcp::spec::text;
use nvme_tcp::{NamespaceIds, TlsFacts};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{Failure, Outcome};
use crate::record::Record;

/// A `ControllerIdentity` of an Identify Controller data structure.
pub(crate) fn controller<'py>(
    py: Python<'py>,
    bytes: &[u8],
    traits: ControllerTraits,
) -> PyResult<Bound<'py, PyAny>> {
    let data: &IdentifyController = structure(bytes)?;
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
        .field("raw", PyBytes::new(py, bytes))?
        .make()
}

/// A `NamespaceIdentity` of an Identify Namespace data structure.
pub(crate) fn namespace<'py>(py: Python<'py>, nsid: u32, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let data: &IdentifyNamespace = structure(bytes)?;
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
        .field("raw", PyBytes::new(py, bytes))?
        .make()
}

/// A `NamespaceIds`.
pub(crate) fn ids<'py>(py: Python<'py>, ids: &NamespaceIds) -> PyResult<Bound<'py, PyAny>> {
    let uuid =
        ids.uuid.map(|uuid| py.import("uuid")?.call_method1("UUID", (py.None(), PyBytes::new(py, &uuid))));
    Record::new(py, "NamespaceIds")
        .field("eui64", ids.eui64.map(|id| PyBytes::new(py, &id)))?
        .field("nguid", ids.nguid.map(|id| PyBytes::new(py, &id)))?
        .field("uuid", uuid.transpose()?)?
        .field("command_set", ids.command_set)?
        .make()
}

/// A `TlsFacts`.
pub(crate) fn tls<'py>(py: Python<'py>, facts: &TlsFacts) -> PyResult<Bound<'py, PyAny>> {
    let info = &facts.info;
    Record::new(py, "TlsFacts")
        .field("version", info.version())?
        .field("suite", info.suite.name())?
        .field("group", info.group.map(|group| format!("{group:?}")))?
        .field("psk_identity", String::from_utf8_lossy(&info.psk_identity).into_owned())?
        .field("identity_version", version_number(facts.identity_version))?
        .field("compat", facts.derivation == Derivation::Compat)?
        .field("generated", facts.origin == Origin::Generated)?
        .field("send", crate::tls::direction(py, &info.send)?)?
        .field("receive", crate::tls::direction(py, &info.receive)?)?
        .make()
}

/// The version of an identity as its number.
pub(crate) fn version_number(version: IdentityVersion) -> u8 {
    match version {
        IdentityVersion::V0 => 0,
        IdentityVersion::V1 => 1,
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
