//! What all connections of a target share: subsystems, controllers, ports, counters.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use nvme_tcp::proto::ADMIN_IN_CAPSULE;
use nvme_tcp::spec::discovery_log::{
    ADRFAM_IPV4, ADRFAM_IPV6, CNTLID_DYNAMIC, DiscoveryLogEntry, DiscoveryLogHeader, SECTYPE_NONE,
    SECTYPE_TLS13, SUBTYPE_NVM, TREQ_NOT_REQUIRED, TREQ_REQUIRED, TRTYPE_TCP,
};
use nvme_tcp::spec::text;
use zerocopy::IntoBytes;

use crate::ana::AnaState;
use crate::controller::Controller;
use crate::keys::GeneratedKeys;
use crate::namespace::Namespace;
use crate::proto::ConnectionConfig;
use crate::statistics::Counters;
use crate::subsystem::{Exported, Subsystem, SubsystemError};

/// What a target offers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What it offers on each connection.
    pub connection: ConnectionConfig,
    /// MDTS: the most data of one command in bytes; a power of two, at least 8,192, since MDTS cannot say 4,096: it
    /// counts pages by their power of two, and 0 stands for no limit.
    pub max_transfer: u32,
    /// Entries in each I/O queue, 2 to 4,096: CAP.MQES + 1. The admin queue may have 32 in any case.
    pub queue_entries: u32,
    /// The most I/O queues of one controller.
    pub io_queues: u16,
    /// How long a TLS handshake, and then the way to Connect and through authentication, may take; 10 s by default.
    pub setup_timeout: Duration,
    /// How long a host may take none of what is sent to it before its connection is closed; 30 s by default.
    pub send_timeout: Duration,
    /// For how long the thread of a queue that is at work asks the socket again and again before it sleeps, as
    /// [`nvme_tcp::Options::busy_poll`] at the other end: ever less often where nothing comes in that time. Zero, the
    /// default, sleeps at once; in any case nothing spins at a queue that has been idle for that long.
    pub busy_poll: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            max_transfer: 1 << 20,
            queue_entries: 128,
            io_queues: 64,
            setup_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(30),
            busy_poll: Duration::ZERO,
        }
    }
}

impl Config {
    /// The same with what is out of range moved into it.
    fn in_range(self) -> Self {
        let power = self.max_transfer.max(MIN_TRANSFER).checked_next_power_of_two().unwrap_or(1 << 31);
        Self {
            max_transfer: power,
            queue_entries: self.queue_entries.clamp(2, 4096),
            io_queues: self.io_queues.clamp(1, 0xfffe),
            connection: ConnectionConfig { in_capsule: self.connection.in_capsule & !15, ..self.connection },
            ..self
        }
    }
}

/// A listener, as the discovery log shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
}

/// The least that MDTS can say, in bytes: 2^1 pages of 4 KiB.
const MIN_TRANSFER: u32 = 2 * 4096;
/// The highest controller ID that may be given out (Base, section 3.1.1).
const MAX_CNTLID: u16 = 0xffef;

#[derive(Debug, Default)]
struct Controllers {
    last: u16,
    by_id: BTreeMap<u16, Arc<Controller>>,
}

/// Shared by all connections.
#[derive(Debug)]
pub struct Hub {
    pub(crate) config: Config,
    subsystems: RwLock<BTreeMap<String, Arc<Exported>>>,
    controllers: Mutex<Controllers>,
    ports: RwLock<Vec<Port>>,
    /// GENCTR of the discovery log.
    generation: AtomicU64,
    pub(crate) generated_keys: GeneratedKeys,
    pub(crate) counters: Counters,
}

