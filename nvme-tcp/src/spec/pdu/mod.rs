//! Protocol data units (TCP, section 3.6): the header that all share, and one file for each kind.
//!
//! ```
//! use nvme_tcp::spec::pdu::{Flags, IcReq, Layout, PduType};
//! use zerocopy::IntoBytes;
//!
//! assert_eq!(IcReq::new(0, true, true, 0).as_bytes().len(), 128);
//! // Where data stands in a PDU follows from what ICReq and ICResp agreed.
//! let layout = Layout { header_digest: true, data_digest: true, alignment: 64 };
//! let header = layout.common_header(PduType::H2cData, Flags::LAST, 4096);
//! assert_eq!((header.hlen, header.pdo, header.plen.get()), (24, 64, 64 + 4096 + 4));
//! ```

mod capsule;
mod data;
mod initialize;
mod ready_to_transfer;
mod terminate;

use std::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use capsule::{CapsuleCmd, CapsuleResp};
pub use data::{DATA_HEADER_LEN, DataPdu};
pub use initialize::{IcReq, IcResp, MIN_MAXH2CDATA};
pub use ready_to_transfer::R2t;
pub use terminate::{FatalStatus, MAX_QUOTE_LEN, TermReq};

/// The length of [`CommonHeader`] in bytes.
pub const COMMON_HEADER_LEN: usize = 8;
/// The longest header of any PDU in bytes: that of ICReq and ICResp.
pub const MAX_HEADER_LEN: usize = 128;
/// The length of a header or data digest in bytes.
pub const DIGEST_LEN: usize = 4;
/// The largest alignment that CPDA or HPDA can ask for, in bytes.
pub const MAX_ALIGNMENT: u32 = 128;

/// What a PDU is (TCP, section 3.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PduType {
    /// Initialize Connection Request, host to controller.
    IcReq = 0x00,
    /// Initialize Connection Response, controller to host.
    IcResp = 0x01,
    /// Host to Controller Terminate Connection Request.
    H2cTermReq = 0x02,
    /// Controller to Host Terminate Connection Request.
    C2hTermReq = 0x03,
    /// Command Capsule, host to controller.
    CapsuleCmd = 0x04,
    /// Response Capsule, controller to host.
    CapsuleResp = 0x05,
    /// Host to Controller Data.
    H2cData = 0x06,
    /// Controller to Host Data.
    C2hData = 0x07,
    /// Ready to Transfer, controller to host.
    R2t = 0x09,
}

impl PduType {
    /// Every type there is.
    pub const ALL: [Self; 9] = [
        Self::IcReq,
        Self::IcResp,
        Self::H2cTermReq,
        Self::C2hTermReq,
        Self::CapsuleCmd,
        Self::CapsuleResp,
        Self::H2cData,
        Self::C2hData,
        Self::R2t,
    ];

    /// The type with this number on the wire.
    pub fn from_byte(byte: u8) -> Option<Self> {
        // They are few and dense: a table, looked up for each PDU.
        const BY_BYTE: [Option<PduType>; 10] = {
            let mut table = [None; 10];
            let mut at = 0;
            while at < PduType::ALL.len() {
                table[PduType::ALL[at] as usize] = Some(PduType::ALL[at]);
                at += 1;
            }
            table
        };
        BY_BYTE.get(usize::from(byte)).copied().flatten()
    }

    /// The one length its header may have, in bytes, digest and padding not counted.
    pub fn header_len(self) -> u8 {
        match self {
            Self::IcReq | Self::IcResp => 128,
            Self::CapsuleCmd => 72,
            _ => 24,
        }
    }

    /// The flags that it may carry.
    pub fn allowed_flags(self) -> Flags {
        match self {
            Self::IcReq | Self::IcResp | Self::H2cTermReq | Self::C2hTermReq => Flags::empty(),
            Self::CapsuleCmd => Flags::HDGST | Flags::DDGST,
            Self::CapsuleResp | Self::R2t => Flags::HDGST,
            Self::H2cData => Flags::HDGST | Flags::DDGST | Flags::LAST,
            Self::C2hData => Flags::HDGST | Flags::DDGST | Flags::LAST | Flags::SUCCESS,
        }
    }

    /// Whether the host sends it, and not the controller.
    pub fn is_from_host(self) -> bool {
        matches!(self, Self::IcReq | Self::H2cTermReq | Self::CapsuleCmd | Self::H2cData)
    }

