//! What the namespace may hold, and random numbers.

/// xorshift64*, as good as this needs.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 to below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end.max(1)
    }

    /// Once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

pub(crate) const BLOCK: usize = 512;

/// The bytes of a block that write number `id` writes; zeros for none.
pub(crate) fn block(id: u64) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    bytes.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&id.to_le_bytes()));
    bytes
}

/// For each block, the writes that it may hold: the last that was acknowledged, and those after it of which nothing
/// is known.
pub(crate) struct Model(Vec<Vec<u64>>);

impl Model {
    pub(crate) fn new(blocks: usize) -> Self {
        Self(vec![vec![0]; blocks])
    }

    pub(crate) fn acknowledged(&mut self, first: usize, count: usize, id: u64) {
        self.0[first..first + count].iter_mut().for_each(|may| *may = vec![id]);
    }

    pub(crate) fn unknown(&mut self, first: usize, count: usize, id: u64) {
        self.0[first..first + count].iter_mut().for_each(|may| may.push(id));
    }

    pub(crate) fn check_read(&self, first: usize, data: &[u8]) {
        for (number, bytes) in (first..).zip(data.chunks_exact(BLOCK)) {
            let id = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert!(bytes == block(id), "block {number} is torn");
            let may = &self.0[number];
            assert!(may.contains(&id), "block {number} holds write {id}, expected one of {may:?}");
        }
    }
}