impl Hub {
    /// A hub without subsystems and ports.
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            config: config.in_range(),
            subsystems: RwLock::default(),
            controllers: Mutex::default(),
            ports: RwLock::default(),
            generation: AtomicU64::new(1),
            generated_keys: GeneratedKeys::default(),
            counters: Counters::default(),
        })
    }

    /// Serves one more subsystem.
    ///
    /// # Errors
    /// Its name is taken or invalid, or a namespace of it cannot be opened.
    pub fn add_subsystem(&self, subsystem: Subsystem) -> Result<(), SubsystemError> {
        let subsystem = subsystem.open()?;
        let mut subsystems = self.subsystems.write().unwrap_or_else(PoisonError::into_inner);
        if subsystems.contains_key(&subsystem.nqn) {
            return Err(SubsystemError::Duplicate(subsystem.nqn));
        }
        subsystems.insert(subsystem.nqn.clone(), Arc::new(subsystem));
        drop(subsystems);
        self.discovery_changed();
        Ok(())
    }

    /// Serves a subsystem no longer: its associations end.
    ///
    /// # Errors
    /// There is no such subsystem.
    pub fn remove_subsystem(&self, nqn: &str) -> Result<(), SubsystemError> {
        let mut subsystems = self.subsystems.write().unwrap_or_else(PoisonError::into_inner);
        subsystems.remove(nqn).ok_or_else(|| SubsystemError::Unknown(nqn.to_owned()))?;
        drop(subsystems);
        for controller in self.controllers_of(nqn) {
            controller.end();
        }
        self.discovery_changed();
        Ok(())
    }

    /// Adds a namespace to a subsystem, and tells the hosts that see it.
    ///
    /// # Errors
    /// There is no such subsystem, the ID is taken, or the namespace cannot be opened.
    pub fn add_namespace(&self, nqn: &str, nsid: u32, namespace: Namespace) -> Result<(), SubsystemError> {
        let subsystem = self.subsystem(nqn).ok_or_else(|| SubsystemError::Unknown(nqn.to_owned()))?;
        subsystem.add(nsid, namespace)?;
        self.namespace_changed(nqn, nsid);
        Ok(())
    }

    /// Removes a namespace from a subsystem, and tells the hosts that saw it.
    ///
    /// # Errors
    /// There is no such subsystem or namespace.
    pub fn remove_namespace(&self, nqn: &str, nsid: u32) -> Result<(), SubsystemError> {
        let subsystem = self.subsystem(nqn).ok_or_else(|| SubsystemError::Unknown(nqn.to_owned()))?;
        subsystem.remove(nsid)?;
        self.namespace_changed(nqn, nsid);
        Ok(())
    }

    /// Gives a namespace another size in bytes, and tells the hosts that see it. Of one that shrinks, the bytes
    /// behind its new end are lost.
    ///
    /// # Errors
    /// There is no such subsystem or namespace, the size is no whole number of blocks, or what holds the bytes cannot
    /// be made that long.
    pub fn resize_namespace(&self, nqn: &str, nsid: u32, size: u64) -> Result<(), SubsystemError> {
        let subsystem = self.subsystem(nqn).ok_or_else(|| SubsystemError::Unknown(nqn.to_owned()))?;
        subsystem.resize(nsid, size)?;
        self.namespace_changed(nqn, nsid);
        Ok(())
    }

    /// Sets the state of an ANA group (1 to 128) of a subsystem, and tells the hosts that see it: for controllers at one
    /// port (the listeners are counted from 0, in the order they were given), or with `None` for all of them.
    ///
    /// # Errors
    /// There is no such subsystem or group.
    pub fn set_ana_state(
        &self,
        nqn: &str,
        port: Option<u16>,
        group: u32,
        state: AnaState,
    ) -> Result<(), SubsystemError> {
        let subsystem = self.subsystem(nqn).ok_or_else(|| SubsystemError::Unknown(nqn.to_owned()))?;
        subsystem.set_ana_state(port, group, state)?;
        for controller in self.controllers_of(nqn) {
            if port.is_none_or(|port| port == controller.port) {
                controller.ana_changed();
            }
        }
        Ok(())
    }

    fn namespace_changed(&self, nqn: &str, nsid: u32) {
        for controller in self.controllers_of(nqn) {
            controller.namespace_changed(nsid);
        }
    }

    fn controllers_of(&self, nqn: &str) -> Vec<Arc<Controller>> {
        self.lock().by_id.values().filter(|found| found.subsystem_nqn == nqn).cloned().collect()
    }

    fn discovery_changed(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        for controller in self.controllers_of(nvme_tcp::nqn::DISCOVERY_NQN) {
            controller.discovery_changed();
        }
    }

    pub(crate) fn add_port(&self, port: Port) {
        self.ports.write().unwrap_or_else(PoisonError::into_inner).push(port);
        self.discovery_changed();
    }

    pub(crate) fn subsystem(&self, nqn: &str) -> Option<Arc<Exported>> {
        self.subsystems.read().unwrap_or_else(PoisonError::into_inner).get(nqn).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Controllers> {
        self.controllers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a controller with an ID that was not in use lately; `None` where all are taken.
    pub(crate) fn add_controller(&self, make: impl FnOnce(u16) -> Controller) -> Option<Arc<Controller>> {
        let mut controllers = self.lock();
        let after = controllers.last;
        let id = (after + 1..=MAX_CNTLID).chain(1..=after).find(|id| !controllers.by_id.contains_key(id))?;
        controllers.last = if id == MAX_CNTLID { 0 } else { id };
        let controller = Arc::new(make(id));
        controllers.by_id.insert(id, controller.clone());
        Some(controller)
    }

    /// The association with this controller ID, if there is one.
    pub(crate) fn controller(&self, cntlid: u16) -> Option<Arc<Controller>> {
        self.lock().by_id.get(&cntlid).filter(|found| found.is_alive()).cloned()
    }

    /// The admin queue of this controller is gone, and so is the association.
    pub(crate) fn remove_controller(&self, controller: &Controller) {
        controller.end();
        self.lock().by_id.remove(&controller.cntlid);
    }

    /// How many associations there are.
    pub fn associations(&self) -> usize {
        self.lock().by_id.len()
    }

    /// The discovery log for this host, which reached the target at `local`.
    pub(crate) fn discovery_log(&self, host_nqn: &str, local: Option<IpAddr>) -> Vec<u8> {
        let generation = self.generation.load(Ordering::Relaxed);
        let subsystems = self.subsystems.read().unwrap_or_else(PoisonError::into_inner);
        let ports = self.ports.read().unwrap_or_else(PoisonError::into_inner);
        let mut entries = Vec::new();
        for subsystem in subsystems.values().filter(|subsystem| subsystem.allows(host_nqn)) {
            for (number, port) in ports.iter().enumerate() {
                entries.extend(entry(subsystem, number as u16, port, local));
            }
        }
        let mut log = DiscoveryLogHeader::new(generation, entries.len() as u64).as_bytes().to_vec();
        log.extend(entries.iter().flat_map(|entry| entry.as_bytes()));
        log
    }
}

/// The entry for a subsystem at a port; `None` for a port that cannot be reached from where the host is.
fn entry(
    subsystem: &Exported,
    number: u16,
    port: &Port,
    local: Option<IpAddr>,
) -> Option<Box<DiscoveryLogEntry>> {
    // A listener on all addresses is where the host reached it.
    let ip = match port.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => local.map(|ip| ip.to_canonical()).filter(IpAddr::is_ipv4)?,
        IpAddr::V6(ip) if ip.is_unspecified() => local?.to_canonical(),
        ip => ip,
    };
    let mut entry = DiscoveryLogEntry::zeroed();
    entry.trtype = TRTYPE_TCP;
    entry.adrfam = if ip.is_ipv4() { ADRFAM_IPV4 } else { ADRFAM_IPV6 };
    entry.subtype = SUBTYPE_NVM;
    entry.treq = if port.tls { TREQ_REQUIRED } else { TREQ_NOT_REQUIRED };
    entry.sectype = if port.tls { SECTYPE_TLS13 } else { SECTYPE_NONE };
    entry.portid = number.into();
    entry.cntlid = CNTLID_DYNAMIC.into();
    entry.asqsz = ADMIN_ENTRIES.into();
    entry.trsvcid = text::to_field(&port.address.port().to_string(), b' ')?;
    entry.traddr = text::to_field(&ip.to_string(), b' ')?;
    entry.subnqn = text::to_field(&subsystem.nqn, 0)?;
    Some(entry)
}

/// ASQSZ: the admin queue's size that is proposed to hosts, as the kernel's target does.
pub(crate) const ADMIN_ENTRIES: u16 = 32;

const _: () = assert!(ADMIN_IN_CAPSULE as usize >= nvme_tcp::spec::command::fabrics::CONNECT_DATA_LEN);
