//! The initiator, by a queue that one thread owns.

use std::time::Duration;

use nvme_tcp::{Namespace, Options, Queue, QueueCompletion};

use crate::Result;
use crate::cell::{Cell, MAX_DEPTH, Mode, Offsets, SPAN};
use crate::far_end::{BUSY_POLL, FarEnd};
use crate::measure::{self, Sample};

/// One queue of its own, deep enough for every cell.
pub(crate) fn options(far: &FarEnd, mode: Mode) -> Result<Options> {
    let mut options = Options::new(&far.address, &far.subsystem, far.host.clone())
        .io_queues(1)
        .owned_queues(1)
        .queue_size(MAX_DEPTH as u32 + 2)
        .keep_alive(Duration::ZERO);
    match mode {
        Mode::Digest => options = options.digests(true, true),
        Mode::Uring => options = options.io_uring(true),
        Mode::Plain | Mode::Tls | Mode::Poll | Mode::TlsPoll | Mode::Tokio | Mode::C => {}
    }
    if mode.is_tls() {
        options = options.tls(far.key.clone());
    }
    if let Some(name) = &far.congestion_control {
        options = options.congestion_control(name);
    }
    if mode.polls() {
        options = options.busy_poll(BUSY_POLL);
    }
    Ok(options)
}

/// Writes all of the namespace, so that what is read takes memory at the other end.
pub(crate) fn fill(far: &FarEnd, mode: Mode) -> Result<()> {
    let controller = options(far, mode)?.connect()?;
    let namespace = controller.namespace(1)?;
    let piece: Vec<u8> = (0..8 << 20).map(|i: u32| (i / 7) as u8).collect();
    for offset in (0..SPAN).step_by(piece.len()) {
        namespace.write_at(&piece, offset)?;
    }
    controller.shutdown();
    Ok(())
}

/// Runs a cell.
pub(crate) fn run(far: &FarEnd, mode: Mode, cell: &Cell, time: Duration) -> Result<Sample> {
    let controller = options(far, mode)?.connect()?;
    let namespace = controller.namespace(1)?;
    let mut queue = controller.queue()?;
    if mode == Mode::Uring && !queue.uses_io_uring() {
        return Err("the kernel or a sandbox refuses io_uring: leave the mode out".into());
    }
    let mut offsets = Offsets::new(cell);
    for _ in 0..cell.depth {
        submit(&mut queue, &namespace, cell, vec![0x5a; cell.size as usize], &mut offsets)?;
    }
    let mut done: Vec<QueueCompletion> = Vec::with_capacity(cell.depth);
    let sample = measure::sample(far, time, || {
        queue.poll(&mut done, Duration::from_secs(5))?;
        let count = done.len() as u64;
        for completion in done.drain(..) {
            completion.result?;
            submit(&mut queue, &namespace, cell, completion.buffer.unwrap_or_default(), &mut offsets)?;
        }
        Ok(count)
    })?;
    drop(queue);
    controller.shutdown();
    Ok(sample)
}

pub(crate) fn submit(
    queue: &mut Queue,
    namespace: &Namespace,
    cell: &Cell,
    buffer: Vec<u8>,
    offsets: &mut Offsets,
) -> Result<()> {
    let offset = offsets.next();
    let submitted = match cell.write {
        true => queue.submit_write(namespace, buffer, offset, 0),
        false => queue.submit_read(namespace, buffer, offset, 0),
    };
    submitted.map_err(|rejected| rejected.error.into())
}
