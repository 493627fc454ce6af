//! Get Log Page (Base, section 5.1.12).

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::admin::{self, LogPageFields};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::log_page::{
    CHANGED_NAMESPACES_LEN, ERROR_ENTRY_LEN, FirmwareSlotLog, RETAIN_EVENT, SmartLog,
};
use nvme_tcp::spec::text;
use zerocopy::IntoBytes;

use super::Controller;
use super::identify::FIRMWARE;
use crate::hub::Hub;

/// Composite temperature: 25 degrees Celsius in kelvins, since a target has none.
const TEMPERATURE: u16 = 298;
/// SMART counts data in units of this many bytes.
const SMART_UNIT: u64 = 512_000;

impl Controller {
    /// The part of a log page that the command asks for.
    pub(super) fn log_page(&self, sqe: &Sqe, hub: &Hub, local: Option<IpAddr>) -> Result<Vec<u8>, Status> {
        let fields = LogPageFields::read(sqe);
        if fields.len > u64::from(hub.config.max_transfer) || fields.offset % 4 != 0 {
            return Err(Status::INVALID_FIELD);
        }
        let retain = sqe.get_cdw(10) & RETAIN_EVENT != 0;
        let is_io = self.subsystem.is_some();
        let page = match fields.lid {
            admin::LOG_ERROR => vec![0; ERROR_ENTRY_LEN],
            admin::LOG_SMART if is_io => self.smart_log().as_bytes().to_vec(),
            admin::LOG_FIRMWARE if is_io => firmware_log().as_bytes().to_vec(),
            admin::LOG_CHANGED_NAMESPACES if is_io => {
                let list = self.lock().events.changed_namespaces(retain);
                let mut page: Vec<u8> = list.into_iter().flat_map(u32::to_le_bytes).collect();
                page.resize(CHANGED_NAMESPACES_LEN, 0);
                page
            }
            admin::LOG_DISCOVERY if !is_io => hub.discovery_log(&self.host_nqn, local),
            _ => return Err(Status::INVALID_LOG_PAGE),
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
