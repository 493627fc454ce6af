//! ICReq and ICResp: the first PDU in each direction (TCP, sections 3.6.2.1 and 3.6.2.2).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{CommonHeader, PduType};

/// The smallest MAXH2CDATA that a controller may give, in bytes.
pub const MIN_MAXH2CDATA: u32 = 4096;

/// Initialize Connection Request.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IcReq {
    /// Type 00h.
    pub common: CommonHeader,
    /// PFV: the PDU format version, 0.
    pub pfv: U16,
    /// HPDA: the alignment that the host wants for data it receives, 0-based dwords, 0 to 31.
    pub hpda: u8,
    /// DGST: bit 0 header digest, bit 1 data digest.
    pub dgst: u8,
    /// MAXR2T: outstanding R2Ts for each command, 0-based.
    pub maxr2t: U32,
    reserved: [u8; 112],
}

impl IcReq {
    /// A request with these wishes.
    pub fn new(hpda: u8, header_digest: bool, data_digest: bool, maxr2t: u32) -> Self {
        Self {
            common: CommonHeader::bare(PduType::IcReq),
            pfv: 0.into(),
            hpda,
            dgst: dgst(header_digest, data_digest),
            maxr2t: maxr2t.into(),
            reserved: [0; 112],
        }
    }
}

/// Initialize Connection Response.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IcResp {
    /// Type 01h.
    pub common: CommonHeader,
    /// PFV: the PDU format version, 0.
    pub pfv: U16,
    /// CPDA: the alignment that the controller wants for data it receives, 0-based dwords, 0 to 31.
    pub cpda: u8,
    /// DGST: bit 0 header digest, bit 1 data digest: what is in force.
    pub dgst: u8,
    /// MAXH2CDATA: the most data in one H2CData PDU in bytes; at least 4,096 and a multiple of 4.
    pub maxh2cdata: U32,
    reserved: [u8; 112],
}

impl IcResp {
    /// A response with these terms.
    pub fn new(cpda: u8, header_digest: bool, data_digest: bool, maxh2cdata: u32) -> Self {
        Self {
            common: CommonHeader::bare(PduType::IcResp),
            pfv: 0.into(),
            cpda,
            dgst: dgst(header_digest, data_digest),
            maxh2cdata: maxh2cdata.into(),
            reserved: [0; 112],
        }
    }
}

fn dgst(header: bool, data: bool) -> u8 {
    u8::from(header) | u8::from(data) << 1
}

const _: () = assert!(size_of::<IcReq>() == 128 && size_of::<IcResp>() == 128);
