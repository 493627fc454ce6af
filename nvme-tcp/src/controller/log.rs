//! Get Log Page: any log page, in pieces of MDTS, and those that this library can read.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{Controller, admin_read, max_admin_transfer};
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::spec::command::admin::{self, LogPage};
use crate::spec::identify::CMIC_ANA;
use crate::spec::log_page::{
    self, AnaLog, CHANGED_NAMESPACES_LEN, CommandEffectsLog, ERROR_ENTRY_LEN, ErrorEntry, FirmwareSlotLog,
    SanitizeLog, SmartLog, SupportedLog, SupportedLogsLog,
};
use crate::spec::malformed::{self, Malformed};

/// The longest ANA log page that is asked for, in bytes: a hundred times what the largest arrays have.
const MAX_ANA_LEN: u64 = 16 << 20;
/// How often a log that changes while it is read in pieces is read anew.
const MAX_TRIES: u32 = 10;

/// Reads `buffer.len()` bytes (a multiple of 4) of a log page from `offset` on, in pieces of MDTS.
pub(crate) fn read_log(
    generations: &Generations,
    page: LogPage,
    mut offset: u64,
    buffer: &mut [u8],
) -> Result<()> {
    if buffer.is_empty() || buffer.len() % 4 != 0 {
        return Err(Error::invalid("a log page is read in multiples of 4 bytes"));
    }
    let pieces = buffer.len().div_ceil(max_admin_transfer(generations));
    for (index, piece) in buffer.chunks_mut(max_admin_transfer(generations)).enumerate() {
        // The event is cleared when all of it is read.
        let retain_event = page.retain_event || index + 1 < pieces;
        let len = piece.len();
        let sqe = LogPage { retain_event, ..page }.to_sqe(offset, len as u32);
        admin_read(generations, "Get Log Page", sqe, piece)?;
        offset = offset.saturating_add(len as u64);
    }
    Ok(())
}

