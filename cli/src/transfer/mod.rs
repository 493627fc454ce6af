//! Moves an image between a stream of this machine and a namespace, with many commands in flight on every
//! queue. Memory stays the same however long the image is.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nvme_tcp::{Controller, Namespace, Queue, QueueCompletion, Rejected};

use crate::exit::{Exit, Failure};
use crate::output::Progress;

/// The most bytes in one command.
const REQUEST: usize = 256 * 1024;
/// Commands in flight on one queue.
const DEPTH: usize = 32;
/// Pieces that are read ahead for each queue.
const AHEAD: usize = 8;
/// How long a poll waits: completions wake it earlier, so it only bounds how late a failure of another queue
/// is noticed.
const POLL: Duration = Duration::from_millis(200);

/// How many queues a controller is asked for by default.
pub const DEFAULT_QUEUES: u16 = 4;

/// Writes all of `source` to the beginning of `namespace`, the last block filled up with zeros. Says how many
/// bytes `source` had. `expected`, where it is known, is checked before the first byte is written.
pub fn upload(
    controller: &Controller,
    namespace: &Namespace,
    source: impl Read + Send,
    expected: Option<u64>,
    queues: usize,
    progress: &Progress,
) -> Result<u64, Failure> {
    if let Some(expected) = expected {
        check_room(namespace, expected)?;
    }
    let request = REQUEST.min(namespace.max_transfer());
    let state = UploadState { pieces: VecDeque::new(), spare: Vec::new(), ended: false, stopped: false };
    let pieces = Upload { state: Mutex::new(state), moved: Condvar::new(), request, ahead: queues * AHEAD };
    let (sent, read) = thread::scope(|scope| {
        let reader = scope.spawn(|| pieces.read(namespace, source));
        let sent =
            run(controller, queues, || pieces.stop(), |queue| send(&pieces, namespace, queue, progress));
        // The reader may wait for room.
        pieces.stop();
        (sent, reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    sent?;
    let written = read?;
    match expected {
        Some(expected) if written < expected => Err(Failure::new(
            Exit::Io,
            format_args!("the image had {expected} bytes at first, and ended after {written}"),
        )
        .hint("copy again when nothing changes the file any more".to_owned())),
        _ => Ok(written),
    }
}

/// Writes pieces on one queue until there are no more.
fn send(pieces: &Upload, namespace: &Namespace, queue: Queue, progress: &Progress) -> Result<(), Failure> {
    let mut worker = Worker::new(queue);
    loop {
        while worker.has_room() {
            let Some((offset, buffer)) = pieces.take(worker.outstanding() == 0) else { break };
            let len = buffer.len() as u64;
            worker.check(|queue| queue.submit_write(namespace, buffer, offset, len))?;
        }
        if worker.outstanding() == 0 {
            return Ok(());
        }
        worker.poll(|len, buffer| {
            progress.advance(len);
            pieces.give_back(buffer);
            Ok(None)
        })?;
    }
}

/// Reads `len` bytes from the beginning of `namespace` into `sink`, in order.
pub fn download(
    controller: &Controller,
    namespace: &Namespace,
    sink: impl Write + Send,
    len: u64,
    queues: usize,
    progress: &Progress,
) -> Result<(), Failure> {
    check_length(namespace, len)?;
    let request = REQUEST.min(namespace.max_transfer()) as u64;
    let window = (queues * DEPTH * 2) as u64;
    let state = DownloadState { sink, taken: 0, written: 0, parked: BTreeMap::new(), failed: false };
    let sink = Download { state: Mutex::new(state), moved: Condvar::new(), request, len, window };
    run(
        controller,
        queues,
        || sink.fail(),
        |queue| {
            let mut worker = Worker::new(queue);
            loop {
                while worker.has_room() {
                    let Some(index) = sink.take(worker.outstanding() == 0) else { break };
                    let offset = index * request;
                    let wanted = request.min(len - offset).next_multiple_of(namespace.block_size().into());
                    let mut buffer = worker.buffer(wanted as usize);
                    buffer.resize(wanted as usize, 0);
                    worker.check(|queue| queue.submit_read(namespace, buffer, offset, index))?;
                }
                if worker.outstanding() == 0 {
                    return Ok(());
                }
                worker.poll(|index, buffer| {
                    progress.advance(request.min(len - index * request));
                    sink.put(index, buffer)
                })?;
            }
        },
    )
}

/// Runs `work` on so many queues, each on a thread of its own; `stop` tells the others when one has failed.
fn run(
    controller: &Controller,
    queues: usize,
    stop: impl Fn() + Sync,
    work: impl Fn(Queue) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    // A controller that grants fewer queues still serves: one is enough.
    let mut opened = vec![controller.queue()?];
    opened.extend((1..queues).map_while(|_| controller.queue().ok()));
    let mut result = Ok(());
    thread::scope(|scope| {
        let threads: Vec<_> =
            opened.into_iter().map(|queue| scope.spawn(|| work(queue).inspect_err(|_| stop()))).collect();
        for thread in threads {
            let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            if result.is_ok() {
                result = ended;
            }
        }
    });
    result
}

/// That the namespace has `len` bytes to give.
pub fn check_length(namespace: &Namespace, len: u64) -> Result<(), Failure> {
    if len > namespace.size() {
        let cause = format!("{len} bytes are asked for, and the namespace has {}", namespace.size());
        return Err(Failure::usage(cause).hint("choose a smaller --length".to_owned()));
    }
    Ok(())
}

/// That the namespace can hold `len` bytes.
pub fn check_room(namespace: &Namespace, len: u64) -> Result<(), Failure> {
    if namespace.is_read_only() {
        return Err(Failure::new(Exit::Io, format_args!("namespace {} is write protected", namespace.id())));
    }
    if len > namespace.size() {
        let cause = format!("the image has {len} bytes, and the namespace {}", namespace.size());
        return Err(Failure::new(Exit::Io, cause).hint("choose a larger namespace".to_owned()));
    }
    Ok(())
}

/// One queue, the commands in flight on it, and the memory they take turns with.
struct Worker {
    queue: Queue,
    spare: Vec<Vec<u8>>,
    done: Vec<QueueCompletion>,
}

impl Worker {
    fn new(queue: Queue) -> Self {
        Self { queue, spare: Vec::with_capacity(DEPTH), done: Vec::with_capacity(DEPTH) }
    }

    fn outstanding(&self) -> usize {
        self.queue.outstanding()
    }

    fn has_room(&self) -> bool {
        self.queue.room() > 0 && self.outstanding() < DEPTH
    }

    fn buffer(&mut self, capacity: usize) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    fn check(&mut self, submit: impl FnOnce(&mut Queue) -> Result<(), Rejected>) -> Result<(), Failure> {
        submit(&mut self.queue).map_err(|rejected| rejected.error.into())
    }

    /// Waits for completions; `take` gets each cookie and buffer and may give the buffer back for the next
    /// command.
    fn poll(
        &mut self,
        mut take: impl FnMut(u64, Vec<u8>) -> Result<Option<Vec<u8>>, Failure>,
    ) -> Result<(), Failure> {
        let polled = self.queue.poll(&mut self.done, POLL);
        for completion in self.done.drain(..) {
            completion.result?;
            if let Some(buffer) = take(completion.cookie, completion.buffer.unwrap_or_default())? {
                self.spare.push(buffer);
            }
        }
        Ok(polled.map(drop)?)
    }
}

/// What the threads of an upload share: one reads ahead, so that none with commands in flight waits for the
/// source, however slow it is.
struct Upload {
    state: Mutex<UploadState>,
    /// Told when pieces came or went.
    moved: Condvar,
    /// Bytes in each piece but the last.
    request: usize,
    /// Pieces that are read ahead.
    ahead: usize,
}

struct UploadState {
    /// Read and not yet taken: where each goes, and its bytes in whole blocks.
    pieces: VecDeque<(u64, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    /// All was read, or nothing more can be.
    ended: bool,
    /// A thread has failed, or all are done.
    stopped: bool,
}

impl Upload {
    fn lock(&self) -> MutexGuard<'_, UploadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.moved.notify_all();
    }

    /// Reads all of `source`; says how many bytes it had.
    fn read(&self, namespace: &Namespace, mut source: impl Read) -> Result<u64, Failure> {
        let _end = EndOfUpload(self);
        let mut offset = 0;
        while let Some(mut buffer) = self.room() {
            let read = (&mut source).take(self.request as u64).read_to_end(&mut buffer);
            let n = read.map_err(|e| Failure::new(Exit::Io, format_args!("cannot read the image: {e}")))?;
            check_room(namespace, offset + n as u64)?;
            if n > 0 {
                buffer.resize(n.next_multiple_of(namespace.block_size() as usize), 0);
                self.lock().pieces.push_back((offset, buffer));
                self.moved.notify_all();
            }
            offset += n as u64;
            if n < self.request {
                break;
            }
        }
        Ok(offset)
    }

    /// An empty buffer once there is room for another piece; `None` when no more are wanted.
    fn room(&self) -> Option<Vec<u8>> {
        let full = |state: &mut UploadState| state.pieces.len() >= self.ahead && !state.stopped;
        let waited = self.moved.wait_while(self.lock(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        let mut buffer = state.spare.pop().unwrap_or_else(|| Vec::with_capacity(self.request));
        buffer.clear();
        Some(buffer)
    }

    /// The next piece and where it goes; `None` when there is none now. `wait`s for one where the caller has
    /// nothing else to do.
    fn take(&self, wait: bool) -> Option<(u64, Vec<u8>)> {
        let none =
            |state: &mut UploadState| wait && state.pieces.is_empty() && !state.ended && !state.stopped;
        let waited = self.moved.wait_while(self.lock(), none);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let piece = if state.stopped { None } else { state.pieces.pop_front() };
        drop(state);
        self.moved.notify_all();
        piece
    }

    fn give_back(&self, buffer: Vec<u8>) {
        self.lock().spare.push(buffer);
    }
}

/// Says that nothing more is read, also when the reading fails.
struct EndOfUpload<'u>(&'u Upload);

impl Drop for EndOfUpload<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.moved.notify_all();
    }
}

/// What the threads of a download share.
struct Download<W> {
    state: Mutex<DownloadState<W>>,
    /// Told when pieces were written.
    moved: Condvar,
    /// Bytes in each piece but the last.
    request: u64,
    /// Bytes in all.
    len: u64,
    /// Pieces that may be taken before those in front of them are written.
    window: u64,
}

struct DownloadState<W> {
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
    fn lock(&self) -> MutexGuard<'_, DownloadState<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
                return Err(sink_failure(&error));
            }
            state.written += 1;
            free = Some(buffer);
        }
        self.moved.notify_all();
        Ok(free)
    }
}

fn sink_failure(error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format_args!("cannot write the image: {error}"))
}
