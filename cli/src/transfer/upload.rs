//! From a source into a namespace.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nvme_tcp::{Controller, Namespace};

use super::worker::{Worker, cannot_wait};
use super::{REQUEST, Width, check_room, run};
use crate::bell::{self, Bell};
use crate::exit::{Exit, Failure};
use crate::local::Source;
use crate::output::Progress;

/// Pieces that are read ahead for each queue.
const AHEAD: usize = 8;

/// Writes all of `source` to the beginning of `namespace`, the last block filled up with zeros. Says how many
/// bytes `source` had. Where its length is known, it is checked before the first byte is written.
///
/// Where the connection or the controller is lost while the source has nothing to give, the transfer ends
/// without waiting for the source.
pub fn upload(
    controller: &Controller,
    namespace: &Namespace,
    source: Source<'_>,
    width: Width,
    progress: &Progress,
) -> Result<u64, Failure> {
    let expected = source.len();
    if let Some(expected) = expected {
        check_room(namespace, expected)?;
    }
    let pieces = Upload::new(REQUEST.min(namespace.max_transfer()), usize::from(width.queues) * AHEAD);
    let pieces = pieces.map_err(|e| cannot_wait(&e))?;
    let (sent, read) = thread::scope(|scope| {
        let reader = scope.spawn(|| pieces.read(namespace, source));
        let sent =
            run(controller, width, || pieces.stop(), |worker| send(&pieces, namespace, worker, progress));
        // The reader may wait for room, or for the source.
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
fn send(
    pieces: &Upload,
    namespace: &Namespace,
    mut worker: Worker<'_>,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut more = true;
    // Once stopped, what is in flight does not matter any more.
    while !pieces.is_stopped() && (more || worker.outstanding() > 0) {
        while more && worker.has_room() {
            match pieces.take() {
                Next::Piece(offset, buffer) => {
                    let len = buffer.len() as u64;
                    worker.submit(|queue| queue.submit_write(namespace, buffer, offset, len))?;
                }
                Next::NotYet => break,
                Next::End => more = false,
            }
        }
        match worker.outstanding() {
            0 if more => worker.rest(pieces.ready.as_fd())?,
            0 => {}
            _ => worker.poll(|len, buffer| {
                progress.advance(len);
                pieces.give_back(buffer);
                Ok(None)
            })?,
        }
    }
    Ok(())
}

/// What the threads of an upload share: one reads ahead, so that none with commands in flight waits for the
/// source, however slow it is.
struct Upload {
    state: Mutex<State>,
    /// Told when pieces were taken: the reader waits for room.
    taken: Condvar,
    /// Rings while there is something to [`take`](Self::take): threads with nothing in flight wait for it and
    /// for their connection.
    ready: Bell,
    /// Rings when nothing more is to be read.
    enough: Bell,
    /// Bytes in each piece but the last.
    request: usize,
    /// Pieces that are read ahead.
    ahead: usize,
}

#[derive(Default)]
struct State {
    /// Read and not yet taken: where each goes, and its bytes in whole blocks.
    pieces: VecDeque<(u64, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    /// All was read, or nothing more can be.
    ended: bool,
    /// A thread has failed, or all are done.
    stopped: bool,
}

/// What there is to send.
enum Next {
    /// These bytes, to this offset.
    Piece(u64, Vec<u8>),
    /// Nothing now.
    NotYet,
    /// Nothing more.
    End,
}

impl Upload {
    fn new(request: usize, ahead: usize) -> io::Result<Self> {
        let (state, taken) = Default::default();
        Ok(Self { state, taken, ready: Bell::new()?, enough: Bell::new()?, request, ahead })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.taken.notify_all();
        self.ready.ring();
        self.enough.ring();
    }

    /// Reads all of `source`; says how many bytes it had.
    fn read(&self, namespace: &Namespace, source: Source<'_>) -> Result<u64, Failure> {
        let _end = EndOfUpload(self);
        let Source { mut reader, waits, .. } = source;
        let mut offset = 0;
        while let Some(mut buffer) = self.room() {
            let request = self.request as u64;
            let read = match &waits {
                None => (&mut reader).take(request).read_to_end(&mut buffer),
                Some(fd) => {
                    let unless = self.enough.as_fd();
                    Patient { reader: &mut reader, fd: fd.as_fd(), unless }
                        .take(request)
                        .read_to_end(&mut buffer)
                }
            };
            let n = read.map_err(|e| Failure::file("read", "the image", &e))?;
            check_room(namespace, offset + n as u64)?;
            if n > 0 {
                buffer.resize(n.next_multiple_of(namespace.block_size() as usize), 0);
                self.put(offset, buffer);
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
        let full = |state: &mut State| state.pieces.len() >= self.ahead && !state.stopped;
        let waited = self.taken.wait_while(self.lock(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        let mut buffer = state.spare.pop().unwrap_or_else(|| Vec::with_capacity(self.request));
        buffer.clear();
        Some(buffer)
    }

    fn put(&self, offset: u64, buffer: Vec<u8>) {
        let mut state = self.lock();
        state.pieces.push_back((offset, buffer));
        if state.pieces.len() == 1 {
            self.ready.ring();
        }
    }

    fn take(&self) -> Next {
        let mut state = self.lock();
        match state.pieces.pop_front() {
            Some((offset, buffer)) => {
                self.taken.notify_all();
                Next::Piece(offset, buffer)
            }
            None if state.ended => Next::End,
            None => {
                self.ready.silence();
                Next::NotYet
            }
        }
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
        self.0.ready.ring();
    }
}

/// Reads what may be long in coming, and gives up when a bell rings: that is an end of file.
struct Patient<'r, R> {
    reader: R,
    fd: BorrowedFd<'r>,
    unless: BorrowedFd<'r>,
}

impl<R: Read> Read for Patient<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match bell::readable([self.fd, self.unless], None)? {
                [_, true] => return Ok(0),
                [false, false] => {}
                [true, false] => match self.reader.read(buf) {
                    // Another process has set the pipe so.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_reader_is_patient_until_the_bell_rings() {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        // Whoever shares a pipe may have set it so.
        reader.set_nonblocking(true).unwrap();
        let bell = Bell::new().unwrap();
        let mut patient = Patient { reader: &reader, fd: reader.as_fd(), unless: bell.as_fd() };
        writer.write_all(b"abc").unwrap();
        let mut bytes = [0; 8];
        assert_eq!(patient.read(&mut bytes).unwrap(), 3);
        thread::scope(|scope| {
            let waiting = scope.spawn(move || patient.read(&mut [0; 8]).unwrap());
            bell.ring();
            assert_eq!(waiting.join().unwrap(), 0);
        });
        drop(writer);
    }

    #[test]
    fn what_there_is_to_send_is_told() {
        let upload = Upload::new(4096, 2).unwrap();
        let ready =
            || bell::readable([upload.ready.as_fd()], Some(std::time::Duration::ZERO)).unwrap() == [true];
        assert!(matches!(upload.take(), Next::NotYet) && !ready());
        upload.put(0, vec![1]);
        upload.put(4096, vec![2]);
        assert!(ready() && matches!(upload.take(), Next::Piece(0, _)));
        assert!(ready() && matches!(upload.take(), Next::Piece(4096, _)));
        assert!(matches!(upload.take(), Next::NotYet) && !ready());
        drop(EndOfUpload(&upload));
        assert!(ready() && matches!(upload.take(), Next::End));
        upload.stop();
        assert!(ready() && upload.is_stopped() && upload.room().is_none());
    }
}
