//! What to do when an association is lost: when to try again, when to stop holding commands, when to give up.

use std::time::{Duration, Instant};

use crate::spec::command::{Sqe, nvm, reservation};
use crate::spec::completion::Status;

/// When to bring a lost association up again, and what becomes of the commands meanwhile. The defaults follow the
/// Linux host driver (`drivers/nvme/host/fabrics.h`), but for the first attempts, which come sooner.
///
/// ```
/// use std::time::Duration;
/// use nvme_tcp::{Recovery, UnknownWrites};
///
/// // Gives up after a minute, and tells of writes whose fate is not known instead of holding them until they may be
/// // sent again.
/// let recovery = Recovery::default()
///     .controller_loss_timeout(Some(Duration::from_secs(60)))
///     .fast_fail_timeout(Some(Duration::from_secs(5)))
///     .unknown_writes(UnknownWrites::Report);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub(crate) first_delay: Duration,
    pub(crate) reconnect_delay: Duration,
    pub(crate) controller_loss: Option<Duration>,
    pub(crate) fast_fail: Option<Duration>,
    pub(crate) unknown: UnknownWrites,
    pub(crate) assumed_quiesce: Duration,
    pub(crate) retries: u32,
    pub(crate) refusals: bool,
}

/// What becomes of a command that changes something and was outstanding when its association was lost: it may or
/// may not have been carried out, and the old controller may still be about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownWrites {
    /// It is held until the old association is fenced, that is, its controller has noticed that the host is gone and
    /// has stopped working; then it is sent again. Without a keep-alive nothing fences, and it is reported.
    Replay,
    /// It fails with [`ErrorKind::UnknownFate`](crate::ErrorKind::UnknownFate) at once. Its caller must not write to
    /// the same place before the time that the error names is over: the old controller might then overwrite it.
    Report,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(100),
            reconnect_delay: Duration::from_secs(10),
            controller_loss: Some(Duration::from_secs(600)),
            fast_fail: None,
            unknown: UnknownWrites::Replay,
            assumed_quiesce: Duration::ZERO,
            retries: 5,
            refusals: false,
        }
    }
}

impl Recovery {
    /// The first attempt comes after `first`; each that fails doubles the delay, up to `longest`. A quarter is taken
    /// off at random, at most, so that many hosts do not come at once. 100 ms and 10 s by default.
    #[must_use]
    pub fn reconnect_delay(self, first: Duration, longest: Duration) -> Self {
        Self { first_delay: first, reconnect_delay: longest, ..self }
    }

    /// No more attempts after this time without an association, and every command fails; `None` for never.
    /// 600 s by default (the kernel's `ctrl_loss_tmo`).
    #[must_use]
    pub fn controller_loss_timeout(self, limit: Option<Duration>) -> Self {
        Self { controller_loss: limit, ..self }
    }

    /// Commands are held for this time without an association; then they fail, though the attempts go on. `None`,
    /// the default, holds them as long as there are attempts (the kernel's `fast_io_fail_tmo`).
    #[must_use]
    pub fn fast_fail_timeout(self, limit: Option<Duration>) -> Self {
        Self { fast_fail: limit, ..self }
    }

    /// What becomes of writes of unknown fate. [`UnknownWrites::Replay`] by default.
    #[must_use]
    pub fn unknown_writes(self, unknown: UnknownWrites) -> Self {
        Self { unknown, ..self }
    }

    /// How long a controller that does not say so (CQT 0) may go on working after it noticed that the host is gone.
    /// 0 by default.
    #[must_use]
    pub fn assumed_quiesce_time(self, time: Duration) -> Self {
        Self { assumed_quiesce: time, ..self }
    }

    /// How often a command is sent again that failed with a status that allows it (DNR clear), after the delay that
    /// its CRD names. 5 by default (the kernel's `nvme_max_retries`).
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// Whether attempts go on after the controller refused one for good: by a status with DNR, as for a host that it
    /// does not allow (any more), or a subsystem that it does not have (any more). By default they end, as the Linux
    /// host driver's do (`nvmf_should_reconnect`). Where subsystems are taken away and given back while they are in use,
    /// or rights are, they had better go on, until the
    /// [`controller_loss_timeout`](Self::controller_loss_timeout) ends them. A controller whose keep-alive ran out before
    /// all its queues were there has refused nothing for good: attempts go on.
    ///
    /// ```
    /// use nvme_tcp::Recovery;
    ///
    /// let patient = Recovery::default().retry_refusals(true);
    /// # assert_ne!(patient, Recovery::default());
    /// ```
    #[must_use]
    pub fn retry_refusals(self, retry: bool) -> Self {
        Self { refusals: retry, ..self }
    }

