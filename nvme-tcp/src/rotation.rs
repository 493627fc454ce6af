//! One association takes the place of another: of its own accord, for new keys, or because the old one is lost.

use std::thread;
use std::time::{Duration, Instant};

use crate::association::Association;
use crate::driver::shared::{Buffer, Request};
use crate::driver::transport::TransportError;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Replacement};
use crate::generations::Generations;
use crate::options::Security;
use crate::proto::{Shutdown, ShutdownStep};
use crate::psk::IdentityVersion;
use crate::spec::completion::Status;

/// What came of a [rotation of keys](crate::Controller::rotate_keys).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rotation {
    /// How many associations there were before the one that took over.
    pub generation: u64,
    /// Whether the [`KeySource`](crate::KeySource) gave other keys than before. Where not, the configured key is the
    /// same, and what TLS made of it is new.
    pub key_changed: bool,
    /// Which version of the PSK identity the target took; `None` in plain.
    pub identity_version: Option<IdentityVersion>,
    /// Whether the rotation of a configured key has a gap: a version-0 identity holds no digest of the key, so that
    /// the old and the new key have one name, and the target can know one of them only. From when the target is
    /// given the new key until this host has it, no connection comes up; those that are up go on.
    pub gap: bool,
    /// How long commands were held, because the target grants this host no second controller: the old association
    /// had to end before the next one was brought up. `None` where the next took over without a pause.
    pub held: Option<Duration>,
}

/// How long the end of the old association may take where the next waits for it.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How often the old association is looked at meanwhile: the commands on it end without ringing.
const DRAINING: Duration = Duration::from_millis(2);

/// How long to wait before the next Connect, where the target has not noticed yet that the old association is over.
const AGAIN: Duration = Duration::from_millis(20);

impl Generations {
    /// Brings up the next association, with the keys that there are now, sends new commands there, and lets the old
    /// one drain.
    pub(crate) fn replace(&self, why: Replacement) -> Result<Rotation> {
        let _one_at_a_time = self.one_at_a_time();
        let lost = self.current().death().is_some();
        let keyset = match self.connector.changed_keyset() {
            // Without an association the keys of before may help, and nothing else does.
            Err(_) if lost => None,
            keyset => keyset?,
        };
        let key_changed = keyset.is_some();
        if why == Replacement::KeysChanged && !key_changed {
            return Ok(self.rotation(self.current().generation, false, None));
        }
        let before = keyset.map(|keyset| self.connector.set_keyset(keyset));
        let result = self.next_association(why);
        match (result, before) {
            (Ok((generation, held)), _) => Ok(self.rotation(generation, key_changed, held)),
            (Err(error), None) => Err(error),
            (Err(error), Some(before)) => {
                self.connector.set_keyset(before);
                // The target may not have been given the new key yet.
                if !(lost && matches!(error.kind(), ErrorKind::Tls { .. })) {
                    return Err(error);
                }
                let (generation, held) = self.next_association(why)?;
                Ok(self.rotation(generation, false, held))
            }
        }
    }

    fn rotation(&self, generation: u64, key_changed: bool, held: Option<Duration>) -> Rotation {
        let identity_version = self.current().tls.as_ref().map(|tls| tls.identity_version);
        let configured =
            matches!(self.connector.options().security, Security::Tls { .. } | Security::TlsFrom { .. });
        let gap = configured && identity_version == Some(IdentityVersion::V0);
        Rotation { generation, key_changed, identity_version, gap, held }
    }

    fn next_association(&self, why: Replacement) -> Result<(u64, Option<Duration>)> {
        let generation = self.next_generation();
        let old = self.current();
        let establish = || Association::establish(&self.connector, generation);
        let (next, held) = match establish() {
            Err(error) if is_one_too_many(&error) && old.death().is_none() => {
                let since = Instant::now();
                let hold = self.hold_commands();
                let next = self.end_and_establish(&old, since, establish)?;
                self.take_over(next, || Some(Event::Replaced { generation: old.generation, why }))?;
                drop(hold);
                return Ok((generation, Some(since.elapsed())));
            }
            result => (result?, None),
        };
        self.take_over(next, || {
            let generation = old.generation;
            old.death().is_none().then_some(Event::Replaced { generation, why })
        })?;
        Ok((generation, held))
    }

    /// For targets that grant a host one controller: while new commands are held, drains and ends the present
    /// association, then brings up the next.
    fn end_and_establish(
        &self,
        old: &Association,
        since: Instant,
        establish: impl Fn() -> Result<Association>,
    ) -> Result<Association> {
        let options = self.connector.options();
        while !old.is_idle() {
            if since.elapsed() > options.timeout {
                let after = options.timeout;
                return Err(ErrorKind::Timeout { what: "the commands of the old association", after }.into());
            }
            if let Some(error) = old.death() {
                return Err(error);
            }
            thread::sleep(DRAINING);
        }
        shut_down(old);
        old.close(&ErrorKind::Lost(TransportError::Closed).into());
        let until = Instant::now() + options.connect_timeout;
        loop {
            match establish() {
                Err(error) if is_one_too_many(&error) && Instant::now() < until => thread::sleep(AGAIN),
                result => return result,
            }
        }
    }
}

/// Whether the target said that this host has a controller already, or that it has no room for another.
fn is_one_too_many(error: &Error) -> bool {
    let busy = [Status::CONNECT_CONTROLLER_BUSY, Status::NOT_ENOUGH_RESOURCES];
    error.status().is_some_and(|status| busy.iter().any(|one| status.is(*one)))
}

/// Shuts the controller of an association down in good order, as far as it answers.
fn shut_down(association: &Association) {
    let mut shutdown = Shutdown::new(Instant::now(), SHUTDOWN_LIMIT);
    loop {
        match shutdown.next(Instant::now()) {
            ShutdownStep::Done => return,
            // CSTS has no event to wait for.
            ShutdownStep::Wait(until) => thread::sleep(until.saturating_duration_since(Instant::now())),
            ShutdownStep::Admin(sqe) => {
                let request = Request { sqe, buffer: Buffer::None };
                let answer = association.admin.execute_within(SHUTDOWN_LIMIT, request);
                shutdown.completed(answer.ok().map(|(cqe, _)| cqe).as_ref(), Instant::now());
            }
        }
    }
}
