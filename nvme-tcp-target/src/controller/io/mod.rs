//! I/O commands of the NVM command set (NVM, section 3).

mod copy;
mod reservation;

use std::io;
use std::sync::atomic::Ordering;

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::admin::ALL_NAMESPACES;
use nvme_tcp::spec::command::nvm::{
    self, COMPARE, COPY, DSM_DEALLOCATE, DsmRange, IoFlags, VERIFY, WRITE_UNCORRECTABLE,
    WRITE_ZEROES_DEALLOCATE, block_count,
};
use nvme_tcp::spec::command::reservation::{ACQUIRE, REGISTER, RELEASE, REPORT};
use nvme_tcp::spec::completion::Status;
use zerocopy::FromBytes;

use super::{Answer, Controller};
use crate::memory::{Room, Written};
use crate::namespace::{State, Volume};
use crate::reservation::Use;
use crate::subsystem::Exported;

pub(super) use copy::{MAX_RANGES, limits as copy_limits};

/// Each command there is, and whether it changes what is stored.
pub(super) const COMMANDS: [(u8, bool); 13] = [
    (nvm::FLUSH, false),
    (nvm::WRITE, true),
    (nvm::READ, false),
    (WRITE_UNCORRECTABLE, true),
    (COMPARE, false),
    (nvm::WRITE_ZEROES, true),
    (nvm::DATASET_MANAGEMENT, true),
    (VERIFY, false),
    (REGISTER, false),
    (REPORT, false),
    (ACQUIRE, false),
    (RELEASE, false),
    (COPY, true),
];

/// CDW12: force unit access.
const FUA: u32 = IoFlags::FORCE_UNIT_ACCESS.bits();
/// How much is read at once of what only this end looks at, in bytes.
const PIECE: usize = 64 << 10;

/// Who sends commands, and to what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) controller: &'a Controller,
    pub(crate) subsystem: &'a Exported,
    pub(crate) max_transfer: u32,
}

impl Context<'_> {
    /// The namespace of a command, where this controller is a path to it.
    fn volume(&self, nsid: u32) -> Result<std::sync::Arc<Volume>, Status> {
        let volume = self.subsystem.volume(nsid).ok_or(Status::INVALID_NAMESPACE)?;
        self.subsystem.ana_state(self.controller.port, volume.shape.ana_group).check()?;
        Ok(volume)
    }

    /// Whether reservations let the host use the namespace like that.
    fn check(&self, state: &State, access: Use) -> Result<(), Status> {
        state.reservations.check(&self.controller.host_id, access)
    }
}

/// Carries out an I/O command, with the memory that it may have.
pub(crate) fn execute(context: Context<'_>, sqe: &Sqe, room: Room<'_>) -> Answer {
    let result = match sqe.opcode {
        opcode if COMMANDS.iter().all(|(known, _)| *known != opcode) => Err(Status::INVALID_OPCODE),
        nvm::FLUSH if sqe.nsid.get() == ALL_NAMESPACES => flush_all(context).map(|()| 0),
        _ => context.volume(sqe.nsid.get()).and_then(|volume| execute_on(context, &volume, sqe, room)),
    };
    match result {
        Ok(data) => Answer { data, ..Answer::SUCCESS },
        Err(status) => Answer::refused(status),
    }
}

fn flush_all(context: Context<'_>) -> Result<(), Status> {
    let flushed = context.subsystem.volumes().into_iter().map(|volume| flush(context, &volume));
    // All are tried before the first error is told.
    flushed.fold(Ok(()), Result::and)
}

fn flush(context: Context<'_>, volume: &Volume) -> Result<(), Status> {
    context.check(&volume.shared(), Use::Write)?;
    volume.flush().map_err(|error| write_status(&error))
}

