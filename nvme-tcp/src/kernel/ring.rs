//! Many commands at a time through the kernel's driver, by io_uring (linux/nvme_ioctl.h, `NVME_URING_CMD_*`).
#![allow(unsafe_code, reason = "io_uring takes addresses")]

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use ktls_sys::nvme_ioctl::{NVME_URING_CMD_ADMIN, NVME_URING_CMD_IO, nvme_uring_cmd};

use super::device::milliseconds;
use super::{Device, KernelError};
use crate::controller::{RawCommand, RawCompletion, RawData};
use crate::error::{Error, Result};
use crate::spec::status::Status;

/// The memory of a command on a [`Ring`], which keeps it until the command is completed.
#[derive(Debug)]
pub enum RingData {
    /// There is none.
    None,
    /// What the controller sends goes here.
    Read(Vec<u8>),
    /// This goes to the controller.
    Write(Vec<u8>),
}

impl RingData {
    fn borrowed(&mut self) -> RawData<'_> {
        match self {
            Self::None => RawData::None,
            Self::Read(data) => RawData::Read(data),
            Self::Write(data) => RawData::Write(data),
        }
    }

    fn into_vec(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Read(data) | Self::Write(data) => data,
        }
    }
}

/// A command that a [`Ring`] has done.
#[derive(Debug)]
#[non_exhaustive]
pub struct RingCompletion {
    /// The number that the ring gave it.
    pub number: u64,
    /// How it was completed, whatever its status says; an error where the kernel did not let it through.
    pub result: Result<RawCompletion>,
    /// Its memory.
    pub data: Vec<u8>,
}

/// Commands to a device of the kernel's driver, many at a time: `/dev/nvme0` takes admin commands, `/dev/ng0n1` I/O
/// commands; `/dev/nvme0n1` takes none this way. Wants Linux 5.19.
///
/// ```no_run
/// use nvme_tcp::RawCommand;
/// use nvme_tcp::kernel::{Device, Ring, RingData};
///
/// # fn main() -> nvme_tcp::Result<()> {
/// let mut ring = Ring::new(Device::open("/dev/ng0n1")?, 8)?;
/// for block in 0..8 {
///     // Read, of one block of 4096 bytes.
///     let read = RawCommand { cdw10: [block, 0, 0, 0, 0, 0], ..RawCommand::new(0x02, 1) };
///     ring.io(&read, RingData::Read(vec![0; 4096]))?;
/// }
/// while let Some(done) = ring.wait()? {
///     println!("{}: {}, {} bytes", done.number, done.result?.status, done.data.len());
/// }
/// # Ok(())
/// # }
/// ```
///
/// Dropping it waits for the commands that are outstanding.
pub struct Ring {
    ring: IoUring<squeue::Entry128, cqueue::Entry32>,
    device: Device,
    outstanding: HashMap<u64, RingData>,
    next: u64,
}

// Written by hand: io_uring's own part says nothing.
impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outstanding = self.outstanding.len();
        f.debug_struct("Ring").field("device", &self.device).field("outstanding", &outstanding).finish()
    }
}

impl Ring {
    /// A ring for this device, with room for `entries` commands, or the next power of two.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::kernel::{Device, Ring};
    ///
    /// match Ring::new(Device::open("/dev/ng0n1")?, 128) {
    ///     Ok(ring) => println!("{} outstanding", ring.outstanding()),
    ///     // A container's rules, for example: the calls of `Device` do then.
    ///     Err(error) => eprintln!("{error}: {}", error.hint().unwrap_or_default()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The kernel gives none.
    pub fn new(device: Device, entries: u32) -> Result<Self> {
        let ring = IoUring::builder().build(entries).map_err(KernelError::Ring)?;
        Ok(Self { ring, device, outstanding: HashMap::new(), next: 0 })
    }

