//! What happens to a controller.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nvme_tcp::events::{
    AsyncEvent, ChangedNamespaces, ErrorEvent, Event, Events, HealthEvent, NoEvent, Replacement,
};

use crate::call::{Born, call, fill, free, get, guard, handle, place, sizing};
use crate::controller::nvme_tcp_controller;
use crate::error::Failure;
use crate::text::array;

/// The controller reports something by itself: `report` says what.
pub const NVME_TCP_EVENT_REPORTED: c_int = 1;
/// An association was brought up, and new commands go there.
pub const NVME_TCP_EVENT_ASSOCIATION_UP: c_int = 2;
/// The association that commands went to is lost: `error` says why.
pub const NVME_TCP_EVENT_ASSOCIATION_LOST: c_int = 3;
/// A lost association is about to be brought up again: attempt `number`, in `delay` milliseconds.
pub const NVME_TCP_EVENT_RECONNECTING: c_int = 4;
/// An association that worked gave its place to the next: `reason` says why.
pub const NVME_TCP_EVENT_REPLACED: c_int = 5;
/// A key's record budget runs low: the next association is brought up.
pub const NVME_TCP_EVENT_RECORD_BUDGET_LOW: c_int = 6;
/// The next association did not come up, `error` says why; the present one is used on.
pub const NVME_TCP_EVENT_NOT_REPLACED: c_int = 7;
/// There is no association any more, and no attempt at another is made: `error` says why.
pub const NVME_TCP_EVENT_GONE: c_int = 8;
/// Nobody came in time for `number` events before the next one: they are lost.
pub const NVME_TCP_EVENT_MISSED: c_int = 9;

/// Namespaces were changed, added or removed: those in `nsids`, or any.
pub const NVME_TCP_REPORT_NAMESPACES: c_int = 1;
/// The state of an ANA group changed: log page 0Ch says more.
pub const NVME_TCP_REPORT_ANA: c_int = 2;
/// A firmware image is about to be activated; commands may take longer meanwhile.
pub const NVME_TCP_REPORT_FIRMWARE: c_int = 3;
/// The discovery log changed.
pub const NVME_TCP_REPORT_DISCOVERY: c_int = 4;
/// The health of the subsystem: `information` is the code, log page 02h says more.
pub const NVME_TCP_REPORT_HEALTH: c_int = 5;
/// An error that concerns no single command: `information` is the code, log page 01h says more.
pub const NVME_TCP_REPORT_ERROR: c_int = 6;
/// Something else: `information` is the code.
pub const NVME_TCP_REPORT_OTHER: c_int = 7;

/// An association was replaced since the caller asked for it.
pub const NVME_TCP_REASON_ASKED: c_int = 1;
/// An association was replaced since a key's record budget ran low.
pub const NVME_TCP_REASON_RECORD_BUDGET: c_int = 2;
/// An association was replaced since the source of the keys has others.
pub const NVME_TCP_REASON_KEYS_CHANGED: c_int = 3;
/// An association was replaced since it was lost.
pub const NVME_TCP_REASON_LOST: c_int = 4;

/// Receives a controller's events.
#[derive(Debug)]
pub struct nvme_tcp_events {
    born: Born,
    events: Events,
}

handle!(nvme_tcp_events, "event receiver");

/// Something that happened to a controller. Members that its kind does not name are 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_event {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// One of NVME_TCP_EVENT_*.
    pub kind: c_int,
    /// One of NVME_TCP_REPORT_*.
    pub report: c_int,
    /// One of NVME_TCP_REASON_*.
    pub reason: c_int,
    /// -errno: why the association was lost, or the next did not come up.
    pub error: c_int,
    /// How many associations there were before the one that this is about.
    pub generation: u64,
    /// A count, as its kind says.
    pub number: u64,
    /// A time in milliseconds.
    pub delay: u32,
    /// The code of a report.
    pub information: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// How many IDs nsids has; 0 where any namespace may have changed.
    pub nsid_count: u32,
    /// The IDs of changed namespaces.
    pub nsids: [u32; 63],
    /// Why, in words: the message of `error`.
    pub text: [c_char; 256],
}

