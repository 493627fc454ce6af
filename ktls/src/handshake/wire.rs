//! Reading and writing TLS's presentation language (RFC 8446, section 3).

use std::ops::RangeInclusive;

use super::error::Error;

/// Takes fields from the front of a message, one after the other. Each is named, so that an error says
/// which one is wrong.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Error> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(Error::decode(field, format!("{len} bytes"), format!("{} bytes", self.rest.len()))),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(Error::decode(field, format!("{N} bytes"), format!("{} bytes", self.rest.len()))),
        }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// A vector whose length is one byte and must lie in `range`.
    pub(super) fn vec8(
        &mut self,
        range: RangeInclusive<usize>,
        field: &'static str,
    ) -> Result<&'a [u8], Error> {
        let len = self.u8(field)?;
        self.vector(len.into(), range, field)
    }

    /// A vector whose length is two bytes and must lie in `range`.
    pub(super) fn vec16(
        &mut self,
        range: RangeInclusive<usize>,
        field: &'static str,
    ) -> Result<&'a [u8], Error> {
        let len = self.u16(field)?;
        self.vector(len.into(), range, field)
    }

    fn vector(
        &mut self,
        len: usize,
        range: RangeInclusive<usize>,
        field: &'static str,
    ) -> Result<&'a [u8], Error> {
        if !range.contains(&len) {
            let expected = format!("{} to {} bytes", range.start(), range.end());
            return Err(Error::decode(field, expected, format!("{len} bytes")));
        }
        self.bytes(len, field)
    }

    /// A vector of 16-bit numbers with two bytes of length: at least one of them.
    pub(super) fn list16(&mut self, field: &'static str) -> Result<Vec<u16>, Error> {
        let mut list = Self::new(self.vec16(2..=0xfffe, field)?);
        let mut numbers = Vec::new();
        while !list.is_empty() {
            numbers.push(list.u16(field)?);
        }
        Ok(numbers)
    }

    /// Nothing may follow.
    pub(super) fn end(self, field: &'static str) -> Result<(), Error> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(Error::decode(field, "its end", format!("{more} more bytes"))),
        }
    }
}

/// Writes `content` behind its length, which takes the last `N` bytes of a big-endian number.
///
/// # Panics
/// When the content is longer than its length can say: what this end sends is bounded by
/// [`super::MAX_IDENTITY_LEN`] and its like.
fn with_len<const N: usize>(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; N]);
    content(out);
    let len = (out.len() - start - N).to_be_bytes();
    let (zero, low) = len.split_at(len.len() - N);
    assert!(zero.iter().all(|&byte| byte == 0), "the content fits its length");
    out.splice(start..start + N, low.iter().copied());
}

/// A vector with one byte of length.
pub(super) fn put_vec8(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    with_len::<1>(out, content);
}

/// A vector with two bytes of length.
pub(super) fn put_vec16(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    with_len::<2>(out, content);
}

/// A vector with three bytes of length: the body of a handshake message.
pub(super) fn put_vec24(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    with_len::<3>(out, content);
}

pub(super) fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        put_vec8(&mut out, |out| out.extend_from_slice(b"ab"));
        put_vec16(&mut out, |out| put_vec24(out, |out| put_u16(out, 0x0304)));
        assert_eq!(out, [2, b'a', b'b', 0, 5, 0, 0, 2, 3, 4]);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.vec8(0..=2, "a").unwrap(), b"ab");
        assert_eq!(reader.vec16(1..=9, "b").unwrap(), [0, 0, 2, 3, 4]);
        assert!(reader.end("c").is_ok());
    }

    #[test]
    fn every_shortage_and_surplus_is_named() {
        let named = |result: Result<(), Error>, expected: &str| {
            let text = result.unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        };
        named(Reader::new(&[1]).u16("x").map(drop), "x: expected 2 bytes, got 1 bytes");
        named(Reader::new(&[3, 1]).vec8(0..=9, "x").map(drop), "x: expected 3 bytes, got 1 bytes");
        named(Reader::new(&[3, 1]).vec8(0..=2, "x").map(drop), "x: expected 0 to 2 bytes, got 3 bytes");
        named(Reader::new(&[0, 3, 1, 2, 3]).list16("x").map(drop), "x: expected 2 bytes, got 1 bytes");
        named(Reader::new(&[0, 0]).list16("x").map(drop), "got 0 bytes");
        named(Reader::new(&[7]).end("x"), "x: expected its end, got 1 more bytes");
    }
}
