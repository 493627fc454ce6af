//! What becomes of a call whose commands failed: whether they may be sent again, and what to wait for before.

use std::sync::Arc;
use std::time::Instant;

use super::route::Way;
use crate::association::Association;
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::multipath::{Group, Turn};
use crate::proto::AfterLoss;

/// What to wait for before what failed is sent again.
#[derive(Debug)]
pub(crate) struct Pause {
    held: Held,
    /// Until the next association than this.
    lost: Option<Arc<Association>>,
    until: Option<Instant>,
    /// Of writes, where waiting fails.
    fate: Option<Fate>,
}

/// Whose end ends the waiting.
#[derive(Debug)]
enum Held {
    Controller(Arc<Generations>),
    Paths(Arc<Group>),
}

/// Nobody knows whether a command was carried out.
#[derive(Clone, Copy, Debug)]
struct Fate {
    command: &'static str,
    /// When its controller has surely stopped working.
    fenced: Option<Instant>,
}

impl Pause {
    pub(crate) fn wait(self) -> Result<()> {
        let wait = || match &self.held {
            Held::Controller(generations) => {
                self.lost.as_deref().map_or(Ok(()), |lost| generations.wait_for_next(lost, None))?;
                self.until.map_or(Ok(()), |until| generations.wait_until(until))
            }
            Held::Paths(group) => self.until.map_or(Ok(()), |until| group.wait_until(until)),
        };
        wait().map_err(|cause| self.failed(cause))
    }

    /// As [`wait`](Self::wait), for tasks.
    #[cfg(feature = "tokio")]
    pub(crate) async fn over(self) -> Result<()> {
        let wait = async {
            match &self.held {
                Held::Controller(generations) => {
                    if let Some(lost) = self.lost.as_deref() {
                        generations.until_next(lost).await?;
                    }
                    match self.until {
                        Some(until) => generations.until_time(until).await,
                        None => Ok(()),
                    }
                }
                Held::Paths(group) => match self.until {
                    Some(until) => group.until_time(until).await,
                    None => Ok(()),
                },
            }
        };
        wait.await.map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: Error) -> Error {
        match self.fate {
            Some(fate) => fate.error(cause),
            None => cause,
        }
    }
}

impl Fate {
    fn of(command: &'static str, way: &Way) -> Self {
        let options = way.generations.connector.options();
        let traits = &way.association.traits;
        let kato = traits.keep_alive_timeout(options.keep_alive);
        let policy = options.recovery.unwrap_or_default();
        let after = policy.fence(kato, traits.traffic_based_keep_alive, traits.quiesce_time);
        Self { command, fenced: after.map(|after| way.association.lost_at() + after) }
    }

    fn error(self, cause: Error) -> Error {
        let fenced_in = self.fenced.map(|at| at.saturating_duration_since(Instant::now()));
        ErrorKind::UnknownFate { command: self.command, cause, fenced_in }.into()
    }
}

impl Way {
    /// What to wait for before what failed here is sent again; an error where it may not be. `unknown` is whether a
    /// command that changes something was outstanding when the connection was lost.
    pub(crate) fn after_failure(
        &mut self,
        name: &'static str,
        error: Error,
        unknown: bool,
        tries: u32,
    ) -> Result<Pause> {
        match self.take_turn() {
            None => recover(name, self, error, unknown, tries),
            Some((group, turn)) => fail_over(name, self, (group, &turn), error, unknown, tries),
        }
    }
}

/// Writes of `unknown` fate wait for the fence of the association that they were sent on, since its controller may
/// still carry them out: after a replay, and after a later write to the same place.
fn recover(name: &'static str, way: &Way, error: Error, unknown: bool, tries: u32) -> Result<Pause> {
    let (generations, association) = (&way.generations, &way.association);
    let Some(policy) = generations.connector.options().recovery else { return Err(error) };
    let held = Held::Controller(generations.clone());
    let Some(death) = association.death() else {
        let delays = association.traits.retry_delays;
        let after = error.status().and_then(|status| policy.retry_after(status, tries, delays));
        let until = Some(Instant::now() + after.ok_or(error)?);
        return Ok(Pause { held, lost: None, until, fate: None });
    };
    let fate = Fate::of(name, way);
    if tries >= policy.retries || matches!(death.kind(), ErrorKind::ShutDown) {
        return Err(if unknown { fate.error(error) } else { error });
    }
    let lost = Some(association.clone());
    match policy.after_loss(!unknown, fate.fenced) {
        AfterLoss::Again => Ok(Pause { held, lost, until: None, fate: None }),
        AfterLoss::AgainAt(fenced) => Ok(Pause { held, lost, until: Some(fenced), fate: Some(fate) }),
        AfterLoss::Report => Err(fate.error(error)),
    }
}

/// As [`recover`], where there are other paths: what was not carried out takes another at once, and what may have
/// been once this one is fenced.
fn fail_over(
    name: &'static str,
    way: &Way,
    (group, turn): (Arc<Group>, &Turn),
    error: Error,
    unknown: bool,
    tries: u32,
) -> Result<Pause> {
    let policy = way.generations.connector.options().recovery.unwrap_or_default();
    let pause = |group, until, fate| Pause { held: Held::Paths(group), lost: None, until, fate };
    if way.association.death().is_some() {
        group.lost(turn, &way.association);
        let fate = Fate::of(name, way);
        return match policy.after_loss(!unknown, fate.fenced) {
            AfterLoss::Again => Ok(pause(group, None, None)),
            AfterLoss::AgainAt(fenced) => Ok(pause(group, Some(fenced), Some(fate))),
            AfterLoss::Report => Err(fate.error(error)),
        };
    }
    if error.status().is_some_and(|status| group.failed(turn, status)) {
        return Ok(pause(group, None, None));
    }
    let delays = way.association.traits.retry_delays;
    let after = error.status().and_then(|status| policy.retry_after(status, tries, delays));
    let until = Some(Instant::now() + after.ok_or(error)?);
    Ok(pause(group, until, None))
}
