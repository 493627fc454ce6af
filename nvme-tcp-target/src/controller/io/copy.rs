//! Copy, with descriptors of format 0 (NVM, section 3.2.2).

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::nvm::{CopyRange, copy_count};
use nvme_tcp::spec::completion::Status;
use zerocopy::FromBytes;

use super::{Context, Use, Volume, change, readable, write_status};
use crate::memory::Room;

/// MSRC + 1: the most source ranges of one command.
pub(in crate::controller) const MAX_RANGES: u32 = 128;
/// SCT 1, SC 83h of an I/O command: command size limit exceeded.
const SIZE_LIMIT_EXCEEDED: Status = Status::CONNECT_RESTART_DISCOVERY;

/// MSSRL and MCL: the most blocks of one source range, and of all of them.
pub(in crate::controller) fn limits(max_transfer: u32, block_size: u32) -> (u16, u32) {
    let all = max_transfer / block_size;
    (u16::try_from(all).unwrap_or(u16::MAX), all)
}

pub(super) fn execute(
    context: Context<'_>,
    volume: &Volume,
    sqe: &Sqe,
    room: Room<'_>,
) -> Result<(), Status> {
    let cdw12 = sqe.get_cdw(12);
    let (count, format) = (copy_count(sqe), cdw12 >> 8 & 0xf);
    if format != 0 {
        return Err(Status::INVALID_FIELD);
    }
    if count > MAX_RANGES {
        return Err(SIZE_LIMIT_EXCEEDED);
    }
    let len = count as usize * size_of::<CopyRange>();
    if sqe.sgl.length.get() as usize != len {
        return Err(Status::SGL_LENGTH_INVALID);
    }
    let ranges =
        <[CopyRange]>::ref_from_bytes(room.buffer(len)).map_err(|_| Status::SGL_LENGTH_INVALID)?.to_vec();
    let (each, all) = limits(context.max_transfer, volume.shape.block_size);
    let blocks = ranges.iter().map(|range| u64::from(range.count())).sum();
    if ranges.iter().any(|range| range.count() > each.into()) || blocks > all.into() {
        return Err(SIZE_LIMIT_EXCEEDED);
    }
    change(context, volume, (sqe.slba(), blocks), |state, offset, len| {
        context.check(state, Use::Read)?;
        let places: Result<Vec<_>, _> = ranges
            .iter()
            .map(|range| readable(volume, state, range.slba.get(), range.count().into()))
            .collect();
        // All is read before the first block is written: source and destination may overlap.
        let mut data = vec![0; len as usize];
        let mut rest = &mut data[..];
        for (offset, len) in places? {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(len as usize);
            rest = after;
            volume.backend.read_at(piece, offset).map_err(|_| Status::UNRECOVERED_READ)?;
        }
        volume.backend.write_at(&data, offset).map_err(|error| write_status(&error))
    })
}
