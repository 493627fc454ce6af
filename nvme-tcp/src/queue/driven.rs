//! What a driver needs of a queue that must never wait in a call.

use std::sync::Arc;

use super::lane::Lane;
use super::{Queue, Rejected};
use crate::association::Association;
use crate::driver::Loan;
use crate::error::Error;
use crate::generations::Generations;
use crate::spec::command::Sqe;

impl Queue {
    /// The association that its commands go to.
    pub(crate) fn association(&self) -> &Arc<Association> {
        &self.lane.association
    }

    /// The associations that it follows.
    pub(crate) fn generations(&self) -> &Arc<Generations> {
        &self.generations
    }

    /// Why its connection is lost.
    pub(crate) fn death(&self) -> Option<&Error> {
        self.lane.dead.as_ref()
    }

    /// Wakes the housekeeper.
    pub(crate) fn ring(&self) {
        self.generations.ring(|calls| calls.look = true);
    }

    /// Goes over to the present association, or to another connection of it where this one was lost alone. Waits
    /// for that, and does nothing while commands are outstanding.
    ///
    /// An error comes with the association that it is about. Where lost ones are brought up again, one that takes no
    /// connection is lost.
    pub(crate) fn catch_up(&mut self) -> Result<(), (Arc<Association>, Error)> {
        if self.outstanding() > 0 || !self.is_left() {
            return Ok(());
        }
        let association = self.generations.current();
        if let Some(death) = association.death() {
            // There is no other yet.
            return Err((association, death));
        }
        // Its queue ID is free again for the next.
        self.lane.close();
        match Lane::open(&self.generations) {
            Ok(lane) => {
                self.lane = lane;
                Ok(())
            }
            Err(error) => {
                self.generations.takes_no_connection(&association, &error);
                Err((association, error))
            }
        }
    }

    /// Submits to the association as it is: nothing is waited for.
    pub(crate) fn submit_here(
        &mut self,
        name: &'static str,
        sqe: Sqe,
        loan: Loan,
        cookie: u64,
    ) -> Result<(), Rejected> {
        self.lane.submit(name, &sqe, loan, cookie)
    }

    /// Ends its connection: the next [`poll`](Self::poll) completes what is outstanding with this error.
    pub(crate) fn fail(&mut self, error: Error) {
        self.lane.fail(error);
    }
}
