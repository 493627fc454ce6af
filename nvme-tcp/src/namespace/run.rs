//! Runs a call's commands to their end, on as many associations as that takes.

use std::cell::Cell;
use std::ops::Range;

use super::{ByKernel, Namespace, queue_of_this_thread};
use crate::association::{Association, check};
use crate::driver::shared::{Buffer, Request, SharedQueue};
use crate::error::{Error, Result};
use crate::generations::Generations;
use crate::proto::is_repeatable;
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
    by: By<'a>,
}

/// What carries it out.
#[derive(Clone, Copy)]
enum By<'a> {
    Queue { queue: &'a SharedQueue, association: &'a Association, generations: &'a Generations },
    Kernel(&'a ByKernel),
}

/// What came of it.
pub(super) struct Outcome {
    /// How many commands were begun.
    pub(super) begun: usize,
    /// Which of those are not done.
    pub(super) failed: Vec<usize>,
    /// The first error.
    pub(super) error: Option<Error>,
    /// Whether one that changes something was outstanding when the queue died.
    pub(super) unknown: bool,
}

impl Attempt<'_> {
    /// Runs `requests` as far as the association stays the present one.
    pub(super) fn attempt<'b>(&self, requests: impl IntoIterator<Item = Request<'b>>) -> Outcome {
        let (queue, association, generations) = match self.by {
            By::Queue { queue, association, generations } => (queue, association, generations),
            By::Kernel(kernel) => return kernel.attempt(self.name, requests),
        };
        let (mut failed, mut unknown) = (Vec::new(), false);
        // The commands of one call are of one kind.
        let changes = Cell::new(false);
        let requests = requests.into_iter().inspect(|request| changes.set(!is_repeatable(&request.sqe)));
        let stay = || generations.is_current(association);
        let (begun, result) = queue.run(requests, stay, |number, outcome| {
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
        cut: impl Fn(usize) -> Cut,
        mut attempt: impl FnMut(&mut dyn Iterator<Item = Range<usize>>, Attempt<'_>) -> Outcome,
    ) -> Result<()> {
        let mut left = Left::whole(len);
        if let Some(kernel) = self.route.kernel() {
            // It has a recovery and paths of its own.
            let cut = cut(self.max_transfer());
            let outcome = attempt(&mut left.pieces(cut), Attempt { name, by: By::Kernel(kernel) });
            return outcome.error.map_or(Ok(()), Err);
        }
        let mut tries = 0;
        while !left.is_empty() {
            let mut way = self.route.choose()?;
            let association = &*way.association;
            let cut = cut(self.max_transfer_on(association));
            let queue = queue_of_this_thread(association)?;
            let go = Attempt { name, by: By::Queue { queue, association, generations: &way.generations } };
            let Outcome { begun, failed, error, unknown } = attempt(&mut left.pieces(cut), go);
            left.done(cut, begun, &failed);
            if begun > failed.len() {
                tries = 0;
            }
            let Some(error) = error else {
                way.succeeded();
                continue;
            };
            way.after_failure(name, error, unknown, tries)?.wait()?;
            tries += 1;
        }
        Ok(())
    }
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
