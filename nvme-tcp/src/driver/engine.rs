//! One queue's core, its memory and its socket, put together: what the shared and the owned queue both are.

mod ahead;

use std::io::IoSliceMut;
use std::sync::Arc;
use std::time::Instant;

use super::bell::Bell;
use super::loan::{Loan, Place};
use super::transport::Wait;
#[cfg(feature = "io-uring")]
use super::uring::Uring;
use super::wire::{IN_PLACE_MIN, Intake, MAX_PLACES, Outlet, Received};
#[cfg(feature = "io-uring")]
use super::wire::{MAX_SEGMENTS, gather};
use crate::error::{Error, ErrorKind};
use crate::proto::{CommandId, Completion, Connection, Door, Event, Negotiated, Payload, SubmitError};
use crate::spec::command::Sqe;

/// A command that is done, with the memory that was lent to it.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) completion: Completion,
    pub(crate) loan: Loan,
}

/// How much data has its digests filled in before it is sent, in bytes: it is in the processor's cache then, and the
/// other end has something to do before all is digested.
const DIGEST_AT_ONCE: usize = 512 * 1024;

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Everything is sent.
    Done,
    /// The socket takes no more now.
    Blocked,
}

/// The sending side of a queue and all its state. The receiving end, [`Intake`], stands apart, so that a
/// thread can wait in it while others submit.
#[derive(Debug)]
pub(crate) struct Engine {
    connection: Connection,
    loans: Vec<Loan>,
    /// Where the next data is likely to belong, during a receive; and which receive that is.
    ahead: Vec<Payload>,
    round: u32,
    outlet: Outlet,
    /// How many commands were submitted that no flush has tried to send.
    unsent: usize,
    negotiated: Option<Negotiated>,
    finished: Vec<Finished>,
    /// The socket took no more at the last flush: without it, the transport holds nothing back.
    blocked: bool,
    /// Rung when a key's record budget runs low, and for what the housekeeper must see.
    bell: Arc<Bell>,
    /// One of the keys has come close to its record limit.
    low: bool,
    /// So close that the next association has to begin what comes next.
    nearly_spent: bool,
}

impl Engine {
    pub(crate) fn new(connection: Connection, depth: u32, outlet: Outlet, bell: Arc<Bell>) -> Self {
        let mut loans = Vec::new();
        loans.resize_with(depth as usize, Loan::default);
        let finished = Vec::with_capacity(depth as usize);
        Self {
            connection,
            loans,
            ahead: Vec::new(),
            round: 0,
            unsent: 0,
            outlet,
            negotiated: None,
            finished,
            blocked: false,
            bell,
            low: false,
            nearly_spent: false,
        }
    }

    /// Whether a key of this connection is so close to its record limit that no command is to begin here any more: what
    /// is left is for those that are outstanding.
    pub(crate) fn is_nearly_spent(&self) -> bool {
        self.nearly_spent
    }

    /// What ICReq and ICResp agreed, once they have.
    pub(crate) fn negotiated(&self) -> Option<Negotiated> {
        self.negotiated
    }

    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(crate) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    pub(crate) fn outlet_mut(&mut self) -> &mut Outlet {
        &mut self.outlet
    }

    /// Wakes the housekeeper.
    pub(crate) fn ring(&self) {
        self.bell.ring(|calls| calls.look = true);
    }

    pub(crate) fn room(&self) -> usize {
        self.connection.room()
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.connection.outstanding()
    }

