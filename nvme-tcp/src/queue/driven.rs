//! What a driver needs of a queue that must never wait in a call.

use std::sync::Arc;

use super::{Lane, Queue, Rejected};
use crate::association::Association;
use crate::driver::Loan;
use crate::error::{Error, Result};
use crate::spec::command::Sqe;

impl Queue {
    /// The association that its commands go to.
    pub(crate) fn association(&self) -> &Arc<Association> {
        &self.lane.association
    }

    /// Why its connection is lost.
    pub(crate) fn death(&self) -> Option<&Error> {
        self.lane.dead.as_ref()
    }

    /// Wakes the housekeeper.
    pub(crate) fn ring(&self) {
        self.generations.ring(|calls| calls.look = true);
    }

    /// Whether it has to [`catch_up`](Self::catch_up) before it takes commands.
    pub(crate) fn is_behind(&self) -> bool {
        self.lane.dead.is_some() || !self.generations.is_current(&self.lane.association)
    }

    /// Goes over to the present association, or to another connection of it where this one was lost alone. Waits
    /// for that, and does nothing while commands are outstanding.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        if self.outstanding() > 0 || !self.is_behind() {
            return Ok(());
        }
        if self.generations.is_current(&self.lane.association) {
            // Where it is lost, there is no other association yet.
            self.lane.association.death().map_or(Ok(()), Err)?;
        }
        self.lane = Lane::open(&self.generations)?;
        Ok(())
    }

    /// Submits to the association as it is: nothing is waited for.
    pub(crate) fn submit_here(
        &mut self,
        name: &'static str,
        sqe: Sqe,
        loan: Loan,
        cookie: u64,
    ) -> Result<(), Rejected> {
        let timeout = self.generations.connector.options().timeout;
        self.lane.submit(name, &sqe, loan, cookie, timeout)
    }

    /// Ends its connection: the next [`poll`](Self::poll) completes what is outstanding with this error.
    pub(crate) fn fail(&mut self, error: Error) {
        self.lane.fail(error);
    }
}
