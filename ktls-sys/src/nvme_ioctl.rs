//! `linux/nvme_ioctl.h`: NVMe commands handed to the kernel's driver as they are.
//!
//! They go through `ioctl` on `/dev/nvmeX` (admin) and `/dev/nvmeXnY` or `/dev/ngXnY` (I/O), or through
//! io_uring's `IORING_OP_URING_CMD` on the latter. Source: `include/uapi/linux/nvme_ioctl.h` of Linux 7.2.

/// [`NVME_IOCTL_SUBMIT_IO`]'s argument: a read, write or compare.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct nvme_user_io {
    /// 1 write, 2 read, 5 compare.
    pub opcode: u8,
    /// The flags of the command; must be 0.
    pub flags: u8,
    /// The upper half of command dword 12: PRINFO, FUA, LR.
    pub control: u16,
    /// Logical blocks, **less one**.
    pub nblocks: u16,
    /// Reserved.
    pub rsvd: u16,
    /// The address of separate metadata, or 0.
    pub metadata: u64,
    /// The address of the data.
    pub addr: u64,
    /// The first logical block.
    pub slba: u64,
    /// Command dword 13: dataset management hints.
    pub dsmgmt: u32,
    /// The reference tag of protection information.
    pub reftag: u32,
    /// The application tag of protection information.
    pub apptag: u16,
    /// The mask of the application tag.
    pub appmask: u16,
}

/// [`NVME_IOCTL_ADMIN_CMD`]'s and [`NVME_IOCTL_IO_CMD`]'s argument: any command, with a 32-bit result.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct nvme_passthru_cmd {
    /// The command's opcode.
    pub opcode: u8,
    /// The flags of the command: fused operation. SGL or PRP is the kernel's choice.
    pub flags: u8,
    /// Reserved.
    pub rsvd1: u16,
    /// The namespace.
    pub nsid: u32,
    /// Command dword 2.
    pub cdw2: u32,
    /// Command dword 3.
    pub cdw3: u32,
    /// The address of separate metadata, or 0.
    pub metadata: u64,
    /// The address of the data.
    pub addr: u64,
    /// Bytes of metadata.
    pub metadata_len: u32,
    /// Bytes of data.
    pub data_len: u32,
    /// Command dword 10.
    pub cdw10: u32,
    /// Command dword 11.
    pub cdw11: u32,
    /// Command dword 12.
    pub cdw12: u32,
    /// Command dword 13.
    pub cdw13: u32,
    /// Command dword 14.
    pub cdw14: u32,
    /// Command dword 15.
    pub cdw15: u32,
    /// Milliseconds until the kernel gives up; 0 for its default.
    pub timeout_ms: u32,
    /// Out: dword 0 of the completion.
    pub result: u32,
}

/// The older name of [`nvme_passthru_cmd`].
pub type nvme_admin_cmd = nvme_passthru_cmd;

/// [`NVME_IOCTL_ADMIN64_CMD`]'s, [`NVME_IOCTL_IO64_CMD`]'s and [`NVME_IOCTL_IO64_CMD_VEC`]'s argument: any
/// command, with a 64-bit result.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct nvme_passthru_cmd64 {
    /// The command's opcode.
    pub opcode: u8,
    /// The flags of the command: fused operation. SGL or PRP is the kernel's choice.
    pub flags: u8,
    /// Reserved.
    pub rsvd1: u16,
    /// The namespace.
    pub nsid: u32,
    /// Command dword 2.
    pub cdw2: u32,
    /// Command dword 3.
    pub cdw3: u32,
    /// The address of separate metadata, or 0.
    pub metadata: u64,
    /// The address of the data, or of an array of `struct iovec` for [`NVME_IOCTL_IO64_CMD_VEC`].
    pub addr: u64,
    /// Bytes of metadata.
    pub metadata_len: u32,
    /// Bytes of data. The header has an anonymous union here: for [`NVME_IOCTL_IO64_CMD_VEC`] this is
    /// `vec_cnt`, the number of `struct iovec` (see [`with_vec_cnt`](Self::with_vec_cnt)).
    pub data_len: u32,
    /// Command dword 10.
    pub cdw10: u32,
    /// Command dword 11.
    pub cdw11: u32,
    /// Command dword 12.
    pub cdw12: u32,
    /// Command dword 13.
    pub cdw13: u32,
    /// Command dword 14.
    pub cdw14: u32,
    /// Command dword 15.
    pub cdw15: u32,
    /// Milliseconds until the kernel gives up; 0 for its default.
    pub timeout_ms: u32,
    /// Reserved.
    pub rsvd2: u32,
    /// Out: dwords 0 and 1 of the completion.
    pub result: u64,
}

impl nvme_passthru_cmd64 {
    /// The number of `struct iovec` at `addr`, where the command is a vectored one.
    pub const fn vec_cnt(&self) -> u32 {
        self.data_len
    }

    /// The same command with so many `struct iovec` at `addr`, for [`NVME_IOCTL_IO64_CMD_VEC`].
    #[must_use]
    pub const fn with_vec_cnt(mut self, vec_cnt: u32) -> Self {
        self.data_len = vec_cnt;
        self
    }
}