fn execute_on(context: Context<'_>, volume: &Volume, sqe: &Sqe, room: Room<'_>) -> Result<u32, Status> {
    match sqe.opcode {
        nvm::FLUSH => return flush(context, volume).map(|()| 0),
        REGISTER | REPORT | ACQUIRE | RELEASE => {
            return reservation::execute(context, volume, sqe, room);
        }
        _ if !volume.is_plain() => return Err(Status::INVALID_FIELD),
        nvm::READ => return read(context, volume, sqe, room),
        COMPARE => {
            let state = volume.shared();
            let (offset, len) = to_read(context, volume, &state, sqe)?;
            let len = transfer_len(sqe, len, context.max_transfer)?;
            return compare(volume, offset, room.buffer(len as usize)).map(|()| 0);
        }
        VERIFY => {
            let state = volume.shared();
            let (offset, len) = to_read(context, volume, &state, sqe)?;
            return in_pieces(volume, offset, len, |_, _| Ok(())).map(|()| 0);
        }
        _ if volume.shape.read_only => return Err(Status::WRITE_PROTECTED),
        nvm::DATASET_MANAGEMENT => return deallocate(context, volume, sqe, room).map(|()| 0),
        COPY => copy::execute(context, volume, sqe, room)?,
        WRITE_UNCORRECTABLE => {
            let mut state = volume.alone();
            context.check(&state, Use::Write)?;
            let count = block_count(sqe).into();
            volume.range(&state, sqe.slba(), count).ok_or(Status::LBA_OUT_OF_RANGE)?;
            let noted = state.uncorrectable.insert(sqe.slba(), count);
            return if noted { Ok(0) } else { Err(Status::INTERNAL_ERROR) };
        }
        nvm::WRITE => {
            let count = block_count(sqe).into();
            let len = transfer_len(sqe, count * u64::from(volume.shape.block_size), context.max_transfer)?;
            let data = room.written(len as usize);
            change(context, volume, (sqe.slba(), count), |_, offset, _| {
                let written = match data {
                    Written::Bytes(bytes) => volume.backend.write_at(bytes, offset),
                    // Were it another namespace by now, with other blocks, the length would not fit.
                    Written::Pages(pages) => volume.backend.put(pages, offset),
                };
                written.map_err(|error| write_status(&error))
            })?;
            context.subsystem.counters.writes.fetch_add(1, Ordering::Relaxed);
            context.subsystem.counters.bytes_written.fetch_add(len.into(), Ordering::Relaxed);
        }
        _ => {
            let deallocate = sqe.get_cdw(12) & WRITE_ZEROES_DEALLOCATE != 0;
            change(context, volume, (sqe.slba(), block_count(sqe).into()), |_, offset, len| {
                let zeroed = volume.backend.write_zeroes(offset, len, deallocate);
                zeroed.map_err(|error| write_status(&error))
            })?;
        }
    }
    if sqe.get_cdw(12) & FUA != 0 {
        volume.flush().map_err(|error| write_status(&error))?;
    }
    Ok(0)
}

fn read(context: Context<'_>, volume: &Volume, sqe: &Sqe, mut room: Room<'_>) -> Result<u32, Status> {
    let state = volume.shared();
    let (offset, len) = to_read(context, volume, &state, sqe)?;
    let len = transfer_len(sqe, len, context.max_transfer)?;
    if !volume.backend.share(room.shared(), offset, len.into()) {
        volume.backend.read_at(room.buffer(len as usize), offset).map_err(|_| Status::UNRECOVERED_READ)?;
    }
    context.subsystem.counters.reads.fetch_add(1, Ordering::Relaxed);
    context.subsystem.counters.bytes_read.fetch_add(len.into(), Ordering::Relaxed);
    Ok(len)
}

/// Where the blocks are that a command reads: offset and length in bytes.
fn to_read(context: Context<'_>, volume: &Volume, state: &State, sqe: &Sqe) -> Result<(u64, u64), Status> {
    context.check(state, Use::Read)?;
    readable(volume, state, sqe.slba(), block_count(sqe).into())
}

fn readable(volume: &Volume, state: &State, slba: u64, count: u64) -> Result<(u64, u64), Status> {
    let range = volume.range(state, slba, count).ok_or(Status::LBA_OUT_OF_RANGE)?;
    if state.uncorrectable.overlaps(slba, count) { Err(Status::UNRECOVERED_READ) } else { Ok(range) }
}

/// Lets `make` change `count` blocks from `slba` on, with their offset and length in bytes. What was marked as
/// unreadable there is good again.
fn change(
    context: Context<'_>,
    volume: &Volume,
    (slba, count): (u64, u64),
    make: impl FnOnce(&State, u64, u64) -> Result<(), Status>,
) -> Result<(), Status> {
    let checked = |state: &State| {
        context.check(state, Use::Write)?;
        volume.range(state, slba, count).ok_or(Status::LBA_OUT_OF_RANGE)
    };
    let state = volume.shared();
    if state.uncorrectable.is_empty() {
        let (offset, len) = checked(&state)?;
        return make(&state, offset, len);
    }
    drop(state);
    let mut state = volume.alone();
    let (offset, len) = checked(&state)?;
    make(&state, offset, len)?;
    state.uncorrectable.remove(slba, count);
    Ok(())
}

