//! Asynchronous events: requests that stay outstanding, and the log page that is read before the next one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::association::AdminCommand;
use crate::spec::async_event::{self, AsyncEvent, ChangedNamespaces, Notification};
use crate::spec::command::{Sqe, admin};
use crate::spec::completion::Cqe;

/// The most Asynchronous Event Requests that are outstanding at once, however many the controller takes.
pub const MAX_EVENT_REQUESTS: usize = 4;

/// So many events within [`WINDOW`] are taken; then the next request waits until it is over. A controller that
/// always has something to tell would keep the host busy otherwise.
const BURST: u32 = 64;
const WINDOW: Duration = Duration::from_secs(1);

/// What to do next for the sake of events.
#[derive(Clone, Debug)]
pub enum EventStep {
    /// Send this Asynchronous Event Request, without any time limit: it completes when there is an event.
    Request(Sqe),
    /// Send this Get Log Page, and tell [`AsyncEvents::log_read`].
    ReadLog(AdminCommand),
    /// Nothing before this time.
    Wait(Instant),
    /// Nothing until something completes.
    Rest,
}

/// The asynchronous events of one association (Base, section 5.1.2).
///
/// ```text
///   request outstanding --completed--> noticed --[log page]--> log read: the event --> request again
/// ```
///
/// Events of a kind are masked from the first one until its log page is read with RAE clear, so that is done
/// here, whoever listens. A request that the controller refuses is not sent again.
#[derive(Debug)]
pub struct AsyncEvents {
    /// Requests to keep outstanding.
    wanted: usize,
    outstanding: usize,
    noticed: VecDeque<Notification>,
    reading: Option<Notification>,
    window: Option<Instant>,
    in_window: u32,
}

impl AsyncEvents {
    /// Events of a controller that takes `limit` requests at once (AERL + 1).
    pub fn new(limit: usize) -> Self {
        Self {
            wanted: limit.min(MAX_EVENT_REQUESTS),
            outstanding: 0,
            noticed: VecDeque::new(),
            reading: None,
            window: None,
            in_window: 0,
        }
    }

    /// What to do at `now`; it counts as done. Ask again until it says [`EventStep::Wait`] or
    /// [`EventStep::Rest`].
    pub fn next(&mut self, now: Instant) -> EventStep {
        if self.reading.is_none() {
            if let Some(notice) = self.noticed.pop_front() {
                self.reading = Some(notice);
                let len = notice.log_len().unwrap_or(4);
                // A discovery controller has no namespaces to name.
                let nsid = if notice.log_page == admin::LOG_DISCOVERY { 0 } else { admin::ALL_NAMESPACES };
                let sqe = admin::get_log_page(notice.log_page, nsid, 0, len);
                return EventStep::ReadLog(AdminCommand { sqe, write: Vec::new(), read: len });
            }
        }
        let busy = self.outstanding + self.noticed.len() + usize::from(self.reading.is_some());
        if busy >= self.wanted {
            return EventStep::Rest;
        }
        match self.window {
            Some(began) if now < began + WINDOW && self.in_window >= BURST => EventStep::Wait(began + WINDOW),
            _ => {
                self.outstanding += 1;
                EventStep::Request(async_event::request())
            }
        }
    }

    /// An Asynchronous Event Request completed at `now`; the event, where no log page has to be read for it first.
    pub fn completed(&mut self, cqe: &Cqe, now: Instant) -> Option<AsyncEvent> {
        self.outstanding = self.outstanding.saturating_sub(1);
        if !cqe.status().is_success() {
            // The controller takes fewer than it said, or none: what it has refused it would refuse again.
            self.wanted = self.wanted.saturating_sub(1);
            return None;
        }
        if self.window.is_none_or(|began| now >= began + WINDOW) {
            (self.window, self.in_window) = (Some(now), 0);
        }
        self.in_window += 1;
        let notice = Notification::read(cqe.dw0());
        if notice.log_len().is_none() {
            return Some(notice.event());
        }
        self.noticed.push_back(notice);
        None
    }