/// The command in an io_uring submission entry of 128 bytes. The result comes in the completion entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct nvme_uring_cmd {
    /// The command's opcode.
    pub opcode: u8,
    /// The flags of the command: fused operation. SGL or PRP is the kernel's choice.
    pub flags: u8,
    /// Reserved.
    pub rsvd1: u16,
    /// The namespace.
    pub nsid: u32,
    /// Command dword 2.
    pub cdw2: u32,
    /// Command dword 3.
    pub cdw3: u32,
    /// The address of separate metadata, or 0.
    pub metadata: u64,
    /// The address of the data, or of an array of `struct iovec` for the `_VEC` commands.
    pub addr: u64,
    /// Bytes of metadata.
    pub metadata_len: u32,
    /// Bytes of data, or the number of `struct iovec` for the `_VEC` commands.
    pub data_len: u32,
    /// Command dword 10.
    pub cdw10: u32,
    /// Command dword 11.
    pub cdw11: u32,
    /// Command dword 12.
    pub cdw12: u32,
    /// Command dword 13.
    pub cdw13: u32,
    /// Command dword 14.
    pub cdw14: u32,
    /// Command dword 15.
    pub cdw15: u32,
    /// Milliseconds until the kernel gives up; 0 for its default.
    pub timeout_ms: u32,
    /// Reserved.
    pub rsvd2: u32,
}

const _: () = {
    assert!(size_of::<nvme_user_io>() == 48);
    assert!(size_of::<nvme_passthru_cmd>() == 72);
    assert!(size_of::<nvme_passthru_cmd64>() == 80);
    assert!(size_of::<nvme_uring_cmd>() == 72);
    assert!(core::mem::offset_of!(nvme_user_io, slba) == 24);
    assert!(core::mem::offset_of!(nvme_passthru_cmd, result) == 68);
    assert!(core::mem::offset_of!(nvme_passthru_cmd64, data_len) == 36);
    assert!(core::mem::offset_of!(nvme_passthru_cmd64, result) == 72);
};

/// ioctl, no argument: returns the namespace's number.
pub const NVME_IOCTL_ID: u32 = ioctl::none(0x40);
/// ioctl: an admin command.
pub const NVME_IOCTL_ADMIN_CMD: u32 = ioctl::read_write::<nvme_admin_cmd>(0x41);
/// ioctl: a read, write or compare.
pub const NVME_IOCTL_SUBMIT_IO: u32 = ioctl::write::<nvme_user_io>(0x42);
/// ioctl: an I/O command.
pub const NVME_IOCTL_IO_CMD: u32 = ioctl::read_write::<nvme_passthru_cmd>(0x43);
/// ioctl, no argument: reset the controller.
pub const NVME_IOCTL_RESET: u32 = ioctl::none(0x44);
/// ioctl, no argument: reset the NVM subsystem.
pub const NVME_IOCTL_SUBSYS_RESET: u32 = ioctl::none(0x45);
/// ioctl, no argument: look for namespaces again.
pub const NVME_IOCTL_RESCAN: u32 = ioctl::none(0x46);
/// ioctl: an admin command with a 64-bit result.
pub const NVME_IOCTL_ADMIN64_CMD: u32 = ioctl::read_write::<nvme_passthru_cmd64>(0x47);
/// ioctl: an I/O command with a 64-bit result.
pub const NVME_IOCTL_IO64_CMD: u32 = ioctl::read_write::<nvme_passthru_cmd64>(0x48);
/// ioctl: an I/O command with a 64-bit result, its data in pieces.
pub const NVME_IOCTL_IO64_CMD_VEC: u32 = ioctl::read_write::<nvme_passthru_cmd64>(0x49);

/// io_uring: an I/O command.
pub const NVME_URING_CMD_IO: u32 = ioctl::read_write::<nvme_uring_cmd>(0x80);
/// io_uring: an I/O command, its data in pieces.
pub const NVME_URING_CMD_IO_VEC: u32 = ioctl::read_write::<nvme_uring_cmd>(0x81);
/// io_uring: an admin command.
pub const NVME_URING_CMD_ADMIN: u32 = ioctl::read_write::<nvme_uring_cmd>(0x82);
/// io_uring: an admin command, its data in pieces.
pub const NVME_URING_CMD_ADMIN_VEC: u32 = ioctl::read_write::<nvme_uring_cmd>(0x83);

/// How an ioctl's number is put together (`asm/ioctl.h`). The numbers are 32 bits everywhere; the C
/// library's `ioctl` wants them as `unsigned long` (glibc) or `int` (musl).
mod ioctl {
    /// The letter of NVMe's ioctls.
    const NVME: u32 = b'N' as u32;

    /// (nothing, write, read, bits of the size): a few architectures have their own.
    #[cfg(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64"
    ))]
    const LAYOUT: (u32, u32, u32, u32) = (1, 4, 2, 13);
    #[cfg(not(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64"
    )))]
    const LAYOUT: (u32, u32, u32, u32) = (0, 1, 2, 14);

    const fn number(direction: u32, nr: u8, size: usize) -> u32 {
        assert!(size < 1 << LAYOUT.3, "the argument is too large for an ioctl's number");
        direction << (16 + LAYOUT.3) | (size as u32) << 16 | NVME << 8 | nr as u32
    }

    /// `_IO`
    pub(super) const fn none(nr: u8) -> u32 {
        number(LAYOUT.0, nr, 0)
    }

    /// `_IOW`: the kernel reads the argument.
    pub(super) const fn write<T>(nr: u8) -> u32 {
        number(LAYOUT.1, nr, size_of::<T>())
    }

    /// `_IOWR`: the kernel reads the argument and writes it back.
    pub(super) const fn read_write<T>(nr: u8) -> u32 {
        number(LAYOUT.1 | LAYOUT.2, nr, size_of::<T>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_union_of_the_header_is_one_field() {
        let cmd = nvme_passthru_cmd64::default().with_vec_cnt(3);
        assert_eq!((cmd.vec_cnt(), cmd.data_len), (3, 3));
    }
}
