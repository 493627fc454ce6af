//! Compare and write, as one operation.

use super::{Namespace, queue_of_this_thread};
use crate::association::check;
use crate::driver::shared::{Buffer, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::command::{FUSE_FIRST, FUSE_SECOND, nvm};
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
        if expected.len() != new.len() {
            let (expected, new) = (expected.len(), new.len());
            return Err(Error::invalid(format!("{expected} bytes to compare and {new} bytes to write")));
        }
        let (slba, count) = self.blocks_at(offset, new.len() as u64)?;
        let unit = self.limits()?.compare_and_write;
        let unit = unit.ok_or(ErrorKind::Unsupported("fused compare and write"))?;
        let most = u64::from(unit).min(self.max_transfer() as u64 >> self.block_shift);
        if count == 0 || count > most {
            let most = most << self.block_shift;
            let len = new.len();
            return Err(Error::invalid(format!(
                "{len} bytes: compare and write takes 1 block to {most} bytes"
            )));
        }
        let count = count as u32;
        let compare = nvm::compare(self.nsid, slba, count).fused(FUSE_FIRST);
        let write = nvm::write(self.nsid, slba, count).fused(FUSE_SECOND);
        let pair = [
            Request { sqe: compare, buffer: Buffer::Write(expected) },
            Request { sqe: write, buffer: Buffer::Write(new) },
        ];
        let way = self.route.choose()?;
        let mut cause: Option<Error> = None;
        queue_of_this_thread(&way.association)?.execute_fused(pair, |cqe, fault| {
            if let Err(error) = check("Compare and Write", cqe, fault) {
                // The one that says why, and not the one that only failed with it.
                let follows = |error: &Error| error.status().is_some_and(|s| s.is(Status::FAILED_FUSED));
                if cause.as_ref().is_none_or(follows) {
                    cause = Some(error);
                }
            }
            Ok(())
        })?;
        match cause {
            None => Ok(true),
            Some(error) if error.status().is_some_and(|status| status.is(Status::COMPARE_FAILURE)) => {
                Ok(false)
            }
            Some(error) => Err(error),
        }
    }
}
