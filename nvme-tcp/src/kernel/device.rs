//! Commands through the kernel's driver, as they are (linux/nvme_ioctl.h).
#![allow(unsafe_code, reason = "ioctl takes addresses")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktls_sys::nvme_ioctl::{NVME_IOCTL_ADMIN64_CMD, NVME_IOCTL_IO64_CMD, nvme_passthru_cmd64};

use super::KernelError;
use crate::controller::{RawCommand, RawCompletion, RawData};
use crate::error::{Error, Result};
use crate::spec::status::Status;

/// A device of the kernel's driver: `/dev/nvme0` for admin commands, `/dev/nvme0n1` or `/dev/ng0n1` for I/O commands.
/// One command at a time; many by `Ring`, behind the feature `io-uring`.
///
/// ```no_run
/// # fn main() -> nvme_tcp::Result<()> {
/// use nvme_tcp::kernel::Device;
/// use nvme_tcp::{RawCommand, RawData};
///
/// // Identify Controller.
/// let identify = RawCommand { cdw10: [1, 0, 0, 0, 0, 0], ..RawCommand::new(0x06, 0) };
/// let mut data = [0; 4096];
/// let done = Device::open("/dev/nvme0")?.admin(&identify, RawData::Read(&mut data))?;
/// println!("{}", done.status);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Device {
    file: File,
    path: PathBuf,
    #[cfg(test)]
    stand_in: Option<StandIn>,
}

/// What takes a device's commands in tests: whether it is an admin command, the command, and its data.
#[cfg(test)]
pub(crate) type StandIn = fn(bool, &RawCommand, RawData<'_>) -> Result<RawCompletion>;

impl Device {
    /// Opens it, for writing too where that is allowed.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::kernel::Device;
    ///
    /// match Device::open("/dev/nvme0") {
    ///     Ok(device) => println!("{}", device.path().display()),
    ///     Err(error) => eprintln!("{error}: {}", error.hint().unwrap_or_default()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// It is not there, or not this process's to use.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|source| KernelError::File { path: path.clone(), source })?;
        Ok(Self {
            file,
            path,
            #[cfg(test)]
            stand_in: None,
        })
    }

    /// A device whose commands `stand_in` takes.
    #[cfg(test)]
    pub(crate) fn standing_in(path: &Path, stand_in: StandIn) -> Self {
        Self { stand_in: Some(stand_in), ..Self::open(path).unwrap() }
    }

    /// Runs an admin command, and gives back how it was completed, whatever its status says.
    ///
    /// ```no_run
    /// # fn example(device: &nvme_tcp::kernel::Device) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{RawCommand, RawData};
    ///
    /// // Get Log Page, SMART / Health Information (LID 02h), 128 dwords.
    /// let command = RawCommand { cdw10: [127 << 16 | 0x02, 0, 0, 0, 0, 0], ..RawCommand::new(0x02, 0xffff_ffff) };
    /// let mut log = [0; 512];
    /// device.admin(&command, RawData::Read(&mut log))?;
    /// println!("{} % used", log[5]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The kernel does not let it through; the data does not go the way that the opcode says.
    pub fn admin(&self, command: &RawCommand, data: RawData<'_>) -> Result<RawCompletion> {
        self.run(NVME_IOCTL_ADMIN64_CMD, command, data)
    }

    /// Runs an I/O command, and gives back how it was completed, whatever its status says.
    ///
    /// ```no_run
    /// # fn example(device: &nvme_tcp::kernel::Device) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{RawCommand, RawData};
    ///
    /// // Read, of one block of 4096 bytes at block 8. A status that is a failure is no error here.
    /// let read = RawCommand { cdw10: [8, 0, 0, 0, 0, 0], ..RawCommand::new(0x02, 1) };
    /// let done = device.io(&read, RawData::Read(&mut [0; 4096]))?;
    /// println!("{}, {} bytes", done.status, done.received);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn io(&self, command: &RawCommand, data: RawData<'_>) -> Result<RawCompletion> {
        self.run(NVME_IOCTL_IO64_CMD, command, data)
    }

    /// Where it is.
    ///
    /// ```
    /// use nvme_tcp::kernel::Device;
    ///
    /// # let file = tempfile::NamedTempFile::new()?;
    /// # let path = file.path();
    /// assert_eq!(Device::open(path)?.path(), path);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn failed(&self, source: io::Error) -> Error {
        KernelError::File { path: self.path.clone(), source }.into()
    }

    fn run(&self, number: u32, command: &RawCommand, data: RawData<'_>) -> Result<RawCompletion> {
        command.check(&data, &[])?;
        #[cfg(test)]
        if let Some(stand_in) = self.stand_in {
            return stand_in(number == NVME_IOCTL_ADMIN64_CMD, command, data);
        }
        let (addr, len, room) = match data {
            RawData::None => (0, 0, 0),
            RawData::Read(data) => (data.as_mut_ptr().expose_provenance(), data.len(), data.len()),
            RawData::Write(data) => (data.as_ptr().expose_provenance(), data.len(), 0),
        };
        let too_long = |_| Error::invalid(format!("{len} bytes of data, expected at most 2^32 - 1"));
        let [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = command.cdw10;
        let mut argument = nvme_passthru_cmd64 {
            opcode: command.opcode,
            nsid: command.nsid,
            cdw2: command.cdw2,
            cdw3: command.cdw3,
            addr: addr as u64,
            data_len: u32::try_from(len).map_err(too_long)?,
            cdw10,
            cdw11,
            cdw12,
            cdw13,
            cdw14,
            cdw15,
            timeout_ms: milliseconds(command.timeout),
            ..nvme_passthru_cmd64::default()
        };
        // SAFETY: the kernel reads and writes one argument of this type, and moves `data_len` bytes from or to `addr`:
        // memory that `data` borrows until this function returns, writable where the opcode says that data comes
        // (`check`).
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), number as libc::Ioctl, &raw mut argument) };
        match u16::try_from(result) {
            // Above 0 it is the completion's status.
            Ok(status) => {
                let status = Status(status);
                let received = if status.is_success() { room } else { 0 };
                Ok(RawCompletion { result: argument.result, status, received })
            }
            Err(_) => Err(self.failed(io::Error::last_os_error())),
        }
    }
}

/// 0 is the kernel's own limit.
pub(super) fn milliseconds(timeout: Option<Duration>) -> u32 {
    timeout.map_or(0, |limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_file_that_is_no_nvme_device_refuses_commands() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = Device::open(file.path()).unwrap();
        let identify = RawCommand { cdw10: [1, 0, 0, 0, 0, 0], ..RawCommand::new(6, 0) };
        let error = device.admin(&identify, RawData::Read(&mut [0; 4096])).unwrap_err();
        let ErrorKind::Kernel(KernelError::File { path, source }) = error.kind() else { panic!("{error}") };
        assert_eq!((path.as_path(), source.raw_os_error()), (file.path(), Some(libc::ENOTTY)));
        // Data that would go the other way does not reach the kernel.
        let error = device.io(&identify, RawData::Write(&[0; 512])).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
        let error = Device::open(file.path().join("none")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Kernel(KernelError::File { .. })), "{error}");
    }
}
