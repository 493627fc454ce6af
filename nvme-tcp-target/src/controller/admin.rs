//! Admin commands (Base, section 5).

use std::time::Duration;

use nvme_tcp::spec::command::{Sqe, admin};
use nvme_tcp::spec::completion::Status;

use super::{Answer, Controller, keep_alive};
use crate::hub::{Config, Hub};

/// What becomes of an admin command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is answered.
    Answer(Answer),
    /// It is answered with this data.
    Data(Vec<u8>),
    /// It is an Asynchronous Event Request: it is answered when there is an event.
    Hold,
    /// It is an Abort of this command on the admin queue.
    Abort(u16),
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// CDW11 of Set Features (Volatile Write Cache): the cache is on.
const WRITE_CACHE_ENABLED: u32 = 1;
/// DW0 of Abort: the command was not aborted.
pub(crate) const NOT_ABORTED: u64 = 1;

impl Controller {
    /// Carries out a command that is no Fabrics command; `local` is the address the host reached.
    pub(crate) fn admin(&self, sqe: &Sqe, hub: &Hub, local: Option<std::net::IpAddr>) -> Outcome {
        let config = &hub.config;
        if sqe.opcode == admin::KEEP_ALIVE {
            return Answer::SUCCESS.into();
        }
        if !self.is_ready() {
            return Answer::refused(Status::COMMAND_SEQUENCE_ERROR).into();
        }
        let data = match sqe.opcode {
            admin::IDENTIFY => self.identify(sqe, config),
            admin::GET_LOG_PAGE => self.log_page(sqe, hub, local),
            admin::SET_FEATURES => return self.set_features(sqe, config).into(),
            admin::GET_FEATURES => return self.get_features(sqe, config).into(),
            admin::ASYNC_EVENT_REQUEST => return Outcome::Hold,
            admin::ABORT if sqe.get_cdw(10) as u16 == 0 => {
                return Outcome::Abort((sqe.get_cdw(10) >> 16) as u16);
            }
            // A command on an I/O queue is done, or will be before an abort could reach it.
            admin::ABORT => return Answer::result(NOT_ABORTED).into(),
            _ => Err(Status::INVALID_OPCODE),
        };
        match data {
            // The host says twice how much it wants, and must mean the same.
            Ok(data) if data.len() as u64 != u64::from(sqe.sgl.length.get()) => {
                Answer::refused(Status::SGL_LENGTH_INVALID).into()
            }
            Ok(data) => Outcome::Data(data),
            Err(status) => Answer::refused(status).into(),
        }
    }

    fn set_features(&self, sqe: &Sqe, config: &Config) -> Answer {
        let value = sqe.get_cdw(11);
        let save = sqe.get_cdw(10) & 1 << 31 != 0;
        if save {
            return Answer::refused(Status::FEATURE_NOT_SAVEABLE);
        }
        let is_io = self.subsystem.is_some();
        let mut state = self.lock();
        match sqe.get_cdw(10) as u8 {
            admin::FEATURE_NUMBER_OF_QUEUES if is_io => {
                let (submission, completion) = (value & 0xffff, value >> 16);
                if submission == 0xffff || completion == 0xffff {
                    return Answer::refused(Status::INVALID_FIELD);
                }
                if state.queues.len() > 1 {
                    return Answer::refused(Status::COMMAND_SEQUENCE_ERROR);
                }
                let wanted = submission.min(completion) + 1;
                state.granted = wanted.min(config.io_queues.into()) as u16;
                queues(state.granted)
            }
            admin::FEATURE_ASYNC_EVENTS => {
                state.events.enabled = value;
                Answer::SUCCESS
            }
            admin::FEATURE_KEEP_ALIVE => {
                state.kato = keep_alive(value);
                kato(state.kato)
            }
            admin::FEATURE_WRITE_CACHE if is_io && value & WRITE_CACHE_ENABLED != 0 => Answer::SUCCESS,
            admin::FEATURE_WRITE_CACHE if is_io => Answer::refused(Status::FEATURE_NOT_CHANGEABLE),
            _ => Answer::refused(Status::INVALID_FIELD),
        }
    }

    fn get_features(&self, sqe: &Sqe, config: &Config) -> Answer {
        let is_io = self.subsystem.is_some();
        let state = self.lock();
        match sqe.get_cdw(10) as u8 {
            admin::FEATURE_NUMBER_OF_QUEUES if is_io => queues(state.granted.min(config.io_queues)),
            admin::FEATURE_ASYNC_EVENTS => Answer::result(state.events.enabled.into()),
            admin::FEATURE_KEEP_ALIVE => kato(state.kato),
            admin::FEATURE_WRITE_CACHE if is_io => Answer::result(WRITE_CACHE_ENABLED.into()),
            _ => Answer::refused(Status::INVALID_FIELD),
        }
    }
}

/// Both numbers of queues, 0-based.
fn queues(count: u16) -> Answer {
    let n = u64::from(count.saturating_sub(1));
    Answer::result(n | n << 16)
}

fn kato(kato: Duration) -> Answer {
    Answer::result(kato.as_millis() as u64)
}
