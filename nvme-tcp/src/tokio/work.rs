//! What is to be done, and the memory it is done with.
//!
//! Memory is lent to commands by address, since several of them share it. It belongs to the driver meanwhile, which
//! keeps it until the last of them is done.
#![allow(unsafe_code, reason = "commands borrow parts of memory that the driver owns")]

use std::ops::Range;
use std::sync::Arc;

use crate::association::Association;
use crate::driver::Loan;
use crate::error::Error;
use crate::namespace::{Cut, Left, Namespace, flagged};
use crate::proto::is_repeatable;
use crate::spec::command::Sqe;
use crate::spec::command::nvm::{self, IoFlags};

/// Memory that can be read from any thread.
pub(super) trait Bytes: Send + Sync {
    fn bytes(&self) -> &[u8];
}

impl<B: AsRef<[u8]> + Send + Sync> Bytes for B {
    fn bytes(&self) -> &[u8] {
        self.as_ref()
    }
}

/// Makes the command for so many blocks from a first one on: NSID, SLBA, count.
pub(super) type Make = fn(u32, u64, u32) -> Sqe;

/// What is to be done, all of it.
pub(super) enum Work {
    /// Fill this from an offset on.
    Read { memory: Vec<u8>, offset: u64, flags: IoFlags },
    /// Send this along with commands from an offset on.
    Send { memory: Arc<dyn Bytes>, len: usize, offset: u64, make: Make, flags: IoFlags },
    /// These commands, with data of their own.
    Commands(Vec<(Sqe, Vec<u8>)>),
    /// This command, which fills its memory.
    Fetch { sqe: Sqe, memory: Vec<u8> },
    /// Two commands that are one operation, each with what it sends.
    Fused([(Sqe, Arc<dyn Bytes>); 2]),
}

/// Work for a driver, or what is left of it.
pub(super) struct Job {
    pub(super) namespace: Namespace,
    /// What its commands are called in errors.
    pub(super) name: &'static str,
    pub(super) work: Work,
    pub(super) left: Left,
}

/// What became of a job.
pub(super) struct Done {
    /// The same job, with what is still left.
    pub(super) job: Job,
    /// Whether any of it was done.
    pub(super) progress: bool,
    /// The first error.
    pub(super) error: Option<Error>,
    /// Whether a command that changes something was outstanding when the connection was lost.
    pub(super) unknown: bool,
    /// Where it ran.
    pub(super) association: Arc<Association>,
}

impl Done {
    /// None of it was begun.
    pub(super) fn nothing(job: Job, error: Error, association: Arc<Association>) -> Self {
        Self { job, progress: false, error: Some(error), unknown: false, association }
    }
}

impl Work {
    /// How much it is: bytes, or commands.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Read { memory, .. } => memory.len(),
            Self::Send { len, .. } => *len,
            Self::Commands(commands) => commands.len(),
            Self::Fetch { .. } => 1,
            Self::Fused(pair) => pair.len(),
        }
    }

    /// How it is cut into commands for `association`.
    pub(super) fn cut(&self, namespace: &Namespace, association: &Association) -> Cut {
        match self {
            Self::Read { offset, .. } | Self::Send { offset, .. } => {
                namespace.cut(*offset)(namespace.max_transfer_on(association))
            }
            Self::Commands(_) | Self::Fetch { .. } | Self::Fused(_) => Cut::SINGLE,
        }
    }

    /// Whether its commands can be given up when they are under way.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Fetch { .. })
    }

    /// How many of its commands go out with nothing between them.
    pub(super) fn together(&self) -> usize {
        if let Self::Fused(pair) = self { pair.len() } else { 1 }
    }
}

impl Job {
    pub(super) fn new(namespace: Namespace, name: &'static str, work: Work) -> Self {
        let left = Left::whole(work.len());
        Self { namespace, name, work, left }
    }

    /// The command for `piece`, whether it changes something, and its memory. `None` where the caller's memory
    /// is not as long as it was.
    ///
    /// # Safety
    /// The job's memory stays where it is, and is not used otherwise, until the loan is dropped; and no two loans
    /// for pieces that overlap are alive at once.
    pub(super) unsafe fn command(&mut self, piece: Range<usize>) -> Option<(Sqe, bool, Loan)> {
        let namespace = &self.namespace;
        let (nsid, len) = (namespace.id(), piece.len());
        let blocks = |offset: u64| {
            let first = offset >> namespace.block_size().trailing_zeros();
            namespace.blocks_of(first, piece.start, len)
        };
        let (sqe, loan) = match &mut self.work {
            Work::Read { memory, offset, flags } => {
                let (slba, count) = blocks(*offset);
                if piece.end > memory.len() {
                    return None;
                }
                // Makes no reference to the memory, parts of which are lent.
                let start = memory.as_mut_ptr();
                // SAFETY: the piece is inside of the vector.
                let start = unsafe { start.add(piece.start) };
                // SAFETY: `len` bytes of the vector begin there; for the rest, this function's contract.
                let loan = unsafe { Loan::read_raw(start, len) };
                (flagged(nvm::read(nsid, slba, count), *flags), loan)
            }
            Work::Send { memory, offset, make, flags, .. } => {
                let (slba, count) = blocks(*offset);
                let bytes = memory.bytes().get(piece)?;
                // SAFETY: this function's contract.
                let loan = unsafe { shared(bytes) };
                (flagged(make(nsid, slba, count), *flags), loan)
            }
            Work::Commands(commands) => {
                let (sqe, data) = commands.get(piece.start)?;
                let loan = if data.is_empty() { Loan::default() } else { Loan::owned_write(data.clone()) };
                (*sqe, loan)
            }
            Work::Fetch { sqe, memory } => {
                let (start, len) = (memory.as_mut_ptr(), memory.len());
                // SAFETY: all of the vector; for the rest, this function's contract.
                (*sqe, unsafe { Loan::read_raw(start, len) })
            }
            Work::Fused(pair) => {
                let (sqe, memory) = pair.get(piece.start)?;
                // SAFETY: this function's contract.
                (*sqe, unsafe { shared(memory.bytes()) })
            }
        };
        Some((sqe, !is_repeatable(&sqe), loan))
    }
}

/// Lends what an Arc of a job holds.
///
/// # Safety
/// As [`Job::command`]. Nobody can change the bytes: the other one who has the Arc takes the value out of it only when
/// the driver's is gone.
unsafe fn shared(bytes: &[u8]) -> Loan {
    // SAFETY: they are borrowed from what the Arc holds; for the rest, this function's contract.
    unsafe { Loan::write_raw(bytes.as_ptr(), bytes.len()) }
}
