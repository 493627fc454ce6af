//! Shutting a controller down in good order (Base, section 3.6.1).

use std::time::{Duration, Instant};

use crate::spec::command::{Sqe, fabrics};
use crate::spec::completion::Cqe;
use crate::spec::property;

/// What to do next.
#[derive(Clone, Debug)]
pub enum ShutdownStep {
    /// Send this on the admin queue, and tell [`Shutdown::completed`].
    Admin(Sqe),
    /// Nothing before this time, unless a completion comes.
    Wait(Instant),
    /// The connections can be closed.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ReadCc,
    WriteCc(u32),
    ReadCsts,
    Done,
}

/// How often CSTS is read meanwhile.
const POLL: Duration = Duration::from_millis(10);

/// A shutdown of one controller, without I/O:
///
/// ```text
/// read CC > CC.SHN = 01b > read CSTS --SHST=10b--> Done
///                            ^  10 ms  |
///                            +---------+        (Done in any state once the time is over, or a command fails)
/// ```
#[derive(Debug)]
pub struct Shutdown {
    state: State,
    until: Instant,
    poll_at: Option<Instant>,
    asked: bool,
}

impl Shutdown {
    /// A shutdown that is given `limit` from `now` on.
    pub fn new(now: Instant, limit: Duration) -> Self {
        Self { state: State::ReadCc, until: now + limit, poll_at: None, asked: false }
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant) -> ShutdownStep {
        if now >= self.until {
            self.state = State::Done;
        }
        let sqe = match self.state {
            State::Done => return ShutdownStep::Done,
            _ if self.asked => return ShutdownStep::Wait(self.until),
            State::ReadCc => fabrics::property_get(property::CC, false),
            State::WriteCc(cc) => fabrics::property_set(property::CC, cc),
            State::ReadCsts => {
                if let Some(at) = self.poll_at.filter(|at| now < *at) {
                    return ShutdownStep::Wait(at.min(self.until));
                }
                fabrics::property_get(property::CSTS, false)
            }
        };
        self.asked = true;
        ShutdownStep::Admin(sqe)
    }

    /// The command is done; `None` where it got no answer.
    pub fn completed(&mut self, cqe: Option<&Cqe>, now: Instant) {
        self.asked = false;
        let Some(cqe) = cqe.filter(|cqe| cqe.status().is_success()) else {
            // The connections end whatever the controller says of it.
            self.state = State::Done;
            return;
        };
        let dw0 = cqe.dw0();
        self.state = match self.state {
            State::ReadCc => State::WriteCc(dw0 & !property::CC_SHUTDOWN_MASK | property::CC_SHUTDOWN_NORMAL),
            State::WriteCc(_) => State::ReadCsts,
            State::ReadCsts if dw0 & property::CSTS_SHUTDOWN_MASK == property::CSTS_SHUTDOWN_COMPLETE => {
                State::Done
            }
            State::ReadCsts => {
                self.poll_at = Some(now + POLL);
                State::ReadCsts
            }
            State::Done => State::Done,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::completion::Status;

    const LIMIT: Duration = Duration::from_secs(5);

    fn answer(result: u32) -> Cqe {
        Cqe::new(0, Status::SUCCESS, result.into())
    }

    #[test]
    fn asks_until_the_controller_says_that_it_is_done() {
        let start = Instant::now();
        let mut shutdown = Shutdown::new(start, LIMIT);
        assert!(matches!(shutdown.next(start), ShutdownStep::Admin(_)));
        assert!(matches!(shutdown.next(start), ShutdownStep::Wait(_)), "one command at a time");
        shutdown.completed(Some(&answer(0x0046_0001)), start);
        let ShutdownStep::Admin(set) = shutdown.next(start) else { panic!("CC is to be set") };
        assert_eq!(set.get_cdw(12), 0x0046_4001);
        shutdown.completed(Some(&answer(0)), start);
        assert!(matches!(shutdown.next(start), ShutdownStep::Admin(_)));
        shutdown.completed(Some(&answer(1)), start);
        assert!(matches!(shutdown.next(start), ShutdownStep::Wait(at) if at == start + POLL));
        assert!(matches!(shutdown.next(start + POLL), ShutdownStep::Admin(_)));
        shutdown.completed(Some(&answer(property::CSTS_SHUTDOWN_COMPLETE)), start);
        assert!(matches!(shutdown.next(start + POLL), ShutdownStep::Done));
    }

    #[test]
    fn a_controller_that_says_nothing_is_not_waited_for_longer_than_the_limit() {
        let start = Instant::now();
        let mut shutdown = Shutdown::new(start, LIMIT);
        assert!(matches!(shutdown.next(start), ShutdownStep::Admin(_)));
        assert!(matches!(shutdown.next(start), ShutdownStep::Wait(at) if at == start + LIMIT));
        assert!(matches!(shutdown.next(start + LIMIT), ShutdownStep::Done));
    }

    #[test]
    fn a_command_that_fails_is_the_end() {
        let start = Instant::now();
        for failed in [None, Some(Cqe::new(0, Status::INTERNAL_ERROR, 0))] {
            let mut shutdown = Shutdown::new(start, LIMIT);
            shutdown.next(start);
            shutdown.completed(failed.as_ref(), start);
            assert!(matches!(shutdown.next(start), ShutdownStep::Done));
        }
    }
}
