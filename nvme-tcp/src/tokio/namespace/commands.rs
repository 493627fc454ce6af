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
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// let (result, _) = namespace.write_at(vec![7; 4096], 0).await;
    /// result?;
    /// // It holds for writes that were done before; one that is still awaited is not covered.
    /// namespace.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::flush`].
    pub async fn flush(&self) -> Result<()> {
        self.commands("Flush", self.inner.plan_flush().map(bare)).await
    }

    /// Makes `len` bytes at `offset` read as zeros, by Write Zeroes; by writing zeros where the controller has
    /// no such command.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// // The first and the last mebibyte, where a partition table and its copy stand.
    /// namespace.write_zeroes(0, 1 << 20).await?;
    /// namespace.write_zeroes(namespace.size() - (1 << 20), 1 << 20).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.write_zeroes_with(offset, len, IoFlags::empty()).await
    }

    /// As [`write_zeroes`](Self::write_zeroes); with [`IoFlags::DEALLOCATE`] the controller may deallocate the blocks
    /// as well, if they read as zeros then.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::nvm::IoFlags;
    ///
    /// // A whole volume, thin afterwards where the controller can.
    /// namespace.write_zeroes_with(0, namespace.size(), IoFlags::DEALLOCATE).await?;
    /// # Ok(())
    /// # }
    /// ```
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
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// namespace.deallocate(0, 1 << 30).await?;
    /// // What they read as from now on is the controller's to choose, but for one that says this.
    /// println!("as zeros: {}", namespace.info().deallocated_reads_zero);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn deallocate(&self, offset: u64, len: u64) -> Result<()> {
        self.deallocate_ranges(&[ByteRange { offset, len }]).await
    }

    /// As [`deallocate`](Self::deallocate), for several ranges in as few commands as the controller allows.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::ByteRange;
    ///
    /// let freed = [ByteRange { offset: 0, len: 1 << 20 }, ByteRange { offset: 1 << 30, len: 1 << 20 }];
    /// namespace.deallocate_ranges(&freed).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub async fn deallocate_ranges(&self, ranges: &[ByteRange]) -> Result<()> {
        self.dataset_management(&DatasetRange::plain(ranges), DatasetAttributes::DEALLOCATE).await
    }

    /// Dataset Management with attributes for all ranges and for each. Does nothing where the controller has no
    /// such command.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{ByteRange, DatasetAttributes, DatasetRange};
    ///
    /// // It is going to be read from its first byte to its last.
    /// let image = DatasetRange { range: ByteRange { offset: 0, len: 1 << 30 }, attributes: 0 };
    /// namespace.dataset_management(&[image], DatasetAttributes::INTEGRAL_READ).await?;
    /// # Ok(())
    /// # }
    /// ```
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
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// // A scrub by the gibibyte, at the cost of a few capsules.
    /// for offset in (0..namespace.size()).step_by(1 << 30) {
    ///     namespace.verify(offset, (namespace.size() - offset).min(1 << 30)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::verify`].
    pub async fn verify(&self, offset: u64, len: u64) -> Result<()> {
        let plan = self.plan(move |inner| inner.plan_verify(offset, len)).await?;
        self.commands("Verify", plan.into_iter().map(bare)).await
    }

    /// Marks `len` bytes at `offset` so that reading them fails until they are written again.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// // To see what a program does about a bad block.
    /// namespace.write_uncorrectable(1 << 20, namespace.block_size().into()).await?;
    /// let (result, block) = namespace.read_at(vec![0; namespace.block_size() as usize], 1 << 20).await;
    /// assert!(result.is_err());
    /// let (mended, _) = namespace.write_at(block, 1 << 20).await;
    /// mended?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::write_uncorrectable`].
    pub async fn write_uncorrectable(&self, offset: u64, len: u64) -> Result<()> {
        let plan = self.plan(move |inner| inner.plan_uncorrectable(offset, len)).await?;
        self.commands("Write Uncorrectable", plan.into_iter().map(bare)).await
    }

    /// Registers this host's key, takes the registration back, or replaces the key.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace, key: u64) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::Register;
    ///
    /// // Whatever an earlier run of this host left behind is replaced.
    /// let register = Register { new_key: key, ignore_existing_key: true, ..Register::default() };
    /// namespace.reservation_register(&register).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Namespace::reservation_register`].
    pub async fn reservation_register(&self, register: &Register) -> Result<()> {
        self.reserve(register.command(self.id())).await
    }

    /// Takes the reservation, with [`Preempt`](crate::spec::command::reservation::AcquireAction::Preempt) from
    /// somebody else. The host must be registered.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace, key: u64) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::{command::reservation::AcquireAction, reservation::ReservationType};
    ///
    /// // Registrants read and write, everybody else gets Reservation Conflict.
    /// let (action, kind) = (AcquireAction::Acquire, ReservationType::ExclusiveAccessRegistrantsOnly);
    /// let acquire = nvme_tcp::Acquire { action, kind, current_key: key, preempt_key: 0 };
    /// namespace.reservation_acquire(&acquire).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register).
    pub async fn reservation_acquire(&self, acquire: &Acquire) -> Result<()> {
        self.reserve(acquire.command(self.id())).await
    }

    /// Gives the reservation back, or clears it and every registration.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace, key: u64) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::{Release, spec::reservation::ReservationType};
    ///
    /// let kind = Some(ReservationType::ExclusiveAccessRegistrantsOnly);
    /// // The registration stays: it goes by a Register that unregisters.
    /// namespace.reservation_release(&Release { kind, current_key: key, ..Release::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`reservation_register`](Self::reservation_register).
    pub async fn reservation_release(&self, release: &Release) -> Result<()> {
        self.reserve(release.command(self.id())).await
    }

    /// Who is registered, and who holds the reservation, with host IDs of 128 bits.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// let report = namespace.reservation_report().await?;
    /// for host in report.registrants.iter().filter(|host| host.holds) {
    ///     println!("{:?} held by {:02x?}", report.held, host.host_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
