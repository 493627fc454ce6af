//! SHA-256 of what passes by.

use std::io::{self, Read, Write};

use ktls::crypto::{Hash, Hasher};

/// Hashes what is read from, or written to, `inner`.
pub struct Hashing<'h, T> {
    inner: T,
    hasher: &'h mut Hasher,
}

impl<'h, T> Hashing<'h, T> {
    /// Adds to `hasher`.
    pub fn new(inner: T, hasher: &'h mut Hasher) -> Self {
        Self { inner, hasher }
    }
}

/// A hash of nothing yet.
pub fn sha256() -> Hasher {
    Hasher::new(Hash::Sha256)
}

impl<T: Read> Read for Hashing<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}

impl<T: Write> Write for Hashing<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::hex;

    #[test]
    fn both_ways_give_the_known_hash_of_abc() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut read = sha256();
        io::copy(&mut Hashing::new(&b"abc"[..], &mut read), &mut io::sink()).unwrap();
        assert_eq!(hex(read.finish().as_ref()), known);
        let mut written = sha256();
        Hashing::new(io::sink(), &mut written).write_all(b"abc").unwrap();
        assert_eq!(hex(written.finish().as_ref()), known);
    }
}
