//! Python's dataclasses, which `nvme_tcp._types` and `nvme_tcp._admin` define, made from here.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// One dataclass to be: its fields by name.
pub(crate) struct Record<'py> {
    module: &'static str,
    class: &'static str,
    fields: Bound<'py, PyDict>,
}

impl<'py> Record<'py> {
    /// One of `nvme_tcp._types`.
    pub(crate) fn new(py: Python<'py>, class: &'static str) -> Self {
        Self { module: "nvme_tcp._types", class, fields: PyDict::new(py) }
    }

    /// One of `nvme_tcp._admin`.
    pub(crate) fn admin(py: Python<'py>, class: &'static str) -> Self {
        Self { module: "nvme_tcp._admin", ..Self::new(py, class) }
    }

    pub(crate) fn field(self, name: &str, value: impl IntoPyObject<'py>) -> PyResult<Self> {
        self.fields.set_item(name, value)?;
        Ok(self)
    }

    pub(crate) fn make(self) -> PyResult<Bound<'py, PyAny>> {
        let module = self.fields.py().import(self.module)?;
        module.getattr(self.class)?.call((), Some(&self.fields))
    }
}
