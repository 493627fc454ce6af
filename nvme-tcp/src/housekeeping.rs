//! The one thread of a controller: keep-alives, draining associations, record budgets.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::association::{Association, check};
use crate::driver::shared::{Buffer, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::proto::{KeepAlive, KeepAliveAction};
use crate::spec::command::admin;

/// The longest rest: by then an association that has drained is shut down.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// How long to wait after a next association did not come up.
const REPLACE_AGAIN: Duration = Duration::from_millis(500);

/// Starts the thread; it ends when the bell says stop.
pub(crate) fn start(generations: Arc<Generations>) -> Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name("nvme-tcp-keep-alive".to_owned());
    builder
        .spawn(move || run(&generations))
        .map_err(|e| Error::invalid(format!("cannot start a thread: {e}")))
}

fn run(generations: &Generations) {
    let mut timers = HashMap::new();
    // When the next association is to be brought up, since a record budget runs low.
    let mut replace_at: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let mut next = replace_at.unwrap_or(now + LONGEST_REST);
        let associations = generations.associations();
        timers.retain(|generation, _| associations.iter().any(|a| a.generation == *generation));
        let draining = associations.len() > 1;
        for association in associations {
            let timer =
                timers.entry(association.generation).or_insert_with(|| timer(generations, &association, now));
            next = next.min(tend(&association, timer, now, generations.connector.options().keep_alive));
        }
        generations.reap();
        if draining {
            // The commands on an old association end without ringing.
            next = next.min(now + Duration::from_millis(50));
        }
        let calls = generations.rest(next.saturating_duration_since(Instant::now()));
        if calls.stop {
            return;
        }
        if calls.budget_low {
            replace_at = Some(Instant::now());
        }
        if replace_at.is_some_and(|at| at <= Instant::now()) {
            // Where no new association comes up, the old one serves until its limit, and then says so.
            replace_at = generations.replace().is_err().then(|| Instant::now() + REPLACE_AGAIN);
        }
    }
}

fn timer(generations: &Generations, association: &Association, now: Instant) -> KeepAlive {
    let traits = &association.traits;
    let kato = if traits.keep_alive { generations.connector.options().keep_alive } else { Duration::ZERO };
    KeepAlive::new(kato, traits.traffic_based_keep_alive, now)
}

/// Sends a keep-alive if one is due; says when to look again. A lost association is closed.
fn tend(association: &Association, timer: &mut KeepAlive, now: Instant, kato: Duration) -> Instant {
    if let Some(error) = association.death() {
        association.close(&error);
        return now + LONGEST_REST;
    }
    if association.take_traffic() {
        timer.traffic();
    }
    match timer.poll(now) {
        KeepAliveAction::Wait(until) => until,
        KeepAliveAction::Send => {
            timer.sent(now);
            let request = Request { sqe: admin::keep_alive(), buffer: Buffer::None };
            let done = |cqe: &_, fault| check("Keep Alive", cqe, fault);
            match association.admin.execute_within(kato, request, done) {
                Ok(()) => timer.answered(),
                // Nothing else has so short a limit.
                Err(error) if matches!(error.kind(), ErrorKind::Timeout { .. }) => {
                    return lost(association, kato);
                }
                Err(error) => association.close(&error),
            }
            Instant::now()
        }
        KeepAliveAction::Lost => lost(association, kato),
    }
}

fn lost(association: &Association, kato: Duration) -> Instant {
    association.close(&ErrorKind::Timeout { what: "Keep Alive", after: kato }.into());
    Instant::now() + LONGEST_REST
}
