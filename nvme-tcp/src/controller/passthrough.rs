//! Any admin or I/O command, as the caller has it.

use std::time::Duration;

use super::{Answer, Controller, admin_within};
use crate::driver::shared::{Buffer, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::namespace::queue_of_this_thread;
use crate::proto::DataFault;
use crate::spec::command::{Sqe, admin, fabrics};
use crate::spec::completion::Status;

/// A command as it goes to the controller. Identifier, flags and data pointer are this library's to fill in.
///
/// ```no_run
/// use nvme_tcp::{RawCommand, RawData};
///
/// # fn vendor_log(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
/// let mut data = [0; 512];
/// // Get Log Page, LID CAh, 128 dwords.
/// let command = RawCommand { cdw10: [127 << 16 | 0xca, 0, 0, 0, 0, 0], ..RawCommand::new(0x02, 0xffff_ffff) };
/// let done = controller.admin_passthrough(&command, RawData::Read(&mut data))?;
/// println!("{}, {} bytes", done.status, done.received);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawCommand {
    /// OPC. Its bits 1:0 say which way the data goes: 0 none, 1 to the controller, 2 from it.
    pub opcode: u8,
    /// NSID.
    pub nsid: u32,
    /// CDW2.
    pub cdw2: u32,
    /// CDW3.
    pub cdw3: u32,
    /// CDW10 to CDW15.
    pub cdw10: [u32; 6],
    /// How long it may take; `None` for [`Options::timeout`](crate::Options::timeout). A queue with a command that
    /// took too long is given up, and the association with it.
    pub timeout: Option<Duration>,
}

/// The memory of a command.
#[derive(Debug)]
pub enum RawData<'a> {
    /// There is none.
    None,
    /// What the controller sends goes here.
    Read(&'a mut [u8]),
    /// This goes to the controller.
    Write(&'a [u8]),
}

/// How a command was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawCompletion {
    /// DW0 and DW1.
    pub result: u64,
    /// The status, which may be a failure.
    pub status: Status,
    /// How many bytes of a read came, in order from the first; 0 where the command failed.
    pub received: usize,
}

impl RawCommand {
    /// A command with this opcode for this namespace, everything else zero.
    ///
    /// ```
    /// use nvme_tcp::RawCommand;
    ///
    /// // Identify, CNS 01h.
    /// let command = RawCommand { cdw10: [0x01, 0, 0, 0, 0, 0], ..RawCommand::new(0x06, 0) };
    /// assert_eq!((command.opcode, command.nsid, command.timeout), (0x06, 0, None));
    /// ```
    pub fn new(opcode: u8, nsid: u32) -> Self {
        Self { opcode, nsid, ..Self::default() }
    }

    fn sqe(&self) -> Sqe {
        let mut sqe = Sqe::new(self.opcode, self.nsid);
        sqe.cdw2 = self.cdw2.into();
        sqe.cdw3 = self.cdw3.into();
        sqe.cdw = self.cdw10.map(Into::into);
        sqe
    }

    /// What a controller would answer by breaking the connection is refused here.
    pub(crate) fn check(&self, data: &RawData<'_>, own: &[u8]) -> Result<()> {
        let opcode = self.opcode;
        if own.contains(&opcode) {
            return Err(Error::invalid(format!("opcode {opcode:02x}h is this library's own to send")));
        }
        let (len, way, name) = match data {
            RawData::None => return Ok(()),
            RawData::Write(data) => (data.len(), 1, "to"),
            RawData::Read(data) => (data.len(), 2, "from"),
        };
        if opcode & 0b11 != way && opcode & 0b11 != 0b11 {
            return Err(Error::invalid(format!("opcode {opcode:02x}h moves no data {name} the controller")));
        }
        match u32::try_from(len) {
            Ok(1..) => Ok(()),
            _ => Err(Error::invalid(format!("{len} bytes of data, expected 1 to 2^32 - 1"))),
        }
    }
}

