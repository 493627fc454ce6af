//! A namespace in memory that is only taken where something was written.

use std::io;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};

use super::Backend;

/// The bytes behind one lock.
const STRIPE: usize = 1 << 20;
/// How many stripes are made known together.
const GROUP: usize = 1 << 10;

/// One stripe; `None` while it is all zero.
type Stripe = RwLock<Option<Box<[u8]>>>;
type Group = Box<[Stripe]>;

/// Bytes in memory. Each stripe of 1 MiB has its own lock, and no memory until it is written to.
#[derive(Debug)]
pub struct Ram {
    extent: RwLock<Extent>,
}

#[derive(Debug)]
struct Extent {
    size: u64,
    groups: Vec<OnceLock<Group>>,
}

impl Ram {
    /// `size` bytes, all zero.
    pub fn new(size: u64) -> Self {
        let mut extent = Extent { size: 0, groups: Vec::new() };
        extent.resize(size);
        Self { extent: RwLock::new(extent) }
    }

    fn extent(&self) -> RwLockReadGuard<'_, Extent> {
        self.extent.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Extent {
    fn resize(&mut self, size: u64) {
        self.groups.resize_with(size.div_ceil((STRIPE * GROUP) as u64) as usize, OnceLock::new);
        self.size = size;
    }

    /// The stripe with this number; `None` where nothing near it was ever written to.
    fn stripe(&self, number: u64) -> Option<&Stripe> {
        let group = self.groups.get((number / GROUP as u64) as usize)?;
        group.get()?.get(number as usize % GROUP)
    }

    fn stripe_to_write(&self, number: u64) -> Option<&Stripe> {
        let group = self.groups.get((number / GROUP as u64) as usize)?;
        group.get_or_init(|| (0..GROUP).map(|_| Stripe::default()).collect()).get(number as usize % GROUP)
    }
}

/// Cuts `len` bytes at `offset` at the stripes' borders: number, offset in the stripe, length.
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len;
    let mut at = offset;
    std::iter::from_fn(move || {
        let within = at % STRIPE as u64;
        let piece = (STRIPE as u64 - within).min(end - at);
        let number = at / STRIPE as u64;
        at += piece;
        (piece > 0).then_some((number, within as usize, piece as usize))
    })
}

impl Backend for Ram {
    fn size(&self) -> u64 {
        self.extent().size
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        let extent = self.extent();
        let mut rest = data;
        for (number, at, len) in pieces(offset, rest.len() as u64) {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            let held =
                extent.stripe(number).map(|stripe| stripe.read().unwrap_or_else(PoisonError::into_inner));
            match held.as_ref().and_then(|held| held.as_ref()).and_then(|bytes| bytes.get(at..at + len)) {
                Some(bytes) => piece.copy_from_slice(bytes),
                None => piece.fill(0),
            }
        }
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let extent = self.extent();
        let mut rest = data;
        for (number, at, len) in pieces(offset, data.len() as u64) {
            let (piece, after) = rest.split_at(len);
            rest = after;
            let stripe = extent.stripe_to_write(number).ok_or(io::ErrorKind::InvalidInput)?;
            let mut held = stripe.write().unwrap_or_else(PoisonError::into_inner);
            let bytes = held.get_or_insert_with(|| vec![0; STRIPE].into_boxed_slice());
            bytes.get_mut(at..at + len).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(piece);
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, deallocate: bool) -> io::Result<()> {
        let extent = self.extent();
        for (number, at, len) in pieces(offset, len) {
            let Some(stripe) = extent.stripe(number) else { continue };
            let mut held = stripe.write().unwrap_or_else(PoisonError::into_inner);
            if deallocate && len == STRIPE {
                *held = None;
            } else if let Some(bytes) = held.as_mut().and_then(|bytes| bytes.get_mut(at..at + len)) {
                bytes.fill(0);
            }
        }
        Ok(())
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        let gone = self.size().saturating_sub(size);
        self.write_zeroes(size, gone, true)?;
        self.extent.write().unwrap_or_else(PoisonError::into_inner).resize(size);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_tebibyte_takes_memory_only_where_it_is_written() {
        let ram = Ram::new(1 << 40);
        let at = (1 << 39) + STRIPE as u64 - 3;
        ram.write_at(b"abcdef", at).unwrap();
        let mut data = [0xee; 10];
        ram.read_at(&mut data, at - 2).unwrap();
        assert_eq!(&data, b"\0\0abcdef\0\0");
        let taken: usize = ram
            .extent()
            .groups
            .iter()
            .filter_map(OnceLock::get)
            .flat_map(|group| group.iter())
            .filter(|stripe| stripe.read().unwrap().is_some())
            .count();
        assert_eq!(taken, 2);
    }

    #[test]
    fn whole_stripes_give_their_memory_back_and_parts_read_as_zeros() {
        let ram = Ram::new(4 * STRIPE as u64);
        let data = vec![7; 3 * STRIPE];
        ram.write_at(&data, 0).unwrap();
        ram.deallocate(100, 2 * STRIPE as u64).unwrap();
        assert!(ram.extent().stripe(1).unwrap().read().unwrap().is_none());
        let mut got = vec![1; 3 * STRIPE];
        ram.read_at(&mut got, 0).unwrap();
        assert!(got[..100].iter().all(|byte| *byte == 7));
        assert!(got[100..100 + 2 * STRIPE].iter().all(|byte| *byte == 0));
        assert!(got[100 + 2 * STRIPE..].iter().all(|byte| *byte == 7));
    }
}
