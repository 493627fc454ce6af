//! A namespace that is open: its bytes, and what commands have to heed besides.

use std::fmt;
use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nvme_tcp::spec::identify::LbaFormat;

use super::ranges::Ranges;
use super::{Backend, NamespaceError, Shape};
use crate::reservation::Reservations;

/// A namespace that is open.
pub(crate) struct Volume {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) shape: Shape,
    state: RwLock<State>,
}

/// What a command is checked against. It is shared by commands that run, and held alone by what has to come between
/// them: a reservation that changes, a fused compare and write, another size.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) blocks: u64,
    pub(crate) reservations: Reservations,
    /// Blocks that a host marked as unreadable (Write Uncorrectable).
    pub(crate) uncorrectable: Ranges,
}

impl Volume {
    pub(super) fn new(backend: Box<dyn Backend>, shape: Shape) -> Result<Self, NamespaceError> {
        let blocks = shape.blocks(backend.size())?;
        let state = State { blocks, reservations: Reservations::default(), uncorrectable: Ranges::default() };
        Ok(Self { backend, shape, state: RwLock::new(state) })
    }

    pub(crate) fn shared(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn alone(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn format(&self) -> LbaFormat {
        let data_shift = self.shape.block_size.trailing_zeros() as u8;
        LbaFormat { metadata: self.shape.metadata_bytes, data_shift }
    }

    /// Whether its blocks hold data and nothing else, so that I/O commands work.
    pub(crate) fn is_plain(&self) -> bool {
        self.shape.metadata_bytes == 0 && self.shape.protection == 0
    }

    /// The bytes of `count` blocks from `slba` on: offset and length; `None` where they do not all exist.
    pub(crate) fn range(&self, state: &State, slba: u64, count: u64) -> Option<(u64, u64)> {
        let end = slba.checked_add(count)?;
        let block = u64::from(self.shape.block_size);
        (end <= state.blocks).then(|| (slba * block, count * block))
    }

    /// Gives it another size in bytes.
    pub(crate) fn resize(&self, size: u64) -> Result<(), NamespaceError> {
        let blocks = self.shape.blocks(size)?;
        let mut state = self.alone();
        self.backend.resize(size).map_err(NamespaceError::Resize)?;
        let gone = state.blocks.saturating_sub(blocks);
        state.uncorrectable.remove(blocks, gone);
        state.blocks = blocks;
        Ok(())
    }

    /// Makes what was written outlive a power failure.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.backend.flush()
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume").field("shape", &self.shape).field("state", &self.state).finish()
    }
}
