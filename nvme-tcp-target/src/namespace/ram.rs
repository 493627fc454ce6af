//! A namespace in memory that is only taken where something was written.

use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use super::{Backend, Page, Shared};

/// The bytes behind one lock: what is copied where a page is written that is being sent.
const PAGE_LEN: usize = Page::LEN;
/// How many pages are made known together.
const GROUP: usize = 1 << 14;

/// One page; `None` while it is all zero.
type Place = RwLock<Option<Arc<Page>>>;
type Group = Box<[Place]>;

/// Bytes in memory. Each page of 64 KiB has its own lock, and no memory until it is written to. What is read is not
/// copied but shared; who writes to a page that is shared makes a new one. Whole pages that were received as such take the
/// place of those that they overwrite.
#[derive(Debug)]
pub struct Ram {
    extent: RwLock<Extent>,
    zeros: Arc<Page>,
}

fn zeros() -> Arc<Page> {
    Arc::new(Page::new(PAGE_LEN))
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
        Self { extent: RwLock::new(extent), zeros: zeros() }
    }

    fn extent(&self) -> RwLockReadGuard<'_, Extent> {
        self.extent.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Extent {
    fn resize(&mut self, size: u64) {
        self.groups.resize_with(size.div_ceil((PAGE_LEN * GROUP) as u64) as usize, OnceLock::new);
        self.size = size;
    }

    /// The page with this number; `None` where nothing near it was ever written to.
    fn page(&self, number: u64) -> Option<&Place> {
        let group = self.groups.get((number / GROUP as u64) as usize)?;
        group.get()?.get(number as usize % GROUP)
    }

    fn page_to_write(&self, number: u64) -> Option<&Place> {
        let group = self.groups.get((number / GROUP as u64) as usize)?;
        group.get_or_init(|| (0..GROUP).map(|_| Place::default()).collect()).get(number as usize % GROUP)
    }
}