    /// Sends an admin command. It gets a number, by which [`wait`](Self::wait) names it.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::RawCommand;
    /// use nvme_tcp::kernel::{Device, Ring, RingData};
    ///
    /// let mut ring = Ring::new(Device::open("/dev/nvme0")?, 4)?;
    /// // Identify Controller.
    /// let identify = RawCommand { cdw10: [1, 0, 0, 0, 0, 0], ..RawCommand::new(0x06, 0) };
    /// ring.admin(&identify, RingData::Read(vec![0; 4096]))?;
    /// println!("{:?}", ring.wait()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The ring is full; the data does not go the way that the opcode says; io_uring's own.
    pub fn admin(&mut self, command: &RawCommand, data: RingData) -> Result<u64> {
        self.send(NVME_URING_CMD_ADMIN, command, data)
    }

    /// Sends an I/O command.
    ///
    /// ```no_run
    /// # fn example(ring: &mut nvme_tcp::kernel::Ring) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{RawCommand, kernel::RingData};
    ///
    /// // Write, of one block of 4096 bytes at block 8: the ring keeps the memory until it is done.
    /// let write = RawCommand { cdw10: [8, 0, 0, 0, 0, 0], ..RawCommand::new(0x01, 1) };
    /// let number = ring.io(&write, RingData::Write(vec![7; 4096]))?;
    /// println!("sent as {number}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn io(&mut self, command: &RawCommand, data: RingData) -> Result<u64> {
        self.send(NVME_URING_CMD_IO, command, data)
    }

    /// How many commands are outstanding.
    ///
    /// ```no_run
    /// # fn example(ring: &mut nvme_tcp::kernel::Ring) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{RawCommand, kernel::RingData};
    ///
    /// // Never more than eight at a time.
    /// while ring.outstanding() >= 8 {
    ///     ring.wait()?;
    /// }
    /// ring.io(&RawCommand::new(0x02, 1), RingData::Read(vec![0; 4096]))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Waits for the next command that is done; `None` where none is outstanding.
    ///
    /// ```no_run
    /// # fn example(ring: &mut nvme_tcp::kernel::Ring) -> nvme_tcp::Result<()> {
    /// // In the order in which they are done, which need not be that of sending.
    /// while let Some(done) = ring.wait()? {
    ///     println!("{}: {}", done.number, done.result?.status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// io_uring's own: what is outstanding stays so.
    pub fn wait(&mut self) -> Result<Option<RingCompletion>> {
        while !self.outstanding.is_empty() {
            let done = self.ring.completion().next();
            if let Some(done) = done {
                if let Some(data) = self.outstanding.remove(&done.user_data()) {
                    return Ok(Some(self.completion(&done, data)));
                }
                continue;
            }
            match self.ring.submit_and_wait(1) {
                Err(error) if !passes(&error) => return Err(KernelError::Ring(error).into()),
                _ => {}
            }
        }
        Ok(None)
    }

    fn send(&mut self, number: u32, command: &RawCommand, mut data: RingData) -> Result<u64> {
        let room = self.ring.params().sq_entries() as usize;
        if self.outstanding.len() >= room {
            return Err(Error::invalid(format!("{room} commands are outstanding, which fills the ring")));
        }
        command.check(&data.borrowed(), &[])?;
        let (addr, len) = match &mut data {
            RingData::None => (0, 0),
            // Not read through: the kernel writes there.
            RingData::Read(data) => (data.as_mut_ptr().expose_provenance(), data.len()),
            RingData::Write(data) => (data.as_ptr().expose_provenance(), data.len()),
        };
        let [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = command.cdw10;
        let argument = nvme_uring_cmd {
            opcode: command.opcode,
            nsid: command.nsid,
            cdw2: command.cdw2,
            cdw3: command.cdw3,
            addr: addr as u64,
            // `check` has seen that it fits.
            data_len: len as u32,
            cdw10,
            cdw11,
            cdw12,
            cdw13,
            cdw14,
            cdw15,
            timeout_ms: milliseconds(command.timeout),
            ..nvme_uring_cmd::default()
        };
        let mut bytes = [0; 80];
        // SAFETY: the argument's 72 bytes, which no padding is among, fit into 80; the write needs no alignment.
        unsafe { bytes.as_mut_ptr().cast::<nvme_uring_cmd>().write_unaligned(argument) };
        let user_data = self.next;
        let entry = opcode::UringCmd80::new(Fd(self.device.file().as_raw_fd()), number).cmd(bytes).build();
        let entry = entry.user_data(user_data);
        let mut submission = self.ring.submission();
        // SAFETY: the descriptor is `device`'s, which lives as long as the ring, and the data's memory stays in
        // `outstanding`, where it does not move, until the command is completed; where it cannot be waited for, `drop`
        // gives the memory up.
        let pushed = unsafe { submission.push(&entry) };
        drop(submission);
        pushed.map_err(|_| Error::invalid("the ring is full"))?;
        self.outstanding.insert(user_data, data);
        self.next += 1;
        match self.ring.submit() {
            Err(error) if !passes(&error) => Err(KernelError::Ring(error).into()),
            // What was not taken now goes with the next call.
            _ => Ok(user_data),
        }
    }

    fn completion(&self, done: &cqueue::Entry32, data: RingData) -> RingCompletion {
        let room = if let RingData::Read(data) = &data { data.len() } else { 0 };
        let result = match u16::try_from(done.result()) {
            Ok(status) => {
                let status = Status(status);
                let received = if status.is_success() { room } else { 0 };
                let [result, _] = *done.big_cqe();
                Ok(RawCompletion { result, status, received })
            }
            Err(_) => Err(self.device.failed(io::Error::from_raw_os_error(-done.result()))),
        };
        RingCompletion { number: done.user_data(), result, data: data.into_vec() }
    }
}

