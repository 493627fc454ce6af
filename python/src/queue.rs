//! A queue for an event loop: `nvme_tcp.aio` submits, waits for the descriptor, and polls.
#![allow(unsafe_code, reason = "a command borrows the memory of a Python object until its completion")]

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::buffer::Lent;
use crate::controller::Counters;
use crate::error::{Failure, Outcome};
use crate::namespace::Namespace;

/// A turn of the event loop costs as much as receiving a large read: it has several of them, yet not so many that the
/// target would wait for the next commands.
const AT_ONCE: usize = 8;

/// A queue, and who waits for what on it. It is for one event loop; the lock keeps it sound where a caller
/// breaks that rule.
#[pyclass(frozen, module = "nvme_tcp._native")]
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
enum State {
    Open(Box<Open>),
    /// Elsewhere, while it follows its controller.
    Away,
    Closed,
}

/// The queue stands before what it borrows, and so ends before it.
#[derive(Debug)]
struct Open {
    queue: nvme_tcp::Queue,
    waiting: HashMap<u64, Waiting>,
    next: u64,
}

/// A command, and what is to be told when it is done.
#[derive(Debug)]
struct Waiting {
    future: Py<PyAny>,
    /// The memory that the command uses.
    lent: Option<Lent>,
    kind: Kind,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write,
    Flush,
    Discard,
}

impl Queue {
    pub(crate) fn new(queue: nvme_tcp::Queue, counters: Arc<Counters>) -> Self {
        let open = Open { queue, waiting: HashMap::new(), next: 0 };
        Self { state: Mutex::new(State::Open(Box::new(open))), counters }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, what: impl FnOnce(&mut Open) -> Outcome<T>) -> Outcome<T> {
        match &mut *self.lock() {
            State::Open(open) => what(open),
            State::Away => Err(Failure::argument("the queue is just going over to another connection")),
            State::Closed => Err(Failure::closed("controller")),
        }
    }

    /// What there was, with something else in its place.
    fn replace(&self, with: State) -> State {
        std::mem::replace(&mut *self.lock(), with)
    }

    /// Submits one command and remembers who waits for it: its cookie.
    fn submit(
        &self,
        waiting: Waiting,
        submit: impl FnOnce(&mut nvme_tcp::Queue, Option<&Lent>, u64) -> nvme_tcp::Result<()>,
    ) -> PyResult<u64> {
        // What is refused is dropped outside of the lock, since that runs code of the buffer's owner.
        let mut waiting = Some(waiting);
        let result = self.with(|open| {
            let cookie = open.next;
            submit(&mut open.queue, waiting.as_ref().and_then(|waiting| waiting.lent.as_ref()), cookie)?;
            open.next += 1;
            open.waiting.extend(waiting.take().map(|waiting| (cookie, waiting)));
            Ok(cookie)
        });
        if result.is_err() {
            self.counters.count(&self.counters.reads, None, &result);
        }
        Ok(result?)
    }

    fn done(&self, kind: Kind, bytes: usize, result: &Outcome<()>) {
        let counters = &self.counters;
        match kind {
            Kind::Read => counters.count(&counters.reads, Some((&counters.bytes_read, bytes)), result),
            Kind::Write => counters.count(&counters.writes, Some((&counters.bytes_written, bytes)), result),
            Kind::Flush => counters.count(&counters.flushes, None, result),
            Kind::Discard => {}
        }
    }
}

/// The part of a buffer that one command uses.
fn part(lent: Option<&Lent>, start: usize, length: usize) -> nvme_tcp::Result<*mut u8> {
    let lent = lent.filter(|lent| start.checked_add(length).is_some_and(|end| end <= lent.len()));
    let wrong = || nvme_tcp::ErrorKind::InvalidArgument("the buffer is shorter than that".to_owned());
    // Inside the memory, as was just seen, so that the address does not wrap.
    Ok(lent.ok_or_else(wrong)?.start().wrapping_add(start))
}

#[pymethods]
impl Queue {
    /// Reads `length` bytes at `offset` to `buffer[start:]`. `future` is told by `poll`.
    fn submit_read(
        &self,
        namespace: &Namespace,
        offset: u64,
        buffer: &Bound<'_, PyAny>,
        start: usize,
        length: usize,
        future: Py<PyAny>,
    ) -> PyResult<u64> {
        let lent = Some(Lent::writable(buffer)?);
        self.submit(Waiting { future, lent, kind: Kind::Read, bytes: length }, |queue, lent, cookie| {
            let memory = part(lent, start, length)?;
            // SAFETY: `part` saw that the bytes lie inside the writable view, which stays in `waiting` until this
            // cookie was completed or cancelled, or the queue is gone. That nobody else touches them meanwhile is
            // asked of the caller, as everywhere in Python where data is received into a buffer.
            unsafe { queue.submit_read_raw(namespace.inner(), memory, length, offset, cookie) }
        })
    }