sizing!(nvme_tcp_event, text: [c_char; 256]);

const NO_EVENT: nvme_tcp_event = nvme_tcp_event {
    size: 0,
    kind: 0,
    report: 0,
    reason: 0,
    error: 0,
    generation: 0,
    number: 0,
    delay: 0,
    information: 0,
    reserved: [0; 3],
    nsid_count: 0,
    nsids: [0; 63],
    text: [0; 256],
};

fn event_of(event: Event) -> nvme_tcp_event {
    let plain = |kind| nvme_tcp_event { kind, ..NO_EVENT };
    let failed = |kind, error: nvme_tcp::Error| {
        let failure = Failure::from(error);
        nvme_tcp_event { error: -failure.errno, text: array(failure.message()), ..plain(kind) }
    };
    match event {
        Event::Reported(report) => report_of(report),
        Event::AssociationUp { generation } => {
            nvme_tcp_event { generation, ..plain(NVME_TCP_EVENT_ASSOCIATION_UP) }
        }
        Event::AssociationLost { generation, error } => {
            nvme_tcp_event { generation, ..failed(NVME_TCP_EVENT_ASSOCIATION_LOST, error) }
        }
        Event::Reconnecting { attempt, delay } => nvme_tcp_event {
            number: attempt.into(),
            delay: u32::try_from(delay.as_millis()).unwrap_or(u32::MAX),
            ..plain(NVME_TCP_EVENT_RECONNECTING)
        },
        Event::Replaced { generation, why } => {
            let reason = match why {
                Replacement::Asked => NVME_TCP_REASON_ASKED,
                Replacement::RecordBudget => NVME_TCP_REASON_RECORD_BUDGET,
                Replacement::KeysChanged => NVME_TCP_REASON_KEYS_CHANGED,
                Replacement::Lost => NVME_TCP_REASON_LOST,
                _ => 0,
            };
            nvme_tcp_event { generation, reason, ..plain(NVME_TCP_EVENT_REPLACED) }
        }
        Event::RecordBudgetLow => plain(NVME_TCP_EVENT_RECORD_BUDGET_LOW),
        Event::NotReplaced { error } => failed(NVME_TCP_EVENT_NOT_REPLACED, error),
        Event::Gone { error } => failed(NVME_TCP_EVENT_GONE, error),
        Event::Missed(number) => nvme_tcp_event { number, ..plain(NVME_TCP_EVENT_MISSED) },
        _ => NO_EVENT,
    }
}

fn report_of(report: AsyncEvent) -> nvme_tcp_event {
    let mut event = nvme_tcp_event { kind: NVME_TCP_EVENT_REPORTED, ..NO_EVENT };
    (event.report, event.information) = match report {
        AsyncEvent::NamespacesChanged(which) => {
            if let ChangedNamespaces::Ids(ids) = which {
                // Where there is no room for all of them, any may have changed.
                if let Some(room) = event.nsids.get_mut(..ids.len()) {
                    room.copy_from_slice(&ids);
                    event.nsid_count = ids.len() as u32;
                }
            }
            (NVME_TCP_REPORT_NAMESPACES, 0)
        }
        AsyncEvent::AnaChanged => (NVME_TCP_REPORT_ANA, 0),
        AsyncEvent::FirmwareActivationStarting => (NVME_TCP_REPORT_FIRMWARE, 0),
        AsyncEvent::DiscoveryLogChanged => (NVME_TCP_REPORT_DISCOVERY, 0),
        AsyncEvent::Health(health) => (NVME_TCP_REPORT_HEALTH, health_code(health)),
        AsyncEvent::Error(error) => (NVME_TCP_REPORT_ERROR, error_code(error)),
        AsyncEvent::Other(notification) => (NVME_TCP_REPORT_OTHER, notification.information),
        _ => (NVME_TCP_REPORT_OTHER, 0),
    };
    event
}

/// The codes of Base, figure 153.
fn health_code(health: HealthEvent) -> u8 {
    match health {
        HealthEvent::Reliability => 0,
        HealthEvent::Temperature => 1,
        HealthEvent::Spare => 2,
        HealthEvent::Other(code) => code,
        _ => u8::MAX,
    }
}

