//! A namespace whose calls are futures.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::blocking;
use super::lanes::Lanes;
use super::work::{Done, Job, Make, Work};
use crate::error::{Error, Result};
use crate::namespace::{ByteRange, DatasetAttributes, DatasetRange, Way};
use crate::spec::command::Sqe;
use crate::spec::command::nvm::{self, IoFlags};
use crate::spec::completion::Status;
use crate::spec::identify::ONCS_COMPARE;

/// A namespace of a controller. It may be shared between tasks, and goes on with the controller's next association
/// when one takes over.
///
/// Offsets and lengths are in bytes and must be multiples of the block size. Each call splits its data into
/// commands; calls go to the I/O queues in turn. Memory is handed over and comes back with the result, whatever that
/// is: only where the runtime is shut down under it is it gone.
///
/// [`Options::recovery`](crate::Options::recovery) holds for these calls as for those of
/// [`crate::Namespace`].
#[derive(Clone, Debug)]
pub struct Namespace {
    inner: crate::Namespace,
    lanes: Arc<Lanes>,
}

impl Namespace {
    pub(super) fn new(inner: crate::Namespace, lanes: Arc<Lanes>) -> Self {
        Self { inner, lanes }
    }

    /// What is known of it. The I/O queues are the tasks': its calls that do I/O fail, but for those of a controller
    /// that has queues left.
    pub fn blocking(&self) -> &crate::Namespace {
        &self.inner
    }

    /// NSID.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// The size of a block in bytes, a power of two from 512 to 65,536.
    pub fn block_size(&self) -> u32 {
        self.inner.block_size()
    }

    /// The size of the namespace in bytes.
    pub fn size(&self) -> u64 {
        self.inner.size()
    }

    /// Fills `buffer` with what stands at `offset`.
    ///
    /// # Errors
    /// As [`crate::Namespace::read_at`]. What the buffer holds then is not defined.
    pub async fn read_at(&self, buffer: Vec<u8>, offset: u64) -> (Result<()>, Vec<u8>) {
        if let Err(error) = self.inner.blocks_at(offset, buffer.len() as u64) {
            return (Err(error), buffer);
        }
        let (result, work) = self.run("Read", Work::Read { memory: buffer, offset }).await;
        let buffer = match work {
            Some(Work::Read { memory, .. }) => memory,
            _ => Vec::new(),
        };
        (result, buffer)
    }

