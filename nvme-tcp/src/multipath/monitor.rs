//! A path's thread: it connects it where it did not come up at first, and keeps what is known of it.

use std::time::{Duration, Instant};

use super::{Group, Identity, Shared, connect_path};
use crate::controller::Controller;
use crate::error::Result;
use crate::events::{AsyncEvent, Event, NoEvent};
use crate::proto::{Recoverer, RecoveryStep};
use crate::spec::completion::Status;
use crate::spec::log_page::AnaState;

/// How often the log is read of a path whose change state has lasted for too long.
const OVERDUE: Duration = Duration::from_secs(1);

/// Until the subsystem is shut down.
pub(super) fn run(shared: &Shared, path: usize) {
    let Some(entry) = shared.entries.get(path) else { return };
    if entry.link.get().is_none() && !connect(shared, path) {
        return;
    }
    let Some(link) = entry.link.get() else { return };
    let mut looked = Instant::now();
    while !shared.is_ended() {
        let overdue = shared.groups().iter().filter_map(|group| group.next_overdue()).min();
        let event = match overdue.map(|at| at.max(looked + OVERDUE)) {
            None => link.events.recv().ok_or(NoEvent::Ever),
            Some(at) => link.events.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match event {
            _ if shared.is_ended() => return,
            Err(NoEvent::Ever) => return,
            Err(NoEvent::Yet) => {
                looked = Instant::now();
                refresh(shared, path, false);
            }
            Ok(Event::AssociationUp { .. } | Event::Missed(_)) => refresh(shared, path, true),
            Ok(Event::Reported(AsyncEvent::NamespacesChanged(_))) => refresh(shared, path, true),
            Ok(Event::Reported(AsyncEvent::AnaChanged)) => refresh(shared, path, false),
            Ok(Event::AssociationLost { generation, .. }) => {
                each(shared, |group| group.change(|paths| paths.lost(path, generation)));
            }
            Ok(Event::Gone { .. }) => each(shared, |group| group.change(|paths| paths.gone(path))),
            Ok(_) => {}
        }
    }
}

fn each(shared: &Shared, act: impl Fn(&Group)) {
    shared.groups().iter().for_each(|group| act(group));
}

/// Connects a path for the first time; whether it came to that.
fn connect(shared: &Shared, path: usize) -> bool {
    let Some(entry) = shared.entries.get(path) else { return false };
    let mut recoverer = Recoverer::new(entry.options.recovery.unwrap_or_default());
    recoverer.lost(Instant::now(), 0);
    loop {
        match recoverer.next(Instant::now()) {
            RecoveryStep::GiveUp => {
                each(shared, |group| group.change(|paths| paths.gone(path)));
                return false;
            }
            RecoveryStep::FailFast => {}
            RecoveryStep::Wait(until) => {
                if shared.wait_until(until) {
                    return false;
                }
            }
            RecoveryStep::Connect => {
                let connected = connect_path(entry.options.clone());
                let up = connected.is_ok();
                entry.connected(connected);
                if up {
                    refresh(shared, path, true);
                    return true;
                }
                recoverer.failed(Instant::now(), false, 0);
            }
        }
    }
}

/// Reads the ANA log of a path; with `whole`, finds out as well whether it leads to the namespaces that it should
/// lead to, and has it used if so.
pub(super) fn refresh(shared: &Shared, path: usize, whole: bool) {
    let Some(entry) = shared.entries.get(path) else { return };
    let (Some(link), Some(controller)) = (entry.link.get(), entry.controller()) else { return };
    let association = link.generations.current();
    if association.death().is_some() {
        // The next one brings what there is to know.
        return;
    }
    let generation = association.generation;
    drop(association);
    let log = match link.anatt.map(|_| controller.ana_log()) {
        None => None,
        Some(Ok(log)) => Some(log),
        // The next association brings its own.
        Some(Err(_)) => return,
    };
    for group in shared.groups() {
        let now = Instant::now();
        if let (Some(log), Some(anatt)) = (&log, link.anatt) {
            let found = log.groups.iter().find(|found| found.id == group.ana_group);
            let state = found.map_or(AnaState::Inaccessible, |found| found.state);
            group.change(|paths| paths.ana(path, state, now, anatt));
        }
        if whole {
            match leads_there(&controller, &group) {
                Ok(true) => group.change(|paths| paths.up(path, generation)),
                Ok(false) => group.change(|paths| paths.refuse(path)),
                // It is not attached there, or the association is lost again.
                Err(_) => group.change(|paths| paths.lost(path, generation)),
            }
        }
    }
}

/// Whether a controller shows the namespace of a group under its number.
fn leads_there(controller: &Controller, group: &Group) -> Result<bool> {
    let identify = match controller.identify_namespace(group.nsid) {
        Err(error) if error.status().is_some_and(|status| status.is(Status::ANA_INACCESSIBLE)) => {
            return Ok(true);
        }
        identify => identify?,
    };
    Ok(Identity::of(controller, group.nsid, &identify)? == group.identity)
}
