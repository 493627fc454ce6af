//! Get Log Page (Base, section 5.1.12).

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::admin::{self, LOG_ANA, LOG_EFFECTS, LOG_SUPPORTED, LogPageFields};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::log_page::{CHANGED_NAMESPACES_LEN, FirmwareSlotLog, RETAIN_EVENT, SmartLog};
use nvme_tcp::spec::text;
use zerocopy::IntoBytes;

use super::Controller;
use super::identify::FIRMWARE;
use super::io::COMMANDS;
use crate::hub::Hub;

/// Composite temperature: 25 degrees Celsius in kelvins, since a target has none.
const TEMPERATURE: u16 = 298;
/// SMART counts data in units of this many bytes.
const SMART_UNIT: u64 = 512_000;

/// The log pages of an I/O controller, and of a discovery controller.
const IO_PAGES: [u8; 7] = [
    LOG_SUPPORTED,
    admin::LOG_ERROR,
    admin::LOG_SMART,
    admin::LOG_FIRMWARE,
    admin::LOG_CHANGED_NAMESPACES,
    LOG_EFFECTS,
    LOG_ANA,
];
const DISCOVERY_PAGES: [u8; 3] = [LOG_SUPPORTED, admin::LOG_ERROR, admin::LOG_DISCOVERY];
/// LSP of the ANA log: groups only.
const GROUPS_ONLY: u32 = 1 << 8;
/// CDW14: OT, the offset counts entries.
const OFFSET_TYPE: u32 = 1 << 23;
/// How many dwords there are of log pages, and of commands of each kind.
const CODES: usize = 256;
/// The length of Commands Supported and Effects in bytes.
const EFFECTS_LEN: usize = 4096;
/// Commands Supported and Effects: the command is there; it changes what blocks hold.
const SUPPORTED: u32 = 1;
const BLOCKS_CHANGE: u32 = 1 << 1;
/// The admin commands there are.
const ADMIN_COMMANDS: [u8; 7] = [
    admin::GET_LOG_PAGE,
    admin::IDENTIFY,
    admin::ABORT,
    admin::SET_FEATURES,
    admin::GET_FEATURES,
    admin::ASYNC_EVENT_REQUEST,
    admin::KEEP_ALIVE,
];

/// A table with a dword for each of 256 codes.
fn table(entries: impl IntoIterator<Item = (u8, u32)>) -> Vec<u8> {
    let mut table = [0_u32; CODES];
    for (code, value) in entries {
        table[usize::from(code)] = value;
    }
    table.into_iter().flat_map(u32::to_le_bytes).collect()
}

impl Controller {
    /// The part of a log page that the command asks for.
    pub(super) fn log_page(&self, sqe: &Sqe, hub: &Hub, local: Option<IpAddr>) -> Result<Vec<u8>, Status> {
        let fields = LogPageFields::read(sqe);
        let counted = sqe.get_cdw(14) & OFFSET_TYPE != 0;
        if fields.len > u64::from(hub.config.max_transfer) || fields.offset % 4 != 0 || counted {
            return Err(Status::INVALID_FIELD);
        }
        let pages = if self.subsystem.is_some() { &IO_PAGES[..] } else { &DISCOVERY_PAGES };
        if !pages.contains(&fields.lid) {
            return Err(Status::INVALID_LOG_PAGE);
        }
        let retain = sqe.get_cdw(10) & RETAIN_EVENT != 0;
        let page = match fields.lid {
            LOG_SUPPORTED => table(pages.iter().map(|lid| (*lid, SUPPORTED))),
            admin::LOG_ERROR => self.lock().errors.page(),
            // It is of the controller, and not of a namespace.
            admin::LOG_SMART if !matches!(sqe.nsid.get(), 0 | admin::ALL_NAMESPACES) => {
                return Err(Status::INVALID_FIELD);
            }
            admin::LOG_SMART => self.smart_log().as_bytes().to_vec(),
            admin::LOG_FIRMWARE => firmware_log().as_bytes().to_vec(),
            LOG_EFFECTS => {
                let effects = |changes| if changes { SUPPORTED | BLOCKS_CHANGE } else { SUPPORTED };
                let mut page = table(ADMIN_COMMANDS.map(|opcode| (opcode, SUPPORTED)));
                page.extend(table(COMMANDS.map(|(opcode, changes)| (opcode, effects(changes)))));
                page.resize(EFFECTS_LEN, 0);
                page
            }
            LOG_ANA => {
                let groups_only = sqe.get_cdw(10) & GROUPS_ONLY != 0;
                let log = self.subsystem.as_ref().map(|held| held.ana_log(self.port, groups_only));
                log.unwrap_or_default()
            }
            admin::LOG_CHANGED_NAMESPACES => {
                let list = self.lock().events.changed_namespaces(retain);
                let mut page: Vec<u8> = list.into_iter().flat_map(u32::to_le_bytes).collect();
                page.resize(CHANGED_NAMESPACES_LEN, 0);
                page
            }
            _ => hub.discovery_log(&self.host_nqn, local),
        };
        if !retain {
            self.lock().events.read(fields.lid);
        }
        let from = usize::try_from(fields.offset).ok().filter(|from| *from <= page.len());
        let rest = from.and_then(|from| page.get(from..)).ok_or(Status::INVALID_FIELD)?;
        // Past its end a log page reads as zeros.
        let mut part = rest.get(..fields.len as usize).unwrap_or(rest).to_vec();
        part.resize(fields.len as usize, 0);
        Ok(part)
    }

    fn smart_log(&self) -> SmartLog {
        let mut log = SmartLog::zeroed();
        log.temperature = TEMPERATURE.into();
        log.available_spare = 100;
        log.available_spare_threshold = 10;
        log.error_entries = u128::from(self.lock().errors.count).into();
        if let Some(subsystem) = &self.subsystem {
            let counters = &subsystem.counters;
            let count = |value: u64| u128::from(value).to_le_bytes();
            let units = |bytes: u64| count(bytes.div_ceil(SMART_UNIT));
            log.data_units_read = units(counters.bytes_read.load(Ordering::Relaxed));
            log.data_units_written = units(counters.bytes_written.load(Ordering::Relaxed));
            log.host_reads = count(counters.reads.load(Ordering::Relaxed));
            log.host_writes = count(counters.writes.load(Ordering::Relaxed));
        }
        log
    }
}

fn firmware_log() -> FirmwareSlotLog {
    let mut log = FirmwareSlotLog::zeroed();
    log.afi = 1;
    if let (Some(slot), Some(revision)) = (log.revisions.first_mut(), text::to_field(FIRMWARE, b' ')) {
        *slot = revision;
    }
    log
}
