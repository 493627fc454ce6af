//! Runs a call's commands to their end, on as many associations as that takes.

use std::cell::Cell;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::route::Way;
use super::{Namespace, queue_of_this_thread};
use crate::association::{Association, check};
use crate::driver::shared::{Buffer, Request, SharedQueue};
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::multipath::{Group, Turn};
use crate::proto::{AfterLoss, is_repeatable};
use crate::spec::command::Sqe;

/// Commands that are held in memory at once, where their number is the caller's.
const WINDOW: usize = 1024;

/// How a call's data is cut into commands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// The most in one piece.
    pub(super) most: usize,
    /// No piece crosses a multiple of this, where it is not 0, in the units of `offset`.
    pub(super) boundary: u64,
    /// Where the data begins.
    pub(super) offset: u64,
}

impl Cut {
    /// Each thing by itself.
    pub(crate) const SINGLE: Self = Self { most: 1, boundary: 0, offset: 0 };

    /// Where a piece ends that begins at `start`.
    fn end(&self, start: usize) -> usize {
        let past = self.offset.wrapping_add(start as u64).checked_rem(self.boundary);
        let to_boundary = past.map_or(u64::MAX, |past| self.boundary - past);
        let len = usize::try_from(to_boundary).map_or(self.most, |len| len.min(self.most));
        start.saturating_add(len.max(1))
    }
}

/// What of a call is still to be done: ranges of its data, ascending and apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left(Vec<Range<usize>>);

impl Left {
    pub(crate) fn whole(len: usize) -> Self {
        Self(Some(0..len).filter(|range| !range.is_empty()).into_iter().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pieces of what is left.
    pub(crate) fn pieces(&self, cut: Cut) -> impl Iterator<Item = Range<usize>> {
        self.0.iter().flat_map(move |range| {
            let mut rest = range.clone();
            std::iter::from_fn(move || {
                let piece = rest.start..cut.end(rest.start).min(rest.end);
                rest.start = piece.end;
                (!piece.is_empty()).then_some(piece)
            })
        })
    }

    /// Of its pieces, the first `begun` are done, but for those in `failed`.
    pub(crate) fn done(&mut self, cut: Cut, begun: usize, failed: &[usize]) {
        let is_left = |number: usize| number >= begun || failed.contains(&number);
        let mut left: Vec<Range<usize>> = Vec::new();
        for (_, piece) in self.pieces(cut).enumerate().filter(|(number, _)| is_left(*number)) {
            match left.last_mut().filter(|last| last.end == piece.start) {
                Some(last) => last.end = piece.end,
                None => left.push(piece),
            }
        }
        self.0 = left;
    }
}

/// One go at what is left.
pub(super) struct Attempt<'a> {
    name: &'static str,
    queue: &'a SharedQueue,
    association: &'a Association,
    generations: &'a Generations,
}

/// What came of it.
pub(super) struct Outcome {
    /// How many commands were begun.
    begun: usize,
    /// Which of those are not done.
    failed: Vec<usize>,
    /// The first error.
    error: Option<Error>,
    /// Whether one that changes something was outstanding when the queue died.
    unknown: bool,
}

impl Attempt<'_> {
    /// Runs `requests` as far as the association stays the present one.
    pub(super) fn attempt<'b>(&self, requests: impl IntoIterator<Item = Request<'b>>) -> Outcome {
        let (mut failed, mut unknown) = (Vec::new(), false);
        // The commands of one call are of one kind.
        let changes = Cell::new(false);
        let requests = requests.into_iter().inspect(|request| changes.set(!is_repeatable(&request.sqe)));
        let stay = || self.generations.is_current(self.association);
        let (begun, result) = self.queue.run(requests, stay, |number, outcome| {
            unknown |= outcome.is_err() && changes.get();
            let result = outcome.and_then(|(cqe, fault)| check(self.name, &cqe, fault));
            result.inspect_err(|_| failed.push(number))
        });
        Outcome { begun, failed, error: result.err(), unknown }
    }
}