    /// Writes `buffer[start:start + length]` to `offset`. `future` is told by `poll`.
    fn submit_write(
        &self,
        namespace: &Namespace,
        offset: u64,
        buffer: &Bound<'_, PyAny>,
        start: usize,
        length: usize,
        future: Py<PyAny>,
    ) -> PyResult<u64> {
        let lent = Some(Lent::readable(buffer)?);
        self.submit(Waiting { future, lent, kind: Kind::Write, bytes: length }, |queue, lent, cookie| {
            let memory = part(lent, start, length)?;
            // SAFETY: as in `submit_read`, but that the bytes are only read.
            unsafe { queue.submit_write_raw(namespace.inner(), memory, length, offset, cookie) }
        })
    }

    fn submit_flush(&self, namespace: &Namespace, future: Py<PyAny>) -> PyResult<u64> {
        self.submit(Waiting { future, lent: None, kind: Kind::Flush, bytes: 0 }, |queue, _, cookie| {
            queue.submit_flush(namespace.inner(), cookie).map_err(|rejected| rejected.error)
        })
    }

    fn submit_write_zeroes(
        &self,
        namespace: &Namespace,
        offset: u64,
        length: u64,
        future: Py<PyAny>,
    ) -> PyResult<u64> {
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        self.submit(Waiting { future, lent: None, kind: Kind::Write, bytes }, |queue, _, cookie| {
            queue.submit_write_zeroes(namespace.inner(), offset, length, cookie)
        })
    }

    fn submit_discard(
        &self,
        namespace: &Namespace,
        offset: u64,
        length: u64,
        future: Py<PyAny>,
    ) -> PyResult<u64> {
        self.submit(Waiting { future, lent: None, kind: Kind::Discard, bytes: 0 }, |queue, _, cookie| {
            queue.submit_deallocate(namespace.inner(), offset, length, cookie)
        })
    }

    /// Gives up a read: its buffer is the caller's again when this returns, `True` then.
    fn cancel(&self, cookie: u64) -> bool {
        let freed = self.with(|open| match open.queue.cancel(cookie) {
            true => Ok(open.waiting.remove(&cookie)),
            false => Ok(None),
        });
        // Given back outside of the lock, since that runs code of the buffer's owner.
        matches!(freed, Ok(Some(_)))
    }

    /// Sends and receives what can be now: the futures whose commands are done, each with its exception or None.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let finished = py.detach(|| {
            self.with(|open| {
                let mut completions = Vec::new();
                // One poll ends with what one receive completes, which is one large read. A lost connection shows in the
                // completions; where there are none, at the next submission.
                while completions.len() < AT_ONCE
                    && open.queue.poll(&mut completions, Duration::ZERO).is_ok_and(|more| more > 0)
                {
                }
                let done = completions.into_iter().filter_map(|completion| {
                    let waiting = open.waiting.remove(&completion.cookie)?;
                    Some((waiting, completion.result.map_err(Failure::from)))
                });
                Ok(done.collect::<Vec<_>>())
            })
        })?;
        let list = PyList::empty(py);
        for (waiting, result) in finished {
            self.done(waiting.kind, waiting.bytes, &result);
            let error = result.err().map(|failure| failure.exception(py)).transpose()?;
            list.append((waiting.future, error))?;
            drop(waiting.lent);
        }
        Ok(list)
    }

    /// How many commands can be submitted now, how many are outstanding, and whether the next command would go to another
    /// connection and wait until that is up.
    fn room(&self) -> PyResult<(usize, usize, bool)> {
        Ok(self.with(|open| {
            let queue = &open.queue;
            Ok((queue.room(), queue.outstanding(), queue.is_behind() && queue.outstanding() == 0))
        })?)
    }

    /// The descriptor, whether it is wanted to write to, and in how many seconds a command will be overdue.
    fn wants(&self) -> PyResult<(i32, bool, Option<f64>)> {
        Ok(self.with(|open| {
            let deadline = open.queue.next_deadline();
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()).as_secs_f64());
            Ok((open.queue.as_fd().as_raw_fd(), open.queue.wants().write, left))
        })?)
    }

    /// Goes over to the present association, or to another connection of it, and waits until that is up; for where
    /// `room` says that the next command would. Nothing else may be called meanwhile but `close`.
    fn follow(&self, py: Python<'_>) -> PyResult<()> {
        let mut open = match self.replace(State::Away) {
            State::Open(open) => open,
            before => {
                self.replace(before);
                return Err(Failure::closed("controller").into());
            }
        };
        let result = py.detach(|| {
            let result = open.queue.follow();
            match self.replace(State::Closed) {
                State::Away => drop(self.replace(State::Open(open))),
                // It was closed meanwhile.
                _ => drop(open),
            }
            result
        });
        Ok(result.map_err(Failure::from)?)
    }

    /// Closes the connection: the futures of the commands whose fate nobody will know.
    fn close(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let State::Open(open) = self.replace(State::Closed) else { return Vec::new() };
        let Open { queue, waiting, .. } = *open;
        // The memory is still lent until the queue is gone.
        py.detach(|| drop(queue));
        waiting.into_values().map(|waiting| waiting.future).collect()
    }
}

/// How many bytes a buffer has; refuses those that a command cannot use, in the way that a command would.
#[pyfunction]
pub(crate) fn buffer_length(buffer: &Bound<'_, PyAny>, writable: bool) -> PyResult<usize> {
    let lent = if writable { Lent::writable(buffer)? } else { Lent::readable(buffer)? };
    Ok(lent.len())
}
