//! R2T: the controller asks for a piece of a command's data (TCP, section 3.6.2.9).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::CommonHeader;

/// Ready to Transfer.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct R2t {
    /// Type 09h.
    pub common: CommonHeader,
    /// CCCID: the command whose data is asked for.
    pub cccid: U16,
    /// TTAG: comes back in each H2CData that answers.
    pub ttag: U16,
    /// R2TO: where in the command's data the piece begins, in bytes.
    pub r2to: U32,
    /// R2TL: how long it is, in bytes.
    pub r2tl: U32,
    reserved: [u8; 4],
}

impl R2t {
    /// Asks for `r2tl` bytes at `r2to`.
    pub fn new(common: CommonHeader, cccid: u16, ttag: u16, r2to: u32, r2tl: u32) -> Self {
        Self {
            common,
            cccid: cccid.into(),
            ttag: ttag.into(),
            r2to: r2to.into(),
            r2tl: r2tl.into(),
            reserved: [0; 4],
        }
    }
}

const _: () = assert!(size_of::<R2t>() == 24);
