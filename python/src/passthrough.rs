//! Any command at all.

use nvme_tcp::{RawCommand, RawCompletion, RawData};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::buffer::Lent;
use crate::error::Failure;
use crate::options::seconds;
use crate::record::Record;

/// The command dwords that a caller fills in.
const DWORDS: [&str; 8] = ["cdw2", "cdw3", "cdw10", "cdw11", "cdw12", "cdw13", "cdw14", "cdw15"];

/// The command that these arguments make.
pub(crate) fn command(
    opcode: u8,
    nsid: u32,
    timeout: Option<f64>,
    dwords: Option<&Bound<'_, PyDict>>,
) -> PyResult<RawCommand> {
    let mut values = [0; DWORDS.len()];
    for (name, value) in dwords.into_iter().flatten() {
        let name: String = name.extract()?;
        let place = DWORDS.iter().zip(&mut values).find(|(known, _)| **known == name);
        let (_, place) = place.ok_or_else(|| {
            PyTypeError::new_err(format!(
                "unexpected keyword argument {name:?}, expected cdw2, cdw3, cdw10 to cdw15"
            ))
        })?;
        *place = value.extract()?;
    }
    let [cdw2, cdw3, cdw10 @ ..] = values;
    let timeout = timeout.map(|timeout| seconds("timeout", timeout)).transpose()?;
    Ok(RawCommand { cdw2, cdw3, cdw10, timeout, ..RawCommand::new(opcode, nsid) })
}

/// Runs a command with the memory of `data` or `into`: a `Completion`.
pub(crate) fn run<'py>(
    py: Python<'py>,
    data: Option<&Bound<'py, PyAny>>,
    into: Option<&Bound<'py, PyAny>>,
    run: impl FnOnce(RawData<'_>) -> nvme_tcp::Result<RawCompletion> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let done = match (data, into) {
        (Some(_), Some(_)) => {
            return Err(Failure::argument("data goes to the controller or comes from it, not both").into());
        }
        (Some(data), None) => {
            let lent = Lent::readable(data)?;
            py.detach(|| run(RawData::Write(lent.bytes())))
        }
        (None, Some(into)) => {
            let mut lent = Lent::writable(into)?;
            let bytes = lent.bytes_mut();
            py.detach(|| run(RawData::Read(bytes)))
        }
        (None, None) => py.detach(|| run(RawData::None)),
    };
    let done = done.map_err(Failure::from)?;
    Record::admin(py, "Completion")
        .field("result", done.result)?
        .field("status_type", done.status.code_type())?
        .field("status_code", done.status.code())?
        .field("received", done.received)?
        .field("text", done.status.to_string())?
        .make()
}