/// The parts of `data` that `ranges`, ascending and apart, name, each with where it begins.
pub(super) fn split<T>(
    data: &mut [T],
    ranges: impl Iterator<Item = Range<usize>>,
) -> impl Iterator<Item = (usize, &mut [T])> {
    let (mut rest, mut at) = (data, 0);
    ranges.map(move |range| {
        let (_, tail) = std::mem::take(&mut rest).split_at_mut(range.start - at);
        let (part, tail) = tail.split_at_mut(range.len());
        (rest, at) = (tail, range.end);
        (range.start, part)
    })
}

impl Namespace {
    /// Runs commands without data.
    pub(super) fn run_bare(&self, name: &'static str, commands: impl IntoIterator<Item = Sqe>) -> Result<()> {
        self.run(name, commands.into_iter().map(|sqe| Request { sqe, buffer: Buffer::None }))
    }

    /// Runs commands on this thread's queue; when the next association takes over, the rest of them there.
    pub(super) fn run<'b>(
        &self,
        name: &'static str,
        requests: impl IntoIterator<Item = Request<'b>>,
    ) -> Result<()> {
        let mut requests = requests.into_iter();
        loop {
            let mut window: Vec<_> = requests.by_ref().take(WINDOW).collect();
            if window.is_empty() {
                return Ok(());
            }
            self.transfer(
                name,
                window.len(),
                |_| Cut::SINGLE,
                |pieces, queue| {
                    let picked = split(&mut window, pieces).flat_map(|(_, requests)| requests);
                    queue.attempt(picked.map(Request::again))
                },
            )?;
        }
    }

    /// Does all of `0..len` by `attempt`, in pieces that `cut` makes for the association they are for: one that takes
    /// over may take less at once.
    pub(super) fn transfer(
        &self,
        name: &'static str,
        len: usize,
        cut: impl Fn(&Association) -> Cut,
        mut attempt: impl FnMut(&mut dyn Iterator<Item = Range<usize>>, Attempt<'_>) -> Outcome,
    ) -> Result<()> {
        let mut left = Left::whole(len);
        let mut tries = 0;
        while !left.is_empty() {
            let mut way = self.route.choose()?;
            let association = &*way.association;
            let cut = cut(association);
            let queue = queue_of_this_thread(association)?;
            let go = Attempt { name, queue, association, generations: &way.generations };
            let Outcome { begun, failed, error, unknown } = attempt(&mut left.pieces(cut), go);
            left.done(cut, begun, &failed);
            if begun > failed.len() {
                tries = 0;
            }
            let Some(error) = error else {
                way.succeeded();
                continue;
            };
            match way.take_turn() {
                None => self.recover(name, &way, error, unknown, tries)?,
                Some((group, turn)) => self.fail_over(name, &way, (&group, &turn), error, unknown, tries)?,
            }
            tries += 1;
        }
        Ok(())
    }

    /// Waits until what failed may be sent again; an error where it may not. Writes of `unknown` fate wait for the
    /// fence of the association that they were sent on, since its controller may still carry them out: after a
    /// replay, and after a later write to the same place.
    pub(crate) fn recover(
        &self,
        name: &'static str,
        way: &Way,
        error: Error,
        unknown: bool,
        tries: u32,
    ) -> Result<()> {
        let (generations, association) = (&*way.generations, &*way.association);
        let options = generations.connector.options();
        let Some(policy) = options.recovery else { return Err(error) };
        let traits = &association.traits;
        let Some(death) = association.death() else {
            let delays = traits.retry_delays;
            let after = error.status().and_then(|status| policy.retry_after(status, tries, delays));
            return generations.wait_until(Instant::now() + after.ok_or(error)?);
        };
        if tries >= policy.retries || matches!(death.kind(), ErrorKind::ShutDown) {
            return Err(if unknown { unknown_fate(name, way, error) } else { error });
        }
        let fate = |cause| unknown_fate(name, way, cause);
        match policy.after_loss(!unknown, fence(way)) {
            AfterLoss::Again => generations.wait_for_next(association),
            AfterLoss::AgainAt(fenced) => {
                let held = generations.wait_for_next(association);
                held.and_then(|()| generations.wait_until(fenced)).map_err(fate)
            }
            AfterLoss::Report => Err(fate(error)),
        }
    }

    /// As [`recover`](Self::recover), where there are other paths: what was not carried out takes another at once,
    /// and what may have been once this one is fenced.
    fn fail_over(
        &self,
        name: &'static str,
        way: &Way,
        (group, turn): (&Group, &Turn),
        error: Error,
        unknown: bool,
        tries: u32,
    ) -> Result<()> {
        let policy = way.generations.connector.options().recovery.unwrap_or_default();
        if way.association.death().is_some() {
            group.lost(turn, &way.association);
            let fate = |cause| unknown_fate(name, way, cause);
            return match policy.after_loss(!unknown, fence(way)) {
                AfterLoss::Again => Ok(()),
                AfterLoss::AgainAt(fenced) => group.wait_until(fenced).map_err(fate),
                AfterLoss::Report => Err(fate(error)),
            };
        }
        if error.status().is_some_and(|status| group.failed(turn, status)) {
            return Ok(());
        }
        let delays = way.association.traits.retry_delays;
        let after = error.status().and_then(|status| policy.retry_after(status, tries, delays));
        group.wait_until(Instant::now() + after.ok_or(error)?)
    }
}

