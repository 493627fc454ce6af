//! What passes by: its SHA-256, or whether it is what was expected.

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

/// Compares what is written to it with what `expected` gives.
pub struct Comparing<R> {
    expected: R,
    offset: u64,
    difference: Option<u64>,
    buffer: Vec<u8>,
}

impl<R: Read> Comparing<R> {
    /// Compares with `expected`, from its beginning on.
    pub fn new(expected: R) -> Self {
        Self { expected, offset: 0, difference: None, buffer: Vec::new() }
    }

    /// The offset of the first byte that was another one, or that `expected` did not have.
    pub fn difference(&self) -> Option<u64> {
        self.difference
    }
}

impl<R: Read> Write for Comparing<R> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.buffer.clear();
        (&mut self.expected).take(buf.len() as u64).read_to_end(&mut self.buffer)?;
        if self.buffer != buf {
            let same = self.buffer.iter().zip(buf).take_while(|(a, b)| a == b).count();
            self.difference = Some(self.offset + same as u64);
            return Err(io::Error::other("the bytes differ"));
        }
        self.offset += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

    #[test]
    fn the_first_difference_is_found() {
        let mut same = Comparing::new(&b"abcdef"[..]);
        same.write_all(b"abc").unwrap();
        assert!(same.write_all(b"dxf").is_err());
        assert_eq!(same.difference(), Some(4));
        let mut short = Comparing::new(&b"ab"[..]);
        assert!(short.write_all(b"abc").is_err());
        assert_eq!(short.difference(), Some(2));
    }
}