    /// Writes `buffer` to `offset`: a `Vec<u8>`, an `Arc<[u8]>` that goes to many namespaces, or anything like it.
    /// The data is on stable media after a [`flush`](Self::flush).
    ///
    /// # Errors
    /// As [`crate::Namespace::write_at`]. What stands in the range then is not defined, block by block the old or
    /// the new.
    pub async fn write_at<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        buffer: B,
        offset: u64,
    ) -> (Result<()>, B) {
        self.send("Write", buffer, offset, nvm::write).await
    }

    /// Compares `expected` with what stands at `offset`, at the controller: whether they are the same.
    ///
    /// # Errors
    /// As [`crate::Namespace::compare`].
    pub async fn compare<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        expected: B,
        offset: u64,
    ) -> (Result<bool>, B) {
        if let Err(error) = self.inner.require(ONCS_COMPARE, "Compare") {
            return (Err(error), expected);
        }
        let (result, expected) = self.send("Compare", expected, offset, nvm::compare).await;
        let same = match result {
            Err(error) if error.status().is_some_and(|status| status.is(Status::COMPARE_FAILURE)) => {
                Ok(false)
            }
            result => result.map(|()| true),
        };
        (same, expected)
    }

    /// Makes everything that was written before durable. Nothing is sent where the controller has no volatile
    /// write cache.
    ///
    /// # Errors
    /// As [`crate::Namespace::flush`].
    pub async fn flush(&self) -> Result<()> {
        self.commands("Flush", self.inner.plan_flush().map(bare)).await
    }

    /// Makes `len` bytes at `offset` read as zeros, by Write Zeroes; by writing zeros where the controller has
    /// no such command.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        let inner = self.inner.clone();
        // Its limits may have to be asked for.
        let plan = blocking(move || inner.plan_zeroes(offset, len, IoFlags::empty())).await?;
        if let Some(commands) = plan {
            return self.commands("Write Zeroes", commands.into_iter().map(bare)).await;
        }
        let piece = len.min(self.inner.max_transfer() as u64);
        let mut zeros = vec![0; piece as usize];
        let mut at = 0;
        while at < len {
            zeros.truncate((len - at).min(piece) as usize);
            let (result, back) = self.write_at(zeros, offset + at).await;
            result?;
            at += back.len() as u64;
            zeros = back;
        }
        Ok(())
    }

    /// Tells the controller that `len` bytes at `offset` are not needed any more. Does nothing where the controller
    /// has no such command.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn deallocate(&self, offset: u64, len: u64) -> Result<()> {
        let inner = self.inner.clone();
        let ranges = DatasetRange::plain(&[ByteRange { offset, len }]);
        let plan = blocking(move || inner.plan_dataset(&ranges, DatasetAttributes::DEALLOCATE)).await?;
        let commands = plan.into_iter().map(|(sqe, ranges)| (sqe, ranges.as_bytes().to_vec()));
        self.commands("Dataset Management", commands).await
    }

    async fn commands(
        &self,
        name: &'static str,
        commands: impl IntoIterator<Item = (Sqe, Vec<u8>)>,
    ) -> Result<()> {
        let work = Work::Commands(commands.into_iter().collect());
        self.run(name, work).await.0
    }

    async fn send<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        name: &'static str,
        buffer: B,
        offset: u64,
        make: Make,
    ) -> (Result<()>, B) {
        let len = buffer.as_ref().len();
        if let Err(error) = self.inner.blocks_at(offset, len as u64) {
            return (Err(error), buffer);
        }
        let mut buffer = Arc::new(buffer);
        let (result, work) = self.run(name, Work::Send { memory: buffer.clone(), len, offset, make }).await;
        drop(work);
        loop {
            // The driver's share is gone before it answers; where it was dropped instead, very soon.
            buffer = match Arc::try_unwrap(buffer) {
                Ok(buffer) => return (result, buffer),
                Err(shared) => shared,
            };
            ::tokio::task::yield_now().await;
        }
    }

    /// Does all of `work`, on as many associations as that takes; the memory comes back unless its driver is gone.
    async fn run(&self, name: &'static str, work: Work) -> (Result<()>, Option<Work>) {
        let mut job = Job::new(self.inner.clone(), name, work);
        let mut tries = 0;
        while !job.left.is_empty() {
            let Done { job: same, progress, error, unknown, association } = match self.lanes.run(job).await {
                Ok(done) => done,
                Err(error) => return (Err(error), None),
            };
            job = same;
            if progress {
                tries = 0;
            }
            let Some(error) = error else { continue };
            if let Err(error) = self.recover(name, association, error, unknown, tries).await {
                return (Err(error), Some(job.work));
            }
            tries += 1;
        }
        (Ok(()), Some(job.work))
    }

    /// Waits until what failed may be sent again, where it may.
    async fn recover(
        &self,
        name: &'static str,
        association: Arc<crate::association::Association>,
        error: Error,
        unknown: bool,
        tries: u32,
    ) -> Result<()> {
        if self.lanes.generations().connector.options().recovery.is_none() {
            return Err(error);
        }
        let inner = self.inner.clone();
        let way = Way::single(self.lanes.generations().clone(), association);
        blocking(move || inner.recover(name, &way, error, unknown, tries)).await
    }
}

fn bare(sqe: Sqe) -> (Sqe, Vec<u8>) {
    (sqe, Vec::new())
}