impl Controller {
    /// `buffer.len()` bytes (a multiple of 4) of log page `lid` from `offset` on.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // Device Self-test (06h): what runs in byte 0, how far it is in byte 1.
    /// let mut log = [0; 564];
    /// controller.get_log_page(0x06, 0, &mut log)?;
    /// if log[0] & 0xf != 0 {
    ///     println!("self-test: {} % done", log[1] & 0x7f);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn get_log_page(&self, lid: u8, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.get_log(LogPage::new(lid), offset, buffer)
    }

    /// `buffer.len()` bytes (a multiple of 4) of any log page from `offset` on, in as many commands as MDTS makes
    /// necessary: a log that changes meanwhile may come out torn.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::admin::{LOG_ERROR, LogPage};
    ///
    /// let mut first = [0; 64];
    /// controller.get_log(LogPage { lid: LOG_ERROR, ..LogPage::default() }, 0, &mut first)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn get_log(&self, page: LogPage, offset: u64, buffer: &mut [u8]) -> Result<()> {
        read_log(&self.generations, page, offset, buffer)
    }

    fn log_as<T: FromBytes + KnownLayout + Immutable>(
        &self,
        name: &'static str,
        page: LogPage,
    ) -> Result<Box<T>> {
        let mut data = vec![0; size_of::<T>()];
        self.get_log(page, 0, &mut data)?;
        Ok(malformed::read(name, &data)?.0)
    }

    /// LID 00h: the log pages that the controller has.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::admin::LOG_SANITIZE;
    ///
    /// if controller.supported_logs()?.iter().any(|log| log.lid == LOG_SANITIZE) {
    ///     println!("sanitize: {:?}", controller.sanitize_log()?.state());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn supported_logs(&self) -> Result<Vec<SupportedLog>> {
        let log: Box<SupportedLogsLog> =
            self.log_as("Supported Log Pages", LogPage::new(admin::LOG_SUPPORTED))?;
        Ok(log.supported())
    }

    /// LID 01h: the controller's latest errors, the latest first, at most `most` and at most as many as it keeps.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// for error in controller.error_log(16)? {
    ///     println!("queue {}: {}", error.sqid, error.status());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn error_log(&self, most: usize) -> Result<Vec<ErrorEntry>> {
        let kept = usize::from(self.identify_controller()?.elpe) + 1;
        let most = most.min(kept);
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut data = vec![0; most * ERROR_ENTRY_LEN];
        self.get_log_page(admin::LOG_ERROR, 0, &mut data)?;
        Ok(log_page::errors(&data))
    }

    /// LID 02h: the health of the controller, or of one namespace where the controller keeps it for each.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let log = controller.smart_log(None)?;
    /// println!("{} K, {} % used", log.temperature, log.percentage_used);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn smart_log(&self, nsid: Option<u32>) -> Result<Box<SmartLog>> {
        let nsid = nsid.unwrap_or(admin::ALL_NAMESPACES);
        self.log_as("SMART / Health Information", LogPage { nsid, ..LogPage::new(admin::LOG_SMART) })
    }

    /// LID 03h: what firmware there is, and which runs.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let slots = controller.firmware_slots()?;
    /// println!("runs: {:?}", slots.revision(slots.active_slot()));
    /// if let Some(next) = slots.next_slot() {
    ///     println!("after the next reset: {:?}", slots.revision(next));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn firmware_slots(&self) -> Result<Box<FirmwareSlotLog>> {
        self.log_as("Firmware Slot Information", LogPage::new(admin::LOG_FIRMWARE))
    }

    /// LID 04h: the namespaces that changed since this was last asked, and by that forgets them; `None` where there
    /// are too many to list, so that all are to be looked at. This library asks by itself at each event that tells of
    /// such a change, and [`events`](Self::events) says then which they were.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// for nsid in controller.changed_namespaces()?.map_or_else(|| controller.namespaces(), Ok)? {
    ///     println!("{nsid}: look at it anew");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn changed_namespaces(&self) -> Result<Option<Vec<u32>>> {
        let mut data = vec![0; CHANGED_NAMESPACES_LEN];
        self.get_log_page(admin::LOG_CHANGED_NAMESPACES, 0, &mut data)?;
        Ok(log_page::changed_namespaces(&data))
    }

    /// LID 05h: the commands that there are, and what they do besides what they are for; of command set `csi`.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::{command::maintenance::FORMAT, identify::CSI_NVM};
    ///
    /// let format = controller.command_effects(CSI_NVM)?.admin_command(FORMAT);
    /// if format.is_some_and(|effects| effects.exclusion() == 2) {
    ///     println!("to format one namespace, stop the I/O to all of them");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn command_effects(&self, csi: u8) -> Result<Box<CommandEffectsLog>> {
        self.log_as("Commands Supported and Effects", LogPage { csi, ..LogPage::new(admin::LOG_EFFECTS) })
    }

    /// LID 81h: how the last sanitize went, or how far the present one is.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::log_page::SanitizeState;
    ///
    /// let log = controller.sanitize_log()?;
    /// if log.state() == SanitizeState::Running {
    ///     println!("{} % done", u32::from(log.progress.get()) * 100 / 65_536);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn sanitize_log(&self) -> Result<Box<SanitizeLog>> {
        self.log_as("Sanitize Status", LogPage::new(admin::LOG_SANITIZE))
    }

    /// LID 0Ch: how well each group of namespaces is reached by this controller. Reading it clears the event that
    /// tells of its change.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// for group in controller.ana_log()?.groups {
    ///     println!("group {}: {:?}", group.id, group.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, the log is malformed or kept changing, or the association is lost. The controller has
    /// no asymmetric namespace access.
    pub fn ana_log(&self) -> Result<AnaLog> {
        let identify = self.identify_controller()?;
        if identify.cmic & CMIC_ANA == 0 {
            return Err(ErrorKind::Unsupported("asymmetric namespace access").into());
        }
        let namespaces = match identify.mnan.get() {
            0 => identify.nn.get(),
            most => most,
        };
        let len = AnaLog::max_len(identify.nanagrpid.get(), namespaces);
        if len > MAX_ANA_LEN {
            let (field, expected) = ("length by NANAGRPID and MNAN", "at most 16 MiB");
            return Err(Malformed { structure: "ANA log page", field, got: len, expected }.into());
        }
        let mut data = vec![0; len as usize];
        for _ in 0..MAX_TRIES {
            self.get_log_page(admin::LOG_ANA, 0, &mut data)?;
            if data.len() <= max_admin_transfer(&self.generations) {
                return Ok(AnaLog::read(&data)?);
            }
            // It came in pieces: is it still the same one?
            let mut header = [0; 16];
            self.get_log_page(admin::LOG_ANA, 0, &mut header)?;
            if data.starts_with(&header) {
                return Ok(AnaLog::read(&data)?);
            }
        }
        Err(ErrorKind::Unstable { what: "the ANA log page", tries: MAX_TRIES }.into())
    }
}
