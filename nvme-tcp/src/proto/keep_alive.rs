//! When to send a Keep Alive, and when an association is lost (Base, section 3.9).

use std::time::{Duration, Instant};

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAliveAction {
    /// Send a Keep Alive, and say so with [`KeepAlive::sent`].
    Send,
    /// Nothing before this time.
    Wait(Instant),
    /// The last Keep Alive had no answer within KATO.
    Lost,
}

/// The keep-alive timer of one association.
///
/// ```text
///            due                    answered
///   Resting ------> Send -> Asking ----------> Resting
///      ^  | traffic (TBKAS)   | KATO over
///      +--+                   +-----------> Lost
/// ```
#[derive(Debug)]
pub struct KeepAlive {
    kato: Duration,
    /// With traffic based keep-alive any completed command counts.
    traffic_based: bool,
    state: State,
    traffic: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Resting { since: Instant },
    Asking { since: Instant },
}

impl KeepAlive {
    /// A timer that starts now, at the Connect of the admin queue. With a `kato` of zero it never asks.
    pub fn new(kato: Duration, traffic_based: bool, now: Instant) -> Self {
        Self { kato, traffic_based, state: State::Resting { since: now }, traffic: false }
    }

    /// How long to rest: half of KATO, so that one late Keep Alive loses nothing; a quarter where traffic may
    /// take its place, since the traffic may be from the beginning of the rest.
    fn rest(&self) -> Duration {
        self.kato / if self.traffic_based { 4 } else { 2 }
    }

    /// A command completed.
    pub fn traffic(&mut self) {
        self.traffic = true;
    }

    /// A Keep Alive went out.
    pub fn sent(&mut self, now: Instant) {
        self.state = State::Asking { since: now };
    }

    /// It was answered. The next rest counts from when it was sent, so the round trip is part of it.
    pub fn answered(&mut self) {
        if let State::Asking { since } = self.state {
            self.state = State::Resting { since };
        }
    }

    /// What to do at `now`.
    pub fn poll(&mut self, now: Instant) -> KeepAliveAction {
        if self.kato.is_zero() {
            return KeepAliveAction::Wait(now + Duration::from_secs(3600));
        }
        match self.state {
            State::Asking { since } if now >= since + self.kato => KeepAliveAction::Lost,
            State::Asking { since } => KeepAliveAction::Wait(since + self.kato),
            State::Resting { since } => {
                let due = since + self.rest();
                if now < due {
                    return KeepAliveAction::Wait(due);
                }
                if self.traffic_based && std::mem::take(&mut self.traffic) {
                    self.state = State::Resting { since: now };
                    return KeepAliveAction::Wait(now + self.rest());
                }
                KeepAliveAction::Send
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KATO: Duration = Duration::from_secs(8);

    #[test]
    fn asks_at_half_of_kato_and_counts_from_the_last_question() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(KATO, false, start);
        assert_eq!(timer.poll(start), KeepAliveAction::Wait(start + KATO / 2));
        let asked = start + KATO / 2;
        assert_eq!(timer.poll(asked), KeepAliveAction::Send);
        timer.sent(asked);
        assert_eq!(timer.poll(asked), KeepAliveAction::Wait(asked + KATO));
        timer.answered();
        assert_eq!(timer.poll(asked), KeepAliveAction::Wait(asked + KATO / 2));
    }

    #[test]
    fn traffic_takes_its_place_only_where_the_controller_says_so() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(KATO, true, start);
        timer.traffic();
        let first = start + KATO / 4;
        assert_eq!(timer.poll(first), KeepAliveAction::Wait(first + KATO / 4));
        assert_eq!(timer.poll(first + KATO / 4), KeepAliveAction::Send, "no traffic since");
        let mut plain = KeepAlive::new(KATO, false, start);
        plain.traffic();
        assert_eq!(plain.poll(start + KATO / 2), KeepAliveAction::Send);
    }

    #[test]
    fn no_answer_within_kato_is_the_end() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(KATO, false, start);
        timer.sent(start);
        assert_eq!(timer.poll(start + KATO), KeepAliveAction::Lost);
    }

    #[test]
    fn a_kato_of_zero_never_asks() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Duration::ZERO, false, start);
        let later = start + Duration::from_secs(100_000);
        assert!(matches!(timer.poll(later), KeepAliveAction::Wait(at) if at > later));
    }
}
