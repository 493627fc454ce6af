//! Copy: blocks from one place of a namespace to another, without going over the network.

use zerocopy::IntoBytes;

use super::Namespace;
use crate::driver::shared::{Buffer, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::command::Sqe;
use crate::spec::command::nvm::{self, CopyRange, MAX_BLOCKS};
use crate::spec::identify::ONCS_COPY;

/// A part of a namespace, in bytes: whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// The bounds of one Copy, in blocks and ranges.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    range: u64,
    total: u64,
    ranges: usize,
}

/// One Copy: where to, and what from.
#[derive(Debug, PartialEq)]
struct Command {
    to: u64,
    ranges: Vec<CopyRange>,
}

impl Namespace {
    /// Copies `sources`, one after the other, to `destination` on. It takes as many commands as MSSRL, MCL and
    /// MSRC make necessary.
    ///
    /// ```no_run
    /// # fn clone(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // The first MiB, once more behind the first GiB.
    /// namespace.copy(&[nvme_tcp::ByteRange { offset: 0, len: 1 << 20 }], 1 << 30)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Not whole blocks, outside the namespace, a source that overlaps the destination, a command failed, or the
    /// association is lost: what stands in the destination then is not defined, block by block the old or the new.
    /// The controller has no Copy with source ranges of format 0.
    pub fn copy(&self, sources: &[ByteRange], destination: u64) -> Result<()> {
        let commands = self.plan_copy(sources, destination)?;
        let requests = commands.iter().map(|(sqe, ranges)| {
            let buffer = Buffer::Write(ranges.as_bytes());
            Request { sqe: *sqe, buffer }
        });
        self.run("Copy", requests)
    }

    /// The commands of [`copy`](Self::copy), with their data.
    pub(crate) fn plan_copy(
        &self,
        sources: &[ByteRange],
        destination: u64,
    ) -> Result<Vec<(Sqe, Vec<CopyRange>)>> {
        self.require(ONCS_COPY, "Copy")?;
        let total = sources.iter().fold(0_u64, |sum, source| sum.saturating_add(source.len));
        let (to, count) = self.blocks_at(destination, total)?;
        let mut blocks = Vec::with_capacity(sources.len());
        for source in sources {
            let (from, len) = self.blocks_at(source.offset, source.len)?;
            if from < to + count && to < from + len {
                // Commands run side by side, so what is read may be written already.
                return Err(Error::invalid("a source of Copy overlaps its destination"));
            }
            blocks.push((from, len));
        }
        let bounds = self.copy_bounds()?;
        let sqe = |command: &Command| nvm::copy(self.nsid, command.to, command.ranges.len() as u32);
        let commands = split(&blocks, to, bounds).into_iter();
        Ok(commands.map(|command| (sqe(&command), command.ranges)).collect())
    }

    fn copy_bounds(&self) -> Result<Bounds> {
        let range = self.info.copy_range >> self.block_shift;
        let total = self.info.copy_length >> self.block_shift;
        if !self.limits()?.copies || range == 0 || total == 0 {
            return Err(ErrorKind::Unsupported("Copy with source ranges of format 0").into());
        }
        let range = range.min(total).min(MAX_BLOCKS.into());
        Ok(Bounds { range, total, ranges: self.info.copy_ranges as usize })
    }
}

/// Sources as commands within `bounds`.
fn split(sources: &[(u64, u64)], to: u64, bounds: Bounds) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let (mut to, mut room) = (to, 0);
    for &(from, len) in sources {
        let mut at = from;
        while at < from + len {
            let full = commands.last().is_none_or(|command| command.ranges.len() >= bounds.ranges);
            if full || room == 0 {
                commands.push(Command { to, ranges: Vec::new() });
                room = bounds.total;
            }
            let piece = (from + len - at).min(bounds.range).min(room);
            if let Some(command) = commands.last_mut() {
                command.ranges.push(CopyRange::new(at, piece as u32));
            }
            at += piece;
            to += piece;
            room -= piece;
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_split_at_the_namespaces_three_limits() {
        let shape = |range, total, ranges| {
            let commands = split(&[(0, 10), (100, 3)], 50, Bounds { range, total, ranges });
            let read = |range: &CopyRange| (range.slba.get(), range.count());
            commands
                .iter()
                .map(|command| (command.to, command.ranges.iter().map(read).collect()))
                .collect::<Vec<(u64, Vec<_>)>>()
        };
        assert_eq!(shape(16, 64, 256), [(50, vec![(0, 10), (100, 3)])]);
        assert_eq!(shape(8, 64, 256), [(50, vec![(0, 8), (8, 2), (100, 3)])]);
        assert_eq!(shape(8, 64, 1), [(50, vec![(0, 8)]), (58, vec![(8, 2)]), (60, vec![(100, 3)])]);
        assert_eq!(shape(8, 9, 256), [(50, vec![(0, 8), (8, 1)]), (59, vec![(9, 1), (100, 3)])]);
    }
}
