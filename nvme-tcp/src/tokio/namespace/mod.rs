//! A namespace whose calls are futures.

mod commands;
mod io;

use std::sync::Arc;

use super::lanes::Paths;
use super::work::{Done, Job, Work};
use crate::driver::transport::TransportError;
use crate::error::{ErrorKind, Result};
use crate::namespace::NamespaceInfo;
use crate::spec::command::Sqe;

/// A namespace of a controller, or of a [subsystem](super::Subsystem) with several. It may be shared between tasks, and
/// goes on with the controller's next association when one takes over.
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
    paths: Arc<Paths>,
}

impl Namespace {
    pub(super) fn new(inner: crate::Namespace, paths: Arc<Paths>) -> Self {
        Self { inner, paths }
    }

    /// What is known of it. The I/O queues are the tasks': its calls that do I/O fail, but for those of a controller
    /// that has queues left.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::tokio::Namespace) {
    /// // For what is planned without I/O, by code that both kinds of namespace share.
    /// fn blocks(namespace: &nvme_tcp::Namespace) -> u64 {
    ///     namespace.size() / u64::from(namespace.block_size())
    /// }
    /// println!("{}", blocks(namespace.blocking()));
    /// # }
    /// ```
    pub fn blocking(&self) -> &crate::Namespace {
        &self.inner
    }

    /// NSID.
    ///
    /// ```no_run
    /// # async fn example(controller: &nvme_tcp::tokio::Controller) -> nvme_tcp::Result<()> {
    /// // NSID 0 and FFFFFFFFh are no namespaces of their own.
    /// assert_eq!(controller.namespace(1).await?.id(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// The size of a block in bytes, a power of two from 512 to 65,536.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// // The smallest thing to read.
    /// let (result, first) = namespace.read_at(vec![0; namespace.block_size() as usize], 0).await;
    /// result?;
    /// println!("{first:02x?}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn block_size(&self) -> u32 {
        self.inner.block_size()
    }

    /// The size of the namespace in bytes.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace, image: Vec<u8>) -> nvme_tcp::Result<()> {
    /// // As it was when it was opened: one that grew meanwhile is to be opened anew.
    /// if image.len() as u64 <= namespace.size() {
    ///     namespace.write_at(image, 0).await.0?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn size(&self) -> u64 {
        self.inner.size()
    }

    /// Whether it is write protected.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::tokio::Namespace) {
    /// // By NSATTR, as a snapshot or a namespace that was switched over by Set Features has it.
    /// if namespace.is_read_only() {
    ///     eprintln!("namespace {} takes no writes", namespace.id());
    /// }
    /// # }
    /// ```
    pub fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    /// What else Identify says of it.
    ///
    /// ```no_run
    /// # fn example(namespace: &nvme_tcp::tokio::Namespace) {
    /// let info = namespace.info();
    /// println!("NGUID {:02x?}", info.nguid);
    /// println!("write {} bytes at a time, aligned to {}", info.optimal_write, info.preferred_write_alignment);
    /// # }
    /// ```
    pub fn info(&self) -> &NamespaceInfo {
        self.inner.info()
    }

    /// The most data that one command moves, in bytes: MDTS, in whole blocks.
    ///
    /// ```no_run
    /// # async fn example(namespace: &nvme_tcp::tokio::Namespace) -> nvme_tcp::Result<()> {
    /// // As much as one command reads; what is longer is split.
    /// let (result, piece) = namespace.read_at(vec![0; namespace.max_transfer()], 0).await;
    /// result?;
    /// println!("{} bytes by one command", piece.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_transfer(&self) -> usize {
        self.inner.max_transfer()
    }

    async fn commands(
        &self,
        name: &'static str,
        commands: impl IntoIterator<Item = (Sqe, Vec<u8>)>,
    ) -> Result<()> {
        let work = Work::Commands(commands.into_iter().collect());
        self.run(name, work).await.0
    }

    /// Does `work` by one path, on one association, and not again.
    async fn run_once(&self, name: &'static str, work: Work) -> Result<()> {
        let mut way = self.inner.route.chosen().await?;
        let lanes = self.paths.lanes(way.path(), &way.generations).await.map_err(|(_, error)| error)?;
        let done = lanes.run(Job::new(self.inner.clone(), name, work)).await?;
        match done.error {
            Some(error) => Err(error),
            None if done.job.left.is_empty() => {
                way.succeeded();
                Ok(())
            }
            // The association was replaced before it was begun.
            None => Err(ErrorKind::Lost(TransportError::Closed).into()),
        }
    }

    /// Does all of `work`, by as many paths and on as many associations as that takes; the memory comes back unless
    /// its driver is gone.
    async fn run(&self, name: &'static str, work: Work) -> (Result<()>, Option<Work>) {
        let mut job = Job::new(self.inner.clone(), name, work);
        let mut tries = 0;
        while !job.left.is_empty() {
            // One turn of the way for each go, as the choice of paths counts.
            let mut way = match self.inner.route.chosen().await {
                Ok(way) => way,
                Err(error) => return (Err(error), Some(job.work)),
            };
            let done = match self.paths.lanes(way.path(), &way.generations).await {
                Ok(lanes) => lanes.run(job).await,
                Err((association, error)) => Ok(Done::nothing(job, error, association)),
            };
            let Done { job: same, progress, error, unknown, association } = match done {
                Ok(done) => done,
                Err(error) => return (Err(error), None),
            };
            job = same;
            way.association = association;
            if progress {
                tries = 0;
            }
            let Some(error) = error else {
                way.succeeded();
                continue;
            };
            let again = match way.after_failure(name, error, unknown, tries) {
                Ok(pause) => pause.over().await,
                Err(error) => Err(error),
            };
            if let Err(error) = again {
                return (Err(error), Some(job.work));
            }
            tries += 1;
        }
        (Ok(()), Some(job.work))
    }
}

/// A command without data.
fn bare(sqe: Sqe) -> (Sqe, Vec<u8>) {
    (sqe, Vec::new())
}
