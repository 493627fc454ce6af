//! Identify Controller, CNS 01h (Base, section 5.1.13.2.1).

use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_LEN;

/// CNS 01h.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyController {
    /// PCI vendor ID; 0 for a controller that is none.
    pub vid: U16,
    /// PCI subsystem vendor ID.
    pub ssvid: U16,
    /// SN: serial number, ASCII padded with spaces.
    pub serial_number: [u8; 20],
    /// MN: model number, ASCII padded with spaces.
    pub model_number: [u8; 40],
    /// FR: firmware revision, ASCII padded with spaces.
    pub firmware_revision: [u8; 8],
    reserved_72: u8,
    /// IEEE: the vendor's OUI.
    pub ieee: [u8; 3],
    /// CMIC: multi-path and sharing.
    pub cmic: u8,
    /// MDTS: the most data in one command, 2^n pages of CAP.MPSMIN; 0 for no limit.
    pub mdts: u8,
    /// CNTLID: controller ID.
    pub cntlid: U16,
    /// VER: version.
    pub version: U32,
    /// RTD3R: how long becoming ready takes, in microseconds.
    pub rtd3r: U32,
    /// RTD3E: how long a shutdown takes, in microseconds.
    pub rtd3e: U32,
    /// OAES: optional asynchronous events.
    pub oaes: U32,
    /// CTRATT: controller attributes.
    pub ctratt: U32,
    reserved_100: [u8; 11],
    /// CNTRLTYPE: controller type.
    pub cntrltype: u8,
    /// FGUID: the FRU's globally unique identifier; zero for none.
    pub fguid: [u8; 16],
    /// CRDT1 to CRDT3: how long to wait before a retry, in 100 ms.
    pub crdt: [U16; 3],
    reserved_134: [u8; 122],
    /// OACS: optional admin commands.
    pub oacs: U16,
    /// ACL: abort command limit, 0-based.
    pub acl: u8,
    /// AERL: asynchronous event request limit, 0-based.
    pub aerl: u8,
    /// FRMW: firmware updates.
    pub frmw: u8,
    /// LPA: log page attributes.
    pub lpa: u8,
    /// ELPE: error log page entries, 0-based.
    pub elpe: u8,
    /// NPSS: power states, 0-based.
    pub npss: u8,
    reserved_264: [u8; 2],
    /// WCTEMP: the temperature at which a warning is due, in kelvins; 0 for none.
    pub wctemp: U16,
    /// CCTEMP: the critical temperature in kelvins; 0 for none.
    pub cctemp: U16,
    /// MTFA: how long firmware activation takes, in 100 ms; 0 for no information.
    pub mtfa: U16,
    reserved_272: [u8; 8],
    /// TNVMCAP: the subsystem's capacity in bytes; 0 for no information.
    pub tnvmcap: U128,
    /// UNVMCAP: what of it no namespace has, in bytes.
    pub unvmcap: U128,
    reserved_312: [u8; 7],
    /// FWUG: granularity of firmware pieces in 4 KiB; 0 for no information, FFh for none.
    pub fwug: u8,
    /// KAS: keep-alive granularity in 100 ms; 0 for no keep-alive.
    pub kas: U16,
    reserved_322: [u8; 6],
    /// SANICAP: sanitize capabilities.
    pub sanicap: U32,
    reserved_332: [u8; 10],
    /// ANATT: how long a change of ANA state takes, in seconds.
    pub anatt: u8,
    /// ANACAP: asymmetric namespace access capabilities.
    pub anacap: u8,
    /// ANAGRPMAX: the highest ANA group ID.
    pub anagrpmax: U32,
    /// NANAGRPID: how many ANA groups there are.
    pub nanagrpid: U32,
    reserved_352: [u8; 34],
    /// CQT: command quiesce time in ms.
    pub cqt: U16,
    reserved_388: [u8; 124],
    /// SQES: submission queue entry sizes, 66h.
    pub sqes: u8,
    /// CQES: completion queue entry sizes, 44h.
    pub cqes: u8,
    /// MAXCMD: the most commands outstanding on an I/O queue.
    pub maxcmd: U16,
    /// NN: the highest namespace ID.
    pub nn: U32,
    /// ONCS: optional NVM commands.
    pub oncs: U16,
    /// FUSES: fused operations.
    pub fuses: U16,
    /// FNA: format attributes.
    pub fna: u8,
    /// VWC: volatile write cache.
    pub vwc: u8,
    /// AWUN: atomic write unit, 0-based blocks.
    pub awun: U16,
    /// AWUPF: atomic write unit at power failure, 0-based blocks.
    pub awupf: U16,
    reserved_530: u8,
    /// NWPC: namespace write protection.
    pub nwpc: u8,
    /// ACWU: atomic compare and write unit, 0-based blocks.
    pub acwu: U16,
    /// OCFS: copy descriptor formats, a bit each.
    pub ocfs: U16,
    /// SGLS: SGL support.
    pub sgls: U32,
    /// MNAN: the most namespaces; 0 for NN.
    pub mnan: U32,
    reserved_544: [u8; 224],
    /// SUBNQN: the subsystem's NQN, ended by NUL.
    pub subnqn: [u8; 256],
    reserved_1024: [u8; 768],
    /// IOCCSZ: the most in a command capsule of an I/O queue, in 16 bytes.
    pub ioccsz: U32,
    /// IORCSZ: the most in a response capsule, in 16 bytes.
    pub iorcsz: U32,
    /// ICDOFF: where in-capsule data begins behind the SQE, in 16 bytes.
    pub icdoff: U16,
    /// FCATT: bit 0 clear for the dynamic controller model.
    pub fcatt: u8,
    /// MSDBD: the most SGL descriptors in a command; 0 for no limit.
    pub msdbd: u8,
    /// OFCS: optional fabrics commands.
    pub ofcs: U16,
    /// DCTYPE: the kind of a discovery controller.
    pub dctype: u8,
    reserved_1807: [u8; 2289],
}

impl IdentifyController {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }

    /// MDTS in bytes; `None` for no limit.
    pub fn max_transfer(&self, min_page_size: u64) -> Option<u64> {
        match self.mdts {
            0 => None,
            n => Some(min_page_size.checked_shl(n.into()).unwrap_or(u64::MAX)),
        }
    }
}

const _: () = assert!(size_of::<IdentifyController>() == IDENTIFY_LEN);
