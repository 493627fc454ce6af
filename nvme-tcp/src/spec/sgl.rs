//! The one SGL descriptor of a fabrics command (Base, section 4.3.2; TCP, section 3.3.2).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Data Block descriptor, offset subtype: the data is in the capsule.
pub const IN_CAPSULE: u8 = 0x01;
/// Transport Data Block descriptor, transport subtype: the data goes in data PDUs, or there is none.
pub const TRANSPORT: u8 = 0x5a;

/// SGL1 of a submission queue entry.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Sgl {
    /// Where in the capsule the data begins, relative to ICDOFF; 0 for the transport descriptor.
    pub address: U64,
    /// The length of the data in bytes.
    pub length: U32,
    reserved: [u8; 3],
    /// [`IN_CAPSULE`] or [`TRANSPORT`].
    pub kind: u8,
}

impl Sgl {
    /// `length` bytes that follow in this capsule.
    pub fn in_capsule(length: u32) -> Self {
        Self { length: length.into(), kind: IN_CAPSULE, ..Self::default() }
    }

    /// `length` bytes in data PDUs, either way.
    pub fn transport(length: u32) -> Self {
        Self { length: length.into(), kind: TRANSPORT, ..Self::default() }
    }
}

const _: () = assert!(size_of::<Sgl>() == 16);
