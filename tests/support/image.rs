//! Images: bytes that look random, and a search for pieces of them.

/// The 8 bytes at `offset`, a multiple of 8, of the image `seed`: SplitMix64 of the counter.
fn word(seed: u64, offset: u64) -> [u8; 8] {
    let mut word = seed.wrapping_add((offset / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)).to_le_bytes()
}

/// Fills `bytes` with what stands at `offset`, a multiple of 8, of the image `seed`.
pub fn pattern_at(seed: u64, offset: u64, bytes: &mut [u8]) {
    for (at, piece) in (offset..).step_by(8).zip(bytes.chunks_mut(8)) {
        piece.copy_from_slice(&word(seed, at)[..piece.len()]);
    }
}

/// The first `len` bytes of the image `seed`.
pub fn image(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    pattern_at(seed, 0, &mut bytes);
    bytes
}

/// Finds an image's pieces in other bytes: every aligned block of 8 bytes of it, wherever it stands. A
/// window of 16 bytes holds at least one such block, so what holds no block holds no window.
#[derive(Debug)]
pub struct Needle {
    blocks: Vec<u64>,
    /// By the low bits of a block: whether there is one. It saves nearly all of the searching.
    there: Vec<bool>,
}

const BITS: u64 = (1 << 24) - 1;

impl Needle {
    /// What is looked for.
    pub fn new(image: &[u8]) -> Self {
        let mut blocks: Vec<_> = image
            .chunks_exact(8)
            .filter_map(|block| block.first_chunk())
            .map(|b| u64::from_le_bytes(*b))
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        let mut there = vec![false; BITS as usize + 1];
        blocks.iter().for_each(|block| there[(block & BITS) as usize] = true);
        Self { blocks, there }
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many places of `hay` hold a block of the image.
    pub fn count_in(&self, hay: &[u8]) -> usize {
        let mut count = 0;
        let mut window = 0;
        for (at, byte) in hay.iter().enumerate() {
            window = window >> 8 | u64::from(*byte) << 56;
            if at >= 7 && self.there[(window & BITS) as usize] && self.blocks.binary_search(&window).is_ok() {
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_found_at_any_place() {
        let image = image(1, 4096);
        let needle = Needle::new(&image);
        assert_eq!(needle.len(), 512);
        assert_eq!(needle.count_in(&image), 512);
        // Of 16 bytes from anywhere, one whole block at least.
        for start in 0..64 {
            let hay = [&[0; 5][..], &image[start..start + 16], &[0; 3]].concat();
            assert!(needle.count_in(&hay) >= 1, "{start}");
        }
        assert_eq!(needle.count_in(&super::image(2, 65_536)), 0);
    }
}
