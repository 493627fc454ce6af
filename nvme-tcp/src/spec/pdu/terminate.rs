//! H2CTermReq and C2HTermReq: the last PDU of a connection that went wrong (TCP, section 3.6.2.3 and 3.6.2.4).

use std::fmt;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{CommonHeader, PduType};

/// The most bytes of the offending PDU that a TermReq carries.
pub const MAX_QUOTE_LEN: usize = 128;

/// FES: why a connection is terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum FatalStatus {
    /// Invalid PDU Header Field; FEI is its offset in the PDU.
    InvalidHeaderField = 1,
    /// PDU Sequence Error.
    SequenceError = 2,
    /// Header Digest Error; FEI is the digest that came.
    HeaderDigest = 3,
    /// Data Transfer Out of Range; FEI is the offset of the field that says so.
    OutOfRange = 4,
    /// R2T Limit Exceeded (from the host) or Data Transfer Limit Exceeded (from the controller).
    LimitExceeded = 5,
    /// Unsupported Parameter; FEI is its offset in the PDU.
    UnsupportedParameter = 6,
}

impl FatalStatus {
    /// The status with this number on the wire.
    pub fn from_code(code: u16) -> Option<Self> {
        use FatalStatus::*;
        [InvalidHeaderField, SequenceError, HeaderDigest, OutOfRange, LimitExceeded, UnsupportedParameter]
            .into_iter()
            .find(|status| *status as u16 == code)
    }
}

impl fmt::Display for FatalStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidHeaderField => "invalid PDU header field",
            Self::SequenceError => "PDU sequence error",
            Self::HeaderDigest => "header digest error",
            Self::OutOfRange => "data transfer out of range",
            Self::LimitExceeded => "R2T or data transfer limit exceeded",
            Self::UnsupportedParameter => "unsupported parameter",
        })
    }
}

/// Terminate Connection Request of either direction; the offending PDU's beginning follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TermReq {
    /// Type 02h or 03h.
    pub common: CommonHeader,
    /// FES: [`FatalStatus`].
    pub fes: U16,
    /// FEI: what it was, by FES.
    pub fei: U32,
    reserved: [u8; 10],
}

impl TermReq {
    /// A request of this `kind` that quotes `quoted` bytes (at most [`MAX_QUOTE_LEN`]) of the offending PDU.
    pub fn new(kind: PduType, fes: FatalStatus, fei: u32, quoted: usize) -> Self {
        let mut common = CommonHeader::bare(kind);
        common.plen = u32::from(common.hlen).saturating_add(quoted as u32).into();
        Self { common, fes: (fes as u16).into(), fei: fei.into(), reserved: [0; 10] }
    }
}

const _: () = assert!(size_of::<TermReq>() == 24);
