//! Asynchronous events: what happened, and whether the host wants to hear of it (Base, section 5.1.2).

use std::collections::BTreeSet;

use nvme_tcp::spec::async_event::{EVENT_ANA, NOTICE_ANA};
use nvme_tcp::spec::command::admin;
use nvme_tcp::spec::discovery_log::AEN_DISCOVERY_CHANGED;
use nvme_tcp::spec::log_page::{
    EVENT_DISCOVERY, EVENT_NAMESPACE, EVENT_TYPE_NOTICE, MAX_CHANGED_NAMESPACES, NOTICE_NAMESPACE, event_dw0,
};

use super::Controller;

/// How far the host knows of one kind of event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Notice {
    /// Nothing happened.
    #[default]
    Quiet,
    /// It happened, and waits for an Asynchronous Event Request.
    Pending,
    /// The host was told; more of it is masked until it reads the log page.
    Told,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Namespace,
    Ana,
    Discovery,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Namespace, Self::Ana, Self::Discovery];

    /// Its bit in feature 0Bh, the information of its notice, and the log page that says more.
    fn parts(self) -> (u32, u8, u8) {
        match self {
            Self::Namespace => (EVENT_NAMESPACE, NOTICE_NAMESPACE, admin::LOG_CHANGED_NAMESPACES),
            Self::Ana => (EVENT_ANA, NOTICE_ANA, admin::LOG_ANA),
            Self::Discovery => (EVENT_DISCOVERY, AEN_DISCOVERY_CHANGED, admin::LOG_DISCOVERY),
        }
    }
}

/// The events of one controller.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Feature 0Bh.
    pub(super) enabled: u32,
    notices: [Notice; Kind::ALL.len()],
    changed: BTreeSet<u32>,
}

impl Events {
    fn raise(&mut self, kind: Kind) {
        let notice = &mut self.notices[kind as usize];
        if *notice == Notice::Quiet {
            *notice = Notice::Pending;
        }
    }

    /// The next event to tell, as DW0 of its completion.
    fn take(&mut self) -> Option<u32> {
        for (kind, notice) in Kind::ALL.into_iter().zip(&mut self.notices) {
            let (bit, information, lid) = kind.parts();
            if *notice == Notice::Pending && self.enabled & bit != 0 {
                *notice = Notice::Told;
                return Some(event_dw0(EVENT_TYPE_NOTICE, information, lid));
            }
        }
        None
    }

    /// The host read log page `lid`, which lets events of its kind through again.
    pub(super) fn read(&mut self, lid: u8) {
        for (kind, notice) in Kind::ALL.into_iter().zip(&mut self.notices) {
            if kind.parts().2 == lid {
                *notice = Notice::Quiet;
            }
        }
    }

    /// The Changed Attached Namespace List; it starts anew, unless `retain`.
    pub(super) fn changed_namespaces(&mut self, retain: bool) -> Vec<u32> {
        let list = if self.changed.len() > MAX_CHANGED_NAMESPACES {
            vec![admin::ALL_NAMESPACES]
        } else {
            self.changed.iter().copied().collect()
        };
        if !retain {
            self.changed.clear();
        }
        list
    }
}

impl Controller {
    fn raise(&self, kind: Kind) {
        let mut state = self.lock();
        state.events.raise(kind);
        state.wake_admin();
    }

    /// Namespace `nsid` was added, removed or resized.
    pub(crate) fn namespace_changed(&self, nsid: u32) {
        self.lock().events.changed.insert(nsid);
        self.raise(Kind::Namespace);
    }

    /// An ANA group's state changed.
    pub(crate) fn ana_changed(&self) {
        self.raise(Kind::Ana);
    }

    /// The discovery log changed.
    pub(crate) fn discovery_changed(&self) {
        self.raise(Kind::Discovery);
    }

    /// The next event that the host is to hear of, as DW0 of the completion that tells it.
    pub(crate) fn take_event(&self) -> Option<u32> {
        self.lock().events.take()
    }
}

impl super::State {
    fn wake_admin(&self) {
        if let Some(queue) = self.queues.get(&0) {
            queue.waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_once_until_its_log_page_is_read() {
        let mut events = Events::default();
        events.raise(Kind::Namespace);
        assert_eq!(events.take(), None, "not enabled");
        events.enabled = EVENT_NAMESPACE;
        assert_eq!(events.take(), Some(0x0004_0002));
        events.raise(Kind::Namespace);
        assert_eq!(events.take(), None, "told already");
        events.read(admin::LOG_CHANGED_NAMESPACES);
        events.raise(Kind::Namespace);
        assert_eq!(events.take(), Some(0x0004_0002));
        events.enabled = EVENT_DISCOVERY;
        events.raise(Kind::Discovery);
        events.raise(Kind::Ana);
        assert_eq!(events.take(), Some(0x0070_f002));
        assert_eq!(events.take(), None, "held while it is masked");
        events.enabled |= EVENT_ANA;
        assert_eq!(events.take(), Some(0x000c_0302));
    }

    #[test]
    fn too_many_changes_are_told_by_one_entry() {
        let mut events = Events::default();
        events.changed.extend(1..=1024);
        assert_eq!(events.changed_namespaces(true).len(), 1024);
        events.changed.insert(2000);
        assert_eq!(events.changed_namespaces(false), [admin::ALL_NAMESPACES]);
        assert!(events.changed_namespaces(false).is_empty());
    }
}
