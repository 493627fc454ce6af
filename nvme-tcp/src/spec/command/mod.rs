//! Commands: the submission queue entry (Base, section 4.1), and one file for each command set.

pub mod admin;
pub mod fabrics;
pub mod maintenance;
pub mod nvm;
pub mod reservation;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::sgl::Sgl;

/// FLAGS of every fabrics command: PSDT 01b, an SGL.
pub const PSDT_SGL: u8 = 0x40;

/// FUSE in FLAGS: the first command of a fused operation.
pub const FUSE_FIRST: u8 = 0b01;
/// FUSE in FLAGS: the second, which follows the first at once.
pub const FUSE_SECOND: u8 = 0b10;

/// Submission queue entry, 64 bytes. CID and SGL1 are filled in by the connection that sends it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Sqe {
    /// OPC: opcode.
    pub opcode: u8,
    /// FUSE in bits 1:0, PSDT in bits 7:6.
    pub flags: u8,
    /// CID: command identifier.
    pub cid: U16,
    /// NSID: namespace; FCTYPE in its first byte for a fabrics command.
    pub nsid: U32,
    /// CDW2.
    pub cdw2: U32,
    /// CDW3.
    pub cdw3: U32,
    /// MPTR: metadata pointer.
    pub mptr: U64,
    /// SGL1: where the data is.
    pub sgl: Sgl,
    /// CDW10 to CDW15.
    pub cdw: [U32; 6],
}

const _: () = assert!(size_of::<Sqe>() == 64);

impl Sqe {
    /// A command with this opcode for this namespace, everything else zero.
    pub fn new(opcode: u8, nsid: u32) -> Self {
        Self { opcode, flags: PSDT_SGL, nsid: nsid.into(), ..Self::default() }
    }

    /// Sets FUSE, [`FUSE_FIRST`] or [`FUSE_SECOND`].
    #[must_use]
    pub fn fused(self, fuse: u8) -> Self {
        Self { flags: self.flags | fuse, ..self }
    }

    /// Sets CDW`n`, `n` from 10 to 15.
    ///
    /// # Panics
    /// For another `n`.
    #[must_use]
    pub fn cdw(mut self, n: usize, value: u32) -> Self {
        assert!((10..=15).contains(&n), "CDW{n} is not for a command to set");
        self.cdw[n - 10] = value.into();
        self
    }

    /// Reads CDW`n`, `n` from 10 to 15.
    ///
    /// # Panics
    /// For another `n`.
    pub fn get_cdw(&self, n: usize) -> u32 {
        assert!((10..=15).contains(&n), "CDW{n} is not a command's own");
        self.cdw[n - 10].get()
    }

    /// CDW10 and CDW11 as one 64-bit number, the starting LBA of an I/O command.
    pub fn slba(&self) -> u64 {
        u64::from(self.get_cdw(11)) << 32 | u64::from(self.get_cdw(10))
    }
}
