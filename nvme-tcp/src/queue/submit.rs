//! The commands of an owned queue, on memory that is handed over.

use zerocopy::IntoBytes;

use super::{Queue, Rejected};
use crate::driver::Loan;
use crate::error::{Error, Result};
use crate::namespace::Namespace;
use crate::spec::command::{Sqe, nvm};

impl Queue {
    /// Reads into `buffer` (at most [`Namespace::max_transfer`] bytes, whole blocks) from `offset`. What it holds if that
    /// fails is not said: perhaps a part, or what another command has read.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // Not taken: nothing is sent, and the memory is here again.
    /// let submitted = queue.submit_read(namespace, vec![0; 4096], 0, 7);
    /// let memory = submitted.err().and_then(|rejected| rejected.buffer);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Wrong offset or length, a full queue, or a lost connection.
    pub fn submit_read(
        &mut self,
        namespace: &Namespace,
        buffer: Vec<u8>,
        offset: u64,
        cookie: u64,
    ) -> Result<(), Rejected> {
        self.submit_data("Read", nvm::read, namespace, Loan::owned_read(buffer), offset, cookie)
    }

    /// Writes `buffer` (at most [`Namespace::max_transfer`] bytes, whole blocks) to `offset`.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // In flight together, and so in no order: a write that must come later is submitted later.
    /// for cookie in 0..4 {
    ///     let piece = vec![cookie as u8; 4096];
    ///     queue.submit_write(namespace, piece, cookie * 4096, cookie).map_err(|rejected| rejected.error)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`submit_read`](Self::submit_read).
    pub fn submit_write(
        &mut self,
        namespace: &Namespace,
        buffer: Vec<u8>,
        offset: u64,
        cookie: u64,
    ) -> Result<(), Rejected> {
        self.submit_data("Write", nvm::write, namespace, Loan::owned_write(buffer), offset, cookie)
    }

    /// Flushes the namespace.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // It covers what is done; writes in flight may be left out.
    /// if queue.outstanding() == 0 {
    ///     queue.submit_flush(namespace, 8).map_err(|rejected| rejected.error)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A full queue, or a lost connection.
    pub fn submit_flush(&mut self, namespace: &Namespace, cookie: u64) -> Result<(), Rejected> {
        self.submit("Flush", nvm::flush(namespace.id()), Loan::default(), cookie)
    }

    /// Makes `len` bytes at `offset` read as zeros, by one Write Zeroes command: at most 65,536 blocks.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // Sent whether the controller has the command or not; INVALID_OPCODE says that it has not.
    /// queue.submit_write_zeroes(namespace, 0, 1 << 20, 9)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`submit_read`](Self::submit_read).
    pub fn submit_write_zeroes(
        &mut self,
        namespace: &Namespace,
        offset: u64,
        len: u64,
        cookie: u64,
    ) -> Result<()> {
        let (slba, count) = blocks(namespace, offset, len, nvm::MAX_BLOCKS)?;
        let sqe = nvm::write_zeroes(namespace.id(), slba, count);
        self.submit("Write Zeroes", sqe, Loan::default(), cookie).map_err(|rejected| rejected.error)
    }

    /// Tells the controller that `len` bytes at `offset` are not needed any more (Dataset Management,
    /// deallocate), less than 2^32 blocks.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // One command for the first GiB, while reads and writes elsewhere go on.
    /// queue.submit_deallocate(namespace, 0, 1 << 30, 10)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`submit_read`](Self::submit_read).
    pub fn submit_deallocate(
        &mut self,
        namespace: &Namespace,
        offset: u64,
        len: u64,
        cookie: u64,
    ) -> Result<()> {
        let (slba, count) = blocks(namespace, offset, len, u32::MAX)?;
        let range = nvm::DsmRange { attributes: 0.into(), nlb: count.into(), slba: slba.into() };
        let loan = Loan::owned_write(range.as_bytes().to_vec());
        let sqe = nvm::deallocate(namespace.id(), 1);
        self.submit("Dataset Management", sqe, loan, cookie).map_err(|rejected| rejected.error)
    }

    /// Submits one command that moves the data of `loan`.
    #[inline(always)]
    pub(super) fn submit_data(
        &mut self,
        name: &'static str,
        command: impl FnOnce(u32, u64, u32) -> Sqe,
        namespace: &Namespace,
        loan: Loan,
        offset: u64,
        cookie: u64,
    ) -> Result<(), Rejected> {
        match self.range(namespace, offset, loan.len()) {
            Ok((slba, count)) => {
                self.submit_followed(name, command(namespace.id(), slba, count), loan, cookie)
            }
            Err(error) => Err(Rejected { error, buffer: loan.into_owned() }),
        }
    }

    /// Follows, and gives the blocks.
    fn range(&mut self, namespace: &Namespace, offset: u64, len: usize) -> Result<(u64, u32)> {
        // What counts is the limit of the association that the command goes to.
        self.follow()?;
        let most = namespace.max_transfer_on(&self.lane.association);
        if len == 0 || len > most {
            return Err(Error::invalid(format!("a command moves 1 block to {most} bytes, not {len} bytes")));
        }
        blocks(namespace, offset, len as u64, nvm::MAX_BLOCKS)
    }
}

/// The first block and the number of blocks of `len` bytes at `offset`, which one command takes.
fn blocks(namespace: &Namespace, offset: u64, len: u64, most: u32) -> Result<(u64, u32)> {
    let (slba, count) = namespace.blocks_at(offset, len)?;
    match u32::try_from(count) {
        Ok(count) if (1..=most).contains(&count) => Ok((slba, count)),
        _ => Err(Error::invalid(format!("a command is for 1 to {most} blocks, not {count}"))),
    }
}
