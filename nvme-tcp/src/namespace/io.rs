//! Reading, writing, comparing and verifying: data and blocks are split into commands.

use super::fused::matched;
use super::run::{Cut, split};
use super::{Namespace, pieces};
use crate::driver::shared::{Buffer, Request};
use crate::error::{Error, Result};
use crate::spec::command::Sqe;
use crate::spec::command::nvm::{self, IoFlags};
use crate::spec::identify::{ONCS_COMPARE, ONCS_VERIFY, ONCS_WRITE_UNCORRECTABLE, ONCS_WRITE_ZEROES};

impl Namespace {
    /// Fills `buffer` with what stands at `offset`.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// let mut first = vec![0; 4096];
    /// namespace.read_at(&mut first, 0)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Not whole blocks, outside the namespace, a command failed, or the association is lost. What `buffer`
    /// holds then is not defined.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.read_with(buffer, offset, IoFlags::empty())
    }

    /// As [`read_at`](Self::read_at), with force unit access or limited retry.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::nvm::IoFlags;
    ///
    /// // From the medium, not from a cache.
    /// let mut back = vec![0; 4096];
    /// namespace.read_with(&mut back, 0, IoFlags::FORCE_UNIT_ACCESS)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), and flags that are not for reads.
    pub fn read_with(&self, buffer: &mut [u8], offset: u64, flags: IoFlags) -> Result<()> {
        no_deallocate(flags)?;
        let (slba, _) = self.blocks_at(offset, buffer.len() as u64)?;
        self.transfer("Read", buffer.len(), self.cut(offset), |pieces, queue| {
            let requests = split(buffer, pieces).map(|(at, piece)| {
                let (slba, count) = self.blocks_of(slba, at, piece.len());
                let sqe = flagged(nvm::read(self.nsid, slba, count), flags);
                Request { sqe, buffer: Buffer::Read(piece) }
            });
            queue.attempt(requests)
        })
    }

    /// Writes `buffer` to `offset`. The data is on stable media after a [`flush`](Self::flush).
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// namespace.write_at(&[7; 4096], 0)?;
    /// namespace.flush()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at). What stands in the range then is not defined, block by block the old or
    /// the new.
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<()> {
        self.write_with(buffer, offset, IoFlags::empty())
    }

    /// As [`write_at`](Self::write_at), with force unit access (the data is on stable media on return) or
    /// limited retry.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::nvm::IoFlags;
    ///
    /// namespace.write_with(&[7; 4096], 0, IoFlags::FORCE_UNIT_ACCESS)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at), and flags that are not for writes.
    pub fn write_with(&self, buffer: &[u8], offset: u64, flags: IoFlags) -> Result<()> {
        no_deallocate(flags)?;
        self.send("Write", buffer, offset, |nsid, at, count| flagged(nvm::write(nsid, at, count), flags))
    }

    /// Compares `expected` with what stands at `offset`, at the controller: whether they are the same.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// if !namespace.compare(&[7; 4096], 0)? {
    ///     println!("something else stands there");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), and where the controller has no Compare.
    pub fn compare(&self, expected: &[u8], offset: u64) -> Result<bool> {
        self.require(ONCS_COMPARE, "Compare")?;
        matched(self.send("Compare", expected, offset, nvm::compare))
    }

    /// Makes everything that was written before durable. Nothing is sent where the controller has no volatile
    /// write cache.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // What is pointed to is durable before the pointer is written.
    /// namespace.write_at(&[7; 4096], 1 << 20)?;
    /// namespace.flush()?;
    /// namespace.write_at(&[1; 4096], 0)?;
    /// namespace.flush()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn flush(&self) -> Result<()> {
        self.run_bare("Flush", self.plan_flush())
    }

    /// The command of [`flush`](Self::flush), where there is something to flush.
    pub(crate) fn plan_flush(&self) -> Option<Sqe> {
        let cached = self.route.facts().volatile_write_cache;
        cached.then(|| nvm::flush(self.nsid))
    }

    /// Makes `len` bytes at `offset` read as zeros, by Write Zeroes; by writing zeros where the controller has
    /// no such command.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // Nothing of an old file system is left where the new one looks for it.
    /// namespace.write_zeroes(0, 1 << 20)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.write_zeroes_with(offset, len, IoFlags::empty())
    }

    /// As [`write_zeroes`](Self::write_zeroes); with [`IoFlags::DEALLOCATE`] the controller may deallocate the
    /// blocks as well, if they read as zeros then.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::nvm::IoFlags;
    ///
    /// namespace.write_zeroes_with(0, namespace.size(), IoFlags::DEALLOCATE)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn write_zeroes_with(&self, offset: u64, len: u64, flags: IoFlags) -> Result<()> {
        match self.plan_zeroes(offset, len, flags)? {
            Some(commands) => self.run_bare("Write Zeroes", commands),
            None => self.write_zero_blocks(offset, len, flags - IoFlags::DEALLOCATE),
        }
    }

    /// The commands of [`write_zeroes_with`](Self::write_zeroes_with); `None` where the controller has none for it.
    pub(crate) fn plan_zeroes(&self, offset: u64, len: u64, flags: IoFlags) -> Result<Option<Vec<Sqe>>> {
        let (slba, count) = self.blocks_at(offset, len)?;
        if self.route.facts().optional_commands & ONCS_WRITE_ZEROES == 0 {
            return Ok(None);
        }
        let commands = pieces(slba, count, self.limits()?.write_zeroes, 0)
            .map(|(at, count)| flagged(nvm::write_zeroes(self.nsid, at, count), flags));
        Ok(Some(commands.collect()))
    }

    fn write_zero_blocks(&self, offset: u64, len: u64, flags: IoFlags) -> Result<()> {
        let zeros = vec![0; self.max_transfer().min(len as usize)];
        let mut at = 0;
        while at < len {
            let piece = (len - at).min(zeros.len() as u64);
            self.write_with(&zeros[..piece as usize], offset + at, flags)?;
            at += piece;
        }
        Ok(())
    }

    /// Has the controller read `len` bytes at `offset` and check them, without sending them.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// namespace.verify(0, namespace.size())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at): what cannot be read is told by a status of the media. The controller has no
    /// Verify.
    pub fn verify(&self, offset: u64, len: u64) -> Result<()> {
        self.run_bare("Verify", self.plan_verify(offset, len)?)
    }

    /// The commands of [`verify`](Self::verify).
    pub(crate) fn plan_verify(&self, offset: u64, len: u64) -> Result<Vec<Sqe>> {
        self.require(ONCS_VERIFY, "Verify")?;
        let (slba, count) = self.blocks_at(offset, len)?;
        let commands = pieces(slba, count, self.limits()?.verify, 0);
        Ok(commands.map(|(at, count)| nvm::verify(self.nsid, at, count)).collect())
    }

    /// Marks `len` bytes at `offset` so that reading them fails until they are written again.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::Namespace) -> nvme_tcp::Result<()> {
    /// // What a scrubber sees of a medium that lost a block.
    /// let block = u64::from(namespace.block_size());
    /// namespace.write_uncorrectable(0, block)?;
    /// println!("{:?}", namespace.verify(0, block).unwrap_err().status());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at), and where the controller has no Write Uncorrectable.
    pub fn write_uncorrectable(&self, offset: u64, len: u64) -> Result<()> {
        self.run_bare("Write Uncorrectable", self.plan_uncorrectable(offset, len)?)
    }

    /// The commands of [`write_uncorrectable`](Self::write_uncorrectable).
    pub(crate) fn plan_uncorrectable(&self, offset: u64, len: u64) -> Result<Vec<Sqe>> {
        self.require(ONCS_WRITE_UNCORRECTABLE, "Write Uncorrectable")?;
        let (slba, count) = self.blocks_at(offset, len)?;
        let commands = pieces(slba, count, self.limits()?.write_uncorrectable, 0);
        Ok(commands.map(|(at, count)| nvm::write_uncorrectable(self.nsid, at, count)).collect())
    }

    /// Sends `buffer` along with commands that `make` makes.
    fn send(
        &self,
        name: &'static str,
        buffer: &[u8],
        offset: u64,
        make: impl Fn(u32, u64, u32) -> Sqe,
    ) -> Result<()> {
        let (slba, _) = self.blocks_at(offset, buffer.len() as u64)?;
        self.transfer(name, buffer.len(), self.cut(offset), |pieces, queue| {
            let requests = pieces.map(|piece| {
                let (slba, count) = self.blocks_of(slba, piece.start, piece.len());
                Request { sqe: make(self.nsid, slba, count), buffer: Buffer::Write(&buffer[piece]) }
            });
            queue.attempt(requests)
        })
    }

    /// How data from `offset` on is cut into commands: at most MDTS each, none across NOIOB.
    pub(crate) fn cut(&self, offset: u64) -> impl Fn(usize) -> Cut + '_ {
        move |most| Cut { most, boundary: self.info.optimal_boundary, offset }
    }
}

/// A command with these flags.
pub(crate) fn flagged(sqe: Sqe, flags: IoFlags) -> Sqe {
    sqe.cdw(12, sqe.get_cdw(12) | flags.bits())
}

/// Refuses the flag that only commands without data have.
pub(crate) fn no_deallocate(flags: IoFlags) -> Result<()> {
    match flags.contains(IoFlags::DEALLOCATE) {
        true => Err(Error::invalid("only Write Zeroes and Dataset Management deallocate")),
        false => Ok(()),
    }
}
