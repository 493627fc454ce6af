//! Subsystems: namespaces under one name, and the hosts that may see them.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use nvme_tcp::auth::Authentication;
use nvme_tcp::nqn::{self, NqnError};

use crate::ana::{Ana, AnaState, MAX_ANA_GROUPS};
use crate::controller::MAX_NSID;
use crate::namespace::{Namespace, NamespaceError, Volume};

/// A subsystem that is to be served.
#[derive(Debug)]
pub struct Subsystem {
    nqn: String,
    hosts: BTreeMap<String, Option<Authentication>>,
    namespaces: Vec<(u32, Namespace)>,
}

/// Why a subsystem cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubsystemError {
    /// Its name is none.
    #[error("subsystem NQN {nqn:?}: {source}")]
    Nqn {
        /// The name.
        nqn: String,
        /// What is wrong with it.
        source: NqnError,
    },
    /// A host's name is none.
    #[error("host NQN {nqn:?}: {source}")]
    HostNqn {
        /// The name.
        nqn: String,
        /// What is wrong with it.
        source: NqnError,
    },
    /// The name is taken.
    #[error("{0:?} is the name of another subsystem")]
    Duplicate(String),
    /// There is no such subsystem.
    #[error("there is no subsystem {0:?}")]
    Unknown(String),
    /// The namespace ID is not from 1 to 1,024, or is taken.
    #[error("namespace ID {0} is taken, or not from 1 to {MAX_NSID}")]
    Nsid(u32),
    /// The ANA group is not from 1 to 128.
    #[error("there is no ANA group {0}, only 1 to {MAX_ANA_GROUPS}")]
    AnaGroup(u32),
    /// A namespace cannot be opened, or resized.
    #[error("namespace {nsid}: {source}")]
    Namespace {
        /// Its ID.
        nsid: u32,
        /// What is wrong.
        source: NamespaceError,
    },
}

impl Subsystem {
    /// A subsystem of this name without namespaces, for any host.
    pub fn new(nqn: impl Into<String>) -> Self {
        Self { nqn: nqn.into(), hosts: BTreeMap::new(), namespaces: Vec::new() }
    }

    /// Lets this host in, and none that is not named like that.
    #[must_use]
    pub fn allow_host(mut self, nqn: impl Into<String>) -> Self {
        self.hosts.insert(nqn.into(), None);
        self
    }

    /// Lets this host in, and none that is not named like that, once it has authenticated itself by DH-HMAC-CHAP:
    /// until then no queue of it takes any other command. With a controller secret, the target authenticates itself
    /// to a host that asks for it.
    #[must_use]
    pub fn allow_host_with(mut self, nqn: impl Into<String>, authentication: Authentication) -> Self {
        self.hosts.insert(nqn.into(), Some(authentication));
        self
    }

    /// Adds a namespace with this ID, 1 to 1,024.
    #[must_use]
    pub fn namespace(mut self, nsid: u32, namespace: Namespace) -> Self {
        self.namespaces.push((nsid, namespace));
        self
    }

    pub(crate) fn open(self) -> Result<Exported, SubsystemError> {
        let invalid = |source| SubsystemError::Nqn { nqn: self.nqn.clone(), source };
        nqn::validate(&self.nqn).map_err(invalid)?;
        if self.nqn == nqn::DISCOVERY_NQN {
            return Err(SubsystemError::Duplicate(self.nqn));
        }
        for host in self.hosts.keys() {
            nqn::validate(host).map_err(|source| SubsystemError::HostNqn { nqn: host.clone(), source })?;
        }
        let subsystem = Exported {
            nqn: self.nqn,
            hosts: self.hosts,
            volumes: RwLock::default(),
            ana: RwLock::default(),
            counters: Counters::default(),
        };
        for (nsid, namespace) in self.namespaces {
            subsystem.add(nsid, namespace)?;
        }
        Ok(subsystem)
    }
}

/// What a subsystem did.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reads: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

/// A subsystem that is served.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) nqn: String,
    /// Empty for any host.
    hosts: BTreeMap<String, Option<Authentication>>,
    volumes: RwLock<BTreeMap<u32, Arc<Volume>>>,
    ana: RwLock<Ana>,
    pub(crate) counters: Counters,
}

impl Exported {
    pub(crate) fn allows(&self, host_nqn: &str) -> bool {
        self.hosts.is_empty() || self.hosts.contains_key(host_nqn)
    }

    /// What this host has to authenticate itself with.
    pub(crate) fn authentication(&self, host_nqn: &str) -> Option<&Authentication> {
        self.hosts.get(host_nqn)?.as_ref()
    }

    pub(crate) fn volume(&self, nsid: u32) -> Option<Arc<Volume>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).get(&nsid).cloned()
    }

    pub(crate) fn nsids(&self) -> Vec<u32> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    pub(crate) fn add(&self, nsid: u32, namespace: Namespace) -> Result<(), SubsystemError> {
        let free = (1..=MAX_NSID).contains(&nsid) && self.volume(nsid).is_none();
        if !free {
            return Err(SubsystemError::Nsid(nsid));
        }
        let volume = namespace.open().map_err(|source| SubsystemError::Namespace { nsid, source })?;
        let mut volumes = self.volumes.write().unwrap_or_else(PoisonError::into_inner);
        if volumes.contains_key(&nsid) {
            return Err(SubsystemError::Nsid(nsid));
        }
        volumes.insert(nsid, Arc::new(volume));
        self.ana.write().unwrap_or_else(PoisonError::into_inner).members_changed();
        Ok(())
    }

    pub(crate) fn remove(&self, nsid: u32) -> Result<(), SubsystemError> {
        let mut volumes = self.volumes.write().unwrap_or_else(PoisonError::into_inner);
        volumes.remove(&nsid).ok_or(SubsystemError::Nsid(nsid))?;
        self.ana.write().unwrap_or_else(PoisonError::into_inner).members_changed();
        Ok(())
    }

    pub(crate) fn resize(&self, nsid: u32, size: u64) -> Result<(), SubsystemError> {
        let volume = self.volume(nsid).ok_or(SubsystemError::Nsid(nsid))?;
        volume.resize(size).map_err(|source| SubsystemError::Namespace { nsid, source })
    }

    /// In which state a group is for controllers at `port`.
    pub(crate) fn ana_state(&self, port: u16, group: u32) -> AnaState {
        self.ana.read().unwrap_or_else(PoisonError::into_inner).state(port, group)
    }

    pub(crate) fn set_ana_state(
        &self,
        port: Option<u16>,
        group: u32,
        state: AnaState,
    ) -> Result<(), SubsystemError> {
        if !(1..=MAX_ANA_GROUPS).contains(&group) {
            return Err(SubsystemError::AnaGroup(group));
        }
        self.ana.write().unwrap_or_else(PoisonError::into_inner).set(port, group, state);
        Ok(())
    }

    /// The ANA log page of a controller at `port`.
    pub(crate) fn ana_log(&self, port: u16, groups_only: bool) -> Vec<u8> {
        let mut groups = BTreeMap::<u32, Vec<u32>>::new();
        for (nsid, volume) in self.volumes.read().unwrap_or_else(PoisonError::into_inner).iter() {
            groups.entry(volume.shape.ana_group).or_default().push(*nsid);
        }
        self.ana.read().unwrap_or_else(PoisonError::into_inner).log(port, &groups, groups_only)
    }

    pub(crate) fn volumes(&self) -> Vec<Arc<Volume>> {
        self.volumes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Flushes every namespace; the first error, after all were tried.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.volumes().iter().map(|volume| volume.flush()).fold(Ok(()), Result::and)
    }
}