/// Cuts `len` bytes at `offset` at the pages' borders: number, offset in the page, length.
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len;
    let mut at = offset;
    std::iter::from_fn(move || {
        let within = at % PAGE_LEN as u64;
        let piece = (PAGE_LEN as u64 - within).min(end - at);
        let number = at / PAGE_LEN as u64;
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
            let held = extent.page(number).map(|page| page.read().unwrap_or_else(PoisonError::into_inner));
            let held = held.as_ref().and_then(|held| held.as_ref());
            match held.and_then(|page| page.bytes().get(at..at + len)) {
                Some(bytes) => piece.copy_from_slice(bytes),
                None => piece.fill(0),
            }
        }
        Ok(())
    }

    fn share(&self, all: &mut Vec<Shared>, offset: u64, len: u64) -> bool {
        let extent = self.extent();
        all.extend(pieces(offset, len).filter_map(|(number, at, len)| {
            let held = extent.page(number).map(|page| page.read().unwrap_or_else(PoisonError::into_inner));
            let page = held.as_ref().and_then(|held| held.as_ref()).unwrap_or(&self.zeros);
            Shared::new(page.clone(), at..at + len)
        }));
        true
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let extent = self.extent();
        let mut rest = data;
        for (number, at, len) in pieces(offset, data.len() as u64) {
            let (piece, after) = rest.split_at(len);
            rest = after;
            let page = extent.page_to_write(number).ok_or(io::ErrorKind::InvalidInput)?;
            let mut held = page.write().unwrap_or_else(PoisonError::into_inner);
            let bytes = Arc::make_mut(held.get_or_insert_with(zeros)).bytes_mut();
            bytes.get_mut(at..at + len).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(piece);
        }
        Ok(())
    }

    fn keeps_pages(&self) -> bool {
        true
    }

    fn put(&self, pages: &mut [Arc<Page>], offset: u64) -> io::Result<()> {
        let extent = self.extent();
        for (number, page) in (offset / PAGE_LEN as u64..).zip(pages) {
            let place = extent.page_to_write(number).ok_or(io::ErrorKind::InvalidInput)?;
            let mut held = place.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(held.get_or_insert_with(|| self.zeros.clone()), page);
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, deallocate: bool) -> io::Result<()> {
        let extent = self.extent();
        for (number, at, len) in pieces(offset, len) {
            let Some(page) = extent.page(number) else { continue };
            let mut held = page.write().unwrap_or_else(PoisonError::into_inner);
            if deallocate && len == PAGE_LEN {
                *held = None;
            } else if let Some(bytes) =
                held.as_mut().and_then(|page| Arc::make_mut(page).bytes_mut().get_mut(at..at + len))
            {
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
        let at = (1 << 39) + PAGE_LEN as u64 - 3;
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
            .filter(|page| page.read().unwrap().is_some())
            .count();
        assert_eq!(taken, 2);
    }

    #[test]
    fn whole_pages_give_their_memory_back_and_parts_read_as_zeros() {
        let ram = Ram::new(4 * PAGE_LEN as u64);
        let data = vec![7; 3 * PAGE_LEN];
        ram.write_at(&data, 0).unwrap();
        ram.deallocate(100, 2 * PAGE_LEN as u64).unwrap();
        assert!(ram.extent().page(1).unwrap().read().unwrap().is_none());
        let mut got = vec![1; 3 * PAGE_LEN];
        ram.read_at(&mut got, 0).unwrap();
        assert!(got[..100].iter().all(|byte| *byte == 7));
        assert!(got[100..100 + 2 * PAGE_LEN].iter().all(|byte| *byte == 0));
        assert!(got[100 + 2 * PAGE_LEN..].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn what_is_shared_stays_as_it_was() {
        let ram = Ram::new(4 * PAGE_LEN as u64);
        let (offset, data) = (PAGE_LEN as u64 - 2, [1, 2, 3, 4]);
        ram.write_at(&data, offset).unwrap();
        let mut pieces = Vec::new();
        assert!(ram.share(&mut pieces, offset, 2 + PAGE_LEN as u64 + 3));
        ram.write_at(&[9; 4], offset).unwrap();
        ram.write_zeroes(offset, 1, false).unwrap();
        let shared: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes().to_vec()).collect();
        assert_eq!((&shared[..4], shared.len()), (&data[..], PAGE_LEN + 5));
        assert!(shared[4..].iter().all(|byte| *byte == 0));
        let mut now = [1; 4];
        ram.read_at(&mut now, offset).unwrap();
        assert_eq!(now, [0, 9, 9, 9]);
        // Nobody has a share any more: the page is written where it is.
        drop(pieces);
        let page =
            |ram: &Ram| ram.extent().page(0).unwrap().read().unwrap().as_ref().unwrap().bytes().as_ptr();
        let before = page(&ram);
        ram.write_at(&data, 0).unwrap();
        assert_eq!(page(&ram), before);
    }

    #[test]
    fn pages_are_kept_and_what_was_there_is_given_for_them() {
        let ram = Ram::new(4 * PAGE_LEN as u64);
        let filled = |fill: u8| {
            let mut page = Page::new(PAGE_LEN);
            page.bytes_mut().fill(fill);
            Arc::new(page)
        };
        let offset = PAGE_LEN as u64;
        let mut pages = [filled(1), filled(2)];
        let first = pages[0].bytes().as_ptr();
        ram.put(&mut pages, offset).unwrap();
        // There was nothing: all zeros, which are shared.
        assert!(pages.iter().all(|page| page.bytes() == zeros().bytes() && Arc::strong_count(page) > 1));
        let mut shared = Vec::new();
        assert!(ram.share(&mut shared, offset, PAGE_LEN as u64));
        assert_eq!(shared[0].bytes().as_ptr(), first);
        let mut others = [filled(3), filled(4)];
        ram.put(&mut others, offset).unwrap();
        assert_eq!(others[0].bytes().as_ptr(), first);
        assert_eq!(others.each_ref().map(|page| page.bytes()[PAGE_LEN - 1]), [1, 2]);
        assert_eq!(shared[0].bytes()[0], 1);
        let mut data = vec![9; 4 * PAGE_LEN];
        ram.read_at(&mut data, 0).unwrap();
        let parts: Vec<u8> = data.chunks(PAGE_LEN).map(|part| part[PAGE_LEN / 2]).collect();
        assert_eq!(parts, [0, 3, 4, 0]);
        assert!(ram.put(&mut others, (4 * PAGE_LEN * GROUP) as u64).is_err());
    }
}
