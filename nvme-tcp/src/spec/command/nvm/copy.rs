//! Copy with source ranges of format 0 (NVM, section 3.3.2).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Sqe;

/// OPC: Copy.
pub const COPY: u8 = 0x19;

/// One source range of format 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopyRange {
    reserved_0: [u8; 8],
    /// SLBA: the first block.
    pub slba: U64,
    /// NLB: how many blocks, 0-based.
    pub nlb: U16,
    reserved_18: [u8; 6],
    /// EILBRT: the expected reference tag, for protection information.
    pub eilbrt: U32,
    /// ELBAT and ELBATM: the expected application tag and its mask.
    pub elbat: [U16; 2],
}

impl CopyRange {
    /// `count` blocks (1 to 65,536) from `slba` on.
    pub fn new(slba: u64, count: u32) -> Self {
        let mut range = Self::new_zeroed();
        range.slba.set(slba);
        range.nlb.set(count.saturating_sub(1).min(0xffff) as u16);
        range
    }

    /// How many blocks.
    pub fn count(&self) -> u32 {
        u32::from(self.nlb.get()) + 1
    }
}

/// Copy of `ranges` ranges of format 0 (1 to 256) that stand in the data, to `sdlba`.
pub fn copy(nsid: u32, sdlba: u64, ranges: u32) -> Sqe {
    Sqe::new(COPY, nsid)
        .cdw(10, sdlba as u32)
        .cdw(11, (sdlba >> 32) as u32)
        .cdw(12, ranges.saturating_sub(1) & 0xff)
}

/// NR of a Copy command, as a count.
pub fn copy_count(sqe: &Sqe) -> u32 {
    (sqe.get_cdw(12) & 0xff) + 1
}

const _: () = assert!(size_of::<CopyRange>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_zero_based_on_the_wire() {
        let range = CopyRange::new(5, 65_536);
        assert_eq!((range.nlb.get(), range.count()), (0xffff, 65_536));
        let sqe = copy(1, 1 << 32, 256);
        assert_eq!((sqe.slba(), sqe.get_cdw(12), copy_count(&sqe)), (1 << 32, 0xff, 256));
    }
}
