//! What the NVM command set adds, CNS 05h and 06h with CSI 0 (NVM, sections 4.1.5.2 and 4.1.5.3).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_LEN;

/// CNS 06h, CSI 0: limits of commands that move no data. Zero is no limit.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyNvmController {
    /// VSL: the most that one Verify checks, 2^n pages of CAP.MPSMIN.
    pub vsl: u8,
    /// WZSL: the most that one Write Zeroes writes, in the same unit.
    pub wzsl: u8,
    /// WUSL: the most that one Write Uncorrectable marks, in the same unit.
    pub wusl: u8,
    /// DMRL: the most ranges in one Dataset Management.
    pub dmrl: u8,
    /// DMRSL: the most blocks in one of its ranges.
    pub dmrsl: U32,
    /// DMSL: the most blocks in all its ranges together.
    pub dmsl: U64,
    /// KPIOCAP: key per I/O.
    pub kpiocap: u8,
    /// WZDSL: the most that one Write Zeroes deallocates, 2^n pages of CAP.MPSMIN.
    pub wzdsl: u8,
    /// AOCS: admin optional command support.
    pub aocs: U16,
    /// VER: version of the NVM command set.
    pub version: U32,
    reserved_24: [u8; 4072],
}

/// CNS 05h, CSI 0: what stands beside the namespace's own structure.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyNvmNamespace {
    /// LBSTM: logical block storage tag mask.
    pub lbstm: U64,
    /// PIC: protection information capabilities.
    pub pic: u8,
    /// PIFA: protection information format attribute.
    pub pifa: u8,
    reserved_10: [u8; 2],
    /// ELBAF: what each LBA format adds: storage tag size in 6:0, protection information format in 8:7.
    pub elbaf: [U32; 64],
    /// NPDGL: preferred deallocate granularity in blocks; 0 for none.
    pub npdgl: U32,
    /// NPRG: preferred read granularity in blocks; 0 for none.
    pub nprg: U32,
    /// NPRA: preferred read alignment in blocks; 0 for none.
    pub npra: U32,
    /// NORS: optimal read size in blocks; 0 for none.
    pub nors: U32,
    /// NPDAL: preferred deallocate alignment in blocks; 0 for none.
    pub npdal: U32,
    reserved_288: [u8; 3808],
}

impl IdentifyNvmController {
    /// All zero: no limits.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }
}

impl IdentifyNvmNamespace {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }
}

const _: () = {
    assert!(size_of::<IdentifyNvmController>() == IDENTIFY_LEN);
    assert!(size_of::<IdentifyNvmNamespace>() == IDENTIFY_LEN);
};
