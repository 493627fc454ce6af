//! The C library's queue, by the functions that a C program calls.

#![allow(unsafe_code)] // They are C's.

use std::ffi::{CString, c_int};
use std::mem::MaybeUninit;
use std::time::Duration;

use nvme_tcp_c::*;

use crate::Result;
use crate::cell::{Cell, MAX_DEPTH, Offsets};
use crate::far_end::FarEnd;
use crate::measure::{self, Sample};

/// The library's functions give a negative number for an error.
fn good(what: &str, code: c_int) -> Result<usize> {
    usize::try_from(code).map_err(|_| format!("{what}: {}", std::io::Error::from_raw_os_error(-code)).into())
}

fn made<T>(what: &str, make: impl FnOnce(&mut MaybeUninit<*mut T>) -> c_int) -> Result<Box<T>> {
    let mut out = MaybeUninit::uninit();
    good(what, make(&mut out))?;
    // SAFETY: after success it is there.
    let made = unsafe { out.assume_init() };
    // SAFETY: it was made by the same library, and is freed once: as a box here, which is what its free function takes.
    Ok(unsafe { Box::from_raw(made) })
}

/// Runs a cell.
pub(crate) fn run(far: &FarEnd, cell: &Cell, time: Duration) -> Result<Sample> {
    let (address, subsystem) = (CString::new(&*far.address)?, CString::new(&*far.subsystem)?);
    let mut options = made("options", |out| nvme_tcp_options_new(Some(out)))?;
    // SAFETY: it is a C string.
    good("address", unsafe { nvme_tcp_options_set_address(Some(&mut options), address.as_ptr()) })?;
    // SAFETY: it is a C string.
    good("subsysnqn", unsafe { nvme_tcp_options_set_subsysnqn(Some(&mut options), subsystem.as_ptr()) })?;
    good("owned queues", nvme_tcp_options_set_owned_queues(Some(&mut options), 1))?;
    good("queue size", nvme_tcp_options_set_queue_size(Some(&mut options), MAX_DEPTH as u32 + 2))?;
    good("keep alive", nvme_tcp_options_set_keep_alive(Some(&mut options), 0))?;
    good("private memory", nvme_tcp_options_set_private_memory(Some(&mut options), true))?;
    if let Some(name) = &far.congestion_control {
        let name = CString::new(&**name)?;
        // SAFETY: it is a C string.
        let set = unsafe { nvme_tcp_options_set_congestion_control(Some(&mut options), name.as_ptr()) };
        good("congestion control", set)?;
    }
    let controller = made("connect", |out| nvme_tcp_connect(Some(&options), Some(out)))?;
    let namespace = made("namespace", |out| nvme_tcp_namespace_open(Some(&controller), 1, Some(out)))?;
    // They outlive the queue, which is dropped first.
    let mut buffers: Vec<Vec<u8>> = (0..cell.depth).map(|_| vec![0x5a; cell.size as usize]).collect();
    let mut queue = made("queue", |out| nvme_tcp_queue_open(Some(&controller), Some(out)))?;
    let mut offsets = Offsets::new(cell);
    let mut submit = |queue: &mut nvme_tcp_queue, index: usize| {
        let (buffer, len, offset) = (buffers[index].as_mut_ptr(), cell.size as usize, offsets.next());
        let (queue, namespace, cookie) = (Some(queue), Some(&*namespace), index as u64);
        let code = match cell.write {
            // SAFETY: the buffer is not touched before its completion, and outlives the queue.
            true => unsafe { nvme_tcp_queue_write(queue, namespace, buffer.cast(), len, offset, cookie) },
            // SAFETY: as above.
            false => unsafe { nvme_tcp_queue_read(queue, namespace, buffer.cast(), len, offset, cookie) },
        };
        good("submit", code).map(drop)
    };
    for index in 0..cell.depth {
        submit(&mut queue, index)?;
    }
    let mut done: Vec<nvme_tcp_completion> = Vec::with_capacity(cell.depth);
    let (room, size) = (cell.depth as c_int, size_of::<nvme_tcp_completion>());
    let sample = measure::sample(far, time, || {
        done.clear();
        let list = done.as_mut_ptr();
        // SAFETY: there is room for so many.
        let code = unsafe { nvme_tcp_queue_complete(Some(&mut queue), list, size, 1, room, 5000) };
        let count = good("complete", code)?;
        // SAFETY: so many were written.
        unsafe { done.set_len(count) };
        for completion in &done {
            good("command", completion.result)?;
            submit(&mut queue, completion.cookie as usize)?;
        }
        Ok(count as u64)
    })?;
    drop(queue);
    Ok(sample)
}
