//! Which controller, and which of its associations, a namespace's commands go to.

use std::sync::Arc;

use super::by_kernel::ByKernel;
use crate::association::Association;
use crate::controller::{admin_read, admin_value};
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::multipath::{Group, Turn};
use crate::spec::command::{Sqe, fabrics};
use crate::spec::property::{self, Capabilities};

/// The controllers that lead to a namespace.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// One.
    Controller(Arc<Generations>),
    /// Several.
    Paths(Arc<Group>),
    /// Those of the kernel's own initiator.
    Kernel(Arc<ByKernel>),
}

/// What all controllers of a route say alike, as far as a namespace wants to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// ONCS.
    pub(crate) optional_commands: u16,
    /// VWC.
    pub(crate) volatile_write_cache: bool,
    /// MDTS in bytes; `None` for no limit.
    pub(crate) max_transfer: Option<u64>,
}

/// Where a call's commands go for now.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) generations: Arc<Generations>,
    pub(crate) association: Arc<Association>,
    /// Where it is one path of several.
    turn: Option<(Arc<Group>, Turn)>,
}

impl Route {
    /// Where commands go now; waits where there is no path.
    pub(crate) fn choose(&self) -> Result<Way> {
        match self {
            Self::Controller(generations) => {
                let association = generations.for_commands()?;
                Ok(Way { generations: generations.clone(), association, turn: None })
            }
            Self::Paths(group) => group.choose().map(|chosen| Way::by(group, chosen)),
            Self::Kernel(_) => Err(no_way()),
        }
    }

    /// As [`choose`](Self::choose), for tasks.
    #[cfg(feature = "tokio")]
    pub(crate) async fn chosen(&self) -> Result<Way> {
        match self {
            Self::Controller(generations) => {
                let association = generations.current();
                Ok(Way { generations: generations.clone(), association, turn: None })
            }
            Self::Paths(group) => group.chosen().await.map(|chosen| Way::by(group, chosen)),
            Self::Kernel(_) => Err(no_way()),
        }
    }

    /// A controller that leads there, for what all of them say alike.
    fn any(&self) -> Result<Arc<Generations>, &ByKernel> {
        match self {
            Self::Controller(generations) => Ok(generations.clone()),
            Self::Paths(group) => Ok(group.any()),
            Self::Kernel(kernel) => Err(kernel),
        }
    }

    /// What its controllers say.
    pub(crate) fn facts(&self) -> Facts {
        match self.any() {
            Ok(generations) => Facts::of(&generations.current()),
            Err(kernel) => kernel.facts,
        }
    }

    /// Runs an admin command that fills `data` and changes nothing, at one of its controllers.
    pub(crate) fn admin_read(&self, name: &'static str, sqe: Sqe, data: &mut [u8]) -> Result<()> {
        match self.any() {
            Ok(generations) => admin_read(&generations, name, sqe, data),
            Err(kernel) => kernel.admin_read(name, &sqe, data),
        }
    }

    /// CAP.MPSMIN of one of its controllers, in bytes.
    pub(crate) fn min_page_size(&self) -> Result<u64> {
        let Ok(generations) = self.any() else { return Ok(LEAST_PAGE) };
        let get = fabrics::property_get(property::CAP, true);
        Ok(Capabilities(admin_value(&generations, "Property Get (CAP)", get)?).min_page_size())
    }

    /// Where the kernel's initiator leads there: it does without a way.
    pub(crate) fn kernel(&self) -> Option<&ByKernel> {
        match self {
            Self::Kernel(kernel) => Some(kernel),
            _ => None,
        }
    }
}

impl Facts {
    fn of(association: &Association) -> Self {
        let traits = &association.traits;
        Self {
            optional_commands: traits.optional_commands,
            volatile_write_cache: traits.volatile_write_cache,
            max_transfer: traits.max_transfer,
        }
    }
}

/// The least that CAP.MPSMIN can be, in bytes: no limit that counts pages is larger than with it.
pub(super) const LEAST_PAGE: u64 = 4096;

fn no_way() -> Error {
    ErrorKind::Unsupported("a queue of the caller's by the kernel's initiator").into()
}

impl Way {
    fn by(group: &Arc<Group>, (turn, generations): (Turn, Arc<Generations>)) -> Self {
        Self { association: generations.current(), generations, turn: Some((group.clone(), turn)) }
    }

    /// Which of several paths it is, counted from 0.
    #[cfg(feature = "tokio")]
    pub(crate) fn path(&self) -> usize {
        self.turn.as_ref().map_or(0, |(_, turn)| turn.path())
    }

    /// All of its commands succeeded.
    pub(crate) fn succeeded(&mut self) {
        if let Some((group, turn)) = self.turn.take() {
            group.over(&turn, true);
        }
    }

    /// Not all of its commands succeeded; the path that it took, where there are several.
    pub(crate) fn take_turn(&mut self) -> Option<(Arc<Group>, Turn)> {
        self.turn.take().inspect(|(group, turn)| group.over(turn, false))
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        drop(self.take_turn());
    }
}
