//! Identify (Base, section 5.1.13).

use ktls::crypto::{Hash, Hasher};
use nvme_tcp::spec::async_event::EVENT_ANA;
use nvme_tcp::spec::command::{Sqe, admin};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::identify::*;
use nvme_tcp::spec::log_page::{EVENT_DISCOVERY, EVENT_NAMESPACE, LPA_EXTENDED};
use nvme_tcp::spec::text;
use zerocopy::IntoBytes;

use super::error_log::MAX_ERRORS;
use super::io::{MAX_RANGES as MAX_COPY_RANGES, copy_limits};
use super::property::VERSION;
use super::{Controller, KEEP_ALIVE_STEP};
use crate::ana::{ANACAP, ANATT, MAX_ANA_GROUPS};
use crate::hub::Config;
use crate::namespace::Volume;
use crate::reservation::RESCAP;

/// MN.
const MODEL: &str = "nvme-tcp-target";
/// FR: this crate's version.
pub(super) const FIRMWARE: &str = env!("CARGO_PKG_VERSION");
/// The highest namespace ID.
pub(crate) const MAX_NSID: u32 = 1024;
/// AERL + 1: the most Asynchronous Event Requests that are held.
pub(crate) const MAX_EVENT_REQUESTS: usize = 4;
/// RTD3E: a shutdown flushes, which may take this many microseconds.
const SHUTDOWN_US: u32 = 10_000_000;
/// CQT in ms: a command that runs when its association ends is done by then.
const QUIESCE_MS: u16 = 100;
/// CMIC: the subsystem has several ports and controllers, and tells of asymmetric access.
const CMIC_SHARED: u8 = 0b1011;
/// ONCS: Compare, Write Uncorrectable, reservations, Verify and Copy.
const ONCS_MORE: u16 = ONCS_COMPARE | ONCS_WRITE_UNCORRECTABLE | ONCS_RESERVATIONS | ONCS_VERIFY | ONCS_COPY;
/// LPA: Commands Supported and Effects.
const LPA_EFFECTS: u8 = 1 << 1;
/// The largest logical block in bytes.
const MAX_BLOCK: u32 = 4096;
/// NMIC: the namespace is there for several controllers.
const NMIC_SHARED: u8 = 1;
/// VWC: a cache is there, and Flush takes all namespaces at once.
const VWC: u8 = VWC_PRESENT | 0b11 << 1;
/// FRMW: one firmware slot, read-only.
const FRMW: u8 = 1 | 1 << 1;
/// DLFEAT: deallocated blocks read as zeros, and Write Zeroes may deallocate.
const DLFEAT: u8 = 1 | 1 << 3;
/// The optimal I/O boundary in bytes: the stripe of a RAM namespace.
const BOUNDARY: u32 = 1 << 20;

impl Controller {
    /// What Identify gives, 4,096 bytes.
    pub(super) fn identify(&self, sqe: &Sqe, config: &Config) -> Result<Vec<u8>, Status> {
        let cns = sqe.get_cdw(10) as u8;
        let command_set = (sqe.get_cdw(11) >> 24) as u8;
        let nsid = sqe.nsid.get();
        if cns == CNS_CONTROLLER {
            return Ok(self.identify_controller(config));
        }
        if self.subsystem.is_none() {
            return Err(Status::INVALID_FIELD);
        }
        match cns {
            CNS_NAMESPACE if nsid == admin::ALL_NAMESPACES => {
                Ok(IdentifyNamespace::zeroed().as_bytes().to_vec())
            }
            CNS_NAMESPACE => Ok(match self.volume(nsid)? {
                Some(volume) => self.identify_namespace(nsid, &volume, config),
                None => IdentifyNamespace::zeroed().as_bytes().to_vec(),
            }),
            CNS_ACTIVE_NAMESPACES => self.active_namespaces(nsid),
            CNS_DESCRIPTORS => {
                self.volume(nsid)?.ok_or(Status::INVALID_NAMESPACE)?;
                Ok(self.descriptors(nsid))
            }
            CNS_COMMAND_SET_NAMESPACE | CNS_COMMAND_SET_CONTROLLER if command_set != 0 => {
                Err(Status::INVALID_FIELD)
            }
            CNS_COMMAND_SET_NAMESPACE => self.volume(nsid).map(|_| vec![0; IDENTIFY_LEN]),
            CNS_COMMAND_SET_CONTROLLER => Ok(vec![0; IDENTIFY_LEN]),
            CNS_INDEPENDENT_NAMESPACE => {
                let mut found = IdentifyIndependentNamespace::zeroed();
                if let Some(volume) = self.volume(nsid)? {
                    found.nmic = NMIC_SHARED;
                    found.rescap = RESCAP;
                    found.anagrpid = volume.shape.ana_group.into();
                    found.nsattr = volume.shape.read_only.into();
                    found.nstat = 1;
                }
                Ok(found.as_bytes().to_vec())
            }
            _ => Err(Status::INVALID_FIELD),
        }
    }

