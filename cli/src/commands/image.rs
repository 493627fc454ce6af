//! The demo's image: bytes that look random, and that anyone can make again from a seed and an offset.

use std::io::{self, Read};

/// SplitMix64's increment, 2^64 divided by the golden ratio, odd.
const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;
const WORD: u64 = 8;

/// An image without end: word `i` of 8 bytes, in little-endian order, is the `i`-th output of
/// SplitMix64 (Steele, Lea and Flood, 2014) from `seed`.
///
/// That generator is a counter with a mixing function on top, so any range can be made by itself, with
/// no state and in any order: by several threads, or by whoever compares. It does not compress, repeats
/// no 8-byte word within 2^64 of them, and is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    seed: u64,
}

impl Image {
    /// The image of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Fills `bytes` with what stands at `offset` bytes from the image's start.
    pub fn fill(self, offset: u64, bytes: &mut [u8]) {
        let mut index = offset / WORD;
        let skip = (offset % WORD) as usize;
        let head_len = if skip == 0 { 0 } else { bytes.len().min(WORD as usize - skip) };
        let (head, rest) = bytes.split_at_mut(head_len);
        if head_len != 0 {
            head.copy_from_slice(&self.word(index)[skip..skip + head_len]);
            index += 1;
        }
        let mut words = rest.chunks_exact_mut(WORD as usize);
        for word in &mut words {
            word.copy_from_slice(&self.word(index));
            index += 1;
        }
        let tail = words.into_remainder();
        tail.copy_from_slice(&self.word(index)[..tail.len()]);
    }

    /// Its first `len` bytes, as a file would give them.
    pub fn reader(self, len: u64) -> ImageReader {
        ImageReader { image: self, at: 0, len }
    }

    fn word(self, index: u64) -> [u8; WORD as usize] {
        let mut word = self.seed.wrapping_add(INCREMENT.wrapping_mul(index.wrapping_add(1)));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    }
}

/// The beginning of an [`Image`], read once from start to end.
#[derive(Debug)]
pub struct ImageReader {
    image: Image,
    at: u64,
    len: u64,
}

impl Read for ImageReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        let len = left.min(bytes.len());
        self.image.fill(self.at, &mut bytes[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_splitmix64() {
        // The widely published first outputs for this seed.
        let known: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        let mut bytes = [0; 40];
        Image::new(1_234_567).fill(0, &mut bytes);
        assert_eq!(bytes.as_slice(), known.map(u64::to_le_bytes).concat());
    }

    #[test]
    fn seeds_make_different_images() {
        let begin = |seed| {
            let mut bytes = [0; 64];
            Image::new(seed).fill(0, &mut bytes);
            bytes
        };
        assert_ne!(begin(1), begin(2));
    }

    #[test]
    fn the_end_of_the_offsets_is_no_edge() {
        let mut bytes = [0; 24];
        Image::new(u64::MAX).fill(u64::MAX - 24, &mut bytes);
        assert_ne!(bytes, [0; 24]);
    }

    #[test]
    fn a_reader_gives_its_length_and_the_same_bytes() {
        let mut whole = vec![0; 10_001];
        Image::new(9).fill(0, &mut whole);
        let mut read = Vec::new();
        assert_eq!(Image::new(9).reader(10_001).read_to_end(&mut read).unwrap(), 10_001);
        assert_eq!(read, whole);
    }

    proptest! {
        #[test]
        fn any_range_can_be_made_by_itself(seed: u64, start in 0_usize..500, len in 0_usize..500) {
            let mut whole = [0; 1000];
            Image::new(seed).fill(0, &mut whole);
            let mut range = vec![0; len];
            Image::new(seed).fill(start as u64, &mut range);
            prop_assert_eq!(&range, &whole[start..start + len]);
        }
    }
}