    /// Whether no other attempt is made after the controller refused one with this status.
    pub fn is_final(&self, refusal: Status) -> bool {
        refusal.do_not_retry() && !self.refusals
    }

    /// The longest delay before an attempt.
    pub(crate) fn longest_delay(&self) -> Duration {
        self.reconnect_delay
    }

    /// [`controller_loss_timeout`](Self::controller_loss_timeout).
    pub(crate) fn gives_up_after(&self) -> Option<Duration> {
        self.controller_loss
    }

    /// [`fast_fail_timeout`](Self::fast_fail_timeout).
    pub(crate) fn fails_after(&self) -> Option<Duration> {
        self.fast_fail
    }

    /// Its durations, by name.
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        [
            ("the first reconnect delay", Some(self.first_delay)),
            ("the longest reconnect delay", Some(self.reconnect_delay)),
            ("the controller loss timeout", self.controller_loss),
            ("the fast fail timeout", self.fast_fail),
            ("the assumed quiesce time", Some(self.assumed_quiesce)),
        ]
        .into_iter()
        .filter_map(|(name, duration)| Some((name, duration?)))
    }

    /// How long to wait before a command is sent again that failed with `status` for the `tries`-th time, where the
    /// controller's CRDT1 to CRDT3 are `delays`; `None` where it is not. A status allows it that tells of
    /// something passing, in the controller or on the way to it, and has DNR clear.
    pub fn retry_after(&self, status: Status, tries: u32, delays: [Duration; 3]) -> Option<Duration> {
        let passing = TRANSIENT.iter().any(|transient| status.is(*transient));
        let named = usize::from(status.retry_delay()).checked_sub(1).and_then(|n| delays.get(n));
        let again = passing && !status.do_not_retry() && tries < self.retries;
        again.then(|| named.copied().unwrap_or_default())
    }

    /// How long after the loss the old controller has surely stopped working on commands (Base, section 9.6): by then
    /// it has noticed that the host is gone, one `kato` as the controller counts it
    /// ([`ControllerTraits::keep_alive_timeout`](super::ControllerTraits::keep_alive_timeout)) after it last heard of it, or two where traffic counts as
    /// keep-alive and it looks only once in each KATO; and its CQT is over. `None` where there is no keep-alive:
    /// then nothing says when.
    pub fn fence(&self, kato: Duration, traffic_based: bool, quiesce_time: Duration) -> Option<Duration> {
        if kato.is_zero() {
            return None;
        }
        let quiesce = if quiesce_time.is_zero() { self.assumed_quiesce } else { quiesce_time };
        Some(kato * if traffic_based { 2 } else { 1 } + quiesce)
    }
}

/// What becomes of a command that was outstanding when its association was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterLoss {
    /// It is sent again as soon as there is an association, or another path.
    Again,
    /// It is sent again, but not before the old association is fenced, at this time.
    AgainAt(Instant),
    /// Its fate is unknown, and its caller is told so.
    Report,
}

impl Recovery {
    /// What becomes of a command that was outstanding when its association was lost, which is fenced at `fenced`,
    /// where something fences it; `repeatable` as [`is_repeatable`] says.
    pub fn after_loss(&self, repeatable: bool, fenced: Option<Instant>) -> AfterLoss {
        match fenced {
            _ if repeatable => AfterLoss::Again,
            Some(fenced) if self.unknown == UnknownWrites::Replay => AfterLoss::AgainAt(fenced),
            _ => AfterLoss::Report,
        }
    }
}

/// Whether carrying a command out twice, or late, is as good as once: it changes nothing.
pub fn is_repeatable(sqe: &Sqe) -> bool {
    matches!(sqe.opcode, nvm::READ | nvm::FLUSH | nvm::COMPARE | nvm::VERIFY | reservation::REPORT)
}

