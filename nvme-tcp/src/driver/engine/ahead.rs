//! Receiving data where it belongs before its header is here.

use super::Engine;
use crate::driver::loan::Lender;
use crate::driver::transport::Wait;
use crate::driver::wire::ahead::{MAX_AHEAD, MOST_AHEAD};
use crate::driver::wire::{Intake, Received};
use crate::error::Error;
use crate::proto::{Foreseen, Gaps, Payload};
use crate::spec::pdu::DATA_HEADER_LEN;

impl Engine {
    /// As [`receive`](Self::receive), but where data is likely to belong before its header is here, as the core foresees it:
    /// for who waits for many reads.
    pub(crate) fn receive_foreseeing(&mut self, intake: &mut Intake, wait: Wait) -> Result<bool, Error> {
        if self.connection.may_foresee() {
            if let Some(came) = self.receive_ahead(intake, wait)? {
                return Ok(came);
            }
        }
        self.receive(intake, wait)
    }

    /// `None` where nothing is foreseen, or has no place.
    ///
    /// What was foreseen wrongly is put in line, and taken as if it had been received so. Until its own bytes come, the
    /// memory of a command then holds those of another one.
    #[inline(never)]
    fn receive_ahead(&mut self, intake: &mut Intake, wait: Wait) -> Result<Option<bool>, Error> {
        if !intake.may_receive_ahead() {
            return Ok(None);
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.clear();
        let gaps = self.connection.foresee(&mut ahead, MAX_AHEAD, MOST_AHEAD);
        let came = self.receive_places(&ahead, gaps, intake, wait);
        self.ahead = ahead;
        came
    }

    fn receive_places(
        &mut self,
        ahead: &[Payload],
        gaps: Gaps,
        intake: &mut Intake,
        wait: Wait,
    ) -> Result<Option<bool>, Error> {
        let Some((first, others)) = ahead.split_first() else { return Ok(None) };
        self.round = self.round.wrapping_add(1);
        let mut lender = Lender::new(&mut self.loans, self.round);
        let Some(first) = lender.place(*first) else {
            self.connection.came_as_foreseen(false);
            return Ok(None);
        };
        let mut lent = 1;
        let others = others.iter().map_while(|at| lender.place(*at)).inspect(|_| lent += 1);
        let received = intake.receive_ahead([first].into_iter().chain(others), ahead.len(), gaps, wait)?;
        let Some(received) = received else {
            self.received(Received::Nothing, intake)?;
            return Ok(Some(false));
        };
        let right = self.take_ahead(&ahead[..lent], gaps, received, intake)?;
        if let Some(right) = right {
            self.connection.came_as_foreseen(right && lent == ahead.len());
        }
        self.received(Received::Buffered, intake)?;
        Ok(Some(true))
    }

    /// Takes what of the `left` received bytes is as foreseen, and leaves the others to `intake`; whether all
    /// headers were, if any was here.
    fn take_ahead(
        &mut self,
        ahead: &[Payload],
        gaps: Gaps,
        mut left: usize,
        intake: &mut Intake,
    ) -> Result<Option<bool>, Error> {
        let mut right = None;
        for (index, at) in ahead.iter().enumerate() {
            let len = at.len as usize;
            if gaps.before(index) == 0 {
                self.connection.advance(left.min(len));
                self.settle()?;
                left -= left.min(len);
                continue;
            }
            if left == 0 {
                return Ok(right);
            }
            let gap = intake.gap_ahead(index, gaps.before(index).min(left));
            let response = gaps.before(index) - DATA_HEADER_LEN;
            let (mut taken, mut other) = (0, false);
            if let Some(capsule) = gap.get(..response).filter(|capsule| !capsule.is_empty()) {
                other = !self.connection.is_foreseen_response(capsule);
                if !other {
                    self.take(capsule)?;
                    taken = response;
                    left -= response;
                }
            }
            let here = left.saturating_sub(DATA_HEADER_LEN).min(len);
            let header = gap.get(response..).and_then(<[u8]>::first_chunk);
            let take = |header| self.connection.take_foreseen(header, *at, here);
            let foreseen = if other { Some(Foreseen::Another) } else { header.map(take) };
            match foreseen {
                Some(Foreseen::Completed(completion)) => self.finish(completion),
                Some(Foreseen::Begun) => {}
                Some(Foreseen::Another) | None => {
                    let loan =
                        |at: &Payload| self.loans.get(usize::from(at.slot)).map(|loan| loan.bytes(*at));
                    let places = ahead[index..].iter().map(|at| loan(at).unwrap_or_default());
                    debug_assert!(
                        places.clone().zip(&ahead[index..]).all(|(place, at)| place.len() == at.len as usize)
                    );
                    intake.put_in_line(places, gaps, (index, taken), left);
                    return Ok(foreseen.map(|_| false).or(right));
                }
            }
            left -= DATA_HEADER_LEN + here;
            right = Some(true);
        }
        intake.take_behind(left);
        Ok(right)
    }
}