    /// No command that is outstanding has a deadline before this.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.connection.next_deadline()
    }

    /// Whether something is to be sent.
    pub(crate) fn wants_write(&self) -> bool {
        self.blocked || self.connection.wants().write
    }

    /// Queues a command; the name it got.
    pub(crate) fn submit(
        &mut self,
        sqe: &Sqe,
        loan: Loan,
        deadline: Option<Instant>,
    ) -> Result<CommandId, (SubmitError, Loan)> {
        match self.connection.submit(sqe, loan.transfer(), deadline) {
            Ok(id) => {
                self.unsent += 1;
                if let Some(room) = self.loans.get_mut(usize::from(id.slot())) {
                    *room = loan;
                }
                Ok(id)
            }
            Err(error) => Err((error, loan)),
        }
    }

    /// Gives a read up: the memory that was lent to it is its owner's again, and what still comes is thrown
    /// away. The command stays outstanding until its response.
    ///
    /// No thread may be inside [`Intake::receive`] for this queue.
    pub(crate) fn cancel_read(&mut self, id: CommandId) -> Loan {
        self.connection.cancel(id);
        self.loans.get_mut(usize::from(id.slot())).map(std::mem::take).unwrap_or_default()
    }

    /// Whether the controller has no more to do than what is about to be sent.
    fn is_awaited(&mut self) -> bool {
        let unsent = std::mem::take(&mut self.unsent);
        !self.blocked && self.outstanding() <= unsent.saturating_mul(2)
    }

    /// Sends what the socket takes now.
    pub(crate) fn flush(&mut self) -> Result<Flush, Error> {
        // Who waits for answers asks each time.
        if !self.wants_write() {
            debug_assert!(!self.outlet.half().has_pending(), "what is held back has to be flushed");
            return Ok(Flush::Done);
        }
        let awaited = self.is_awaited();
        self.outlet.set_awaited(awaited);
        let loans = &self.loans;
        while self.connection.wants().write {
            let digest = |at: Payload| loans.get(usize::from(at.slot)).map_or(0, |loan| loan.digest(at));
            let outlet = &self.outlet;
            self.connection.fill_next_digests(|len| outlet.digest_at_once(len, DIGEST_AT_ONCE), digest);
            let bytes = |at: Payload| loans.get(usize::from(at.slot)).map_or(&[][..], |loan| loan.bytes(at));
            let sent = self.outlet.send(self.connection.segments(), bytes, Wait::Now)?;
            match sent {
                Some(n) => self.connection.sent(n),
                None => {
                    self.blocked = true;
                    return Ok(Flush::Blocked);
                }
            }
        }
        self.blocked = self.outlet.half().has_pending() && !self.outlet.half_mut().flush(Wait::Now)?;
        self.heed_budget();
        Ok(if self.blocked { Flush::Blocked } else { Flush::Done })
    }

    /// Sends what the socket takes now and, if that is all, receives or waits for at most `limit`, in one system call;
    /// whether anything came. `None` where that is not the way here: what is next goes into place, or the kernel has
    /// the keys.
    #[cfg(feature = "io-uring")]
    pub(crate) fn exchange(
        &mut self,
        intake: &mut Intake,
        uring: &mut Uring,
        limit: std::time::Duration,
    ) -> Result<Option<bool>, Error> {
        let in_place = matches!(self.connection.door(), Door::InPlace(at) if at.len as usize >= IN_PLACE_MIN);
        if in_place || self.blocked {
            return Ok(None);
        }
        let Some(room) = intake.space() else { return Ok(None) };
        let loans = &self.loans;
        let bytes = |at: Payload| loans.get(usize::from(at.slot)).map_or(&[][..], |loan| loan.bytes(at));
        self.connection.fill_digests(|at| loans.get(usize::from(at.slot)).map_or(0, |l| l.digest(at)));
        let (pieces, count) = gather::<MAX_SEGMENTS>(self.connection.segments(), bytes);
        if count == MAX_SEGMENTS {
            // There may be more, which nobody should wait before.
            return Ok(None);
        }
        let all: usize = pieces[..count].iter().map(|piece| piece.len()).sum();
        let Some(exchanged) = self.outlet.half_mut().exchange(uring, &pieces[..count], room, limit)? else {
            return Ok(None);
        };
        self.connection.sent(exchanged.accepted);
        self.unsent = 0;
        self.blocked = exchanged.blocked;
        self.heed_budget();
        self.settle()?;
        if exchanged.accepted < all && !exchanged.blocked {
            // More than is sealed at once: the rest goes as without a ring, and nothing was waited for.
            return Ok(None);
        }
        let Some(received) = exchanged.received else { return Ok(Some(false)) };
        let received = intake.filled(received)?;
        self.received(received, intake)?;
        Ok(Some(received != Received::Nothing))
    }

    /// Tells the housekeeper when the key that seals has come close to its limit.
    fn heed_budget(&mut self) {
        if self.outlet.half_mut().take_budget_alarm() {
            self.budget_is_low();
        }
        if self.low {
            self.nearly_spent |= self.outlet.half().is_nearly_spent();
        }
    }

    fn budget_is_low(&mut self) {
        self.low = true;
        self.bell.ring(|calls| calls.budget_low = true);
    }

    /// Where the next bytes may be received in place, if that pays.
    pub(crate) fn place(&mut self) -> Option<Place> {
        match self.connection.door() {
            Door::InPlace(at) if at.len as usize >= IN_PLACE_MIN => {
                self.loans.get_mut(usize::from(at.slot)).map(|loan| loan.place(at))
            }
            _ => None,
        }
    }

    /// Receives what has come, for an owner of both ends, or waits for it; whether anything had.
    pub(crate) fn receive(&mut self, intake: &mut Intake, wait: Wait) -> Result<bool, Error> {
        let received = match self.connection.door() {
            Door::InPlace(at) if at.len as usize >= IN_PLACE_MIN => {
                match self.loans.get_mut(usize::from(at.slot)) {
                    Some(loan) if loan.is_scattered() => {
                        let mut places: [IoSliceMut<'_>; MAX_PLACES] =
                            std::array::from_fn(|_| IoSliceMut::new(&mut []));
                        let count = loan.places(at, &mut places);
                        intake.receive_scattered(&mut places[..count], at.len as usize, wait)?
                    }
                    loan => intake.receive(loan.map(|loan| loan.bytes_mut(at)), wait)?,
                }
            }
            _ => intake.receive(None, wait)?,
        };
        self.received(received, intake)?;
        Ok(received != Received::Nothing)
    }

    /// Takes what a receive brought.
    pub(crate) fn received(&mut self, received: Received, intake: &mut Intake) -> Result<(), Error> {
        if let Received::InPlace(n) = received {
            self.connection.advance(n);
        }
        if intake.half_mut().take_budget_alarm() {
            self.budget_is_low();
        }
        if self.low {
            self.nearly_spent |= intake.half().is_nearly_spent();
        }
        let bytes = intake.bytes();
        let all = bytes.len();
        self.take(bytes)?;
        intake.consume(all);
        intake.expect_long_data(self.connection.expects_long_data());
        Ok(())
    }

    /// Takes all of `input`, and what happened without it.
    fn take(&mut self, mut input: &[u8]) -> Result<(), Error> {
        while let Some(event) = self.connection.consume(&mut input)? {
            self.handle(event)?;
        }
        Ok(())
    }

    /// Takes events that need no bytes: commands whose last data was just sent.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        while let Some(event) = self.connection.next_event() {
            self.handle(event)?;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event<'_>) -> Result<(), Error> {
        match event {
            Event::Data { to, bytes } => {
                if let Some(loan) = self.loans.get_mut(usize::from(to.slot)) {
                    loan.fill(to, bytes);
                }
            }
            Event::CheckDigest { of, digest } => {
                if self.loans.get(usize::from(of.slot)).is_some_and(|loan| loan.digest(of) != digest) {
                    self.connection.digest_mismatch(of.slot);
                }
            }
            Event::Completed(completion) => self.finish(completion),
            Event::Open(negotiated) => self.negotiated = Some(negotiated),
            // Only reads are given up (`cancel_read`): a write whose data the controller never gets has no end.
            Event::Released(_) => {}
            Event::Terminated(fes, fei) => return Err(ErrorKind::Terminated { fes, fei }.into()),
        }
        Ok(())
    }

    fn finish(&mut self, completion: Completion) {
        let slot = usize::from(completion.command.slot());
        let loan = self.loans.get_mut(slot).map(std::mem::take).unwrap_or_default();
        self.finished.push(Finished { completion, loan });
    }

    /// Whether [`finished`](Self::finished) has any.
    pub(crate) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// How many [`finished`](Self::finished) has.
    pub(crate) fn finished_len(&self) -> usize {
        self.finished.len()
    }

    /// Commands that are done since the last call.
    pub(crate) fn finished(&mut self) -> std::vec::Drain<'_, Finished> {
        self.finished.drain(..)
    }

    /// Ends the connection for good. What was lent is not touched from here on, and is given back: each slot
    /// that was in use, with its loan.
    ///
    /// No thread may be inside [`Intake::receive`] for this queue.
    pub(crate) fn abandon(&mut self) -> Vec<(u16, Loan)> {
        self.outlet.half().shutdown();
        let slots = self.connection.abandon().into_iter().map(CommandId::slot);
        slots
            .map(|slot| (slot, self.loans.get_mut(usize::from(slot)).map(std::mem::take).unwrap_or_default()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;

    use super::*;
    use crate::driver::shared::tests::{answer, ends, ends_of, take};
    use crate::driver::wire::tests::arrived;
    use crate::spec::command::nvm;

    #[test]
    fn the_header_of_the_next_long_data_is_received_without_the_data() {
        const LEN: usize = 40 * 1024;
        let (mut engine, mut intake, mut peer) = ends();
        let socket = TcpStream::from(intake.half().as_fd().try_clone_to_owned().unwrap());
        let mut waiting = vec![0; 2 * LEN];
        for number in 0..2 {
            let read = nvm::read(1, 0, (LEN / 512) as u32 - 1);
            engine.submit(&read, Loan::owned_read(vec![0; LEN]), None).unwrap();
            engine.flush().unwrap();
            let cid = take(&mut peer);
            answer(&mut peer, cid, LEN);
            arrived(&socket, LEN + 48);
            engine.receive(&mut intake, Wait::Block).unwrap();
            let rest = if engine.has_finished() { 0 } else { socket.peek(&mut waiting).unwrap() };
            assert_eq!(rest > LEN - 2048, number > 0, "{rest} bytes wait");
            while !engine.has_finished() {
                engine.receive(&mut intake, Wait::Block).unwrap();
            }
            let finished = engine.finished().next().unwrap();
            assert!(finished.completion.cqe.status().is_success());
            assert!(finished.loan.into_owned().unwrap() == [0xee; LEN]);
        }
    }

    #[test]
    fn a_controller_that_has_no_more_to_do_than_is_sent_waits_for_it() {
        let (mut engine, _intake, _peer) = ends_of(8);
        let mut is_awaited = |count| {
            for _ in 0..count {
                engine.submit(&nvm::read(1, 0, 0), Loan::owned_read(vec![0; 512]), None).unwrap();
            }
            engine.flush().unwrap();
            engine.outlet.digest_at_once(512, 0) > 0
        };
        // 2 of 2, 1 of 3, 4 of 7, 1 of 8.
        assert_eq!([2, 1, 4, 1].map(&mut is_awaited), [true, false, true, false]);
    }
}
