//! What a driver keeps of each job.

use std::ops::Range;

use ::tokio::sync::oneshot;

use super::work::{Done, Job};
use crate::error::Error;

/// A job that is being done.
pub(super) struct Active {
    pub(super) job: Job,
    /// Its commands, once it is known how the association wants them cut.
    pub(super) pieces: Option<Vec<Range<usize>>>,
    pub(super) begun: usize,
    pub(super) outstanding: usize,
    pub(super) failed: Vec<usize>,
    pub(super) error: Option<Error>,
    pub(super) unknown: bool,
    /// After `job`: who waits for it has the memory to itself.
    pub(super) reply: oneshot::Sender<Done>,
}

impl Active {
    /// Nothing of it is begun.
    pub(super) fn new(job: Job, reply: oneshot::Sender<Done>) -> Self {
        let (failed, error) = (Vec::new(), None);
        Self { job, pieces: None, begun: 0, outstanding: 0, failed, error, unknown: false, reply }
    }

    pub(super) fn has_more(&self) -> bool {
        self.error.is_none() && self.pieces.as_ref().is_none_or(|pieces| self.begun < pieces.len())
    }
}

/// The command that a cookie is for.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) id: u64,
    pub(super) number: usize,
    pub(super) changes: bool,
}
