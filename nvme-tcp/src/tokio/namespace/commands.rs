//! Commands without data, or with little of it that is not the caller's.

use zerocopy::IntoBytes;

use super::{Namespace, bare};
use crate::error::{ErrorKind, Result};
use crate::namespace::{
    Acquire, ByteRange, DatasetAttributes, DatasetRange, REPORT, Register, Release, Reporting,
    ReservationCommand,
};
use crate::spec::command::nvm::IoFlags;
use crate::spec::identify::ONCS_RESERVATIONS;
use crate::spec::reservation::ReservationStatus;
use crate::tokio::blocking;
use crate::tokio::work::Work;

impl Namespace {
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
        self.write_zeroes_with(offset, len, IoFlags::empty()).await
    }

    /// As [`write_zeroes`](Self::write_zeroes); with [`IoFlags::DEALLOCATE`] the controller may deallocate the blocks
    /// as well, if they read as zeros then.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn write_zeroes_with(&self, offset: u64, len: u64, flags: IoFlags) -> Result<()> {
        let plan = self.plan(move |inner| inner.plan_zeroes(offset, len, flags)).await?;
        if let Some(commands) = plan {
            return self.commands("Write Zeroes", commands.into_iter().map(bare)).await;
        }
        let piece = len.min(self.inner.max_transfer() as u64);
        let mut zeros = vec![0; piece as usize];
        let mut at = 0;
        while at < len {
            zeros.truncate((len - at).min(piece) as usize);
            let (result, back) = self.write_with(zeros, offset + at, flags - IoFlags::DEALLOCATE).await;
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
        self.deallocate_ranges(&[ByteRange { offset, len }]).await
    }

    /// As [`deallocate`](Self::deallocate), for several ranges in as few commands as the controller allows.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn deallocate_ranges(&self, ranges: &[ByteRange]) -> Result<()> {
        self.dataset_management(&DatasetRange::plain(ranges), DatasetAttributes::DEALLOCATE).await
    }

    /// Dataset Management with attributes for all ranges and for each. Does nothing where the controller has no
    /// such command.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn dataset_management(
        &self,
        ranges: &[DatasetRange],
        attributes: DatasetAttributes,
    ) -> Result<()> {
        let ranges = ranges.to_vec();
        let plan = self.plan(move |inner| inner.plan_dataset(&ranges, attributes)).await?;
        let commands = plan.into_iter().map(|(sqe, ranges)| (sqe, ranges.as_bytes().to_vec()));
        self.commands("Dataset Management", commands).await
    }

    /// Copies `sources`, one after the other, to `destination` on, without going over the network.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::ByteRange;
    ///
    /// namespace.copy(&[ByteRange { offset: 0, len: 1 << 20 }], 1 << 30).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::copy`].
    pub async fn copy(&self, sources: &[ByteRange], destination: u64) -> Result<()> {
        let sources = sources.to_vec();
        let plan = self.plan(move |inner| inner.plan_copy(&sources, destination)).await?;
        let commands = plan.into_iter().map(|(sqe, ranges)| (sqe, ranges.as_bytes().to_vec()));
        self.commands("Copy", commands).await
    }

    /// Has the controller read `len` bytes at `offset` and check them, without sending them.
    ///
    /// # Errors
    /// As [`crate::Namespace::verify`].
    pub async fn verify(&self, offset: u64, len: u64) -> Result<()> {
        let plan = self.plan(move |inner| inner.plan_verify(offset, len)).await?;
        self.commands("Verify", plan.into_iter().map(bare)).await
    }

    /// Marks `len` bytes at `offset` so that reading them fails until they are written again.
    ///
    /// # Errors
    /// As [`crate::Namespace::write_uncorrectable`].
    pub async fn write_uncorrectable(&self, offset: u64, len: u64) -> Result<()> {
        let plan = self.plan(move |inner| inner.plan_uncorrectable(offset, len)).await?;
        self.commands("Write Uncorrectable", plan.into_iter().map(bare)).await
    }

    /// Registers this host's key, takes the registration back, or replaces the key.
    ///
    /// # Errors
    /// As [`crate::Namespace::reservation_register`].
    pub async fn reservation_register(&self, register: &Register) -> Result<()> {
        self.reserve(register.command(self.id())).await
    }

    /// Takes the reservation, with [`Preempt`](crate::spec::command::reservation::AcquireAction::Preempt) from
    /// somebody else. The host must be registered.
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register).
    pub async fn reservation_acquire(&self, acquire: &Acquire) -> Result<()> {
        self.reserve(acquire.command(self.id())).await
    }

    /// Gives the reservation back, or clears it and every registration.
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register).
    pub async fn reservation_release(&self, release: &Release) -> Result<()> {
        self.reserve(release.command(self.id())).await
    }

    /// Who is registered, and who holds the reservation, with host IDs of 128 bits.
    ///
    /// # Errors
    /// As [`crate::Namespace::reservation_report`].
    pub async fn reservation_report(&self) -> Result<ReservationStatus> {
        let mut reporting = Reporting::new();
        loop {
            let (sqe, len) = reporting.next(&self.inner)?;
            let (result, work) = self.run(REPORT, Work::Fetch { sqe, memory: vec![0; len] }).await;
            result?;
            let Some(Work::Fetch { memory, .. }) = work else { return Err(ErrorKind::ShutDown.into()) };
            if let Some(report) = reporting.read(&memory)? {
                return Ok(report);
            }
        }
    }

    async fn reserve(&self, (name, sqe, data): ReservationCommand) -> Result<()> {
        self.inner.require(ONCS_RESERVATIONS, "reservations")?;
        self.commands(name, [(sqe, data)]).await
    }

    /// Plans commands, whose limits may have to be asked for.
    pub(super) async fn plan<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&crate::Namespace) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        blocking(move || plan(&inner)).await
    }
}
