//! Which controller, and which of its associations, a namespace's commands go to.

use std::sync::Arc;

use crate::association::Association;
use crate::error::Result;
use crate::generations::Generations;
use crate::multipath::{Group, Turn};

/// The controllers that lead to a namespace.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// One.
    Controller(Arc<Generations>),
    /// Several.
    Paths(Arc<Group>),
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
            Self::Paths(group) => {
                let (turn, generations) = group.choose()?;
                let association = generations.current();
                Ok(Way { association, generations, turn: Some((group.clone(), turn)) })
            }
        }
    }

    /// A controller that leads there, for what all of them say alike.
    pub(crate) fn any(&self) -> Arc<Generations> {
        match self {
            Self::Controller(generations) => generations.clone(),
            Self::Paths(group) => group.any(),
        }
    }

    /// Its present association.
    pub(crate) fn association(&self) -> Arc<Association> {
        self.any().current()
    }
}

impl Way {
    /// The only one there is.
    #[cfg(feature = "tokio")]
    pub(crate) fn single(generations: Arc<Generations>, association: Arc<Association>) -> Self {
        Self { generations, association, turn: None }
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
