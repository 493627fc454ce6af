//! `Events`: what a controller reports, and what becomes of the association with it.

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nvme_tcp::events::{AsyncEvent, ChangedNamespaces, Event, NoEvent, Replacement};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Failure;
use crate::record::Record;

/// How long a wait keeps signals from coming through.
const TICK: Duration = Duration::from_millis(100);

/// Receives a controller's events, from `Controller.events` on: 256 are held, and of those that nobody comes for the
/// oldest go first. It is an iterator that waits for the next, and ends with the controller.
#[pyclass(frozen, module = "nvme_tcp")]
#[derive(Debug)]
pub(crate) struct Events {
    inner: nvme_tcp::Events,
}

impl Events {
    pub(crate) fn new(inner: nvme_tcp::Events) -> Self {
        Self { inner }
    }
}

#[pymethods]
impl Events {
    /// The next event (an `Event`), for which it waits at most `timeout` seconds; None where none came.
    #[pyo3(signature = (timeout = None))]
    fn recv<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let limit = timeout.map(Duration::try_from_secs_f64).transpose();
        let limit = limit.map_err(|_| Failure::argument("timeout: expected seconds from 0 up"))?;
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let step = left.map_or(TICK, |left| left.min(TICK));
            match py.detach(|| self.inner.recv_timeout(step)) {
                Ok(event) => return event_of(py, event).map(Some),
                Err(NoEvent::Ever) => return Ok(None),
                Err(NoEvent::Yet) if left.is_some_and(|left| left.is_zero()) => return Ok(None),
                Err(NoEvent::Yet) => py.check_signals()?,
            }
        }
    }

    /// The next event and False, if it is there; else None, and whether none will come any more.
    fn _poll<'py>(&self, py: Python<'py>) -> PyResult<(Option<Bound<'py, PyAny>>, bool)> {
        match self.inner.try_recv() {
            Ok(event) => Ok((Some(event_of(py, event)?), false)),
            Err(none) => Ok((None, none == NoEvent::Ever)),
        }
    }

    /// A descriptor that is readable while there is an event, for `select` and event loops. It is not to be read from.
    fn fileno(&self) -> i32 {
        self.inner.as_fd().as_raw_fd()
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.recv(py, None)
    }
}

fn event_of(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyAny>> {
    let (mut generation, mut attempt, mut delay, mut missed) = (None, None, None, None);
    let (mut error, mut text, mut namespaces) = (None, None, None);
    let kind = match event {
        Event::Reported(reported) => match reported {
            AsyncEvent::NamespacesChanged(changed) => {
                if let ChangedNamespaces::Ids(ids) = changed {
                    namespaces = Some(PyTuple::new(py, ids)?);
                }
                "namespaces-changed"
            }
            AsyncEvent::AnaChanged => "ana-changed",
            AsyncEvent::FirmwareActivationStarting => "firmware-activation",
            AsyncEvent::DiscoveryLogChanged => "discovery-changed",
            AsyncEvent::Health(health) => {
                text = Some(format!("{health:?}"));
                "health"
            }
            AsyncEvent::Error(error) => {
                text = Some(format!("{error:?}"));
                "error"
            }
            other => {
                text = Some(format!("{other:?}"));
                "other"
            }
        },
        Event::AssociationUp { generation: which } => {
            generation = Some(which);
            "up"
        }
        Event::AssociationLost { generation: which, error: why } => {
            (generation, error) = (Some(which), Some(why));
            "lost"
        }
        Event::Reconnecting { attempt: which, delay: pause } => {
            (attempt, delay) = (Some(which), Some(pause.as_secs_f64()));
            "reconnecting"
        }
        Event::Replaced { generation: which, why } => {
            generation = Some(which);
            text = Some(if why == Replacement::Asked { "asked for" } else { "record budget" }.to_owned());
            "replaced"
        }
        Event::RecordBudgetLow => "record-budget-low",
        Event::Gone { error: why } => {
            error = Some(why);
            "gone"
        }
        Event::Missed(count) => {
            missed = Some(count);
            "missed"
        }
        other => {
            text = Some(format!("{other:?}"));
            "other"
        }
    };
    let error = error.map(|error| Failure::from(error).exception(py)).transpose()?;
    Record::new(py, "Event")
        .field("kind", kind)?
        .field("generation", generation)?
        .field("attempt", attempt)?
        .field("delay", delay)?
        .field("missed", missed)?
        .field("namespaces", namespaces)?
        .field("error", error)?
        .field("text", text)?
        .make()
}
