//! Commands on memory that only the caller knows: what bindings to other languages stand on.
#![allow(unsafe_code, reason = "the caller lends memory by address, and says so with each call")]

use super::Queue;
use crate::driver::Loan;
use crate::error::{Error, Result};
use crate::namespace::Namespace;
use crate::spec::command::nvm;

impl Queue {
    /// Reads `len` bytes from `offset` into `memory`, as [`submit_read`](Self::submit_read) does.
    ///
    /// Other data may pass through the memory meanwhile, and is looked at there: memory that a guest, another process or a
    /// device can reach needs a connection with [`Options::private_memory`](crate::Options::private_memory) `false`. The
    /// completion has no buffer.
    ///
    /// ```no_run
    /// # use nvme_tcp::{Namespace, Queue, Result};
    /// # fn example(queue: &mut Queue, namespace: &Namespace, page: &'static mut [u8]) -> Result<()> {
    /// // SAFETY: the page (of an arena, say) is there for good, and is left alone until completion 1.
    /// unsafe { queue.submit_read_raw(namespace, page.as_mut_ptr(), page.len(), 0, 1)? };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// The `len` bytes at `memory` are valid to read and write, and nobody else reads or writes them, from
    /// here until the completion with this `cookie` came out of [`poll`](Self::poll),
    /// [`cancel`](Self::cancel) was `true` for it, or this queue is dropped. Where this call fails, until it
    /// returns. With [`Options::private_memory`](crate::Options::private_memory) `false`, what is outside of this program
    /// may read and write them.
    ///
    /// # Errors
    /// As [`submit_read`](Self::submit_read).
    #[inline]
    pub unsafe fn submit_read_raw(
        &mut self,
        namespace: &Namespace,
        memory: *mut u8,
        len: usize,
        offset: u64,
        cookie: u64,
    ) -> Result<()> {
        // SAFETY: this function's contract. The loan is dropped with the completion, or with the queue, and
        // by `cancel`.
        self.read_loan(namespace, unsafe { Loan::read_raw(memory, len) }, offset, cookie)
    }

    /// Writes `len` bytes from `memory` to `offset`, as [`submit_write`](Self::submit_write) does.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// static LABEL: [u8; 4096] = [0x5a; 4096];
    /// // SAFETY: it is there for good, and a static is never written.
    /// unsafe { queue.submit_write_raw(namespace, LABEL.as_ptr(), LABEL.len(), 0, 2)? };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// The `len` bytes at `memory` are valid to read, and nobody writes them, from here until the completion
    /// with this `cookie` came out of [`poll`](Self::poll) or this queue is dropped. Where this call fails,
    /// until it returns.
    ///
    /// # Errors
    /// As [`submit_write`](Self::submit_write).
    #[inline]
    pub unsafe fn submit_write_raw(
        &mut self,
        namespace: &Namespace,
        memory: *const u8,
        len: usize,
        offset: u64,
        cookie: u64,
    ) -> Result<()> {
        // SAFETY: this function's contract. The loan is dropped with the completion, or with the queue.
        self.write_loan(namespace, unsafe { Loan::write_raw(memory, len) }, offset, cookie)
    }

    /// Reads from `offset` into several pieces of memory, each an address and its length, one after the
    /// other: one command, whose whole blocks the pieces may cut anywhere. For whose memory, as
    /// [`submit_read_raw`](Self::submit_read_raw) says.
    ///
    /// ```no_run
    /// # use nvme_tcp::{Namespace, Queue, Result};
    /// # fn example(queue: &mut Queue, namespace: &Namespace, pages: &'static mut [Vec<u8>]) -> Result<()> {
    /// // As readv(2) has it.
    /// let pieces = pages.iter_mut().map(|page| (page.as_mut_ptr(), page.len()));
    /// // SAFETY: the pages are there for good, and are left alone until completion 3.
    /// unsafe { queue.submit_readv_raw(namespace, pieces, 0, 3)? };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// As [`submit_read_raw`](Self::submit_read_raw), for each piece.
    ///
    /// # Errors
    /// As [`submit_read`](Self::submit_read); also where two pieces overlap.
    pub unsafe fn submit_readv_raw(
        &mut self,
        namespace: &Namespace,
        pieces: impl Iterator<Item = (*mut u8, usize)>,
        offset: u64,
        cookie: u64,
    ) -> Result<()> {
        // SAFETY: this function's contract, as above.
        let loan = unsafe { Loan::read_pieces(pieces) };
        let loan = loan.ok_or_else(|| Error::invalid("two pieces of memory to read into overlap"))?;
        self.read_loan(namespace, loan, offset, cookie)
    }

    /// Writes several pieces of memory, each an address and its length, one after the other to `offset`: one
    /// command, whose whole blocks the pieces may cut anywhere.
    ///
    /// ```no_run
    /// # fn example(queue: &mut nvme_tcp::Queue, namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// static HEADER: [u8; 64] = [1; 64];
    /// static BODY: [u8; 448] = [2; 448];
    /// let pieces = [HEADER.as_slice(), &BODY].into_iter().map(|piece| (piece.as_ptr(), piece.len()));
    /// // SAFETY: statics are there for good, and these are never written. Together they are one block.
    /// unsafe { queue.submit_writev_raw(namespace, pieces, 0, 4)? };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// As [`submit_write_raw`](Self::submit_write_raw), for each piece.
    ///
    /// # Errors
    /// As [`submit_write`](Self::submit_write).
    pub unsafe fn submit_writev_raw(
        &mut self,
        namespace: &Namespace,
        pieces: impl Iterator<Item = (*const u8, usize)>,
        offset: u64,
        cookie: u64,
    ) -> Result<()> {
        // SAFETY: this function's contract, as above.
        self.write_loan(namespace, unsafe { Loan::write_pieces(pieces) }, offset, cookie)
    }

    #[inline]
    fn read_loan(&mut self, namespace: &Namespace, loan: Loan, offset: u64, cookie: u64) -> Result<()> {
        let submitted = self.submit_data("Read", nvm::read, namespace, loan, offset, cookie);
        submitted.map_err(|rejected| rejected.error)
    }

    #[inline]
    fn write_loan(&mut self, namespace: &Namespace, loan: Loan, offset: u64, cookie: u64) -> Result<()> {
        let submitted = self.submit_data("Write", nvm::write, namespace, loan, offset, cookie);
        submitted.map_err(|rejected| rejected.error)
    }
}
