//! What the host does about what arrives.

use std::time::Duration;

use super::*;

impl World {
    /// What has arrived is dealt with.
    pub(super) fn hear(&mut self) {
        for queue in 0..2 {
            let Some(association) = &mut self.association else { return };
            let wire = if queue == 0 { Some(&mut association.admin) } else { association.io.as_mut() };
            let heard = wire.map(|wire| wire.turn(self.now, &mut self.random)).unwrap_or_default();
            for heard in heard {
                let lives = match heard {
                    Heard::Open => self.opened(queue),
                    Heard::Over => false,
                    Heard::Completed(completion, data) => self.completed(queue, &completion, &data),
                };
                if !lives {
                    return self.lose();
                }
            }
        }
        let waits = |a: &Association| matches!(&a.stage, Stage::Admin(_, Some(at)) if *at <= self.now);
        if self.association.as_ref().is_some_and(waits) && !self.bring_up() {
            self.lose();
        }
    }

    fn opened(&mut self, queue: usize) -> bool {
        if queue == 0 {
            return self.bring_up();
        }
        let deadline = self.now + TIMEOUT;
        let Some(association) = &mut self.association else { return false };
        let (Some(traits), Some(io)) = (&association.traits, &mut association.io) else { return false };
        let connect = BringUp::connect(&self.settings, 1, traits.io_entries, traits.cntlid).unwrap();
        let slot = io.submit(&connect.sqe, &connect.write, 0, deadline);
        association.owners[1].extend(slot.map(|slot| (slot, Owner::BringUp)));
        true
    }

    /// The next step of bringing the controller up.
    pub(super) fn bring_up(&mut self) -> bool {
        let Some(association) = &mut self.association else { return false };
        let Stage::Admin(setup, wait) = &mut association.stage else { return true };
        *wait = None;
        match setup.next(self.now) {
            Err(_) => return false,
            Ok(Step::Wait(until)) => *wait = Some(until),
            Ok(Step::Admin(command)) => {
                let (write, read) = (&command.write, command.read as usize);
                let slot = association.admin.submit(&command.sqe, write, read, self.now + TIMEOUT);
                association.owners[0].extend(slot.map(|slot| (slot, Owner::BringUp)));
            }
            Ok(Step::Ready) => {
                let Stage::Admin(setup, _) = std::mem::replace(&mut association.stage, Stage::Io) else {
                    return false;
                };
                association.traits = Some(setup.into_traits());
                association.io = Some(Wire::new(&self.hub, DEPTH as u32));
            }
        }
        true
    }

    /// Whether the association lives on.
    fn completed(&mut self, queue: usize, completion: &Completion, data: &[u8]) -> bool {
        let now = self.now;
        let Some(association) = &mut self.association else { return false };
        let Some(owner) = association.owners[queue].remove(&completion.command.slot()) else { return false };
        let status = completion.cqe.status();
        let request = match (owner, &mut association.stage) {
            (Owner::BringUp, Stage::Admin(setup, _)) => {
                let is_done =
                    completion.fault.is_none() && setup.completed(&completion.cqe, data, now).is_ok();
                return is_done && self.bring_up();
            }
            (Owner::BringUp, stage) => {
                let (Some(traits), Some(io)) = (&association.traits, &mut association.io) else {
                    return false;
                };
                if let Some(host) = &mut io.host {
                    host.set_in_capsule_limit(traits.in_capsule);
                }
                *stage = Stage::Up(KeepAlive::new(KATO, traits.traffic_based_keep_alive, association.since));
                self.recoverer.connected();
                return status.is_success();
            }
            (Owner::KeepAlive, Stage::Up(keep_alive)) => {
                keep_alive.answered();
                return status.is_success();
            }
            (Owner::KeepAlive, _) => return false,
            (Owner::Request(request), Stage::Up(keep_alive)) => {
                keep_alive.traffic();
                request
            }
            (Owner::Request(_), _) => return false,
        };
        let delays = association.traits.as_ref().map(|traits| traits.retry_delays).unwrap_or_default();
        self.ended(request, completion, data, delays);
        true
    }

    /// A request was answered.
    fn ended(&mut self, mut request: Request, completion: &Completion, data: &[u8], delays: [Duration; 3]) {
        let status = completion.cqe.status();
        if !status.is_success() {
            match self.policy.retry_after(status, request.tries, delays) {
                Some(after) => {
                    request.tries += 1;
                    request.state = State::Waiting(self.now + after);
                    self.requests.push(request);
                }
                // It ends with an error; nothing was written, but nobody knows that from the status.
                None => request.write.into_iter().for_each(|id| {
                    self.model.unknown(request.first, request.count, id);
                }),
            }
            return;
        }
        match (request.write, completion.fault) {
            (Some(id), _) => self.model.acknowledged(request.first, request.count, id),
            (None, None) => self.model.check_read(request.first, data),
            // A read whose data was damaged ends with an error.
            (None, Some(_)) => {}
        }
    }
}
