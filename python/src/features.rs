//! `Features`: what a controller can be told about how to behave.

use std::time::Duration;

use nvme_tcp::AsyncEvents;
use nvme_tcp::spec::command::admin::FeatureValue;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Lent;
use crate::controller::Controller;
use crate::error::{Failure, Outcome};
use crate::options::seconds;
use crate::record::Record;

/// The features of a controller: what `Controller.features` gives; by their numbers, and some by their meaning.
#[pyclass(frozen, module = "nvme_tcp")]
#[derive(Debug)]
pub(crate) struct Features {
    controller: Py<Controller>,
}

impl Features {
    pub(crate) fn new(controller: Py<Controller>) -> Self {
        Self { controller }
    }
}

fn which(name: &str) -> Outcome<FeatureValue> {
    match name {
        "current" => Ok(FeatureValue::Current),
        "default" => Ok(FeatureValue::Default),
        "saved" => Ok(FeatureValue::Saved),
        "capabilities" => Ok(FeatureValue::Capabilities),
        other => Err(Failure::argument(format!(
            "select is {other:?}, expected \"current\", \"default\", \"saved\" or \"capabilities\""
        ))),
    }
}

#[pymethods]
impl Features {
    /// A feature (FID): a `Feature`, with DW0 of the completion, and `length` bytes of data where it has such.
    #[pyo3(signature = (feature, *, nsid = 0, select = "current", length = 0))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        feature: u8,
        nsid: u32,
        select: &str,
        length: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let select = which(select)?;
        let mut data = vec![0; length];
        let value = self
            .controller
            .get()
            .call(py, |controller| controller.get_feature(feature, nsid, select, &mut data))?;
        Record::admin(py, "Feature").field("value", value)?.field("data", PyBytes::new(py, &data))?.make()
    }

    /// Sets a feature by CDW11, and its data where it has such; `save` makes it outlive a reset. Gives DW0 of the
    /// completion.
    #[pyo3(signature = (feature, value, *, nsid = 0, data = None, save = false))]
    fn set(
        &self,
        py: Python<'_>,
        feature: u8,
        value: u32,
        nsid: u32,
        data: Option<&Bound<'_, PyAny>>,
        save: bool,
    ) -> PyResult<u32> {
        let lent = data.map(Lent::readable).transpose()?;
        let data = lent.as_ref().map_or(&[][..], Lent::bytes);
        self.controller.get().call(py, |controller| controller.set_feature(feature, nsid, value, data, save))
    }

    /// The I/O submission and completion queues that the controller granted (07h).
    #[getter]
    fn number_of_queues(&self, py: Python<'_>) -> PyResult<(u32, u32)> {
        let queues = self.controller.get().call(py, nvme_tcp::Controller::number_of_queues)?;
        Ok((queues.submission, queues.completion))
    }

    /// How long the controller waits for a keep-alive, in seconds; None where it does not (0Fh).
    #[getter]
    fn keep_alive_timeout(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let timeout = self.controller.get().call(py, nvme_tcp::Controller::keep_alive_timeout)?;
        Ok(timeout.map(|timeout| timeout.as_secs_f64()))
    }

    #[setter]
    fn set_keep_alive_timeout(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let timeout = timeout.map(|timeout| seconds("keep_alive_timeout", timeout)).transpose()?;
        let timeout = timeout.unwrap_or(Duration::ZERO);
        self.controller.get().call(py, |controller| controller.set_keep_alive_timeout(timeout))
    }

    /// Whether the volatile write cache is on (06h).
    #[getter]
    fn write_cache(&self, py: Python<'_>) -> PyResult<bool> {
        self.controller.get().call(py, nvme_tcp::Controller::write_cache)
    }

    #[setter]
    fn set_write_cache(&self, py: Python<'_>, on: bool) -> PyResult<()> {
        self.controller.get().call(py, |controller| controller.set_write_cache(on, false))
    }

    /// The asynchronous events that the controller may send, a bit each (0Bh).
    #[getter]
    fn async_events(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.controller.get().call(py, nvme_tcp::Controller::async_events)?.bits())
    }

    #[setter]
    fn set_async_events(&self, py: Python<'_>, events: u32) -> PyResult<()> {
        self.controller
            .get()
            .call(py, |controller| controller.set_async_events(AsyncEvents::from_bits_retain(events)))
    }
}
