//! Reservation commands (Base, section 7).

use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::reservation::{ACQUIRE, REGISTER, REPORT, REPORT_EXTENDED};
use nvme_tcp::spec::completion::Status;

use super::{Context, Volume};
use crate::memory::Room;

pub(super) fn execute(
    context: Context<'_>,
    volume: &Volume,
    sqe: &Sqe,
    room: Room<'_>,
) -> Result<u32, Status> {
    let (host, cdw10) = (&context.controller.host_id, sqe.get_cdw(10));
    match sqe.opcode {
        REPORT => return report(context, volume, sqe, room),
        REGISTER => {
            let keys = keys(sqe, room)?;
            volume.alone().reservations.register(host, cdw10, keys)?;
        }
        ACQUIRE => {
            let keys = keys(sqe, room)?;
            volume.alone().reservations.acquire(host, cdw10, keys)?;
        }
        _ => {
            let [key] = keys(sqe, room)?;
            volume.alone().reservations.release(host, cdw10, key)?;
        }
    }
    Ok(0)
}

/// The keys that stand in a command's data.
fn keys<const N: usize>(sqe: &Sqe, room: Room<'_>) -> Result<[u64; N], Status> {
    let len = N * size_of::<u64>();
    if sqe.sgl.length.get() as usize != len {
        return Err(Status::SGL_LENGTH_INVALID);
    }
    let mut keys = [0; N];
    for (key, bytes) in keys.iter_mut().zip(room.buffer(len).chunks_exact(size_of::<u64>())) {
        *key = bytes.try_into().map(u64::from_le_bytes).map_err(|_| Status::SGL_LENGTH_INVALID)?;
    }
    Ok(keys)
}

fn report(context: Context<'_>, volume: &Volume, sqe: &Sqe, room: Room<'_>) -> Result<u32, Status> {
    if sqe.get_cdw(11) & REPORT_EXTENDED == 0 {
        return Err(Status::HOST_ID_INCONSISTENT);
    }
    let wanted = (u64::from(sqe.get_cdw(10)) + 1) * 4;
    let len = super::transfer_len(sqe, wanted, context.max_transfer)?;
    let report = volume.shared().reservations.report();
    let data = room.buffer(len as usize);
    data.fill(0);
    data.iter_mut().zip(&report).for_each(|(to, from)| *to = *from);
    Ok(len)
}