/// The codes of Base, figure 152.
fn error_code(error: ErrorEvent) -> u8 {
    match error {
        ErrorEvent::InvalidDoorbell => 0,
        ErrorEvent::InvalidDoorbellValue => 1,
        ErrorEvent::DiagnosticFailure => 2,
        ErrorEvent::PersistentInternalError => 3,
        ErrorEvent::TransientInternalError => 4,
        ErrorEvent::FirmwareImageLoad => 5,
        ErrorEvent::Other(code) => code,
        _ => u8::MAX,
    }
}

/// Receives what happens to a controller from now on: what it reports by itself, and what becomes of the
/// association with it. Each receiver gets every event, and holds 256 that nobody came for, the latest.
///
/// Errors: -EINVAL, also where this process has no descriptor left. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_events_open(
    controller: Option<&nvme_tcp_controller>,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_events>>,
) -> c_int {
    call(|| {
        let out = place(out)?;
        let events = get(controller)?.controller.events()?;
        out.give(nvme_tcp_events { born: Born::here(), events });
        Ok(())
    })
}

/// The descriptor to wait for: it is readable while there is an event, and for ever after
/// nvme_tcp_controller_free(). It belongs to the receiver, and is not to be read from.
///
/// Errors: -EINVAL, -ECHILD. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_events_get_fd(events: Option<&nvme_tcp_events>) -> c_int {
    guard(|| Ok(get(events)?.events.as_fd().as_raw_fd()))
}

/// Takes the next event. It waits for it, at most for `timeout` milliseconds: 0 for not at all, -1 for no limit.
///
/// Errors: -EAGAIN where there is none yet; -ESHUTDOWN where there will be none any more, after
/// nvme_tcp_controller_free(); -EINVAL. Threads: any; each event is given to one of them.
///
/// # Safety
/// The struct is there as far as its first member says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_events_next(
    events: Option<&nvme_tcp_events>,
    timeout: c_int,
    event: *mut nvme_tcp_event,
) -> c_int {
    call(|| {
        let events = &get(events)?.events;
        let make = || {
            let next = match u64::try_from(timeout) {
                Ok(limit) => events.recv_timeout(Duration::from_millis(limit)),
                Err(_) => events.recv().ok_or(NoEvent::Ever),
            };
            next.map(event_of).map_err(|none| {
                let errno = match none {
                    NoEvent::Yet => libc::EAGAIN,
                    NoEvent::Ever => libc::ESHUTDOWN,
                };
                Failure::here(errno, none.to_string())
            })
        };
        // SAFETY: the caller gives such a struct.
        unsafe { fill(event, make) }
    })
}

/// Frees a receiver, with the events that nobody came for.
///
/// Threads: no other call on it may run or follow.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_events_free(events: Option<Box<nvme_tcp_events>>) {
    free(events);
}

#[cfg(test)]
mod tests {
    use nvme_tcp::ErrorKind;

    use super::*;

    #[test]
    fn changed_namespaces_that_have_no_room_are_any() {
        let of = |ids: Vec<u32>| report_of(AsyncEvent::NamespacesChanged(ChangedNamespaces::Ids(ids)));
        let some = of(vec![3, 9]);
        assert_eq!((some.report, some.nsid_count, some.nsids[1]), (NVME_TCP_REPORT_NAMESPACES, 2, 9));
        assert_eq!(of((1..=63).collect()).nsid_count, 63);
        assert_eq!(of((1..=64).collect()).nsid_count, 0);
    }

    #[test]
    fn an_error_is_told_by_number_and_in_words() {
        let event = event_of(Event::Gone { error: ErrorKind::ShutDown.into() });
        assert_eq!((event.kind, event.error), (NVME_TCP_EVENT_GONE, -libc::ESHUTDOWN));
        assert_ne!(event.text[0], 0);
        let event = event_of(Event::Reconnecting { attempt: 3, delay: Duration::from_secs(2) });
        assert_eq!((event.number, event.delay), (3, 2000));
        let event = report_of(AsyncEvent::Health(HealthEvent::Spare));
        assert_eq!((event.report, event.information), (NVME_TCP_REPORT_HEALTH, 2));
    }
}
