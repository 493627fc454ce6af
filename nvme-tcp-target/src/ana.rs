//! Asymmetric Namespace Access (Base, section 8.1.1): in which state each group of namespaces is, port by port.

use std::collections::BTreeMap;

use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::log_page::{self as spec, AnaGroup, AnaLog};

/// ANAGRPMAX and NANAGRPID: groups are numbered from 1 to this.
pub(crate) const MAX_ANA_GROUPS: u32 = 128;
/// ANACAP: all five states are reported, and a namespace keeps its group.
pub(crate) const ANACAP: u8 = 0b0101_1111;
/// ANATT in seconds: how long a group may be in the change state.
pub(crate) const ANATT: u8 = 10;

/// In which state an ANA group is, as one controller sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnaState {
    /// The best path.
    #[default]
    Optimized = 0x1,
    /// A path, and not the best.
    NonOptimized = 0x2,
    /// No path for now.
    Inaccessible = 0x3,
    /// No path, and there will be none.
    PersistentLoss = 0x4,
    /// On its way to another state.
    Change = 0xf,
}

impl AnaState {
    /// Whether commands for a namespace of such a group are carried out; otherwise, what they are told.
    pub(crate) fn check(self) -> Result<(), Status> {
        match self {
            Self::Optimized | Self::NonOptimized => Ok(()),
            Self::Inaccessible => Err(Status::ANA_INACCESSIBLE),
            Self::PersistentLoss => Err(Status::ANA_PERSISTENT_LOSS),
            Self::Change => Err(Status::ANA_TRANSITION),
        }
    }
}

/// A state, and the change that led to it.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    state: AnaState,
    change: u64,
}

/// The states of a subsystem's groups. A group of which nothing is said is optimized everywhere.
#[derive(Debug, Default)]
pub(crate) struct Ana {
    /// CHGCNT.
    changes: u64,
    everywhere: BTreeMap<u32, Entry>,
    by_port: BTreeMap<(u16, u32), Entry>,
}

impl Ana {
    fn entry(&self, port: u16, group: u32) -> Entry {
        let found = self.by_port.get(&(port, group)).or_else(|| self.everywhere.get(&group));
        found.copied().unwrap_or_default()
    }

    pub(crate) fn state(&self, port: u16, group: u32) -> AnaState {
        self.entry(port, group).state
    }

    /// Sets the state of a group at one port, or at all of them.
    pub(crate) fn set(&mut self, port: Option<u16>, group: u32, state: AnaState) {
        self.changes += 1;
        let entry = Entry { state, change: self.changes };
        match port {
            Some(port) => drop(self.by_port.insert((port, group), entry)),
            None => {
                self.by_port.retain(|(_, set), _| *set != group);
                self.everywhere.insert(group, entry);
            }
        }
    }

    /// The members of a group changed.
    pub(crate) fn members_changed(&mut self) {
        self.changes += 1;
    }

    /// LID 0Ch as a controller at `port` shows it: of `groups`, each with its namespaces, which RGO leaves out.
    pub(crate) fn log(&self, port: u16, groups: &BTreeMap<u32, Vec<u32>>, groups_only: bool) -> Vec<u8> {
        let group = |(id, namespaces): (&u32, &Vec<u32>)| {
            let namespaces = if groups_only { Vec::new() } else { namespaces.clone() };
            let Entry { state, change } = self.entry(port, *id);
            AnaGroup::new(*id, change, spec::AnaState::from_code(state as u8), namespaces)
        };
        AnaLog::new(self.changes, groups.iter().map(group).collect()).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_see_a_group_otherwise_until_all_are_set() {
        let mut ana = Ana::default();
        assert_eq!(ana.state(0, 1), AnaState::Optimized);
        ana.set(Some(1), 1, AnaState::NonOptimized);
        assert_eq!([ana.state(0, 1), ana.state(1, 1)], [AnaState::Optimized, AnaState::NonOptimized]);
        ana.set(None, 1, AnaState::Change);
        assert_eq!([ana.state(0, 1), ana.state(1, 1)], [AnaState::Change; 2]);
        assert_eq!(ana.state(0, 2), AnaState::Optimized);
    }

    #[test]
    fn the_log_has_its_fields_where_the_specification_has_them() {
        let mut ana = Ana::default();
        ana.set(Some(3), 2, AnaState::Inaccessible);
        let groups = [(1, vec![1, 7]), (2, vec![3])].into();
        let log = ana.log(3, &groups, false);
        assert_eq!(log.len(), 16 + 2 * 32 + 3 * 4);
        assert_eq!(log[..16], [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(log[16..33], [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(log[48..56], [1, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(log[56..73], [2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]);
        let short = ana.log(3, &groups, true);
        assert_eq!((short.len(), short[20], short[48]), (16 + 2 * 32, 0, 2));
    }
}