/// Whether the same call may succeed the next time.
fn passes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

impl Drop for Ring {
    fn drop(&mut self) {
        while let Ok(Some(_)) = self.wait() {}
        // Nobody can tell when the kernel is done with these.
        self.outstanding.drain().for_each(|(_, data)| std::mem::forget(data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn ring(entries: u32) -> Option<Ring> {
        let file = tempfile::NamedTempFile::new().unwrap();
        match Ring::new(Device::open(file.path()).unwrap(), entries) {
            Ok(ring) => Some(ring),
            Err(error) => {
                let ErrorKind::Kernel(kernel @ KernelError::Ring(_)) = error.kind() else {
                    panic!("{error}")
                };
                assert!(kernel.hint().is_some(), "{error}");
                eprintln!("SKIPPED kernel::ring: {error}");
                None
            }
        }
    }

    #[test]
    fn a_file_that_is_no_nvme_device_refuses_commands() {
        let Some(mut ring) = ring(2) else { return };
        let read = RawCommand::new(0x02, 1);
        // Data that would go the other way does not reach the kernel.
        let error = ring.io(&read, RingData::Write(vec![0; 512])).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
        let numbers = [0, 1].map(|_| ring.io(&read, RingData::Read(vec![7; 512])).unwrap());
        let full = ring.admin(&RawCommand::new(0, 0), RingData::None).unwrap_err();
        assert!(full.to_string().contains("2 commands are outstanding"), "{full}");
        assert_eq!(ring.outstanding(), 2);
        let mut done: Vec<_> = std::iter::from_fn(|| ring.wait().unwrap()).collect();
        done.sort_by_key(|done| done.number);
        assert_eq!([done[0].number, done[1].number], numbers);
        for done in &done {
            let error = done.result.as_ref().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Kernel(KernelError::File { .. })), "{error}");
            assert_eq!(done.data, vec![7; 512]);
        }
        assert_eq!(ring.outstanding(), 0);
    }

    #[test]
    fn dropping_a_ring_waits_for_its_commands() {
        let Some(mut ring) = ring(2) else { return };
        ring.io(&RawCommand::new(0x02, 1), RingData::Read(vec![0; 512])).unwrap();
    }
}
