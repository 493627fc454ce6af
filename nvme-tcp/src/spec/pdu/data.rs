//! H2CData and C2HData: a piece of a command's data (TCP, sections 3.6.2.7 and 3.6.2.8).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::CommonHeader;

/// The header of a data PDU of either direction.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DataPdu {
    /// Type 06h or 07h.
    pub common: CommonHeader,
    /// CCCID: the command that the data belongs to.
    pub cccid: U16,
    /// TTAG: the R2T that is answered (H2CData); reserved in C2HData.
    pub ttag: U16,
    /// DATAO: where in the command's data this piece begins, in bytes.
    pub datao: U32,
    /// DATAL: how long the piece is, in bytes.
    pub datal: U32,
    reserved: [u8; 4],
}

impl DataPdu {
    /// The header of `datal` bytes at `datao`.
    pub fn new(common: CommonHeader, cccid: u16, ttag: u16, datao: u32, datal: u32) -> Self {
        Self {
            common,
            cccid: cccid.into(),
            ttag: ttag.into(),
            datao: datao.into(),
            datal: datal.into(),
            reserved: [0; 4],
        }
    }
}

/// How long the header of an H2CData or C2HData PDU is, in bytes.
pub const DATA_HEADER_LEN: usize = 24;

const _: () = assert!(size_of::<DataPdu>() == DATA_HEADER_LEN);
