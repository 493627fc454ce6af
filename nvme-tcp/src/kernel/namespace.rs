//! A namespace as the kernel's block device.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Device;
use super::sysfs::Block;
use crate::error::{Error, ErrorKind, Result};

/// A namespace that the kernel's initiator is connected to: as the block device that
/// other programs see: reads and writes go through its page cache. [`into_namespace`](Self::into_namespace) is past that,
/// with every command.
#[derive(Debug)]
pub struct Namespace {
    device: Device,
    nsid: u32,
    size: u64,
    block_size: u32,
}

impl Namespace {
    pub(super) fn open(root: &Path, block: &Block) -> Result<Self> {
        let device = Device::open(root.join("dev").join(&block.name))?;
        Ok(Self { device, nsid: block.nsid, size: block.size, block_size: block.block_size })
    }

    /// NSID.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::kernel::Namespace) {
    /// // The number in the device's name need not be the NSID.
    /// println!("{} is namespace {}", namespace.device().path().display(), namespace.id());
    /// # }
    /// ```
    pub fn id(&self) -> u32 {
        self.nsid
    }

    /// The size of a block in bytes.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::kernel::Namespace) -> nvme_tcp::Result<()> {
    /// let mut last = vec![0; namespace.block_size() as usize];
    /// namespace.read_at(&mut last, namespace.size() - u64::from(namespace.block_size()))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// The size of the namespace in bytes.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::kernel::Namespace) {
    /// // As it was when the device was opened.
    /// println!("{} GiB", namespace.size() >> 30);
    /// # }
    /// ```
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its device, for any other command.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::kernel::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{RawCommand, RawData};
    ///
    /// // Flush, past the page cache: only what reached the controller is made durable.
    /// let done = namespace.device().io(&RawCommand::new(0x00, namespace.id()), RawData::None)?;
    /// println!("{}", done.status);
    /// # Ok(())
    /// # }
    /// ```
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its character device, `/dev/ng0n1` for `/dev/nvme0n1`: for commands by io_uring, and past the page cache.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::kernel::Namespace) -> nvme_tcp::Result<()> {
    /// let device = namespace.generic()?;
    /// // /dev/ng0n1 of /dev/nvme0n1, which takes commands even where the block device is mounted.
    /// println!("{}", device.path().display());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Device::open`]. Linux 5.13 made the first.
    pub fn generic(&self) -> Result<Device> {
        let path = self.device.path();
        let name = path.file_name().map(|name| name.to_string_lossy().replacen("nvme", "ng", 1));
        Device::open(path.with_file_name(name.unwrap_or_default()))
    }

    /// Fills `buffer` with what stands at `offset`.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::kernel::Namespace) -> nvme_tcp::Result<()> {
    /// let mut first = vec![0; 4096];
    /// namespace.read_at(&mut first, 0)?;
    /// println!("{first:02x?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Not whole blocks, outside the namespace, or the kernel's error.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.check(offset, buffer.len() as u64)?;
        self.device.file().read_exact_at(buffer, offset).map_err(|e| self.device.failed(e))
    }

    /// Writes `buffer` to `offset`. The data is on stable media after a [`flush`](Self::flush).
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::kernel::Namespace) -> nvme_tcp::Result<()> {
    /// // It is in the page cache when this returns.
    /// namespace.write_at(&[7; 4096], 0)?;
    /// namespace.flush()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<()> {
        self.check(offset, buffer.len() as u64)?;
        self.device.file().write_all_at(buffer, offset).map_err(|e| self.device.failed(e))
    }

    /// Makes everything that was written before durable: what the page cache holds, and the controller.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::kernel::Namespace) -> nvme_tcp::Result<()> {
    /// for offset in (0..1 << 20).step_by(4096) {
    ///     namespace.write_at(&[7; 4096], offset)?;
    /// }
    /// // Once for all of them.
    /// namespace.flush()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The kernel's.
    pub fn flush(&self) -> Result<()> {
        self.device.file().sync_data().map_err(|e| self.device.failed(e))
    }

    /// The same namespace as any other of this library: every command that there is, each sent to the controller past
    /// the page cache. What stands in the page cache and not at the controller yet is flushed first.
    ///
    /// ```no_run
    /// # fn example(namespace: nvme_tcp::kernel::Namespace) -> nvme_tcp::Result<()> {
    /// let namespace = namespace.into_namespace()?;
    /// // A block device has no such call.
    /// println!("{:?}", namespace.compare(&[0; 4096], 0)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The kernel's; its driver does not pass commands on; it has metadata or protection information.
    pub fn into_namespace(self) -> Result<crate::Namespace> {
        self.flush()?;
        crate::Namespace::by_kernel(self.device, self.nsid)
    }

    /// Refuses what is not whole blocks, or outside.
    fn check(&self, offset: u64, len: u64) -> Result<()> {
        let block_size = self.block_size;
        for (what, value) in [("offset", offset), ("length", len)] {
            if value % u64::from(block_size) != 0 {
                return Err(Error::from(ErrorKind::Unaligned { what, value, block_size }));
            }
        }
        let (end, size) = (offset.saturating_add(len), self.size);
        if end > size {
            return Err(ErrorKind::OutOfRange { offset, end, size }.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_device_is_read_and_written_in_whole_blocks() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("dev")).unwrap();
        // In the place of a block device, a file of its size.
        std::fs::write(root.path().join("dev/nvme0n1"), vec![0; 16_384]).unwrap();
        std::fs::write(root.path().join("dev/ng0n1"), "").unwrap();
        let block = Block { name: "nvme0n1".into(), nsid: 1, size: 16_384, block_size: 4096 };
        let namespace = Namespace::open(root.path(), &block).unwrap();
        namespace.write_at(&[5; 4096], 8192).unwrap();
        namespace.flush().unwrap();
        let mut back = [0; 8192];
        namespace.read_at(&mut back, 4096).unwrap();
        assert_eq!((&back[..4096], &back[4096..]), (&[0; 4096][..], &[5; 4096][..]));
        let unaligned = namespace.read_at(&mut back[..100], 0).unwrap_err();
        assert!(matches!(unaligned.kind(), ErrorKind::Unaligned { what: "length", .. }), "{unaligned}");
        let outside = namespace.write_at(&back, 12_288).unwrap_err();
        assert!(matches!(outside.kind(), ErrorKind::OutOfRange { end: 20_480, .. }), "{outside}");
        assert_eq!(namespace.generic().unwrap().path(), root.path().join("dev/ng0n1"));
        // A file takes no commands.
        assert!(matches!(namespace.into_namespace().unwrap_err().kind(), ErrorKind::Kernel(_)));
    }
}