impl Controller {
    /// Runs an admin command, and gives back how it was completed, whatever its status says.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{RawCommand, RawData};
    ///
    /// // Device Self-test, the short one, of the controller and all its namespaces.
    /// let command = RawCommand { cdw10: [1, 0, 0, 0, 0, 0], ..RawCommand::new(0x14, 0xffff_ffff) };
    /// let status = controller.admin_passthrough(&command, RawData::None)?.status;
    /// if !status.is_success() {
    ///     println!("refused: {status}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// It is a fabrics command, Keep Alive or Asynchronous Event Request, which are this library's own to send; the
    /// data does not go the way that the opcode says; the data came damaged; the association is lost.
    pub fn admin_passthrough(&self, command: &RawCommand, data: RawData<'_>) -> Result<RawCompletion> {
        let own = [fabrics::OPCODE, admin::KEEP_ALIVE, admin::ASYNC_EVENT_REQUEST];
        command.check(&data, &own)?;
        let room = data.room();
        let limit = command.timeout.unwrap_or(self.generations.connector.options().timeout);
        completion(
            "an admin command",
            admin_within(&self.generations, limit, command.sqe(), data.into())?,
            room,
        )
    }

    /// Runs an I/O command on this thread's queue, and gives back how it was completed, whatever its status says.
    /// It is not known what the command does, so nothing is done again where the association is lost.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{RawCommand, RawData};
    ///
    /// // Zone Management Receive: a report of the zones from block 0 on, in 1,024 dwords.
    /// let mut report = [0; 4096];
    /// let command = RawCommand { cdw10: [0, 0, 1023, 0, 0, 0], ..RawCommand::new(0x7a, 1) };
    /// let done = controller.io_passthrough(&command, RawData::Read(&mut report))?;
    /// println!("{}; {} zones", done.status, u16::from_le_bytes([report[0], report[1]]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`admin_passthrough`](Self::admin_passthrough), and where the controller was connected without I/O queues.
    pub fn io_passthrough(&self, command: &RawCommand, data: RawData<'_>) -> Result<RawCompletion> {
        command.check(&data, &[fabrics::OPCODE])?;
        let room = data.room();
        let limit = command.timeout.unwrap_or(self.generations.connector.options().timeout);
        let request = Request { sqe: command.sqe(), buffer: data.into() };
        let association = self.generations.for_commands()?;
        let answer = queue_of_this_thread(&association)?.execute_within(limit, request)?;
        completion("an I/O command", answer, room)
    }
}

impl RawData<'_> {
    /// How many bytes can come.
    fn room(&self) -> usize {
        match self {
            RawData::Read(data) => data.len(),
            RawData::None | RawData::Write(_) => 0,
        }
    }
}

impl<'a> From<RawData<'a>> for Buffer<'a> {
    fn from(data: RawData<'a>) -> Self {
        match data {
            RawData::None => Self::None,
            RawData::Read(data) => Self::Read(data),
            RawData::Write(data) => Self::Write(data),
        }
    }
}

fn completion(command: &'static str, (cqe, fault): Answer, room: usize) -> Result<RawCompletion> {
    let status = cqe.status();
    let received = match fault {
        _ if !status.is_success() => 0,
        None => room,
        // A data structure may be shorter than the room for it.
        Some(DataFault::Short { got, .. }) => got as usize,
        Some(fault) => return Err(ErrorKind::Data { command, fault }.into()),
    };
    Ok(RawCompletion { result: cqe.result.get(), status, received })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_the_way_that_the_opcode_says() {
        fn check(opcode: u8, data: RawData<'_>) -> bool {
            RawCommand::new(opcode, 0).check(&data, &[fabrics::OPCODE]).is_ok()
        }
        assert!(check(0x06, RawData::Read(&mut [0; 4])) && check(0x09, RawData::Write(&[0; 4])));
        assert!(check(0xc3, RawData::Write(&[0; 4])) && check(0x09, RawData::None));
        assert!(!check(0x06, RawData::Write(&[0; 4])) && !check(0x09, RawData::Read(&mut [0; 4])));
        assert!(!check(0x18, RawData::Read(&mut [0; 4])) && !check(0x06, RawData::Read(&mut [])));
        assert!(!check(0x7f, RawData::None));
    }
}
