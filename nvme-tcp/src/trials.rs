//! How often something is tried that may be in vain.

/// Whether something is worth a trial: the more often in a row it was in vain, the less often.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// How often in a row it was in vain.
    in_vain: u32,
    /// How many times it is left out now.
    rest: u32,
}

impl Trials {
    /// One time in 64 is the least that is tried.
    const MOST_IN_VAIN: u32 = 6;

    /// Whether to try this time.
    pub(crate) fn begin(&mut self) -> bool {
        if self.rest == 0 {
            return true;
        }
        self.rest -= 1;
        false
    }

    /// A trial was worth it, or in vain.
    pub(crate) fn end(&mut self, worth_it: bool) {
        self.in_vain = if worth_it { 0 } else { Self::MOST_IN_VAIN.min(self.in_vain + 1) };
        self.rest = (1 << self.in_vain) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_vain_is_tried_ever_less_often() {
        let mut trials = Trials::default();
        let mut tried = Vec::new();
        for time in 0..400 {
            if trials.begin() {
                tried.push(time);
                trials.end(false);
            }
        }
        assert_eq!(tried, [0, 2, 6, 14, 30, 62, 126, 190, 254, 318, 382]);
        // Once was enough.
        assert!((0..64).any(|_| trials.begin()));
        trials.end(true);
        assert!((0..100).all(|_| {
            let tries = trials.begin();
            trials.end(tries);
            tries
        }));
    }
}
