//! A namespace: bytes at offsets.

mod run;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zerocopy::IntoBytes;

use self::run::split;
use crate::association::Association;
use crate::driver::shared::{Buffer, Request, SharedQueue};
use crate::error::{Error, ErrorKind, NamespaceRefusal, Result};
use crate::generations::Generations;
use crate::spec::command::nvm::MAX_BLOCKS;
use crate::spec::command::nvm::{self, DsmRange};
use crate::spec::identify::{IdentifyNamespace, ONCS_DSM, ONCS_WRITE_ZEROES};

/// The most data in one command where the controller sets no limit (MDTS 0), in bytes.
const MAX_TRANSFER: u64 = 1 << 20;

/// A namespace of a controller. It may be shared between threads, and goes on with the controller's next
/// association when one takes over.
///
/// Offsets and lengths are in bytes and must be multiples of [`block_size`](Self::block_size). Each call
/// splits its data into commands, keeps as many of them in flight as its queue takes, and returns when all are
/// done. A thread stays with one of the I/O queues.
#[derive(Clone, Debug)]
pub struct Namespace {
    generations: Arc<Generations>,
    nsid: u32,
    block_shift: u8,
    blocks: u64,
    read_only: bool,
}

impl Namespace {
    pub(crate) fn new(
        generations: Arc<Generations>,
        nsid: u32,
        identify: &IdentifyNamespace,
    ) -> Result<Self> {
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
        Ok(Self { generations, nsid, block_shift: format.data_shift, blocks, read_only })
    }

    /// NSID.
    pub fn id(&self) -> u32 {
        self.nsid
    }

    /// The size of a block in bytes, a power of two from 512 to 65,536.
    pub fn block_size(&self) -> u32 {
        1 << self.block_shift
    }

    /// The size of the namespace in bytes.
    pub fn size(&self) -> u64 {
        self.blocks << self.block_shift
    }

    /// Whether it is write protected.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The most data that one command moves, in bytes: MDTS, in whole blocks.
    pub fn max_transfer(&self) -> usize {
        self.max_transfer_on(&self.generations.current())
    }

    pub(crate) fn max_transfer_on(&self, association: &Association) -> usize {
        let most = u64::from(MAX_BLOCKS) << self.block_shift;
        let limit = association.traits.max_transfer.unwrap_or(MAX_TRANSFER).min(most).min(1 << 30);
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
    fn blocks_of(&self, slba: u64, offset: usize, len: usize) -> (u64, u32) {
        (slba + (offset as u64 >> self.block_shift), (len >> self.block_shift) as u32)
    }

    /// Fills `buffer` with what stands at `offset`.
    ///
    /// # Errors
    /// Not whole blocks, outside the namespace, a command failed, or the association is lost. What `buffer`
    /// holds then is not defined.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let (slba, _) = self.blocks_at(offset, buffer.len() as u64)?;
        let step = |association: &_| self.max_transfer_on(association);
        self.transfer("Read", buffer.len(), step, |pieces, queue| {
            let requests = split(buffer, pieces).map(|(at, piece)| {
                let (slba, count) = self.blocks_of(slba, at, piece.len());
                Request { sqe: nvm::read(self.nsid, slba, count), buffer: Buffer::Read(piece) }
            });
            queue.attempt(requests)
        })
    }

    /// Writes `buffer` to `offset`. The data is on stable media after a [`flush`](Self::flush).
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at). What stands in the range then is not defined, block by block the old or
    /// the new.
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<()> {
        let (slba, _) = self.blocks_at(offset, buffer.len() as u64)?;
        let step = |association: &_| self.max_transfer_on(association);
        self.transfer("Write", buffer.len(), step, |pieces, queue| {
            let requests = pieces.map(|piece| {
                let (slba, count) = self.blocks_of(slba, piece.start, piece.len());
                let sqe = nvm::write(self.nsid, slba, count);
                Request { sqe, buffer: Buffer::Write(&buffer[piece]) }
            });
            queue.attempt(requests)
        })
    }

    /// Makes everything that was written before durable. Nothing is sent where the controller has no volatile
    /// write cache.
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn flush(&self) -> Result<()> {
        if !self.generations.current().traits.volatile_write_cache {
            return Ok(());
        }
        self.run_bare("Flush", [nvm::flush(self.nsid)])
    }

    /// Makes `len` bytes at `offset` read as zeros, by Write Zeroes; by writing zeros where the controller has
    /// no such command.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        let (slba, count) = self.blocks_at(offset, len)?;
        if self.generations.current().traits.optional_commands & ONCS_WRITE_ZEROES == 0 {
            return self.write_zero_blocks(offset, len);
        }
        let end = slba + count;
        let commands = (slba..end)
            .step_by(MAX_BLOCKS as usize)
            .map(|at| nvm::write_zeroes(self.nsid, at, (end - at).min(MAX_BLOCKS.into()) as u32));
        self.run_bare("Write Zeroes", commands)
    }

    fn write_zero_blocks(&self, offset: u64, len: u64) -> Result<()> {
        let zeros = vec![0; self.max_transfer().min(len as usize)];
        let mut at = 0;
        while at < len {
            let piece = (len - at).min(zeros.len() as u64);
            self.write_at(&zeros[..piece as usize], offset + at)?;
            at += piece;
        }
        Ok(())
    }

    /// Tells the controller that `len` bytes at `offset` are not needed any more (Dataset Management,
    /// deallocate). What they read as then is the controller's to choose. Does nothing where the controller
    /// has no such command.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn deallocate(&self, offset: u64, len: u64) -> Result<()> {
        let (slba, count) = self.blocks_at(offset, len)?;
        if self.generations.current().traits.optional_commands & ONCS_DSM == 0 || count == 0 {
            return Ok(());
        }
        let end = slba + count;
        let ranges: Vec<DsmRange> = (slba..end)
            .step_by(u32::MAX as usize)
            .map(|at| DsmRange {
                attributes: 0.into(),
                nlb: ((end - at).min(u32::MAX.into()) as u32).into(),
                slba: at.into(),
            })
            .collect();
        let requests = ranges.chunks(nvm::MAX_DSM_RANGES).map(|ranges| {
            let sqe = nvm::deallocate(self.nsid, ranges.len() as u32);
            Request { sqe, buffer: Buffer::Write(ranges.as_bytes()) }
        });
        self.run("Dataset Management", requests)
    }
}

/// The I/O queue that this thread stays with: threads spread over the queues in the order they come.
fn queue_of_this_thread(association: &Association) -> Result<&SharedQueue> {
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
