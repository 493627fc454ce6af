//! I/O commands of the NVM command set (NVM, section 3).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Sqe;

mod copy;

pub use copy::{COPY, CopyRange, copy, copy_count};

/// OPC: Flush.
pub const FLUSH: u8 = 0x00;
/// OPC: Write.
pub const WRITE: u8 = 0x01;
/// OPC: Read.
pub const READ: u8 = 0x02;
/// OPC: Write Uncorrectable.
pub const WRITE_UNCORRECTABLE: u8 = 0x04;
/// OPC: Compare.
pub const COMPARE: u8 = 0x05;
/// OPC: Write Zeroes.
pub const WRITE_ZEROES: u8 = 0x08;
/// OPC: Dataset Management.
pub const DATASET_MANAGEMENT: u8 = 0x09;
/// OPC: Verify.
pub const VERIFY: u8 = 0x0c;

/// The most blocks in one read, write or write zeroes: NLB is 16 bits, 0-based.
pub const MAX_BLOCKS: u32 = 65_536;
/// The most ranges in one Dataset Management command.
pub const MAX_DSM_RANGES: usize = 256;
/// CDW11 of Dataset Management: the ranges are read as a whole.
pub const DSM_INTEGRAL_READ: u32 = 1;
/// CDW11 of Dataset Management: the ranges are written as a whole.
pub const DSM_INTEGRAL_WRITE: u32 = 1 << 1;
/// CDW11 of Dataset Management: deallocate.
pub const DSM_DEALLOCATE: u32 = 1 << 2;
/// CDW12 of Write Zeroes: the blocks may be deallocated.
pub const WRITE_ZEROES_DEALLOCATE: u32 = 1 << 25;

bitflags::bitflags! {
    /// What the upper bits of CDW12 ask of a command besides its blocks.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct IoFlags: u32 {
        /// DEAC, Write Zeroes only: the blocks may be deallocated, if they read as zeros then.
        const DEALLOCATE = WRITE_ZEROES_DEALLOCATE;
        /// FUA: a write is on stable media when it is done; a read comes from there.
        const FORCE_UNIT_ACCESS = 1 << 30;
        /// LR: not so many tries at error recovery as usual.
        const LIMITED_RETRY = 1 << 31;
    }
}

fn blocks(opcode: u8, nsid: u32, slba: u64, count: u32) -> Sqe {
    Sqe::new(opcode, nsid)
        .cdw(10, slba as u32)
        .cdw(11, (slba >> 32) as u32)
        .cdw(12, count.saturating_sub(1) & 0xffff)
}

/// Read of `count` blocks (1 to [`MAX_BLOCKS`]).
pub fn read(nsid: u32, slba: u64, count: u32) -> Sqe {
    blocks(READ, nsid, slba, count)
}

/// Write of `count` blocks (1 to [`MAX_BLOCKS`]).
pub fn write(nsid: u32, slba: u64, count: u32) -> Sqe {
    blocks(WRITE, nsid, slba, count)
}

/// Write Zeroes to `count` blocks (1 to [`MAX_BLOCKS`]).
pub fn write_zeroes(nsid: u32, slba: u64, count: u32) -> Sqe {
    blocks(WRITE_ZEROES, nsid, slba, count)
}

/// Compare of `count` blocks (1 to [`MAX_BLOCKS`]) with the command's data.
pub fn compare(nsid: u32, slba: u64, count: u32) -> Sqe {
    blocks(COMPARE, nsid, slba, count)
}

/// Verify of `count` blocks (1 to [`MAX_BLOCKS`]), which moves no data.
pub fn verify(nsid: u32, slba: u64, count: u32) -> Sqe {
    blocks(VERIFY, nsid, slba, count)
}

/// Write Uncorrectable of `count` blocks (1 to [`MAX_BLOCKS`]).
pub fn write_uncorrectable(nsid: u32, slba: u64, count: u32) -> Sqe {
    blocks(WRITE_UNCORRECTABLE, nsid, slba, count)
}

/// Flush.
pub fn flush(nsid: u32) -> Sqe {
    Sqe::new(FLUSH, nsid)
}

/// NLB of a read, write or write zeroes command, as a count.
pub fn block_count(sqe: &Sqe) -> u32 {
    (sqe.get_cdw(12) & 0xffff) + 1
}

/// Dataset Management: deallocate `ranges` ranges (1 to [`MAX_DSM_RANGES`]) that stand in the data.
pub fn deallocate(nsid: u32, ranges: u32) -> Sqe {
    dataset_management(nsid, ranges, DSM_DEALLOCATE)
}

/// Dataset Management of `ranges` ranges (1 to [`MAX_DSM_RANGES`]) that stand in the data, with these attributes
/// for all of them ([`DSM_DEALLOCATE`] and its neighbours).
pub fn dataset_management(nsid: u32, ranges: u32, attributes: u32) -> Sqe {
    Sqe::new(DATASET_MANAGEMENT, nsid).cdw(10, ranges.saturating_sub(1) & 0xff).cdw(11, attributes)
}

/// One range of a Dataset Management command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DsmRange {
    /// Context attributes: access frequency in 3:0, latency in 5:4, sequential reads in 8, sequential writes in
    /// 9, about to be written in 10, access size in blocks in 31:24; each 0 for no information.
    pub attributes: U32,
    /// Length in blocks, not 0-based.
    pub nlb: U32,
    /// The first block.
    pub slba: U64,
}

const _: () = assert!(size_of::<DsmRange>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zero_based_on_the_wire() {
        let sqe = write(1, 0x1_0000_0002, 65_536);
        assert_eq!((sqe.get_cdw(10), sqe.get_cdw(11), sqe.get_cdw(12)), (2, 1, 0xffff));
        assert_eq!((sqe.slba(), block_count(&sqe)), (0x1_0000_0002, 65_536));
    }
}