    /// The namespace with this ID, if it is active; an error where the ID is none.
    fn volume(&self, nsid: u32) -> Result<Option<std::sync::Arc<Volume>>, Status> {
        if nsid == 0 || nsid > MAX_NSID {
            return Err(Status::INVALID_NAMESPACE);
        }
        Ok(self.subsystem.as_ref().and_then(|subsystem| subsystem.volume(nsid)))
    }

    fn identify_controller(&self, config: &Config) -> Vec<u8> {
        let mut found = IdentifyController::zeroed();
        // Names of this crate fit their fields.
        found.serial_number = text::to_field(&self.serial(), b' ').unwrap_or([b' '; 20]);
        found.model_number = text::to_field(MODEL, b' ').unwrap_or([b' '; 40]);
        found.firmware_revision = text::to_field(FIRMWARE, b' ').unwrap_or([b' '; 8]);
        found.mdts = (config.max_transfer >> 12).checked_ilog2().unwrap_or(0) as u8;
        found.cntlid = self.cntlid.into();
        found.version = VERSION.into();
        found.rtd3e = SHUTDOWN_US.into();
        found.ctratt = (CTRATT_HOSTID_128 | CTRATT_TBKAS).into();
        found.acl = 3;
        found.aerl = MAX_EVENT_REQUESTS as u8 - 1;
        found.frmw = FRMW;
        found.lpa = LPA_EXTENDED | LPA_EFFECTS;
        found.elpe = MAX_ERRORS as u8 - 1;
        found.kas = (KEEP_ALIVE_STEP.as_millis() as u16 / 100).into();
        found.cqt = QUIESCE_MS.into();
        found.maxcmd = (config.queue_entries as u16).into();
        found.sgls = (SGLS_SUPPORTED | SGLS_OFFSET | SGLS_TRANSPORT).into();
        found.subnqn = text::to_field(&self.subsystem_nqn, 0).unwrap_or([0; 256]);
        if self.subsystem.is_some() {
            found.oaes = (EVENT_NAMESPACE | EVENT_ANA).into();
            found.cntrltype = CONTROLLER_IO;
            found.cmic = CMIC_SHARED;
            found.sqes = 0x66;
            found.cqes = 0x44;
            found.nn = MAX_NSID.into();
            found.mnan = MAX_NSID.into();
            found.oncs = (ONCS_DSM | ONCS_WRITE_ZEROES | ONCS_MORE).into();
            found.fuses = FUSES_COMPARE_AND_WRITE.into();
            found.vwc = VWC;
            found.ioccsz = ((64 + config.connection.in_capsule) / 16).into();
            found.iorcsz = 1.into();
            found.msdbd = 1;
        } else {
            found.oaes = EVENT_DISCOVERY.into();
            found.cntrltype = CONTROLLER_DISCOVERY;
        }
        let mut page = found.as_bytes().to_vec();
        if self.subsystem.is_some() {
            put(&mut page, 342, &[ANATT, ANACAP]);
            put(&mut page, 344, &MAX_ANA_GROUPS.to_le_bytes());
            put(&mut page, 348, &MAX_ANA_GROUPS.to_le_bytes());
            // ACWU: a fused command is as atomic as its size allows.
            put(&mut page, 532, &(atomic_blocks(config) - 1).to_le_bytes());
            // OCFS: copies of format 0.
            put(&mut page, 534, &[1, 0]);
        }
        page
    }

