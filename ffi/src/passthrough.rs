//! Any admin or I/O command, as the caller has it.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use nvme_tcp::spec::completion::Status;
use nvme_tcp::{Controller, ErrorKind, RawCommand, RawCompletion, RawData};

use crate::call::{Outcome, call, fill, get, read, sizing};
use crate::controller::nvme_tcp_controller;
use crate::error::Failure;
use crate::text::{bytes, bytes_mut};

/// A command as it goes to the controller. Identifier, flags and data pointer are the library's to fill in.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_command {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// OPC. Its bits 1:0 say which way the data goes: 0 none, 1 to the controller, 2 from it.
    pub opcode: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// NSID.
    pub nsid: u32,
    /// CDW2.
    pub cdw2: u32,
    /// CDW3.
    pub cdw3: u32,
    /// CDW10 to CDW15.
    pub cdw10: [u32; 6],
    /// How long it may take in milliseconds; 0 for what nvme_tcp_options_set_timeout() said. A queue with a command
    /// that took too long is given up, and the association with it.
    pub timeout: u32,
}

sizing!(nvme_tcp_command, timeout: u32);

const NO_COMMAND: nvme_tcp_command = nvme_tcp_command {
    size: 0,
    opcode: 0,
    reserved: [0; 3],
    nsid: 0,
    cdw2: 0,
    cdw3: 0,
    cdw10: [0; 6],
    timeout: 0,
};

/// How a command was completed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_command_result {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// DW0 in the lower half, DW1 in the upper.
    pub value: u64,
    /// How many bytes came, in order from the first; 0 where the command failed.
    pub received: usize,
    /// The status code type, 0 to 7.
    pub status_type: u8,
    /// The status code; 0 of type 0 is success.
    pub status_code: u8,
    /// DNR: trying the same command again gives the same.
    pub do_not_retry: bool,
    /// Zero.
    pub reserved: [u8; 5],
}

sizing!(nvme_tcp_command_result, reserved: [u8; 5]);

type Pass = fn(&Controller, &RawCommand, RawData<'_>) -> nvme_tcp::Result<RawCompletion>;

/// # Safety
/// The structs are there as far as their first members say; a buffer of that size, or NULL.
unsafe fn pass(
    controller: Option<&nvme_tcp_controller>,
    command: *const nvme_tcp_command,
    data: *mut c_void,
    len: usize,
    result: *mut nvme_tcp_command_result,
    run: Pass,
) -> Outcome<()> {
    let controller = &get(controller)?.controller;
    // SAFETY: this function's contract.
    let given = unsafe { read(command, NO_COMMAND) }?;
    let command = RawCommand {
        cdw2: given.cdw2,
        cdw3: given.cdw3,
        cdw10: given.cdw10,
        timeout: (given.timeout > 0).then(|| Duration::from_millis(given.timeout.into())),
        ..RawCommand::new(given.opcode, given.nsid)
    };
    let data = match given.opcode & 0b11 {
        _ if len == 0 => RawData::None,
        // SAFETY: this function's contract.
        1 => RawData::Write(unsafe { bytes(data, len, "the buffer") }?),
        // SAFETY: the same.
        2 => RawData::Read(unsafe { bytes_mut(data, len, "the buffer") }?),
        _ => {
            let opcode = given.opcode;
            let what = format!("opcode {opcode:#04x} moves data neither to nor from the controller alone");
            return Err(Failure::here(libc::EINVAL, what));
        }
    };
    let fill_in = |completion: RawCompletion| nvme_tcp_command_result {
        size: 0,
        value: completion.result,
        received: completion.received,
        status_type: completion.status.code_type(),
        status_code: completion.status.code(),
        do_not_retry: completion.status.do_not_retry(),
        reserved: [0; 5],
    };
    if result.is_null() {
        return succeeded(run(controller, &command, data)?.status);
    }
    let mut status = Status::SUCCESS;
    let make = || {
        let completion = run(controller, &command, data)?;
        status = completion.status;
        Ok(fill_in(completion))
    };
    // SAFETY: this function's contract.
    unsafe { fill(result, make) }?;
    succeeded(status)
}

fn succeeded(status: Status) -> Outcome<()> {
    if status.is_success() {
        return Ok(());
    }
    Err(nvme_tcp::Error::from(ErrorKind::Status { command: "the command", status }).into())
}

/// Runs an admin command with `len` bytes of data, 0 for none, in the direction that its opcode says. It waits.
/// Where the controller completes it, result, which may be NULL, is filled in whatever the status says.
///
/// Errors: -EINVAL for a fabrics command, Keep Alive and Asynchronous Event Request, which are the library's own
/// to send, and for data that does not go the way of the opcode; -ENOENT where there is no such
/// namespace; those of a command. Threads: any.
///
/// # Safety
/// The structs are there as far as their first members say; a buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_controller_admin_passthrough(
    controller: Option<&nvme_tcp_controller>,
    command: *const nvme_tcp_command,
    data: *mut c_void,
    len: usize,
    result: *mut nvme_tcp_command_result,
) -> c_int {
    // SAFETY: the caller gives all this.
    call(|| unsafe { pass(controller, command, data, len, result, Controller::admin_passthrough) })
}

/// Runs an I/O command on one of the queues that the synchronous calls share; else as
/// nvme_tcp_controller_admin_passthrough(). Nothing is known of what the command does, so it is not sent again where
/// the association is lost.
///
/// Errors: -EINVAL as with admin commands, and where the options said 0 I/O queues; those of a command.
/// Threads: any.
///
/// # Safety
/// The structs are there as far as their first members say; a buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_controller_io_passthrough(
    controller: Option<&nvme_tcp_controller>,
    command: *const nvme_tcp_command,
    data: *mut c_void,
    len: usize,
    result: *mut nvme_tcp_command_result,
) -> c_int {
    // SAFETY: the caller gives all this.
    call(|| unsafe { pass(controller, command, data, len, result, Controller::io_passthrough) })
}
