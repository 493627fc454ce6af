//! Python's dataclasses, which `nvme_tcp._types` defines, made from here.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// One dataclass to be: its fields by name.
pub(crate) struct Record<'py> {
    class: &'static str,
    fields: Bound<'py, PyDict>,
}

impl<'py> Record<'py> {
    pub(crate) fn new(py: Python<'py>, class: &'static str) -> Self {
        Self { class, fields: PyDict::new(py) }
    }

    pub(crate) fn field(self, name: &str, value: impl IntoPyObject<'py>) -> PyResult<Self> {
        self.fields.set_item(name, value)?;
        Ok(self)
    }

    pub(crate) fn make(self) -> PyResult<Bound<'py, PyAny>> {
        let types = self.fields.py().import("nvme_tcp._types")?;
        types.getattr(self.class)?.call((), Some(&self.fields))
    }
}
