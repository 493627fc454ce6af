//! What is wrong with a structure that came from the wire.

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// A structure that cannot be what it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{structure}: {field} is {got}, expected {expected}")]
pub struct Malformed {
    /// Which structure.
    pub structure: &'static str,
    /// Which of its fields.
    pub field: &'static str,
    /// What came.
    pub got: u64,
    /// What was expected.
    pub expected: &'static str,
}

impl Malformed {
    /// `bytes` are too few for `structure`.
    pub(crate) fn length(structure: &'static str, bytes: &[u8], expected: &'static str) -> Self {
        Self { structure, field: "length in bytes", got: bytes.len() as u64, expected }
    }
}

/// Reads a structure of fixed length from the beginning of `bytes`, and gives back the rest.
///
/// # Errors
/// There are fewer bytes than it has.
pub fn read<'a, T: FromBytes + KnownLayout + Immutable>(
    structure: &'static str,
    bytes: &'a [u8],
) -> Result<(Box<T>, &'a [u8]), Malformed> {
    T::read_from_prefix(bytes)
        .map(|(value, rest)| (Box::new(value), rest))
        .map_err(|_| Malformed::length(structure, bytes, "the whole structure"))
}

#[cfg(test)]
mod tests {
    use zerocopy::little_endian::U32;

    use super::*;

    #[test]
    fn the_rest_is_given_back_and_too_little_is_named() {
        let (value, rest) = read::<U32>("word", &[1, 0, 0, 0, 9]).unwrap();
        assert_eq!((value.get(), rest), (1, &[9][..]));
        let error = read::<U32>("word", &[1]).unwrap_err().to_string();
        assert_eq!(error, "word: length in bytes is 1, expected the whole structure");
    }
}
