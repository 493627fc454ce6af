//! The native half of the Python package `nvme-tcp`; the other half is Python, in `python/nvme_tcp`, and says
//! what each of these does for a user. Nothing here keeps the interpreter while it waits.

mod buffer;
mod controller;
mod discovery;
mod error;
mod events;
mod features;
mod identify;
mod key;
mod logs;
mod measure;
mod namespace;
mod options;
mod passthrough;
mod queue;
mod record;
mod reservations;
mod target;
mod tls;

/// `nvme_tcp._native`.
// The stable ABI has no free-threaded build before 3.15; each class is sound without the global lock, but this is
// not tested there, so it is not claimed.
#[pyo3::pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use crate::controller::{Controller, connect};
    #[pymodule_export]
    use crate::discovery::{discover, discover_all};
    #[pymodule_export]
    use crate::events::Events;
    #[pymodule_export]
    use crate::features::Features;
    #[pymodule_export]
    use crate::key::{Key, Source, generate_secret};
    #[pymodule_export]
    use crate::logs::Logs;
    #[pymodule_export]
    use crate::measure::measure;
    #[pymodule_export]
    use crate::namespace::Namespace;
    #[pymodule_export]
    use crate::queue::{Queue, buffer_length};
    #[pymodule_export]
    use crate::reservations::Reservations;
    #[pymodule_export]
    use crate::target::Target;
    #[pymodule_export]
    use crate::tls::{Socket, probe, wrap_keylog, wrap_psk};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
