//! Moves an image between this machine and a namespace, with many commands in flight on every queue. Memory
//! stays the same however long the image is.

mod download;
mod upload;
mod worker;

use std::thread;

use nvme_tcp::spec::completion::Status;
use nvme_tcp::{Controller, Error, ErrorKind, Namespace, Queue};

pub use download::download;
pub use upload::upload;

use crate::exit::{Exit, Failure};
use worker::Worker;

/// The most bytes in one command.
const REQUEST: usize = 256 * 1024;
/// How wide a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// Queues that the controller is asked for.
    pub queues: u16,
    /// Commands in flight on each, at most.
    pub depth: u16,
}

impl Default for Width {
    fn default() -> Self {
        Self { queues: 4, depth: 32 }
    }
}

/// Runs `work` on so many queues, each on a thread of its own; `stop` tells the others when one has failed.
fn run(
    controller: &Controller,
    width: Width,
    stop: impl Fn() + Sync,
    work: impl Fn(Worker<'_>) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    // A controller that grants fewer queues still serves: one is enough.
    let mut opened: Vec<Queue> = vec![controller.queue()?];
    opened.extend((1..width.queues).map_while(|_| controller.queue().ok()));
    let work = |queue| work(Worker::new(controller, queue, width.depth.into())).inspect_err(|_| stop());
    let mut result = Ok(());
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = opened.into_iter().map(|queue| scope.spawn(move || work(queue))).collect();
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
        // What a write would come back with.
        let refused = ErrorKind::Status { command: "Write", status: Status::WRITE_PROTECTED };
        let cause = format!("namespace {} is write protected", namespace.id());
        return Err(Failure::new(Exit::Io, cause).hint(Error::from(refused).hint()));
    }
    if len > namespace.size() {
        let cause = format!("the image has {len} bytes, and the namespace {}", namespace.size());
        return Err(Failure::new(Exit::Io, cause).hint("choose a larger namespace".to_owned()));
    }
    Ok(())
}
