//! What a caller can watch: what a controller reports, and what becomes of the association with it.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::changed::Changed;
use crate::error::{Error, Result};
pub use crate::spec::async_event::{AsyncEvent, ChangedNamespaces, ErrorEvent, HealthEvent, Notification};

/// Events that a receiver holds for a caller who does not come for them; the oldest go first.
const CAPACITY: usize = 256;

/// Something that a caller who watches a controller is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The controller reports something (an asynchronous event; Base, section 5.1.2). Its log page has been read,
    /// so that the next of its kind comes.
    Reported(AsyncEvent),
    /// An association was brought up, and new commands go there.
    AssociationUp {
        /// How many associations there were before.
        generation: u64,
    },
    /// The association that commands went to is lost.
    AssociationLost {
        /// How many associations there were before.
        generation: u64,
        /// Why.
        error: Error,
    },
    /// A lost association is about to be brought up again.
    Reconnecting {
        /// Which attempt since it was lost, from 1 on.
        attempt: u32,
        /// How long until then.
        delay: Duration,
    },
    /// An association that worked gave its place to the next; commands that it has are completed there.
    Replaced {
        /// How many associations there were before the one that was replaced.
        generation: u64,
        /// Why.
        why: Replacement,
    },
    /// A key's record budget runs low: the next association is brought up with new keys.
    RecordBudgetLow,
    /// The next association did not come up; the present one is used on, and another attempt follows.
    NotReplaced {
        /// Why not.
        error: Error,
    },
    /// There is no association any more, and no attempt at another is made.
    Gone {
        /// Why.
        error: Error,
    },
    /// The receiver was full: so many events before the next one were dropped.
    Missed(u64),
}

/// Why an association was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replacement {
    /// The caller asked for it.
    Asked,
    /// A key's record budget ran low.
    RecordBudget,
    /// The source of the keys has others.
    KeysChanged,
    /// It is lost.
    Lost,
}

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEvent {
    /// There is none yet.
    Yet,
    /// The controller is gone and every event was received.
    Ever,
}

impl fmt::Display for NoEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yet => "there is no event yet",
            Self::Ever => "the controller is gone",
        })
    }
}

impl std::error::Error for NoEvent {}

/// Receives a controller's events, from [`Controller::events`](crate::Controller::events). It holds 256 of them;
/// what a caller does not come for in time is dropped, the oldest first, and counted by [`Event::Missed`].
///
/// The descriptor ([`AsFd`]) is readable while there is something to receive, and for ever once there will be no
/// more; an event loop polls it for input and calls [`try_recv`](Self::try_recv) until that gives nothing. It is
/// not to be read from.
#[derive(Debug)]
pub struct Events(Arc<Inbox>);

#[derive(Debug)]
struct Inbox {
    state: Mutex<State>,
    arrived: Changed,
    readable: EventFd,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    missed: u64,
    ended: bool,
}

impl Events {
    /// Waits for the next event; `None` when the controller is gone and every event was received.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let events = controller.events()?;
    /// // It ends with the controller.
    /// std::thread::spawn(move || {
    ///     while let Some(event) = events.recv() {
    ///         eprintln!("{event:?}");
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv(&self) -> Option<Event> {
        self.0
            .take(|mut state| {
                while state.is_quiet() {
                    state = self.0.arrived.wait(state, None);
                }
                state
            })
            .ok()
    }

    /// Waits for the next event, for at most `limit`.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::events::NoEvent;
    ///
    /// match controller.events()?.recv_timeout(std::time::Duration::from_secs(60)) {
    ///     Ok(event) => println!("{event:?}"),
    ///     Err(NoEvent::Yet) => println!("a quiet minute"),
    ///     Err(NoEvent::Ever) => println!("the controller was shut down"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// None came in time, or none will come any more.
    pub fn recv_timeout(&self, limit: Duration) -> std::result::Result<Event, NoEvent> {
        let until = Instant::now().checked_add(limit);
        self.0.take(|mut state| {
            // A limit past the end of time is none.
            while state.is_quiet() && until.is_none_or(|until| until > Instant::now()) {
                state = self.0.arrived.wait(state, until);
            }
            state
        })
    }

    /// The next event, if it is there.
    ///
    /// ```no_run
    /// # fn example(events: &nvme_tcp::events::Events) {
    /// use nvme_tcp::events::Event;
    ///
    /// // The event loop says that the descriptor is readable.
    /// while let Ok(event) = events.try_recv() {
    ///     match event {
    ///         Event::AssociationLost { error, .. } => eprintln!("lost: {error}"),
    ///         Event::Missed(count) => eprintln!("{count} events came too fast"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// It is not, or none will come any more.
    pub fn try_recv(&self) -> std::result::Result<Event, NoEvent> {
        self.0.take(|state| state)
    }
}

