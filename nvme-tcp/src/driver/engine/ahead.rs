//! Receiving data where it belongs before its header is here.

use super::Engine;
use crate::driver::loan::Lender;
use crate::driver::transport::Wait;
use crate::driver::wire::ahead::{MAX_AHEAD, MOST_AHEAD};
use crate::driver::wire::{Intake, Received};
use crate::error::Error;
use crate::proto::{Door, Payload};
use crate::spec::pdu::DATA_HEADER_LEN;

impl Engine {
    /// Receives as the core foresees it, or waits; whether anything had come. `None` where nothing is foreseen.
    ///
    /// What was foreseen wrongly is put in line, and taken as if it had been received so. Until its own bytes come, the
    /// memory of a command then holds those of another one.
    #[inline(never)]
    pub(super) fn receive_ahead(&mut self, intake: &mut Intake, wait: Wait) -> Result<Option<bool>, Error> {
        if intake.half().opens_in_process() {
            return Ok(None);
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.clear();
        self.connection.foresee(&mut ahead, MAX_AHEAD, MOST_AHEAD);
        let came = match &ahead[..] {
            [] => Ok(None),
            ahead => self.receive_foreseen(ahead, intake, wait).map(Some),
        };
        self.ahead = ahead;
        came
    }

    fn receive_foreseen(
        &mut self,
        ahead: &[Payload],
        intake: &mut Intake,
        wait: Wait,
    ) -> Result<bool, Error> {
        let begun = matches!(self.connection.door(), Door::InPlace(_));
        self.round = self.round.wrapping_add(1);
        let mut lender = Lender::new(&mut self.loans, self.round);
        let mut lent = 0;
        let places = ahead.iter().map_while(|at| lender.place(*at)).inspect(|_| lent += 1);
        let Some(received) = intake.receive_ahead(places, ahead.len(), begun, wait)? else {
            return Ok(false);
        };
        let wrong = self.take_ahead(&ahead[..lent], begun, received, intake);
        // Memory in pieces is nothing for this way.
        self.connection.came_as_foreseen(!wrong && lent == ahead.len());
        self.received(Received::Buffered, intake)?;
        Ok(true)
    }

    /// Takes what of the `left` received bytes is as foreseen, and leaves the others to `intake`; whether some were wrong.
    fn take_ahead(&mut self, ahead: &[Payload], begun: bool, mut left: usize, intake: &mut Intake) -> bool {
        for (index, at) in ahead.iter().enumerate() {
            if left == 0 {
                return false;
            }
            if index > 0 || !begun {
                let header = intake.header_ahead(index, left);
                let taken = header.map(|header| self.connection.take_foreseen(header, *at));
                if taken != Some(true) {
                    let loan =
                        |at: &Payload| self.loans.get(usize::from(at.slot)).map(|loan| loan.bytes(*at));
                    let places = ahead[index..].iter().map(|at| loan(at).unwrap_or_default());
                    intake.put_in_line(places, index, left);
                    return taken.is_some();
                }
                left -= DATA_HEADER_LEN;
            }
            let n = left.min(at.len as usize);
            self.connection.advance(n);
            left -= n;
        }
        intake.take_behind(left);
        false
    }
}