    /// The log page is read: `None` where that failed. The event that led to it.
    pub fn log_read(&mut self, log: Option<&[u8]>) -> Option<AsyncEvent> {
        let notice = self.reading.take()?;
        Some(match (notice.event(), log) {
            (AsyncEvent::NamespacesChanged(_), Some(log))
                if notice.log_page == admin::LOG_CHANGED_NAMESPACES =>
            {
                AsyncEvent::NamespacesChanged(ChangedNamespaces::read(log))
            }
            (event, _) => event,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::completion::Status;
    use crate::spec::log_page::{EVENT_TYPE_NOTICE, NOTICE_NAMESPACE, RETAIN_EVENT, event_dw0};

    fn told(dw0: u32) -> Cqe {
        Cqe::new(0, Status::SUCCESS, dw0.into())
    }

    fn post_all(events: &mut AsyncEvents, now: Instant) -> usize {
        std::iter::from_fn(|| matches!(events.next(now), EventStep::Request(_)).then_some(())).count()
    }

    #[test]
    fn a_namespace_event_reads_its_list_before_the_next_request() {
        let now = Instant::now();
        let mut events = AsyncEvents::new(1);
        assert_eq!(post_all(&mut events, now), 1);
        let dw0 = event_dw0(EVENT_TYPE_NOTICE, NOTICE_NAMESPACE, admin::LOG_CHANGED_NAMESPACES);
        assert_eq!(events.completed(&told(dw0), now), None);
        let EventStep::ReadLog(read) = events.next(now) else { panic!("the list is to be read") };
        assert_eq!((read.read, read.sqe.get_cdw(10) & RETAIN_EVENT), (4096, 0));
        assert!(matches!(events.next(now), EventStep::Rest), "no request before the list is read");
        let mut log = [0; 4096];
        log[0] = 7;
        let changed = ChangedNamespaces::Ids(vec![7]);
        assert_eq!(events.log_read(Some(&log)), Some(AsyncEvent::NamespacesChanged(changed)));
        assert_eq!(post_all(&mut events, now), 1);
    }

    #[test]
    fn a_list_that_cannot_be_read_is_any_namespace() {
        let now = Instant::now();
        let mut events = AsyncEvents::new(1);
        post_all(&mut events, now);
        events.completed(&told(event_dw0(2, 0, 4)), now);
        assert!(matches!(events.next(now), EventStep::ReadLog(_)));
        let changed = AsyncEvent::NamespacesChanged(ChangedNamespaces::All);
        assert_eq!(events.log_read(None), Some(changed));
    }

    #[test]
    fn no_more_requests_than_aerl_allows_and_than_are_of_use() {
        let now = Instant::now();
        assert_eq!(post_all(&mut AsyncEvents::new(3), now), 3);
        assert_eq!(post_all(&mut AsyncEvents::new(256), now), MAX_EVENT_REQUESTS);
    }

    #[test]
    fn a_refused_request_is_not_sent_again() {
        let now = Instant::now();
        let mut events = AsyncEvents::new(2);
        post_all(&mut events, now);
        assert_eq!(events.completed(&Cqe::new(0, Status::AER_LIMIT_EXCEEDED, 0), now), None);
        assert_eq!(post_all(&mut events, now), 0);
    }

    #[test]
    fn a_controller_that_never_stops_telling_is_heard_a_number_of_times_each_second() {
        let start = Instant::now();
        let mut events = AsyncEvents::new(1);
        for _ in 0..BURST {
            assert_eq!(post_all(&mut events, start), 1);
            // An event without a log page.
            assert!(events.completed(&told(event_dw0(7, 0, 0)), start).is_some());
        }
        assert!(matches!(events.next(start), EventStep::Wait(until) if until == start + WINDOW));
        assert_eq!(post_all(&mut events, start + WINDOW), 1);
    }
}
