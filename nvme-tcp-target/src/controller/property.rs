//! Controller properties: enable, disable, shut down (Base, section 3.1.4 and 3.5).

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::property::{
    CAP, CC, CC_ENABLE, CC_FOR_FABRICS, CC_SHUTDOWN_MASK, CSTS, CSTS_FATAL, CSTS_READY,
    CSTS_SHUTDOWN_COMPLETE, CSTS_SHUTDOWN_MASK, Capabilities, VS,
};

use super::event::Events;
use super::{Answer, Controller, Queue, State};
use crate::hub::Config;

/// VS: 2.0.
pub(super) const VERSION: u32 = 2 << 16;
/// CAP.TO in 500 ms: it is ready at once.
const READY_TIMEOUT: u8 = 1;
/// What of CC is not for the host to choose: CSS, MPS, AMS, IOSQES and IOCQES.
const CC_FIXED: u32 = 0b111 << 4 | 0b1111 << 7 | 0b111 << 11 | 0xff << 16;

impl Controller {
    /// Property Get.
    pub(crate) fn property_get(&self, sqe: &Sqe, config: &Config) -> Answer {
        let eight_bytes = sqe.get_cdw(10) & 0b111 == 1;
        let state = self.lock();
        match (sqe.get_cdw(11), eight_bytes) {
            (CAP, true) => Answer::result(Capabilities::new(config.queue_entries, READY_TIMEOUT).0),
            (VS, false) => Answer::result(VERSION.into()),
            (CC, false) => Answer::result(state.cc.into()),
            (CSTS, false) => Answer::result(state.csts.into()),
            _ => Answer::refused(Status::INVALID_FIELD),
        }
    }

    /// Property Set.
    pub(crate) fn property_set(&self, sqe: &Sqe) -> Answer {
        let four_bytes = sqe.get_cdw(10) & 0b111 == 0;
        if sqe.get_cdw(11) != CC || !four_bytes {
            return Answer::refused(Status::INVALID_FIELD);
        }
        let running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let shut_down = state.configure(sqe.get_cdw(12));
        self.ready.store(state.is_ready(), Ordering::Release);
        drop(state);
        drop(running);
        if shut_down {
            if let Some(subsystem) = &self.subsystem {
                if let Err(error) = subsystem.flush() {
                    return Answer::refused(super::io::write_status(&error));
                }
            }
        }
        Answer::SUCCESS
    }
}

impl State {
    pub(super) fn is_ready(&self) -> bool {
        self.csts & CSTS_READY != 0
    }

    /// Writes CC; whether it asks for a shutdown.
    fn configure(&mut self, cc: u32) -> bool {
        let was = std::mem::replace(&mut self.cc, cc);
        let risen = |mask| cc & mask != 0 && was & mask == 0;
        if risen(CC_ENABLE) {
            self.csts = if cc & CC_FIXED == CC_FOR_FABRICS { CSTS_READY } else { CSTS_FATAL };
        } else if cc & CC_ENABLE == 0 && was & CC_ENABLE != 0 {
            // A reset: the I/O queues and what was set are gone.
            self.csts &= !(CSTS_READY | CSTS_FATAL);
            self.events = Events::default();
            let admin = self.queues.remove(&0);
            std::mem::take(&mut self.queues).into_values().for_each(Queue::end);
            self.queues.extend(admin.map(|queue| (0, queue)));
        }
        let shut_down = cc & CC_SHUTDOWN_MASK != 0;
        if shut_down {
            self.csts = self.csts & !CSTS_SHUTDOWN_MASK | CSTS_SHUTDOWN_COMPLETE;
        }
        shut_down
    }
}