/// Reads `len` bytes at `offset` and shows them to `look`, piece by piece with the offset among them.
fn in_pieces(
    volume: &Volume,
    offset: u64,
    len: u64,
    mut look: impl FnMut(usize, &[u8]) -> Result<(), Status>,
) -> Result<(), Status> {
    let mut buffer = vec![0; PIECE.min(len as usize)];
    let mut done = 0;
    while done < len {
        let piece = &mut buffer[..PIECE.min((len - done) as usize)];
        volume.backend.read_at(piece, offset + done).map_err(|_| Status::UNRECOVERED_READ)?;
        look(done as usize, piece)?;
        done += piece.len() as u64;
    }
    Ok(())
}

fn compare(volume: &Volume, offset: u64, data: &[u8]) -> Result<(), Status> {
    in_pieces(volume, offset, data.len() as u64, |at, piece| {
        let same = data.get(at..at + piece.len()) == Some(piece);
        if same { Ok(()) } else { Err(Status::COMPARE_FAILURE) }
    })
}

/// Carries out a fused Compare and Write: nothing comes between them, and the second is not begun unless the first
/// succeeds. What each is answered with.
pub(crate) fn compare_and_write(
    context: Context<'_>,
    (first, expected): (&Sqe, &[u8]),
    (second, data): (&Sqe, &[u8]),
) -> [Answer; 2] {
    let place = |sqe: &Sqe| (sqe.nsid.get(), sqe.slba(), block_count(sqe));
    if place(first) != place(second) {
        return [Answer::refused(Status::INVALID_FIELD); 2];
    }
    let both = || {
        let volume = context.volume(first.nsid.get())?;
        if !volume.is_plain() {
            return Err(Status::INVALID_FIELD);
        }
        let mut state = volume.alone();
        let (offset, len) = to_read(context, &volume, &state, first)?;
        for (sqe, data) in [(first, expected), (second, data)] {
            let len = transfer_len(sqe, len, context.max_transfer)?;
            if data.len() != len as usize {
                return Err(Status::SGL_LENGTH_INVALID);
            }
        }
        compare(&volume, offset, expected)?;
        let write = || {
            if volume.shape.read_only {
                return Err(Status::WRITE_PROTECTED);
            }
            context.check(&state, Use::Write)?;
            volume.backend.write_at(data, offset).map_err(|error| write_status(&error))?;
            if second.get_cdw(12) & FUA != 0 {
                volume.flush().map_err(|error| write_status(&error))?;
            }
            Ok(())
        };
        let written = write();
        if written.is_ok() {
            state.uncorrectable.remove(second.slba(), block_count(second).into());
        }
        Ok(written)
    };
    let answer = |result: Result<(), Status>| result.map_or_else(Answer::refused, |()| Answer::SUCCESS);
    match both() {
        Ok(written) => [Answer::SUCCESS, answer(written)],
        Err(status) => [Answer::refused(status), Answer::refused(Status::FAILED_FUSED)],
    }
}

/// The length of a transfer, which the blocks and the SGL must agree on.
fn transfer_len(sqe: &Sqe, len: u64, max_transfer: u32) -> Result<u32, Status> {
    let len = u32::try_from(len).ok().filter(|len| *len <= max_transfer).ok_or(Status::INVALID_FIELD)?;
    if sqe.sgl.length.get() == len { Ok(len) } else { Err(Status::SGL_LENGTH_INVALID) }
}

fn deallocate(context: Context<'_>, volume: &Volume, sqe: &Sqe, room: Room<'_>) -> Result<(), Status> {
    let count = (sqe.get_cdw(10) & 0xff) as usize + 1;
    let len = count * size_of::<DsmRange>();
    // More data than ranges is right: Linux always sends a whole page (nvme_setup_discard, host/core.c).
    if (sqe.sgl.length.get() as usize) < len {
        return Err(Status::SGL_LENGTH_INVALID);
    }
    let ranges = <[DsmRange]>::ref_from_bytes(room.buffer(len)).map_err(|_| Status::SGL_LENGTH_INVALID)?;
    let ranges: Vec<_> = ranges.iter().map(|range| (range.slba.get(), u64::from(range.nlb.get()))).collect();
    // All are checked before the first is touched.
    let state = volume.shared();
    context.check(&state, Use::Write)?;
    let exist = ranges.iter().all(|(slba, count)| volume.range(&state, *slba, *count).is_some());
    drop(state);
    if !exist {
        return Err(Status::LBA_OUT_OF_RANGE);
    }
    if sqe.get_cdw(11) & DSM_DEALLOCATE != 0 {
        for range in ranges {
            change(context, volume, range, |_, offset, len| {
                volume.backend.deallocate(offset, len).map_err(|error| write_status(&error))
            })?;
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
