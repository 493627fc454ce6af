//! Reading, writing and comparing: memory is handed over and comes back.

use std::sync::Arc;

use super::Namespace;
use crate::error::Result;
use crate::namespace::{COMPARE_AND_WRITE, matched, no_deallocate};
use crate::spec::command::nvm::{self, IoFlags};
use crate::spec::identify::ONCS_COMPARE;
use crate::tokio::work::{Make, Work};

impl Namespace {
    /// Fills `buffer` with what stands at `offset`.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// let (result, first) = namespace.read_at(vec![0; 4096], 0).await;
    /// result?;
    /// println!("{first:02x?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::read_at`]. What the buffer holds then is not defined.
    pub async fn read_at(&self, buffer: Vec<u8>, offset: u64) -> (Result<()>, Vec<u8>) {
        self.read_with(buffer, offset, IoFlags::empty()).await
    }

    /// As [`read_at`](Self::read_at), with force unit access or limited retry.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::nvm::IoFlags;
    ///
    /// // From stable media, past the controller's cache.
    /// let (result, block) = namespace.read_with(vec![0; 4096], 0, IoFlags::FORCE_UNIT_ACCESS).await;
    /// result?;
    /// println!("{block:02x?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::read_with`].
    pub async fn read_with(&self, buffer: Vec<u8>, offset: u64, flags: IoFlags) -> (Result<()>, Vec<u8>) {
        let whole = self.inner.blocks_at(offset, buffer.len() as u64);
        if let Err(error) = no_deallocate(flags).and(whole) {
            return (Err(error), buffer);
        }
        let (result, work) = self.run("Read", Work::Read { memory: buffer, offset, flags }).await;
        let buffer = match work {
            Some(Work::Read { memory, .. }) => memory,
            _ => Vec::new(),
        };
        (result, buffer)
    }

    /// Writes `buffer` to `offset`: a `Vec<u8>`, an `Arc<[u8]>` that goes to many namespaces, or anything like it.
    /// The data is on stable media after a [`flush`](Self::flush).
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// let image: std::sync::Arc<[u8]> = vec![7; 1 << 20].into();
    /// let (result, image) = namespace.write_at(image, 0).await;
    /// result?;
    /// namespace.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::write_at`]. What stands in the range then is not defined, block by block the old or
    /// the new.
    pub async fn write_at<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        buffer: B,
        offset: u64,
    ) -> (Result<()>, B) {
        self.write_with(buffer, offset, IoFlags::empty()).await
    }

    /// As [`write_at`](Self::write_at), with force unit access (the data is on stable media on return) or limited
    /// retry.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::nvm::IoFlags;
    ///
    /// // One record of a journal, durable on return: no flush of everything else.
    /// let (result, _) = namespace.write_with(vec![7; 4096], 0, IoFlags::FORCE_UNIT_ACCESS).await;
    /// result?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::write_with`].
    pub async fn write_with<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        buffer: B,
        offset: u64,
        flags: IoFlags,
    ) -> (Result<()>, B) {
        match no_deallocate(flags) {
            Ok(()) => self.send("Write", buffer, offset, nvm::write, flags).await,
            Err(error) => (Err(error), buffer),
        }
    }

    /// Compares `expected` with what stands at `offset`, at the controller: whether they are the same.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// // The controller compares, and still all of the data goes there.
    /// let (same, image) = namespace.compare(vec![7; 1 << 20], 0).await;
    /// if !same? {
    ///     let (result, _) = namespace.write_at(image, 0).await;
    ///     result?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
        let none = IoFlags::empty();
        let (result, expected) = self.send("Compare", expected, offset, nvm::compare, none).await;
        (matched(result), expected)
    }

    /// Writes `new` to `offset` if `expected` stands there, as one atomic operation of the controller: whether it was
    /// written. It is not sent again where the association is lost meanwhile.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// // A lock in one block: of two hosts one gets it.
    /// let [free, mine] = [0, 7].map(|owner| vec![owner; namespace.block_size() as usize]);
    /// let (taken, _) = namespace.compare_and_write(free, mine, 0).await;
    /// println!("{}", if taken? { "locked" } else { "somebody else has it" });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::compare_and_write`].
    pub async fn compare_and_write<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        expected: B,
        new: B,
        offset: u64,
    ) -> (Result<bool>, [B; 2]) {
        let lengths = [&expected, &new].map(|buffer| buffer.as_ref().len());
        let [one, other] = lengths;
        let plan = self.plan(move |inner| inner.plan_compare_and_write(one, other, offset)).await;
        let [compare, write] = match plan {
            Ok(pair) => pair,
            Err(error) => return (Err(error), [expected, new]),
        };
        let (expected, new) = (Arc::new(expected), Arc::new(new));
        let work = Work::Fused([(compare, expected.clone()), (write, new.clone())]);
        let result = self.run_once(COMPARE_AND_WRITE, work).await;
        (matched(result), [taken(expected).await, taken(new).await])
    }

    async fn send<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        name: &'static str,
        buffer: B,
        offset: u64,
        make: Make,
        flags: IoFlags,
    ) -> (Result<()>, B) {
        let len = buffer.as_ref().len();
        if let Err(error) = self.inner.blocks_at(offset, len as u64) {
            return (Err(error), buffer);
        }
        let buffer = Arc::new(buffer);
        let work = Work::Send { memory: buffer.clone(), len, offset, make, flags };
        let (result, work) = self.run(name, work).await;
        drop(work);
        (result, taken(buffer).await)
    }
}

/// What an Arc holds that a driver had a share of: it is gone before the driver answers; where that was dropped
/// instead, very soon.
async fn taken<B>(mut shared: Arc<B>) -> B {
    loop {
        shared = match Arc::try_unwrap(shared) {
            Ok(buffer) => return buffer,
            Err(shared) => shared,
        };
        ::tokio::task::yield_now().await;
    }
}
