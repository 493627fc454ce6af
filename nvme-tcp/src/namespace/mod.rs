//! A namespace: bytes at offsets. One file for each family of its commands.

mod by_kernel;
mod copy;
mod dataset;
mod fused;
mod info;
mod io;
mod recover;
mod reservation;
mod route;
mod run;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::association::Association;
use crate::driver::shared::SharedQueue;
use crate::error::{Error, ErrorKind, NamespaceRefusal, Result};
use crate::spec::command::nvm::MAX_BLOCKS;
use crate::spec::identify::IdentifyNamespace;

use info::Limits;
#[cfg(feature = "tokio")]
pub(crate) use {
    fused::{COMPARE_AND_WRITE, matched, says_why},
    io::{flagged, no_deallocate},
    reservation::{Command as ReservationCommand, REPORT, Reporting},
    run::{Cut, Left},
};

pub(crate) use by_kernel::ByKernel;
pub use copy::ByteRange;
pub use dataset::{DatasetAttributes, DatasetRange};
pub use info::NamespaceInfo;
pub use reservation::{Acquire, Register, Release};
pub(crate) use route::Route;

/// The most data in one command where the controller sets no limit (MDTS 0), in bytes.
const MAX_TRANSFER: u64 = 1 << 20;

/// A namespace of a controller, of a [subsystem](crate::multipath) with several, or of the
/// [kernel's own initiator](crate::kernel): [`Options::attach`](crate::Options::attach) opens it by a setting. It may
/// be shared between threads, and goes on with the controller's next association when one takes over.
///
/// Offsets and lengths are in bytes and must be multiples of [`block_size`](Self::block_size). Each call
/// splits its data into commands, keeps as many of them in flight as its queue takes, and returns when all are
/// done. A thread stays with one of the I/O queues.
///
/// ```no_run
/// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
/// let namespace = controller.namespace(1)?;
/// println!("{} bytes in blocks of {}", namespace.size(), namespace.block_size());
/// let mut block = vec![0; namespace.block_size() as usize];
/// namespace.read_at(&mut block, 0)?;
/// namespace.write_at(&block, namespace.size() - block.len() as u64)?;
/// namespace.flush()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Namespace {
    pub(crate) route: Route,
    nsid: u32,
    block_shift: u8,
    blocks: u64,
    read_only: bool,
    info: NamespaceInfo,
    /// What bounds commands that are not reads or writes, once it was asked for.
    limits: Arc<OnceLock<Limits>>,
}

impl Namespace {
    pub(crate) fn new(route: Route, nsid: u32, identify: &IdentifyNamespace) -> Result<Self> {
        let refuse = |refusal| Err(ErrorKind::Namespace { nsid, refusal }.into());
        let format = identify.format();
        if identify.nsze.get() == 0 {
            return refuse(NamespaceRefusal::Missing);
        }
        if identify.dps & 0b111 != 0 {
            return refuse(NamespaceRefusal::Protection(identify.dps & 0b111));
        }
        if format.metadata != 0 {
            return refuse(NamespaceRefusal::Metadata(format.metadata));
        }
        if !(9..=16).contains(&format.data_shift) {
            return refuse(NamespaceRefusal::BlockSize(format.data_shift));
        }
        let blocks = identify.nsze.get().min(u64::MAX >> format.data_shift);
        let read_only = identify.nsattr & 1 != 0;
        let info = NamespaceInfo::of(identify, format.data_shift);
        let limits = Arc::default();
        Ok(Self { route, nsid, block_shift: format.data_shift, blocks, read_only, info, limits })
    }

    /// NSID.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) {
    /// // For a command that this library does not know: Zone Management Receive.
    /// let command = nvme_tcp::RawCommand::new(0x7a, namespace.id());
    /// # }
    /// ```
    pub fn id(&self) -> u32 {
        self.nsid
    }