/// When the controller of a lost association has surely stopped working.
fn fence(way: &Way) -> Option<Instant> {
    let options = way.generations.connector.options();
    let traits = &way.association.traits;
    let kato = if traits.keep_alive { options.keep_alive } else { Duration::ZERO };
    let policy = options.recovery.unwrap_or_default();
    let after = policy.fence(kato, traits.traffic_based_keep_alive, traits.quiesce_time);
    Some(way.association.lost_at() + after?)
}

fn unknown_fate(command: &'static str, way: &Way, cause: Error) -> Error {
    let fenced_in = fence(way).map(|at| at.saturating_duration_since(Instant::now()));
    ErrorKind::UnknownFate { command, cause, fenced_in }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_cut_anew_for_a_smaller_mdts() {
        let cut = |most| Cut { most, boundary: 0, offset: 0 };
        let mut left = Left::whole(1000);
        assert_eq!(left.pieces(cut(400)).collect::<Vec<_>>(), [0..400, 400..800, 800..1000]);
        // The first two were begun, and the second failed.
        left.done(cut(400), 2, &[1]);
        assert_eq!(left.0, std::slice::from_ref(&(400..1000)));
        assert_eq!(left.pieces(cut(256)).collect::<Vec<_>>(), [400..656, 656..912, 912..1000]);
        left.done(cut(256), 3, &[0, 2]);
        assert_eq!(left.0, [400..656, 912..1000]);
        assert_eq!(left.pieces(cut(512)).collect::<Vec<_>>(), [400..656, 912..1000]);
        left.done(cut(512), 2, &[]);
        assert!(left.is_empty());
    }

    #[test]
    fn no_piece_crosses_a_boundary() {
        let left = Left::whole(1000);
        let cut = Cut { most: 300, boundary: 512, offset: 400 };
        assert_eq!(left.pieces(cut).collect::<Vec<_>>(), [0..112, 112..412, 412..624, 624..924, 924..1000]);
    }

    #[test]
    fn data_is_split_where_the_ranges_are() {
        let mut data = [0, 1, 2, 3, 4, 5];
        let parts: Vec<_> = split(&mut data, [1..2, 3..6].into_iter()).collect();
        assert_eq!(parts, [(1, &mut [1][..]), (3, &mut [3, 4, 5][..])]);
    }
}
