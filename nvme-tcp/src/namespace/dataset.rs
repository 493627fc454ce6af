//! Dataset Management: telling the controller what data is for.

use zerocopy::IntoBytes;

use super::{ByteRange, Namespace};
use crate::driver::shared::{Buffer, Request};
use crate::error::Result;
use crate::spec::command::Sqe;
use crate::spec::command::nvm::{self, DsmRange, MAX_DSM_RANGES};
use crate::spec::identify::ONCS_DSM;

bitflags::bitflags! {
    /// What Dataset Management says of all its ranges.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct DatasetAttributes: u32 {
        /// IDR: they are going to be read as a whole.
        const INTEGRAL_READ = nvm::DSM_INTEGRAL_READ;
        /// IDW: they are going to be written as a whole.
        const INTEGRAL_WRITE = nvm::DSM_INTEGRAL_WRITE;
        /// AD: they are not needed any more.
        const DEALLOCATE = nvm::DSM_DEALLOCATE;
    }
}

/// A range of a namespace, and how it is going to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasetRange {
    /// Where, in bytes.
    pub range: ByteRange,
    /// Context attributes, as [`DsmRange::attributes`] has them; 0 for nothing to say.
    pub attributes: u32,
}

impl Namespace {
    /// Tells the controller that `len` bytes at `offset` are not needed any more (Dataset Management,
    /// deallocate). What they read as then is the controller's to choose. Does nothing where the controller
    /// has no such command.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// namespace.deallocate(0, 1 << 20)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn deallocate(&self, offset: u64, len: u64) -> Result<()> {
        self.deallocate_ranges(&[ByteRange { offset, len }])
    }

    /// As [`deallocate`](Self::deallocate), for several ranges in as few commands as the controller allows.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::ByteRange;
    ///
    /// // What the allocation map says is free, in one command.
    /// let free = [ByteRange { offset: 1 << 20, len: 1 << 20 }, ByteRange { offset: 8 << 20, len: 4 << 20 }];
    /// namespace.deallocate_ranges(&free)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn deallocate_ranges(&self, ranges: &[ByteRange]) -> Result<()> {
        let ranges = DatasetRange::plain(ranges);
        self.dataset_management(&ranges, DatasetAttributes::DEALLOCATE)
    }

    /// Dataset Management with attributes for all ranges and for each. Does nothing where the controller has no
    /// such command.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{ByteRange, DatasetAttributes, DatasetRange};
    ///
    /// // The first MiB is going to be read as a whole.
    /// let range = DatasetRange { range: ByteRange { offset: 0, len: 1 << 20 }, attributes: 0 };
    /// namespace.dataset_management(&[range], DatasetAttributes::INTEGRAL_READ)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn dataset_management(&self, ranges: &[DatasetRange], attributes: DatasetAttributes) -> Result<()> {
        let commands = self.plan_dataset(ranges, attributes)?;
        let requests = commands.iter().map(|(sqe, ranges)| {
            let buffer = Buffer::Write(ranges.as_bytes());
            Request { sqe: *sqe, buffer }
        });
        self.run("Dataset Management", requests)
    }

    /// The commands of [`dataset_management`](Self::dataset_management), with their data.
    pub(crate) fn plan_dataset(
        &self,
        ranges: &[DatasetRange],
        attributes: DatasetAttributes,
    ) -> Result<Vec<(Sqe, Vec<DsmRange>)>> {
        let mut blocks = Vec::with_capacity(ranges.len());
        for DatasetRange { range, attributes } in ranges {
            let (slba, count) = self.blocks_at(range.offset, range.len)?;
            blocks.push((slba, count, *attributes));
        }
        blocks.retain(|(_, count, _)| *count > 0);
        if blocks.is_empty() || self.route.facts().optional_commands & ONCS_DSM == 0 {
            return Ok(Vec::new());
        }
        let limits = self.limits()?;
        let longest = limits.dataset_range.min(limits.dataset).min(u32::MAX.into());
        let commands = group(&blocks, longest, limits.dataset_ranges.min(MAX_DSM_RANGES), limits.dataset);
        let command = |ranges: Vec<DsmRange>| {
            (nvm::dataset_management(self.nsid, ranges.len() as u32, attributes.bits()), ranges)
        };
        Ok(commands.into_iter().map(command).collect())
    }
}

impl DatasetRange {
    /// Ranges with nothing to say about each.
    pub(crate) fn plain(ranges: &[ByteRange]) -> Vec<Self> {
        ranges.iter().map(|range| Self { range: *range, attributes: 0 }).collect()
    }
}

/// Ranges of blocks as the data of commands: no range longer than `longest` blocks, and in one command not more
/// than `most` ranges and `total` blocks.
fn group(blocks: &[(u64, u64, u32)], longest: u64, most: usize, total: u64) -> Vec<Vec<DsmRange>> {
    let mut commands: Vec<Vec<DsmRange>> = Vec::new();
    let mut room = 0;
    for &(slba, count, attributes) in blocks {
        let end = slba + count;
        let mut at = slba;
        while at < end {
            let piece = (end - at).min(longest);
            let full = commands.last().is_none_or(|command| command.len() >= most);
            if full || room < piece {
                commands.push(Vec::new());
                room = total;
            }
            room -= piece;
            if let Some(command) = commands.last_mut() {
                let (nlb, slba) = ((piece as u32).into(), at.into());
                command.push(DsmRange { attributes: attributes.into(), nlb, slba });
            }
            at += piece;
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_keep_to_the_controllers_three_limits() {
        let shape = |longest, most, total| {
            let commands = group(&[(0, 10, 0), (100, 3, 7)], longest, most, total);
            let range = |range: &DsmRange| (range.slba.get(), range.nlb.get());
            commands.iter().map(|command| command.iter().map(range).collect()).collect::<Vec<Vec<_>>>()
        };
        assert_eq!(shape(u64::from(u32::MAX), 256, u64::MAX), [vec![(0, 10), (100, 3)]]);
        assert_eq!(shape(8, 256, u64::MAX), [vec![(0, 8), (8, 2), (100, 3)]]);
        assert_eq!(shape(8, 2, u64::MAX), [vec![(0, 8), (8, 2)], vec![(100, 3)]]);
        assert_eq!(shape(8, 256, 8), [vec![(0, 8)], vec![(8, 2), (100, 3)]]);
    }
}
