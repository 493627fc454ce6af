//! Bytes that are sent from where they are stored.

use std::ops::Range;
use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Memory that begins at a page of the machine's: what a kernel copies from there fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page(Box<[Block]>);

#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Block([u8; 4096]);

impl Page {
    /// The length of those that a namespace [keeps](super::Backend::put), in bytes.
    pub const LEN: usize = 64 << 10;

    /// At least `len` bytes, all zero.
    pub fn new(len: usize) -> Self {
        Self(vec![Block([0; 4096]); len.div_ceil(size_of::<Block>())].into_boxed_slice())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_bytes()
    }
}

/// Bytes of a namespace, lent to whoever sends them: what is written to the same place later does not change them.
#[derive(Clone, Debug)]
pub struct Shared {
    page: Arc<Page>,
    range: Range<usize>,
}

impl Shared {
    /// The bytes of `page` in `range`; `None` where it has them not all.
    pub fn new(page: Arc<Page>, range: Range<usize>) -> Option<Self> {
        page.bytes().get(range.clone()).is_some().then_some(Self { page, range })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.page.bytes()[self.range.clone()]
    }
}
