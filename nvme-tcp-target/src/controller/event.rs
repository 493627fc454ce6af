//! Asynchronous events: what happened, and whether the host wants to hear of it (Base, section 5.1.2).

use std::collections::BTreeSet;

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

/// The events of one controller.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Feature 0Bh.
    pub(super) enabled: u32,
    namespace: Notice,
    discovery: Notice,
    changed: BTreeSet<u32>,
}

impl Events {
    fn raise(notice: &mut Notice) {
        if *notice == Notice::Quiet {
            *notice = Notice::Pending;
        }
    }

    /// The next event to tell, as DW0 of its completion.
    fn take(&mut self) -> Option<u32> {
        let kinds = [
            (&mut self.namespace, EVENT_NAMESPACE, NOTICE_NAMESPACE, admin::LOG_CHANGED_NAMESPACES),
            (&mut self.discovery, EVENT_DISCOVERY, AEN_DISCOVERY_CHANGED, admin::LOG_DISCOVERY),
        ];
        for (notice, bit, information, lid) in kinds {
            if *notice == Notice::Pending && self.enabled & bit != 0 {
                *notice = Notice::Told;
                return Some(event_dw0(EVENT_TYPE_NOTICE, information, lid));
            }
        }
        None
    }

    /// The host read log page `lid`, which lets events of its kind through again.
    pub(super) fn read(&mut self, lid: u8) {
        match lid {
            admin::LOG_CHANGED_NAMESPACES => self.namespace = Notice::Quiet,
            admin::LOG_DISCOVERY => self.discovery = Notice::Quiet,
            _ => {}
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
    /// Namespace `nsid` was added or removed.
    pub(crate) fn namespace_changed(&self, nsid: u32) {
        let mut state = self.lock();
        state.events.changed.insert(nsid);
        Events::raise(&mut state.events.namespace);
        state.wake_admin();
    }

    /// The discovery log changed.
    pub(crate) fn discovery_changed(&self) {
        let mut state = self.lock();
        Events::raise(&mut state.events.discovery);
        state.wake_admin();
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
        Events::raise(&mut events.namespace);
        assert_eq!(events.take(), None, "not enabled");
        events.enabled = EVENT_NAMESPACE;
        assert_eq!(events.take(), Some(0x0004_0002));
        Events::raise(&mut events.namespace);
        assert_eq!(events.take(), None, "told already");
        events.read(admin::LOG_CHANGED_NAMESPACES);
        Events::raise(&mut events.namespace);
        assert_eq!(events.take(), Some(0x0004_0002));
        events.enabled = EVENT_DISCOVERY;
        Events::raise(&mut events.discovery);
        assert_eq!(events.take(), Some(0x0070_f002));
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
