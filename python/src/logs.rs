//! `Logs`: the log pages that this library can read.

use std::collections::BTreeMap;

use nvme_tcp::spec::log_page::{AnaState, CommandEffects, SanitizeState};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::controller::Controller;
use crate::record::Record;

/// The log pages of a controller: what `Controller.logs` gives. Any other page is `Controller.log_page`'s.
#[pyclass(frozen, module = "nvme_tcp")]
#[derive(Debug)]
pub(crate) struct Logs {
    controller: Py<Controller>,
}

impl Logs {
    pub(crate) fn new(controller: Py<Controller>) -> Self {
        Self { controller }
    }
}

#[pymethods]
impl Logs {
    /// The log pages that there are: a list of `SupportedLog`.
    fn supported<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let logs = self.controller.get().call(py, nvme_tcp::Controller::supported_logs)?;
        let log = |log: &nvme_tcp::spec::log_page::SupportedLog| {
            Record::admin(py, "SupportedLog")
                .field("lid", log.lid)?
                .field("index_offset", log.index_offset)?
                .field("specific", log.specific)?
                .make()
        };
        logs.iter().map(log).collect()
    }

    /// The latest errors of the controller, the latest first, at most `most`: a list of `ErrorLogEntry`.
    #[pyo3(signature = (most = 64))]
    fn errors<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let entries = self.controller.get().call(py, |controller| controller.error_log(most))?;
        let entry = |entry: &nvme_tcp::spec::log_page::ErrorEntry| {
            let location = entry.parameter_location.get();
            Record::admin(py, "ErrorLogEntry")
                .field("error_count", entry.error_count.get())?
                .field("queue_id", entry.sqid.get())?
                .field("command_id", entry.cid.get())?
                .field("opcode", entry.opcode)?
                .field("status_type", entry.status().code_type())?
                .field("status_code", entry.status().code())?
                .field("text", entry.status().to_string())?
                .field("parameter_location", (location != u16::MAX).then_some(location))?
                .field("nsid", entry.nsid.get())?
                .field("lba", entry.lba.get())?
                .make()
        };
        entries.iter().map(entry).collect()
    }

    /// The health of the controller, or of one namespace: a `SmartLog`.
    #[pyo3(signature = (nsid = None))]
    fn smart<'py>(&self, py: Python<'py>, nsid: Option<u32>) -> PyResult<Bound<'py, PyAny>> {
        let log = self.controller.get().call(py, |controller| controller.smart_log(nsid))?;
        let (read, written) = log.bytes_moved();
        let sensors = log.temperature_sensors.iter().map(|sensor| kelvins(sensor.get()));
        Record::admin(py, "SmartLog")
            .field("critical_warning", log.critical_warning)?
            .field("temperature", kelvins(log.temperature.get()))?
            .field("available_spare", log.available_spare)?
            .field("available_spare_threshold", log.available_spare_threshold)?
            .field("percentage_used", log.percentage_used)?
            .field("bytes_read", read)?
            .field("bytes_written", written)?
            .field("read_commands", u128::from_le_bytes(log.host_reads))?
            .field("write_commands", u128::from_le_bytes(log.host_writes))?
            .field("busy_minutes", log.busy_time.get())?
            .field("power_cycles", log.power_cycles.get())?
            .field("power_on_hours", log.power_on_hours.get())?
            .field("unsafe_shutdowns", log.unsafe_shutdowns.get())?
            .field("media_errors", log.media_errors.get())?
            .field("error_entries", log.error_entries.get())?
            .field("warning_temperature_minutes", log.warning_temperature_time.get())?
            .field("critical_temperature_minutes", log.critical_temperature_time.get())?
            .field("temperature_sensors", PyTuple::new(py, sensors)?)?
            .make()
    }

    /// What firmware there is: a `FirmwareSlots`.
    fn firmware<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let log = self.controller.get().call(py, nvme_tcp::Controller::firmware_slots)?;
        let revisions = (1..=7).filter_map(|slot| Some((slot, log.revision(slot)?)));
        Record::admin(py, "FirmwareSlots")
            .field("active", log.active_slot())?
            .field("next", log.next_slot())?
            .field("revisions", revisions.collect::<BTreeMap<_, _>>())?
            .make()
    }

    /// The namespaces that changed since this was last asked, which it forgets by that; None where they are too many to
    /// be listed, so that all are to be looked at.
    fn changed_namespaces(&self, py: Python<'_>) -> PyResult<Option<Vec<u32>>> {
        self.controller.get().call(py, nvme_tcp::Controller::changed_namespaces)
    }

    /// What each command of command set `csi` does besides what it is for: a `CommandEffectsLog`.
    #[pyo3(signature = (csi = 0))]
    fn command_effects<'py>(&self, py: Python<'py>, csi: u8) -> PyResult<Bound<'py, PyAny>> {
        let log = self.controller.get().call(py, |controller| controller.command_effects(csi))?;
        let table = |of: &dyn Fn(u8) -> Option<CommandEffects>| {
            let table = PyDict::new(py);
            for opcode in 0..=u8::MAX {
                if let Some(effects) = of(opcode) {
                    table.set_item(opcode, command_effects(py, effects)?)?;
                }
            }
            PyResult::Ok(table)
        };
        Record::admin(py, "CommandEffectsLog")
            .field("admin", table(&|opcode| log.admin_command(opcode))?)?
            .field("io", table(&|opcode| log.io_command(opcode))?)?
            .make()
    }

    /// How the last sanitize went: a `SanitizeStatus`.
    fn sanitize<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let log = self.controller.get().call(py, nvme_tcp::Controller::sanitize_log)?;
        let state = match log.state() {
            SanitizeState::Never => "never",
            SanitizeState::Done => "done",
            SanitizeState::Running => "running",
            SanitizeState::Failed => "failed",
            SanitizeState::DoneAndDeallocated => "done-and-deallocated",
            _ => "other",
        };
        Record::admin(py, "SanitizeStatus")
            .field("state", state)?
            .field("progress", f64::from(log.progress.get()) / 65536.0)?
            .make()
    }

    /// How well each group of namespaces is reached by this controller: an `AnaLog`. Reading it clears the event that
    /// tells of its change.
    fn ana<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let log = self.controller.get().call(py, nvme_tcp::Controller::ana_log)?;
        let group = |group: &nvme_tcp::spec::log_page::AnaGroup| {
            Record::admin(py, "AnaGroup")
                .field("id", group.id)?
                .field("change_count", group.change_count)?
                .field("state", ana_state(group.state))?
                .field("namespaces", PyTuple::new(py, &group.namespaces)?)?
                .make()
        };
        let groups = log.groups.iter().map(group).collect::<PyResult<Vec<_>>>()?;
        Record::admin(py, "AnaLog")
            .field("change_count", log.change_count)?
            .field("groups", PyTuple::new(py, groups)?)?
            .make()
    }
}

/// A temperature; 0 stands for none.
fn kelvins(kelvins: u16) -> Option<u16> {
    (kelvins != 0).then_some(kelvins)
}

fn command_effects<'py>(py: Python<'py>, effects: CommandEffects) -> PyResult<Bound<'py, PyAny>> {
    Record::admin(py, "CommandEffects")
        .field("changes_blocks", effects.changes_blocks())?
        .field("changes_namespace", effects.changes_namespace())?
        .field("changes_inventory", effects.changes_inventory())?
        .field("changes_controller", effects.changes_controller())?
        .field("exclusion", effects.exclusion())?
        .make()
}

fn ana_state(state: AnaState) -> &'static str {
    match state {
        AnaState::Optimized => "optimized",
        AnaState::NonOptimized => "non-optimized",
        AnaState::Inaccessible => "inaccessible",
        AnaState::PersistentLoss => "persistent-loss",
        AnaState::Change => "change",
        _ => "reserved",
    }
}
