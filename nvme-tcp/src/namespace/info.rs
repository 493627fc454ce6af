//! What Identify says of a namespace, and what bounds its commands.

use super::Namespace;
use crate::error::Result;
use crate::spec::command::admin::IdentifyFields;
use crate::spec::identify::{
    self, FUSES_COMPARE_AND_WRITE, IDENTIFY_LEN, IdentifyController, IdentifyNamespace, IdentifyNvmController,
};
use crate::spec::malformed;

/// What Identify says of a namespace besides its size. Sizes are in bytes; 0 where the namespace does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceInfo {
    /// NOIOB: reads and writes are split so that none crosses a multiple of this.
    pub optimal_boundary: u64,
    /// NPWG: writes are best a multiple of this.
    pub preferred_write_granularity: u64,
    /// NPWA: writes best begin at a multiple of this.
    pub preferred_write_alignment: u64,
    /// NOWS: the size that is best for a write.
    pub optimal_write: u64,
    /// NPDG: deallocations are best a multiple of this.
    pub preferred_deallocate_granularity: u64,
    /// MSSRL: the longest source range of one Copy.
    pub copy_range: u64,
    /// MCL: the most that one Copy copies.
    pub copy_length: u64,
    /// MSRC: the most source ranges of one Copy.
    pub copy_ranges: u32,
    /// RESCAP: which reservations it can have; bit 0 for persistence through power loss, bits 6:1 for the types.
    pub reservations: u8,
    /// ANAGRPID.
    pub ana_group: u32,
    /// NGUID; zero for none.
    pub nguid: [u8; 16],
    /// EUI64; zero for none.
    pub eui64: [u8; 8],
    /// DLFEAT: whether deallocated blocks read as zeros.
    pub deallocated_reads_zero: bool,
    /// NSABP and NACWU: how many blocks one compare and write covers here; `None` where the controller's own
    /// number holds.
    pub(super) compare_and_write: Option<u32>,
}

/// What bounds commands that are not reads or writes, in blocks; `u64::MAX` for no bound.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) verify: u64,
    pub(super) write_zeroes: u64,
    pub(super) write_uncorrectable: u64,
    pub(super) dataset_ranges: usize,
    pub(super) dataset_range: u64,
    pub(super) dataset: u64,
    /// OCFS: whether Copy takes source ranges of format 0.
    pub(super) copies: bool,
    /// How much one fused compare and write covers; `None` where there is none.
    pub(super) compare_and_write: Option<u32>,
}

impl NamespaceInfo {
    pub(super) fn of(identify: &IdentifyNamespace, shift: u8) -> Self {
        let bytes = |blocks: u64| blocks << shift;
        // NSFEAT.OPTPERF says whether these mean anything; they are 0-based.
        let optimal = identify.nsfeat & 1 << 4 != 0;
        let hint = |blocks: u16| if optimal { bytes(u64::from(blocks) + 1) } else { 0 };
        let own_units = identify.nsfeat & 1 << 1 != 0;
        Self {
            optimal_boundary: bytes(identify.noiob.get().into()),
            preferred_write_granularity: hint(identify.npwg.get()),
            preferred_write_alignment: hint(identify.npwa.get()),
            optimal_write: hint(identify.nows.get()),
            preferred_deallocate_granularity: hint(identify.npdg.get()),
            copy_range: bytes(identify.mssrl.get().into()),
            copy_length: bytes(identify.mcl.get().into()),
            copy_ranges: u32::from(identify.msrc) + 1,
            reservations: identify.rescap,
            ana_group: identify.anagrpid.get(),
            nguid: identify.nguid,
            eui64: identify.eui64,
            deallocated_reads_zero: identify.dlfeat & 0b111 == 1,
            compare_and_write: own_units.then(|| u32::from(identify.nacwu.get()) + 1),
        }
    }
}

impl Namespace {
    /// What bounds its commands: asked for once, before the first command that wants to know.
    pub(super) fn limits(&self) -> Result<&Limits> {
        if let Some(limits) = self.limits.get() {
            return Ok(limits);
        }
        let limits = self.read_limits()?;
        Ok(self.limits.get_or_init(|| limits))
    }

    fn read_limits(&self) -> Result<Limits> {
        let mut data = vec![0; IDENTIFY_LEN];
        let fields = IdentifyFields { cns: identify::CNS_CONTROLLER, ..IdentifyFields::default() };
        self.route.admin_read("Identify Controller", fields.to_sqe(), &mut data)?;
        let (controller, _) = malformed::read::<IdentifyController>("Identify Controller", &data)?;
        let page = self.route.min_page_size()?;
        let fields = IdentifyFields {
            cns: identify::CNS_COMMAND_SET_CONTROLLER,
            csi: identify::CSI_NVM,
            ..IdentifyFields::default()
        };
        let read = self.route.admin_read("Identify (NVM controller)", fields.to_sqe(), &mut data);
        let nvm = match read {
            Ok(()) => malformed::read::<IdentifyNvmController>("Identify (NVM controller)", &data)?.0,
            // Controllers of before 2.0 do not know it, and have no such limits.
            Err(error) if error.status().is_some() => IdentifyNvmController::zeroed(),
            Err(error) => return Err(error),
        };
        let mut limits = self.limits_of(&controller, &nvm, page);
        if self.route.kernel().is_some() {
            // It sends commands one by one, with others between them.
            limits.compare_and_write = None;
        }
        Ok(limits)
    }

    fn limits_of(&self, controller: &IdentifyController, nvm: &IdentifyNvmController, page: u64) -> Limits {
        // As MDTS: a power of two of pages, 0 for no limit.
        let pages = |n: u8| match n {
            0 => u64::MAX,
            n => {
                page.checked_shl(n.into()).filter(|bytes| *bytes >= page).unwrap_or(u64::MAX)
                    >> self.block_shift
            }
        };
        let unless_zero = |n: u64| if n == 0 { u64::MAX } else { n };
        let own = self.info.compare_and_write;
        let unit = own.unwrap_or(u32::from(controller.acwu.get()) + 1);
        let ocfs = controller.ocfs.get();
        Limits {
            verify: pages(nvm.vsl),
            write_zeroes: pages(nvm.wzsl),
            write_uncorrectable: pages(nvm.wusl),
            dataset_ranges: unless_zero(nvm.dmrl.into()) as usize,
            dataset_range: unless_zero(nvm.dmrsl.get().into()),
            dataset: unless_zero(nvm.dmsl.get()),
            // Older than OCFS, and then format 0 is the only one there is.
            copies: ocfs == 0 || ocfs & 1 != 0,
            compare_and_write: (controller.fuses.get() & FUSES_COMPARE_AND_WRITE != 0).then_some(unit),
        }
    }
}
