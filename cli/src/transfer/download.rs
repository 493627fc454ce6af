//! From a namespace into a sink.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use nvme_tcp::{Controller, Namespace};

use super::worker::Worker;
use super::{REQUEST, Width, check_length, run};
use crate::exit::Failure;
use crate::output::Progress;

/// Reads `len` bytes from the beginning of `namespace` into `sink`, in order.
pub fn download(
    controller: &Controller,
    namespace: &Namespace,
    sink: impl Write + Send,
    len: u64,
    width: Width,
    progress: &Progress,
) -> Result<(), Failure> {
    check_length(namespace, len)?;
    let request = REQUEST.min(namespace.max_transfer()) as u64;
    let window = u64::from(width.queues) * u64::from(width.depth) * 2;
    let state = State { sink, taken: 0, written: 0, parked: BTreeMap::new(), failed: false };
    let sink = Download { state: Mutex::new(state), moved: Condvar::new(), request, len, window };
    run(controller, width, || sink.fail(), |worker| receive(&sink, namespace, worker, progress))
}

/// Reads pieces on one queue until there are no more.
fn receive(
    sink: &Download<impl Write>,
    namespace: &Namespace,
    mut worker: Worker<'_>,
    progress: &Progress,
) -> Result<(), Failure> {
    let size = |index| sink.request.min(sink.len - index * sink.request);
    // Once another has failed, what is in flight does not matter any more.
    while !sink.has_failed() {
        while worker.has_room() {
            let Some(index) = sink.take(worker.outstanding() == 0) else { break };
            let wanted = size(index).next_multiple_of(namespace.block_size().into()) as usize;
            let mut buffer = worker.buffer(wanted);
            buffer.resize(wanted, 0);
            let offset = index * sink.request;
            worker.submit(|queue| queue.submit_read(namespace, buffer, offset, index))?;
        }
        if worker.outstanding() == 0 {
            return Ok(());
        }
        worker.poll(|index, buffer| {
            progress.advance(size(index));
            sink.put(index, buffer)
        })?;
    }
    Ok(())
}

/// What the threads of a download share.
struct Download<W> {
    state: Mutex<State<W>>,
    /// Told when pieces were written.
    moved: Condvar,
    /// Bytes in each piece but the last.
    request: u64,
    /// Bytes in all.
    len: u64,
    /// Pieces that may be taken before those in front of them are written.
    window: u64,
}

struct State<W> {
    sink: W,
    /// Pieces that threads have taken on.
    taken: u64,
    /// Pieces that were written.
    written: u64,
    /// Pieces that are here before their turn.
    parked: BTreeMap<u64, Vec<u8>>,
    failed: bool,
}

impl<W: Write> Download<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_failed(&self) -> bool {
        self.lock().failed
    }

    fn fail(&self) {
        self.lock().failed = true;
        self.moved.notify_all();
    }

    /// The next piece to read; `None` when there is none now. `wait`s for one where the caller has nothing else
    /// to do.
    fn take(&self, wait: bool) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.failed || state.taken * self.request >= self.len {
                return None;
            }
            if state.taken < state.written + self.window {
                state.taken += 1;
                return Some(state.taken - 1);
            }
            if !wait {
                return None;
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes a piece when it is its turn. Gives a buffer back that is free.
    fn put(&self, index: u64, buffer: Vec<u8>) -> Result<Option<Vec<u8>>, Failure> {
        let mut state = self.lock();
        state.parked.insert(index, buffer);
        let mut free = None;
        while let Some((index, buffer)) = state.parked.pop_first() {
            if index != state.written {
                state.parked.insert(index, buffer);
                break;
            }
            let len = self.request.min(self.len - index * self.request) as usize;
            let written = state.sink.write_all(&buffer[..len]);
            if let Err(error) = written {
                drop(state);
                self.fail();
                return Err(Failure::file("write", "the image", &error));
            }
            state.written += 1;
            free = Some(buffer);
        }
        self.moved.notify_all();
        Ok(free)
    }
}
