//! Sets of blocks.

use std::collections::BTreeMap;

/// The most ranges of a set.
const MAX_RANGES: usize = 1 << 16;

/// Blocks, as ranges that neither overlap nor touch.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// From the first block to the one behind the last.
    ends: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether one of `count` blocks from `first` on is in it.
    pub(crate) fn overlaps(&self, first: u64, count: u64) -> bool {
        let end = first.saturating_add(count);
        count > 0 && self.ends.range(..end).next_back().is_some_and(|(_, last)| *last > first)
    }

    /// Adds blocks; `false` where that would be more ranges than a set may have.
    pub(crate) fn insert(&mut self, first: u64, count: u64) -> bool {
        let (mut first, mut end) = (first, first.saturating_add(count));
        if self.ends.len() >= MAX_RANGES && !self.overlaps(first, count) {
            return false;
        }
        while let Some((&at, &last)) = self.ends.range(..=end).next_back().filter(|(_, last)| **last >= first)
        {
            self.ends.remove(&at);
            first = first.min(at);
            end = end.max(last);
        }
        self.ends.insert(first, end);
        true
    }

    /// Takes blocks out.
    pub(crate) fn remove(&mut self, first: u64, count: u64) {
        let end = first.saturating_add(count);
        if count == 0 {
            return;
        }
        while let Some((&at, &last)) = self.ends.range(..end).next_back().filter(|(_, last)| **last > first) {
            self.ends.remove(&at);
            if at < first {
                self.ends.insert(at, first);
            }
            if last > end {
                self.ends.insert(end, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same as a plain list of blocks.
        #[test]
        fn ranges_are_sets_of_blocks(changes in prop::collection::vec((any::<bool>(), 0_u64..64, 0_u64..16), 0..40)) {
            let (mut ranges, mut model) = (Ranges::default(), [false; 96]);
            for (add, first, count) in changes {
                if add && count > 0 {
                    prop_assert!(ranges.insert(first, count));
                } else {
                    ranges.remove(first, count);
                }
                model[first as usize..(first + count) as usize].fill(add);
                for (block, held) in (0..).zip(model) {
                    prop_assert_eq!(ranges.overlaps(block, 1), held);
                }
                prop_assert_eq!(ranges.overlaps(first, count), model[first as usize..(first + count) as usize].contains(&true));
                let ends: Vec<_> = ranges.ends.iter().collect();
                prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }
}
