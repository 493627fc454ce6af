//! Bytes that nobody else may see.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The longest secret that the library keeps: the output of SHA-512.
pub const MAX_SECRET_LEN: usize = 64;

/// A key, a traffic secret or another value of at most [`MAX_SECRET_LEN`] bytes.
///
/// It is never `Copy`, prints as its length only, compares in constant time and is overwritten with
/// zeros when it is dropped. A clone is made on purpose, by name.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret {
    bytes: [u8; MAX_SECRET_LEN],
    len: usize,
}

impl Secret {
    /// Takes a copy of `bytes`, or `None` where they are more than [`MAX_SECRET_LEN`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self::zeroed(bytes.len())?;
        secret.expose_mut().copy_from_slice(bytes);
        Some(secret)
    }

    /// `len` zero bytes, to be filled in by [`Secret::expose_mut`].
    pub fn zeroed(len: usize) -> Option<Self> {
        (len <= MAX_SECRET_LEN).then_some(Self { bytes: [0; MAX_SECRET_LEN], len })
    }

    /// The bytes themselves. Every use of this is a place where a secret could leak.
    pub fn expose(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The bytes themselves, to write to.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// How many bytes it is.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.len)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_its_length_and_nothing_else() {
        let secret = Secret::new(b"hunter2 hunter2").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(15 bytes)");
    }

    #[test]
    fn refuses_more_than_it_can_hold() {
        assert!(Secret::new(&[0; MAX_SECRET_LEN]).is_some());
        assert!(Secret::new(&[0; MAX_SECRET_LEN + 1]).is_none());
    }

    #[test]
    fn is_equal_by_content_and_length() {
        let a = Secret::new(b"abc").unwrap();
        assert_eq!(a, a.clone());
        assert_ne!(a, Secret::new(b"abd").unwrap());
        assert_ne!(a, Secret::new(b"ab").unwrap());
    }
}