    /// Its name in the specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::IcReq => "ICReq",
            Self::IcResp => "ICResp",
            Self::H2cTermReq => "H2CTermReq",
            Self::C2hTermReq => "C2HTermReq",
            Self::CapsuleCmd => "CapsuleCmd",
            Self::CapsuleResp => "CapsuleResp",
            Self::H2cData => "H2CData",
            Self::C2hData => "C2HData",
            Self::R2t => "R2T",
        }
    }
}

impl fmt::Display for PduType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

bitflags::bitflags! {
    /// The flags byte of a PDU.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// HDGSTF: a header digest follows the header.
        const HDGST = 1 << 0;
        /// DDGSTF: a data digest follows the data.
        const DDGST = 1 << 1;
        /// LAST_PDU: the last data PDU of a transfer.
        const LAST = 1 << 2;
        /// SUCCESS: the command succeeded and no response capsule follows (C2HData only).
        const SUCCESS = 1 << 3;
    }
}

/// The first 8 bytes of every PDU (TCP, section 3.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommonHeader {
    /// [`PduType`].
    pub pdu_type: u8,
    /// [`Flags`].
    pub flags: u8,
    /// HLEN: the header's length in bytes, digest and padding not counted.
    pub hlen: u8,
    /// PDO: where the data begins, in bytes from the start of the PDU; 0 without data.
    pub pdo: u8,
    /// PLEN: the whole PDU's length in bytes.
    pub plen: U32,
}

impl CommonHeader {
    /// The header of a PDU without data and digests.
    pub fn bare(kind: PduType) -> Self {
        let hlen = kind.header_len();
        Self { pdu_type: kind as u8, flags: 0, hlen, pdo: 0, plen: u32::from(hlen).into() }
    }
}

/// How PDUs in one direction are laid out, as ICReq and ICResp agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Each header that may have a digest has one.
    pub header_digest: bool,
    /// Each PDU with data has a data digest.
    pub data_digest: bool,
    /// Data begins at a multiple of this many bytes from the start of its PDU (4 to 128).
    pub alignment: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self { header_digest: false, data_digest: false, alignment: 4 }
    }
}

impl Layout {
    /// The common header of a PDU with `data_len` bytes of data; its PDO and PLEN follow from the layout.
    pub fn common_header(&self, kind: PduType, flags: Flags, data_len: u32) -> CommonHeader {
        let mut flags = flags;
        let hlen = kind.header_len();
        let mut end = u32::from(hlen);
        if self.header_digest {
            flags |= Flags::HDGST;
            end += DIGEST_LEN as u32;
        }
        let mut pdo = 0;
        if data_len > 0 {
            end = end.next_multiple_of(self.alignment);
            pdo = end as u8;
            end += data_len;
            if self.data_digest {
                flags |= Flags::DDGST;
                end += DIGEST_LEN as u32;
            }
        }
        CommonHeader { pdu_type: kind as u8, flags: flags.bits(), hlen, pdo, plen: end.into() }
    }
}

/// Turns CPDA or HPDA (0-based dwords, 0 to 31) into bytes; `None` past 31.
pub fn alignment_from_pda(pda: u8) -> Option<u32> {
    (pda <= 31).then(|| (u32::from(pda) + 1) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_begins_at_the_alignment_behind_header_and_digest() {
        let layout = Layout { header_digest: true, data_digest: true, alignment: 128 };
        let header = layout.common_header(PduType::H2cData, Flags::LAST, 512);
        assert_eq!((header.pdo, header.plen.get(), header.flags), (128, 128 + 512 + 4, 0b111));
        let plain = Layout::default().common_header(PduType::CapsuleCmd, Flags::empty(), 512);
        assert_eq!((plain.pdo, plain.plen.get(), plain.flags), (72, 72 + 512, 0));
        let none = layout.common_header(PduType::R2t, Flags::empty(), 0);
        assert_eq!((none.pdo, none.plen.get(), none.flags), (0, 28, 1));
    }

    #[test]
    fn alignment_is_zero_based_dwords() {
        assert_eq!(alignment_from_pda(0), Some(4));
        assert_eq!(alignment_from_pda(31), Some(128));
        assert_eq!(alignment_from_pda(32), None);
    }
}
