//! Compare and write, as one operation.

use super::{Namespace, queue_of_this_thread};
use crate::association::check;
use crate::driver::shared::{Buffer, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::command::{FUSE_FIRST, FUSE_SECOND, Sqe, nvm};
use crate::spec::completion::Status;

impl Namespace {
    /// Writes `new` to `offset` if `expected` stands there, as one atomic operation of the controller: whether it
    /// was written.
    ///
    /// ```no_run
    /// # fn lock(namespace: &nvme_tcp::Namespace, mine: &[u8]) -> nvme_tcp::Result<()> {
    /// // A lock in a block that hosts share: free while it is zero.
    /// if namespace.compare_and_write(&[0; 512], mine, 0)? {
    ///     println!("the lock is ours");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at). The two differ in length, or are longer than the controller compares and
    /// writes at once (ACWU, NACWU); the controller has no fused operations.
    pub fn compare_and_write(&self, expected: &[u8], new: &[u8], offset: u64) -> Result<bool> {
        let [compare, write] = self.plan_compare_and_write(expected.len(), new.len(), offset)?;
        let pair = [
            Request { sqe: compare, buffer: Buffer::Write(expected) },
            Request { sqe: write, buffer: Buffer::Write(new) },
        ];
        let way = self.route.choose()?;
        let mut cause: Option<Error> = None;
        queue_of_this_thread(&way.association)?.execute_fused(pair, |cqe, fault| {
            if let Err(error) = check(COMPARE_AND_WRITE, cqe, fault) {
                says_why(&mut cause, error);
            }
            Ok(())
        })?;
        matched(cause.map_or(Ok(()), Err))
    }

    /// The two commands of [`compare_and_write`](Self::compare_and_write).
    pub(crate) fn plan_compare_and_write(
        &self,
        expected: usize,
        new: usize,
        offset: u64,
    ) -> Result<[Sqe; 2]> {
        if expected != new {
            return Err(Error::invalid(format!("{expected} bytes to compare and {new} bytes to write")));
        }
        let (slba, count) = self.blocks_at(offset, new as u64)?;
        let unit = self.limits()?.compare_and_write;
        let unit = unit.ok_or(ErrorKind::Unsupported("fused compare and write"))?;
        let most = u64::from(unit).min(self.max_transfer() as u64 >> self.block_shift);
        if count == 0 || count > most {
            let most = most << self.block_shift;
            return Err(Error::invalid(format!(
                "{new} bytes: compare and write takes 1 block to {most} bytes"
            )));
        }
        let count = count as u32;
        let compare = nvm::compare(self.nsid, slba, count).fused(FUSE_FIRST);
        let write = nvm::write(self.nsid, slba, count).fused(FUSE_SECOND);
        Ok([compare, write])
    }
}

/// What the two commands are called in errors.
pub(crate) const COMPARE_AND_WRITE: &str = "Compare and Write";

/// Keeps of two errors the one that says why, and not the one that only failed with it.
pub(crate) fn says_why(kept: &mut Option<Error>, error: Error) {
    let follows = |error: &Error| error.status().is_some_and(|status| status.is(Status::FAILED_FUSED));
    if kept.as_ref().is_none_or(follows) {
        *kept = Some(error);
    }
}

/// What a Compare came to: whether it found the same.
pub(crate) fn matched(result: Result<()>) -> Result<bool> {
    match result {
        Err(error) if error.status().is_some_and(|status| status.is(Status::COMPARE_FAILURE)) => Ok(false),
        result => result.map(|()| true),
    }
}
