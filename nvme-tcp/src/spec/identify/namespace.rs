//! Identify Namespace, CNS 00h (NVM, section 4.1.5.1), and CNS 08h (Base, section 5.1.13.2.8).

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_LEN;

/// CNS 00h.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// NSZE: size in blocks; 0 where there is no such namespace.
    pub nsze: U64,
    /// NCAP: capacity in blocks.
    pub ncap: U64,
    /// NUSE: blocks in use.
    pub nuse: U64,
    /// NSFEAT: features.
    pub nsfeat: u8,
    /// NLBAF: LBA formats, 0-based.
    pub nlbaf: u8,
    /// FLBAS: the LBA format in use.
    pub flbas: u8,
    /// MC: metadata capabilities.
    pub mc: u8,
    /// DPC: data protection capabilities.
    pub dpc: u8,
    /// DPS: data protection in use; 0 in bits 2:0 for none.
    pub dps: u8,
    /// NMIC: multi-path and sharing.
    pub nmic: u8,
    /// RESCAP: reservation capabilities.
    pub rescap: u8,
    /// FPI: format progress.
    pub fpi: u8,
    /// DLFEAT: what deallocated blocks read as; 1 in bits 2:0 for zeros.
    pub dlfeat: u8,
    /// NAWUN: atomic write unit, 0-based blocks.
    pub nawun: U16,
    /// NAWUPF: atomic write unit at power failure, 0-based blocks.
    pub nawupf: U16,
    /// NACWU: atomic compare and write unit, 0-based blocks.
    pub nacwu: U16,
    /// NABSN: atomic boundary, 0-based blocks.
    pub nabsn: U16,
    /// NABO: where the first atomic boundary lies, in blocks.
    pub nabo: U16,
    /// NABSPF: atomic boundary at power failure, 0-based blocks.
    pub nabspf: U16,
    /// NOIOB: I/O boundary in blocks that a command best does not cross; 0 for none.
    pub noiob: U16,
    /// NVMCAP: capacity in bytes; 0 for no information.
    pub nvmcap: U128,
    /// NPWG: preferred write granularity, 0-based blocks; with OPTPERF in NSFEAT.
    pub npwg: U16,
    /// NPWA: preferred write alignment, 0-based blocks.
    pub npwa: U16,
    /// NPDG: preferred deallocate granularity, 0-based blocks.
    pub npdg: U16,
    /// NPDA: preferred deallocate alignment, 0-based blocks.
    pub npda: U16,
    /// NOWS: optimal write size, 0-based blocks.
    pub nows: U16,
    /// MSSRL: the most blocks in one source range of Copy.
    pub mssrl: U16,
    /// MCL: the most blocks in one Copy.
    pub mcl: U32,
    /// MSRC: the most source ranges in one Copy, 0-based.
    pub msrc: u8,
    reserved_81: [u8; 11],
    /// ANAGRPID: ANA group.
    pub anagrpid: U32,
    reserved_96: [u8; 3],
    /// NSATTR: bit 0 for write protected.
    pub nsattr: u8,
    /// NVMSETID: NVM set.
    pub nvmsetid: U16,
    /// ENDGID: endurance group.
    pub endgid: U16,
    /// NGUID: a globally unique identifier; zero for none.
    pub nguid: [u8; 16],
    /// EUI64: an IEEE identifier; zero for none.
    pub eui64: [u8; 8],
    /// LBAF: each LBA format: metadata bytes in 15:0, log2 of the block size in 23:16.
    pub lbaf: [U32; 64],
    reserved_384: [u8; 3712],
}

impl IdentifyNamespace {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }

    /// The LBA format in use: its index is bits 3:0 and 6:5 of FLBAS.
    pub fn format(&self) -> LbaFormat {
        let index = self.flbas & 0xf | (self.flbas >> 5 & 0b11) << 4;
        let raw = self.lbaf.get(usize::from(index)).map_or(0, |format| format.get());
        LbaFormat { metadata: raw as u16, data_shift: (raw >> 16) as u8 }
    }
}

/// CNS 08h: a namespace, as far as it is the same for each command set.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyIndependentNamespace {
    /// NSFEAT: features.
    pub nsfeat: u8,
    /// NMIC: multi-path and sharing.
    pub nmic: u8,
    /// RESCAP: reservation capabilities.
    pub rescap: u8,
    /// FPI: format progress.
    pub fpi: u8,
    /// ANAGRPID: ANA group.
    pub anagrpid: U32,
    /// NSATTR: bit 0 for write protected.
    pub nsattr: u8,
    reserved_9: u8,
    /// NVMSETID: NVM set.
    pub nvmsetid: U16,
    /// ENDGID: endurance group.
    pub endgid: U16,
    /// NSTAT: bit 0 for ready.
    pub nstat: u8,
    reserved_15: [u8; 4081],
}

impl IdentifyIndependentNamespace {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }
}

/// An LBA format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LbaFormat {
    /// Metadata bytes for each block.
    pub metadata: u16,
    /// Log2 of the block size in bytes.
    pub data_shift: u8,
}

impl LbaFormat {
    /// As it stands in LBAF.
    pub fn to_raw(self) -> u32 {
        u32::from(self.metadata) | u32::from(self.data_shift) << 16
    }
}

const _: () = {
    assert!(size_of::<IdentifyNamespace>() == IDENTIFY_LEN);
    assert!(size_of::<IdentifyIndependentNamespace>() == IDENTIFY_LEN);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_index_is_split() {
        let mut ns = IdentifyNamespace::zeroed();
        ns.flbas = 0b0010_0001; // index 17
        ns.lbaf[17] = LbaFormat { metadata: 8, data_shift: 12 }.to_raw().into();
        assert_eq!(ns.format(), LbaFormat { metadata: 8, data_shift: 12 });
    }
}