/// What passes by itself.
const TRANSIENT: [Status; 10] = [
    Status::DATA_TRANSFER_ERROR,
    Status::ABORT_REQUESTED,
    Status::SQ_DELETED,
    Status::COMMAND_INTERRUPTED,
    Status::TRANSIENT_TRANSPORT,
    Status::MEDIA_NOT_READY,
    Status::NAMESPACE_NOT_READY,
    Status::INTERNAL_PATH,
    Status::CONTROLLER_PATH,
    Status::ANA_TRANSITION,
];

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryStep {
    /// Nothing before this time; `None` for nothing at all.
    Wait(Option<Instant>),
    /// Bring up an association now, and tell [`Recoverer::connected`] or [`Recoverer::failed`].
    Connect,
    /// Commands are not held any more; told once.
    FailFast,
    /// It is over: no more attempts.
    GiveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Waiting { until: Instant },
    Connecting,
    Gone,
}

/// The recovery of one controller, without I/O, clock or random source:
///
/// ```text
///         lost                  delay over
///  Live --------> Waiting ---------------------> Connecting --connected--> Live
///                  ^   | controller loss timeout   |  |
///                  |   +-------> Gone <--DNR-------+  |
///                  +-----------------failed-----------+
/// ```
#[derive(Debug)]
pub struct Recoverer {
    policy: Recovery,
    state: State,
    lost_at: Option<Instant>,
    attempts: u32,
    failing_fast: bool,
}

impl Recoverer {
    /// With an association that works.
    pub fn new(policy: Recovery) -> Self {
        Self { policy, state: State::Live, lost_at: None, attempts: 0, failing_fast: false }
    }

    /// The association is lost. `random` is any number, for the jitter. The number of the attempt that follows, and
    /// how long until then; `None` where that was known already.
    pub fn lost(&mut self, now: Instant, random: u32) -> Option<(u32, Duration)> {
        if self.state != State::Live {
            return None;
        }
        self.lost_at = Some(now);
        self.attempts = 0;
        Some(self.schedule(now, random))
    }

    /// What to do at `now`. [`RecoveryStep::Connect`] and [`RecoveryStep::FailFast`] come once each.
    pub fn next(&mut self, now: Instant) -> RecoveryStep {
        let after = |limit: Option<Duration>| Some(self.lost_at? + limit?);
        let (give_up, fail_fast) = (after(self.policy.controller_loss), after(self.policy.fast_fail));
        let fail_fast = fail_fast.filter(|_| !self.failing_fast);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.state {
            State::Live => RecoveryStep::Wait(None),
            State::Gone => RecoveryStep::GiveUp,
            // An attempt that is under way is let end.
            State::Waiting { .. } if due(give_up) => {
                self.state = State::Gone;
                RecoveryStep::GiveUp
            }
            _ if due(fail_fast) => {
                self.failing_fast = true;
                RecoveryStep::FailFast
            }
            State::Waiting { until } if until <= now => {
                self.state = State::Connecting;
                RecoveryStep::Connect
            }
            State::Waiting { until } => {
                RecoveryStep::Wait([Some(until), give_up, fail_fast].into_iter().flatten().min())
            }
            State::Connecting => RecoveryStep::Wait(fail_fast),
        }
    }

    /// An association is up: by the attempt, or because the caller asked for it.
    pub fn connected(&mut self) {
        *self = Self::new(self.policy);
    }

    /// The attempt failed; `for_good` where another would fail in the same way (DNR). As [`lost`](Self::lost),
    /// `None` where there is no other attempt.
    pub fn failed(&mut self, now: Instant, for_good: bool, random: u32) -> Option<(u32, Duration)> {
        if self.state != State::Connecting {
            return None;
        }
        if for_good {
            self.state = State::Gone;
            return None;
        }
        Some(self.schedule(now, random))
    }

    fn schedule(&mut self, now: Instant, random: u32) -> (u32, Duration) {
        let doubled = self.policy.first_delay.saturating_mul(1 << self.attempts.min(20));
        let full = doubled.min(self.policy.reconnect_delay);
        // Up to a quarter less.
        let delay = full - (full / 4).mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.attempts += 1;
        self.state = State::Waiting { until: now + delay };
        (self.attempts, delay)
    }
}
#[cfg(test)]
mod tests;