    /// The size of a block in bytes, a power of two from 512 to 65,536.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // Whole blocks are written: the last one is filled up.
    /// let mut data = b"a journal's entry".to_vec();
    /// data.resize(data.len().next_multiple_of(namespace.block_size() as usize), 0);
    /// namespace.write_at(&data, 0)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn block_size(&self) -> u32 {
        1 << self.block_shift
    }

    /// The size of the namespace in bytes, as it was when this was opened.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // The copy of a GUID partition table's header stands in the last block.
    /// let mut header = vec![0; namespace.block_size() as usize];
    /// namespace.read_at(&mut header, namespace.size() - u64::from(namespace.block_size()))?;
    /// println!("partitioned: {}", header.starts_with(b"EFI PART"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn size(&self) -> u64 {
        self.blocks << self.block_shift
    }

    /// Whether it is write protected.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) {
    /// if namespace.is_read_only() {
    ///     println!("a snapshot: it can be read, and every write fails");
    /// }
    /// # }
    /// ```
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// What else Identify says of it.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // The cheaper way to zeros, where it is one.
    /// match namespace.info().deallocated_reads_zero {
    ///     true => namespace.deallocate(0, namespace.size())?,
    ///     false => namespace.write_zeroes(0, namespace.size())?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn info(&self) -> &NamespaceInfo {
        &self.info
    }

    /// The most data that one command moves, in bytes: MDTS, in whole blocks.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) {
    /// // A call takes any length; memory for a `Queue`, whose commands are not split, has this.
    /// let pool: Vec<Vec<u8>> = (0..32).map(|_| vec![0; namespace.max_transfer()]).collect();
    /// # }
    /// ```
    pub fn max_transfer(&self) -> usize {
        self.whole_blocks(self.route.facts().max_transfer)
    }

    pub(crate) fn max_transfer_on(&self, association: &Association) -> usize {
        self.whole_blocks(association.traits.max_transfer)
    }

    fn whole_blocks(&self, mdts: Option<u64>) -> usize {
        let most = u64::from(MAX_BLOCKS) << self.block_shift;
        let limit = mdts.unwrap_or(MAX_TRANSFER).min(most).min(1 << 30);
        (limit >> self.block_shift << self.block_shift).max(self.block_size().into()) as usize
    }

    /// The first block and the number of blocks of `len` bytes at `offset`.
    pub(crate) fn blocks_at(&self, offset: u64, len: u64) -> Result<(u64, u64)> {
        let block_size = self.block_size();
        for (what, value) in [("offset", offset), ("length", len)] {
            if value % u64::from(block_size) != 0 {
                return Err(ErrorKind::Unaligned { what, value, block_size }.into());
            }
        }
        let end = offset.saturating_add(len);
        if end > self.size() {
            return Err(ErrorKind::OutOfRange { offset, end, size: self.size() }.into());
        }
        Ok((offset >> self.block_shift, len >> self.block_shift))
    }

    /// The first block and the number of blocks of `len` bytes at `offset` behind the block `slba`.
    pub(crate) fn blocks_of(&self, slba: u64, offset: usize, len: usize) -> (u64, u32) {
        (slba + (offset as u64 >> self.block_shift), (len >> self.block_shift) as u32)
    }

    /// Refuses a command whose bit of ONCS is not set; `what` is for the error.
    pub(crate) fn require(&self, bit: u16, what: &'static str) -> Result<()> {
        match self.route.facts().optional_commands & bit {
            0 => Err(ErrorKind::Unsupported(what).into()),
            _ => Ok(()),
        }
    }
}

/// `count` blocks from `slba` on as commands of at most `most` blocks, none of which crosses a multiple of
/// `boundary` blocks, where that is not 0: first block and number of blocks of each.
fn pieces(slba: u64, count: u64, most: u64, boundary: u64) -> impl Iterator<Item = (u64, u32)> {
    let end = slba.saturating_add(count);
    let most = most.clamp(1, MAX_BLOCKS.into());
    let mut at = slba;
    std::iter::from_fn(move || {
        let to_boundary = at.checked_rem(boundary).map_or(u64::MAX, |past| boundary - past);
        let piece = (end - at).min(most).min(to_boundary);
        let first = at;
        at += piece;
        (piece > 0).then_some((first, piece as u32))
    })
}

/// The I/O queue that this thread stays with: threads spread over the queues in the order they come.
pub(crate) fn queue_of_this_thread(association: &Association) -> Result<&SharedQueue> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let mine = MINE.with(|mine| {
        let index = mine.get().unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed));
        mine.set(Some(index));
        index
    });
    let count = association.io.len().max(1);
    association
        .io
        .get(mine % count)
        .ok_or_else(|| Error::invalid("the controller was connected without I/O queues"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_to_size_and_boundary() {
        let all = |slba, count, most, boundary| pieces(slba, count, most, boundary).collect::<Vec<_>>();
        assert_eq!(all(3, 10, 4, 0), [(3, 4), (7, 4), (11, 2)]);
        assert_eq!(all(3, 10, 4, 8), [(3, 4), (7, 1), (8, 4), (12, 1)]);
        assert_eq!(all(5, 0, 4, 8), []);
        assert_eq!(all(0, 100_000, u64::MAX, 0), [(0, 65_536), (65_536, 34_464)]);
        assert_eq!(all(u64::MAX - 2, 2, 0, 0), [(u64::MAX - 2, 1), (u64::MAX - 1, 1)]);
    }
}
