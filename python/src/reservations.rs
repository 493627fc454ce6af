//! `Reservations`: who may read and write a namespace that several hosts share.

use nvme_tcp::spec::command::reservation::{
    AcquireAction, PersistThroughPowerLoss, RegisterAction, ReleaseAction,
};
use nvme_tcp::spec::reservation::ReservationType;
use nvme_tcp::{Acquire, Register, Release};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::error::{Failure, Outcome};
use crate::namespace::Namespace;
use crate::record::Record;

const KINDS: [(&str, ReservationType); 6] = [
    ("write-exclusive", ReservationType::WriteExclusive),
    ("exclusive-access", ReservationType::ExclusiveAccess),
    ("write-exclusive-registrants-only", ReservationType::WriteExclusiveRegistrantsOnly),
    ("exclusive-access-registrants-only", ReservationType::ExclusiveAccessRegistrantsOnly),
    ("write-exclusive-all-registrants", ReservationType::WriteExclusiveAllRegistrants),
    ("exclusive-access-all-registrants", ReservationType::ExclusiveAccessAllRegistrants),
];
const REGISTER: [(&str, RegisterAction); 3] = [
    ("register", RegisterAction::Register),
    ("unregister", RegisterAction::Unregister),
    ("replace", RegisterAction::Replace),
];
const ACQUIRE: [(&str, AcquireAction); 3] = [
    ("acquire", AcquireAction::Acquire),
    ("preempt", AcquireAction::Preempt),
    ("preempt-and-abort", AcquireAction::PreemptAndAbort),
];
const RELEASE: [(&str, ReleaseAction); 2] =
    [("release", ReleaseAction::Release), ("clear", ReleaseAction::Clear)];

/// What an argument names.
fn named<T: Copy>(argument: &str, given: &str, known: &[(&str, T)]) -> Outcome<T> {
    let found = known.iter().find(|(name, _)| *name == given);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
        Failure::argument(format!("{argument} is {given:?}, expected one of {}", names.join(", ")))
    })
}

/// The reservations of a namespace: what `Namespace.reservations` gives.
///
/// >>> import nvme_tcp
/// >>> with nvme_tcp.testing.Target("1M") as target, nvme_tcp.connect(target.uri) as controller:
/// ...     reservations = controller.namespace().reservations
/// ...     reservations.register(new_key=0xA)
/// ...     reservations.acquire("write-exclusive", current_key=0xA)
/// ...     reservations.report().held
/// 'write-exclusive'
#[pyclass(frozen, module = "nvme_tcp")]
#[derive(Debug)]
pub(crate) struct Reservations {
    namespace: Py<Namespace>,
}

impl Reservations {
    pub(crate) fn new(namespace: Py<Namespace>) -> Self {
        Self { namespace }
    }

    fn call<T: Send>(
        &self,
        py: Python<'_>,
        what: impl FnOnce(&nvme_tcp::Namespace) -> nvme_tcp::Result<T> + Send,
    ) -> PyResult<T> {
        let namespace = self.namespace.get();
        Ok(py.detach(|| what(namespace.inner())).map_err(Failure::from)?)
    }
}

#[pymethods]
impl Reservations {
    /// Registers `new_key` for this host; `action` "unregister" takes `current_key` back, "replace" puts `new_key` in its
    /// place. `persist` says whether registrations and reservations outlive a loss of power; None leaves that as it is.
    #[pyo3(signature = (
        action = "register", *, current_key = 0, new_key = 0, ignore_existing_key = false, persist = None
    ))]
    fn register(
        &self,
        py: Python<'_>,
        action: &str,
        current_key: u64,
        new_key: u64,
        ignore_existing_key: bool,
        persist: Option<bool>,
    ) -> PyResult<()> {
        let action = named("action", action, &REGISTER)?;
        let persist = match persist {
            None => PersistThroughPowerLoss::Unchanged,
            Some(false) => PersistThroughPowerLoss::Off,
            Some(true) => PersistThroughPowerLoss::On,
        };
        let register = Register { action, current_key, new_key, ignore_existing_key, persist };
        self.call(py, |namespace| namespace.reservation_register(&register))
    }

    /// Takes the reservation, as the host that is registered with `current_key`; `action` "preempt" takes it from whoever
    /// is registered with `preempt_key`, and "preempt-and-abort" aborts their commands as well.
    #[pyo3(signature = (kind, action = "acquire", *, current_key, preempt_key = 0))]
    fn acquire(
        &self,
        py: Python<'_>,
        kind: &str,
        action: &str,
        current_key: u64,
        preempt_key: u64,
    ) -> PyResult<()> {
        let (kind, action) = (named("kind", kind, &KINDS)?, named("action", action, &ACQUIRE)?);
        let acquire = Acquire { action, kind, current_key, preempt_key };
        self.call(py, |namespace| namespace.reservation_acquire(&acquire))
    }

    /// Gives the reservation of this kind back; `action` "clear" ends it and every host's registration, whatever its kind.
    #[pyo3(signature = (kind = None, action = "release", *, current_key = 0, ignore_existing_key = false))]
    fn release(
        &self,
        py: Python<'_>,
        kind: Option<&str>,
        action: &str,
        current_key: u64,
        ignore_existing_key: bool,
    ) -> PyResult<()> {
        let kind = kind.map(|kind| named("kind", kind, &KINDS)).transpose()?;
        let action = named("action", action, &RELEASE)?;
        let release = Release { action, kind, current_key, ignore_existing_key };
        self.call(py, |namespace| namespace.reservation_release(&release))
    }

    /// Who is registered, and who holds the reservation: a `ReservationStatus`.
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let status = self.call(py, nvme_tcp::Namespace::reservation_report)?;
        let registrants = status.registrants.iter().map(|registrant| {
            Record::admin(py, "Registrant")
                .field(
                    "controller_id",
                    (registrant.controller_id != u16::MAX).then_some(registrant.controller_id),
                )?
                .field("holds", registrant.holds)?
                .field("key", registrant.key)?
                .field("host_id", PyBytes::new(py, &registrant.host_id))?
                .make()
        });
        let registrants = registrants.collect::<PyResult<Vec<_>>>()?;
        let held = status.held.and_then(|held| KINDS.iter().find(|(_, kind)| *kind == held));
        Record::admin(py, "ReservationStatus")
            .field("generation", status.generation)?
            .field("held", held.map(|(name, _)| *name))?
            .field("persists", status.persists)?
            .field("registrants", PyTuple::new(py, registrants)?)?
            .make()
    }
}