#[cfg(feature = "tokio")]
impl Events {
    /// As [`recv`](Self::recv), for tasks. A future that is dropped takes no event along.
    ///
    /// ```no_run
    /// # async fn watch(controller: nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// let events = controller.events()?;
    /// while let Some(event) = events.next().await {
    ///     println!("{event:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&self) -> Option<Event> {
        use std::ops::ControlFlow::{Break, Continue};
        let look = || match self.try_recv() {
            Ok(event) => Break(Some(event)),
            Err(NoEvent::Ever) => Break(None),
            Err(NoEvent::Yet) => Continue(None),
        };
        self.0.arrived.look_until(look).await
    }
}

impl Events {
    /// Has this receiver, and no other, receive `event`.
    pub(crate) fn inject(&self, event: Event) {
        self.0.put(|state| state.events.push_back(event));
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.readable.as_fd()
    }
}

impl State {
    fn is_quiet(&self) -> bool {
        self.events.is_empty() && self.missed == 0 && !self.ended
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<'a>(
        &'a self,
        wait: impl FnOnce(MutexGuard<'a, State>) -> MutexGuard<'a, State>,
    ) -> std::result::Result<Event, NoEvent> {
        let mut state = wait(self.lock());
        let event = match std::mem::take(&mut state.missed) {
            0 => state.events.pop_front(),
            missed => Some(Event::Missed(missed)),
        };
        if state.is_quiet() {
            // Nothing to read is what it is to become.
            let _ = self.readable.read();
        }
        event.ok_or(if state.ended { NoEvent::Ever } else { NoEvent::Yet })
    }

    fn put(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        let was_quiet = state.is_quiet();
        change(&mut state);
        if was_quiet {
            let _ = self.readable.write(1);
        }
        self.arrived.notify_all();
    }
}

/// The sending side, which a controller's housekeeper and callers share.
#[derive(Debug, Default)]
pub(crate) struct Bulletin {
    inboxes: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    all: Vec<Weak<Inbox>>,
    ended: bool,
}

impl Bulletin {
    /// One more receiver, of what happens from now on.
    pub(crate) fn listen(&self) -> Result<Events> {
        let readable = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| Error::invalid(format!("cannot make an event descriptor: {e}")))?;
        let inbox = Arc::new(Inbox { state: Mutex::default(), arrived: Changed::default(), readable });
        let mut listeners = self.lock();
        if listeners.ended {
            inbox.put(|state| state.ended = true);
        }
        listeners.all.push(Arc::downgrade(&inbox));
        Ok(Events(inbox))
    }

    /// Tells every receiver. Without one it costs a look.
    pub(crate) fn tell(&self, event: impl Fn() -> Event) {
        self.each(|state| {
            if state.events.len() == CAPACITY {
                state.events.pop_front();
                state.missed += 1;
            }
            state.events.push_back(event());
        });
    }

    /// There will be no more.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.each(|state| state.ended = true);
    }

    fn each(&self, change: impl Fn(&mut State)) {
        self.lock().all.retain(|inbox| inbox.upgrade().inspect(|inbox| inbox.put(&change)).is_some());
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn up(generation: u64) -> Event {
        Event::AssociationUp { generation }
    }

    fn generation(event: Event) -> u64 {
        let Event::AssociationUp { generation } = event else { panic!("{event:?}") };
        generation
    }

    fn is_readable(events: &Events) -> bool {
        poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let bulletin = Bulletin::default();
        let events = bulletin.listen().unwrap();
        for n in 0..CAPACITY as u64 + 3 {
            bulletin.tell(|| up(n));
        }
        assert!(matches!(events.try_recv(), Ok(Event::Missed(3))));
        for n in 3..CAPACITY as u64 + 3 {
            assert_eq!(generation(events.try_recv().unwrap()), n);
        }
        assert_eq!(events.try_recv().unwrap_err(), NoEvent::Yet);
    }

    #[test]
    fn the_descriptor_is_readable_while_there_is_something() {
        let bulletin = Bulletin::default();
        let events = bulletin.listen().unwrap();
        assert!(!is_readable(&events));
        bulletin.tell(|| up(1));
        bulletin.tell(|| up(2));
        events.try_recv().unwrap();
        assert!(is_readable(&events));
        events.try_recv().unwrap();
        assert!(!is_readable(&events));
        bulletin.end();
        assert!(is_readable(&events));
        assert_eq!(events.recv_timeout(LIMIT).unwrap_err(), NoEvent::Ever);
        assert!(is_readable(&events), "for ever");
        assert!(bulletin.listen().unwrap().recv().is_none());
    }

    #[test]
    fn a_receiver_that_waits_is_woken() {
        let bulletin = Bulletin::default();
        let events = bulletin.listen().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| (events.recv().map(generation), events.recv_timeout(LIMIT)));
            bulletin.tell(|| up(7));
            bulletin.end();
            let (first, second) = waiting.join().unwrap();
            assert_eq!((first, second.unwrap_err()), (Some(7), NoEvent::Ever));
        });
        assert_eq!(events.recv_timeout(Duration::MAX).unwrap_err(), NoEvent::Ever);
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let bulletin = Bulletin::default();
        drop(bulletin.listen().unwrap());
        bulletin.tell(|| panic!("nobody listens"));
        assert!(bulletin.lock().all.is_empty());
    }
}
