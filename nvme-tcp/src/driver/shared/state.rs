//! What a shared queue's lock protects, and what is done under it.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Buffer, Call, Outcome, Owner, Request, State, TICK};
use crate::driver::engine::{Finished, Flush};
use crate::driver::loan::Loan;
use crate::error::{Error, ErrorKind};

impl State {
    pub(super) fn begin_call(&mut self) -> usize {
        let found = self.calls.iter().position(|call| !call.active);
        let index = found.unwrap_or_else(|| {
            self.calls.push(Call {
                active: false,
                waiting: false,
                starved: false,
                outstanding: 0,
                results: VecDeque::new(),
                begun: 0,
                wake: Arc::default(),
            });
            self.calls.len() - 1
        });
        self.calls[index].active = true;
        self.calls[index].begun = 0;
        index
    }

    pub(super) fn end_call(&mut self, call: usize) {
        let ended = &mut self.calls[call];
        ended.active = false;
        ended.waiting = false;
        ended.starved = false;
        ended.results.clear();
        // The role, and the slots that this call had, are free for the others.
        if self.intake.is_some() && !self.wake_one() && self.background.take_parked() {
            self.engine.ring();
        }
    }

    /// Wakes a call that waits; whether there is one.
    fn wake_one(&self) -> bool {
        let waiting = self.calls.iter().find(|call| call.waiting);
        waiting.inspect(|call| call.wake.notify_one()).is_some()
    }

    pub(super) fn submit(
        &mut self,
        call: usize,
        request: Request<'_>,
        timeout: Duration,
    ) -> Result<(), Error> {
        let loan = match request.buffer {
            Buffer::None => Loan::default(),
            // SAFETY: `execute`, which borrows the memory, returns only when the command is done and its loan
            // dropped.
            Buffer::Read(memory) => unsafe { Loan::read_into(memory) },
            // SAFETY: the same.
            Buffer::Write(memory) => unsafe { Loan::write_from(memory) },
        };
        let deadline = Instant::now().checked_add(timeout);
        let id = self
            .engine
            .submit(&request.sqe, loan, deadline)
            .map_err(|(e, _)| Error::invalid(e.to_string()))?;
        let called = &mut self.calls[call];
        self.owners[usize::from(id.slot())] = Some(Owner::Call { call, number: called.begun });
        called.begun += 1;
        called.outstanding += 1;
        called.starved = false;
        Ok(())
    }

    /// How many commands `call` may begin now: it leaves a slot for each call that has none.
    pub(super) fn room_for(&self, call: usize) -> usize {
        let room = self.engine.room().saturating_sub(self.background.reserved());
        if self.calls[call].outstanding == 0 {
            return room;
        }
        room.saturating_sub(self.calls.iter().filter(|call| call.starved).count())
    }

    pub(super) fn flush(&mut self) -> Flush {
        if self.dead.is_some() {
            return Flush::Done;
        }
        match self.engine.flush().and_then(|flush| self.engine.settle().map(|()| flush)) {
            Ok(flush) => {
                self.deliver();
                flush
            }
            Err(error) => {
                self.fail(error);
                Flush::Done
            }
        }
    }

    /// Hands results to their calls.
    pub(super) fn deliver(&mut self) {
        let Self { engine, owners, calls, traffic, background, .. } = self;
        let mut freed = false;
        for Finished { completion, loan } in engine.finished() {
            let owner = owners.get_mut(usize::from(completion.command.slot())).and_then(Option::take);
            let outcome = Ok((completion.cqe, completion.fault));
            match owner {
                Some(Owner::Task(task)) => background.finished(task, outcome, loan),
                Some(Owner::Call { call, number }) => {
                    drop(loan);
                    *traffic = true;
                    freed = true;
                    if let Some(call) = calls.get_mut(call) {
                        call.finish(number, outcome);
                    }
                }
                None => {}
            }
        }
        if freed {
            // Calls that got no slot yet.
            for call in calls.iter().filter(|call| call.waiting && call.outstanding == 0) {
                call.wake.notify_one();
            }
        }
        if self.background.must_tell() {
            self.engine.ring();
        }
    }

    /// Looks at the deadlines when nothing came, and at every [`TICK`] when something always does.
    pub(super) fn check_deadlines(&mut self, timeout: Duration, idle: bool) -> Result<(), Error> {
        let now = Instant::now();
        if !idle && now < self.looked + TICK.min(timeout) {
            return Ok(());
        }
        self.looked = now;
        match self.engine.connection_mut().expired(now) {
            Some(_) => Err(ErrorKind::Timeout { what: "a command", after: timeout }.into()),
            None => Ok(()),
        }
    }

    pub(super) fn fail(&mut self, error: Error) {
        if self.dead.is_none() {
            // A TermReq may be waiting to tell the controller why; the connection ends either way.
            drop(self.engine.flush());
            self.dead = Some(error);
            self.engine.ring();
            // With TLS an end without it is a truncation to the controller.
            self.engine.outlet_mut().half_mut().close_notify();
        }
        self.engine.outlet().half().shutdown();
        if self.intake.is_some() {
            self.settle_dead();
        }
    }

    /// Fails what is outstanding on a dead queue. Only with the receiving role free: whoever has it may be
    /// receiving into the memory.
    pub(super) fn settle_dead(&mut self) {
        let Some(error) = self.dead.clone() else { return };
        self.deliver();
        let Self { engine, owners, calls, background, .. } = self;
        for (slot, loan) in engine.abandon() {
            match owners.get_mut(usize::from(slot)).and_then(Option::take) {
                Some(Owner::Task(task)) => background.finished(task, Err(error.clone()), loan),
                Some(Owner::Call { call, number }) => {
                    drop(loan);
                    if let Some(call) = calls.get_mut(call) {
                        call.finish(number, Err(error.clone()));
                    }
                }
                None => {}
            }
        }
        for call in calls {
            // No slot has a loan any more. A panic halfway through a delivery may have left a count behind.
            while call.outstanding > 0 {
                call.finish(call.begun, Err(error.clone()));
            }
            call.wake.notify_one();
        }
        if self.background.must_tell() {
            self.engine.ring();
        }
    }
}

impl Call {
    fn finish(&mut self, number: usize, outcome: Outcome) {
        self.outstanding -= 1;
        self.results.push_back((number, outcome));
        if self.waiting {
            self.wake.notify_one();
        }
    }
}