    /// SN: the same at every start.
    fn serial(&self) -> String {
        let digest = stable_id(&self.subsystem_nqn, 0, "serial number");
        digest.iter().take(10).map(|byte| format!("{byte:02X}")).collect()
    }

    fn identify_namespace(&self, nsid: u32, volume: &Volume, config: &Config) -> Vec<u8> {
        let shape = &volume.shape;
        let mut found = IdentifyNamespace::zeroed();
        let blocks = volume.shared().blocks;
        found.nsze = blocks.into();
        found.ncap = blocks.into();
        found.nuse = blocks.into();
        found.rescap = RESCAP;
        found.anagrpid = shape.ana_group.into();
        found.nmic = NMIC_SHARED;
        found.dlfeat = DLFEAT;
        found.noiob = ((BOUNDARY / shape.block_size) as u16).into();
        found.nsattr = shape.read_only.into();
        found.nguid = stable_id(&self.subsystem_nqn, nsid, "NGUID");
        found.nlbaf = 0;
        found.lbaf[0] = volume.format().to_raw().into();
        if shape.metadata_bytes > 0 {
            // Metadata at the end of each block's data, and nowhere else.
            found.flbas = 1 << 4;
            found.mc = 1;
        }
        if shape.protection > 0 {
            found.dpc = 1 << (shape.protection - 1) | 1 << 4;
            found.dps = shape.protection;
        }
        let mut page = found.as_bytes().to_vec();
        let (mssrl, mcl) = copy_limits(config.max_transfer, shape.block_size);
        put(&mut page, 74, &mssrl.to_le_bytes());
        put(&mut page, 76, &mcl.to_le_bytes());
        put(&mut page, 80, &[(MAX_COPY_RANGES - 1) as u8]);
        page
    }

    fn active_namespaces(&self, after: u32) -> Result<Vec<u8>, Status> {
        if after >= admin::ALL_NAMESPACES - 1 {
            return Err(Status::INVALID_NAMESPACE);
        }
        let nsids = self.subsystem.as_ref().map(|subsystem| subsystem.nsids()).unwrap_or_default();
        let above = nsids.into_iter().filter(|nsid| *nsid > after);
        let mut list: Vec<u8> = above.take(IDENTIFY_LEN / 4).flat_map(u32::to_le_bytes).collect();
        list.resize(IDENTIFY_LEN, 0);
        Ok(list)
    }

    fn descriptors(&self, nsid: u32) -> Vec<u8> {
        let mut list = Vec::with_capacity(IDENTIFY_LEN);
        let mut add = |kind: u8, id: &[u8]| {
            list.extend([kind, id.len() as u8, 0, 0]);
            list.extend(id);
        };
        add(descriptor::UUID, &uuid(&self.subsystem_nqn, nsid));
        add(descriptor::NGUID, &stable_id(&self.subsystem_nqn, nsid, "NGUID"));
        add(descriptor::CSI, &[0]);
        list.resize(IDENTIFY_LEN, 0);
        list
    }
}

/// Writes a field that the structure has no name for.
fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    page.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
}

/// How many blocks of any size fit into one command.
fn atomic_blocks(config: &Config) -> u16 {
    u16::try_from(config.max_transfer / MAX_BLOCK).unwrap_or(u16::MAX)
}

/// 16 bytes that are the same at every start: from the names, by SHA-256.
fn stable_id(subsystem_nqn: &str, nsid: u32, purpose: &str) -> [u8; 16] {
    let mut hasher = Hasher::new(Hash::Sha256);
    for part in ["nvme-tcp-target", purpose, subsystem_nqn] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.update(&nsid.to_le_bytes());
    let mut id = [0; 16];
    id.iter_mut().zip(hasher.finish().as_ref()).for_each(|(to, from)| *to = *from);
    id
}

/// A UUID of version 8, variant 1 (RFC 9562, section 5.8).
fn uuid(subsystem_nqn: &str, nsid: u32) -> [u8; 16] {
    let mut id = stable_id(subsystem_nqn, nsid, "UUID");
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    id
}
