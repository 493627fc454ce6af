//! One queue, the commands in flight on it, and the memory they take turns with.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nvme_tcp::driver::transport::TransportError;
use nvme_tcp::{Controller, Error, ErrorKind, Queue, QueueCompletion, Rejected};

use crate::bell;
use crate::exit::{Exit, Failure};

/// How long a wait lasts: completions end it earlier, so it only bounds how late it is noticed that another
/// queue, or the controller, is lost.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// A thread's part of a transfer.
pub(super) struct Worker<'c> {
    controller: &'c Controller,
    queue: Queue,
    /// Commands in flight, at most.
    depth: usize,
    spare: Vec<Vec<u8>>,
    done: Vec<QueueCompletion>,
    /// The descriptor could be read, and nothing came of it.
    idle_noise: bool,
}

impl<'c> Worker<'c> {
    pub(super) fn new(controller: &'c Controller, queue: Queue, depth: usize) -> Self {
        let (spare, done) = (Vec::with_capacity(depth), Vec::with_capacity(depth));
        Self { controller, queue, depth, spare, done, idle_noise: false }
    }

    pub(super) fn outstanding(&self) -> usize {
        self.queue.outstanding()
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.room() > 0 && self.outstanding() < self.depth
    }

    pub(super) fn buffer(&mut self, capacity: usize) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    pub(super) fn submit(
        &mut self,
        submit: impl FnOnce(&mut Queue) -> Result<(), Rejected>,
    ) -> Result<(), Failure> {
        submit(&mut self.queue).map_err(|rejected| match rejected.error.kind() {
            // Lost at rest, and the target is not there any more: what has to be told is that it was.
            ErrorKind::Connect { .. } => Error::from(ErrorKind::Lost(TransportError::Closed)).into(),
            _ => rejected.error.into(),
        })
    }

    /// Waits for completions; `take` gets each cookie and buffer and may give the buffer back for the next
    /// command.
    pub(super) fn poll(
        &mut self,
        mut take: impl FnMut(u64, Vec<u8>) -> Result<Option<Vec<u8>>, Failure>,
    ) -> Result<(), Failure> {
        let polled = self.queue.poll(&mut self.done, LONGEST_WAIT);
        for completion in self.done.drain(..) {
            completion.result?;
            if let Some(buffer) = take(completion.cookie, completion.buffer.unwrap_or_default())? {
                self.spare.push(buffer);
            }
        }
        match polled? {
            0 => Ok(self.controller.check()?),
            _ => Ok(()),
        }
    }

    /// Waits with nothing in flight, until `wake` can be read. An idle connection has nothing to say but its
    /// end, which is an error.
    pub(super) fn rest(&mut self, wake: BorrowedFd<'_>) -> Result<(), Failure> {
        let mut listens = !std::mem::take(&mut self.idle_noise);
        if let Err(error) = self.queue.poll(&mut self.done, Duration::ZERO) {
            // With room all the same, the next command goes to a newer association.
            if self.queue.room() == 0 {
                return Err(error.into());
            }
            listens = false;
        }
        self.controller.check()?;
        let queue = self.queue.as_fd();
        // Twice the same, rather than one that can be read for ever.
        let fds = [wake, if listens { queue } else { wake }];
        let [woken, told] = bell::readable(fds, Some(LONGEST_WAIT)).map_err(|e| cannot_wait(&e))?;
        self.idle_noise = listens && told && !woken;
        Ok(())
    }
}

pub(super) fn cannot_wait(error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format_args!("cannot wait for data: {error}"))
}
