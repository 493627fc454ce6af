//! How many records one key may seal or open.

use crate::error::Error;
use crate::event::{Event, Flow};

/// The limit of AES-GCM: about 2^24.5 records of full size for each key (RFC 8446, section 5.5).
pub const DEFAULT_LIMIT: u64 = 23_726_566;
/// The records at which [`Event::BudgetLow`] comes: 7/8 of [`DEFAULT_LIMIT`].
pub const DEFAULT_ALARM: u64 = DEFAULT_LIMIT / 8 * 7;

/// How far the key of one direction has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Records so far. Where the kernel seals or opens, they are asked for now and then, so this may
    /// be an earlier figure; it is never too old for the alarm and the limit.
    pub used: u64,
    /// Records at which [`Event::BudgetLow`] is raised.
    pub alarm: u64,
    /// Records at which the direction refuses to go on.
    pub limit: u64,
}

impl Budget {
    /// Records at which three quarters of what lies between alarm and limit are used.
    fn last_quarter(&self) -> u64 {
        self.limit - self.limit.saturating_sub(self.alarm) / 4
    }

    /// Whether three quarters of what lies between [`alarm`](Self::alarm) and [`limit`](Self::limit) are used: time to
    /// begin nothing more under this key.
    pub fn is_nearly_spent(&self) -> bool {
        self.used >= self.last_quarter()
    }
}

/// Counts the records of one key against its budget.
#[derive(Debug)]
pub struct Meter {
    direction: Flow,
    budget: Budget,
    raised: bool,
    event: Option<Event>,
}

impl Meter {
    /// A meter for a key that was not used yet. An alarm above the limit comes at the limit.
    pub fn new(direction: Flow, alarm: u64, limit: u64) -> Self {
        let budget = Budget { used: 0, alarm: alarm.min(limit), limit };
        Self { direction, budget, raised: false, event: None }
    }

    /// Where it stands.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Whether it raised an event since the last call of [`take_event`](Self::take_event).
    #[inline]
    pub fn has_event(&self) -> bool {
        self.event.is_some()
    }

    /// The event that it raised since the last call.
    #[inline]
    pub fn take_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// Refuses once the limit is reached (RFC 8446, section 5.5).
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`].
    pub fn check(&self) -> Result<(), Error> {
        let Budget { used, limit, .. } = self.budget;
        if used >= limit {
            return Err(Error::BudgetExhausted { direction: self.direction, limit });
        }
        Ok(())
    }

    /// Notes that the key was used for `used` records altogether.
    pub fn set(&mut self, used: u64) {
        self.budget.used = used;
        if used >= self.budget.alarm && !self.raised {
            self.raised = true;
            let Budget { limit, .. } = self.budget;
            self.event = Some(Event::BudgetLow { direction: self.direction, used, limit });
        }
    }

    /// Starts again with a new key.
    pub fn reset(&mut self) {
        self.budget.used = 0;
        self.raised = false;
    }

    /// The next count that means something: the alarm, after it the last quarter before the limit, and then that.
    pub(crate) fn next_mark(&self) -> u64 {
        match self.budget {
            Budget { alarm, .. } if !self.raised => alarm,
            budget if !budget.is_nearly_spent() => budget.last_quarter(),
            Budget { limit, .. } => limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raises_its_alarm_once_for_each_key() {
        let mut meter = Meter::new(Flow::Send, 3, 5);
        meter.set(2);
        assert_eq!(meter.take_event(), None);
        meter.set(3);
        let event = Event::BudgetLow { direction: Flow::Send, used: 3, limit: 5 };
        assert_eq!(meter.take_event(), Some(event));
        meter.set(4);
        assert_eq!(meter.take_event(), None);
        assert!(meter.check().is_ok());
        meter.set(5);
        assert!(matches!(meter.check(), Err(Error::BudgetExhausted { limit: 5, .. })));
        meter.reset();
        assert!(meter.check().is_ok());
        meter.set(4);
        assert!(meter.take_event().is_some());
    }

    #[test]
    fn the_last_quarter_between_alarm_and_limit_is_told() {
        let mut meter = Meter::new(Flow::Send, 1000, 2000);
        for (used, next, nearly_spent) in [
            (0, 1000, false),
            (1000, 1750, false),
            (1749, 1750, false),
            (1750, 2000, true),
            (2000, 2000, true),
        ] {
            meter.set(used);
            assert_eq!((meter.next_mark(), meter.budget().is_nearly_spent()), (next, nearly_spent), "{used}");
        }
        // Without anything between them it is the limit itself.
        let mut meter = Meter::new(Flow::Send, 5, 5);
        meter.set(4);
        assert!(!meter.budget().is_nearly_spent());
    }

    #[test]
    fn an_alarm_above_the_limit_comes_at_the_limit() {
        let mut meter = Meter::new(Flow::Receive, 9, 5);
        meter.set(5);
        assert!(meter.take_event().is_some());
    }

    #[test]
    fn the_default_is_the_standard_s() {
        assert_eq!(DEFAULT_LIMIT, 2f64.powf(24.5).floor() as u64);
    }
}
