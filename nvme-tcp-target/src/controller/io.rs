//! I/O commands of the NVM command set (NVM, section 3).

use std::io;
use std::sync::atomic::Ordering;

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::admin::ALL_NAMESPACES;
use nvme_tcp::spec::command::nvm::{self, DSM_DEALLOCATE, DsmRange, WRITE_ZEROES_DEALLOCATE, block_count};
use nvme_tcp::spec::completion::Status;
use zerocopy::FromBytes;

use super::Answer;
use crate::namespace::Volume;
use crate::subsystem::Exported;

/// CDW12: force unit access.
const FUA: u32 = 1 << 30;

/// Carries out an I/O command. `memory` gives the command's buffer of so many bytes: with its data if it
/// is a write, to be filled if it is a read.
pub(crate) fn execute<'a>(
    subsystem: &Exported,
    sqe: &Sqe,
    max_transfer: u32,
    memory: impl FnOnce(usize) -> &'a mut [u8],
) -> Answer {
    let result = match sqe.opcode {
        nvm::FLUSH if sqe.nsid.get() == ALL_NAMESPACES => {
            subsystem.flush().map_err(|error| write_status(&error)).map(|()| 0)
        }
        nvm::FLUSH | nvm::READ | nvm::WRITE | nvm::WRITE_ZEROES | nvm::DATASET_MANAGEMENT => subsystem
            .volume(sqe.nsid.get())
            .ok_or(Status::INVALID_NAMESPACE)
            .and_then(|volume| execute_on(subsystem, &volume, sqe, max_transfer, memory)),
        _ => Err(Status::INVALID_OPCODE),
    };
    match result {
        Ok(data) => Answer { data, ..Answer::SUCCESS },
        Err(status) => Answer::refused(status),
    }
}

fn execute_on<'a>(
    subsystem: &Exported,
    volume: &Volume,
    sqe: &Sqe,
    max_transfer: u32,
    memory: impl FnOnce(usize) -> &'a mut [u8],
) -> Result<u32, Status> {
    if sqe.opcode == nvm::FLUSH {
        return volume.backend.flush().map_err(|error| write_status(&error)).map(|()| 0);
    }
    if !volume.is_plain() {
        return Err(Status::INVALID_FIELD);
    }
    if sqe.opcode != nvm::READ && volume.shape.read_only {
        return Err(Status::WRITE_PROTECTED);
    }
    if sqe.opcode == nvm::DATASET_MANAGEMENT {
        return deallocate(volume, sqe, memory).map(|()| 0);
    }
    let (offset, len) = volume.range(sqe.slba(), block_count(sqe).into()).ok_or(Status::LBA_OUT_OF_RANGE)?;
    let counters = &subsystem.counters;
    match sqe.opcode {
        nvm::READ => {
            let len = transfer_len(sqe, len, max_transfer)?;
            let data = memory(len as usize);
            volume.backend.read_at(data, offset).map_err(|_| Status::UNRECOVERED_READ)?;
            counters.reads.fetch_add(1, Ordering::Relaxed);
            counters.bytes_read.fetch_add(len.into(), Ordering::Relaxed);
            return Ok(len);
        }
        nvm::WRITE => {
            let len = transfer_len(sqe, len, max_transfer)?;
            let data = memory(len as usize);
            volume.backend.write_at(data, offset).map_err(|error| write_status(&error))?;
            counters.writes.fetch_add(1, Ordering::Relaxed);
            counters.bytes_written.fetch_add(len.into(), Ordering::Relaxed);
        }
        _ => {
            let deallocate = sqe.get_cdw(12) & WRITE_ZEROES_DEALLOCATE != 0;
            let zeroed = volume.backend.write_zeroes(offset, len, deallocate);
            zeroed.map_err(|error| write_status(&error))?;
        }
    }
    if sqe.get_cdw(12) & FUA != 0 {
        volume.backend.flush().map_err(|error| write_status(&error))?;
    }
    Ok(0)
}

/// The length of a transfer, which the blocks and the SGL must agree on.
fn transfer_len(sqe: &Sqe, len: u64, max_transfer: u32) -> Result<u32, Status> {
    let len = u32::try_from(len).ok().filter(|len| *len <= max_transfer).ok_or(Status::INVALID_FIELD)?;
    if sqe.sgl.length.get() == len { Ok(len) } else { Err(Status::SGL_LENGTH_INVALID) }
}

fn deallocate<'a>(
    volume: &Volume,
    sqe: &Sqe,
    memory: impl FnOnce(usize) -> &'a mut [u8],
) -> Result<(), Status> {
    let count = (sqe.get_cdw(10) & 0xff) as usize + 1;
    let len = count * size_of::<DsmRange>();
    // More data than ranges is right: Linux always sends a whole page (nvme_setup_discard, host/core.c).
    if (sqe.sgl.length.get() as usize) < len {
        return Err(Status::SGL_LENGTH_INVALID);
    }
    let ranges = <[DsmRange]>::ref_from_bytes(memory(len)).map_err(|_| Status::SGL_LENGTH_INVALID)?;
    // All are checked before the first is touched.
    let checked: Option<Vec<_>> =
        ranges.iter().map(|range| volume.range(range.slba.get(), range.nlb.get().into())).collect();
    let checked = checked.ok_or(Status::LBA_OUT_OF_RANGE)?;
    if sqe.get_cdw(11) & DSM_DEALLOCATE != 0 {
        for (offset, len) in checked {
            volume.backend.deallocate(offset, len).map_err(|error| write_status(&error))?;
        }
    }
    Ok(())
}

/// What a host is told of a write that failed.
pub(super) fn write_status(error: &io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Status::CAPACITY_EXCEEDED,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Status::WRITE_PROTECTED,
        _ => Status::WRITE_FAULT,
    }
}
