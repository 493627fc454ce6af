//! The I/O queues of a controller, each with its driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ::tokio::sync::{OnceCell, mpsc, oneshot};

use super::blocking;
use super::driver::{Driver, Message};
use super::work::{Done, Job};
use crate::association::Association;
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::queue::Queue;

/// The queues of every path to a namespace; of the one controller, where there is one.
#[derive(Debug)]
pub(super) struct Paths(Box<[Path]>);

#[derive(Debug)]
struct Path {
    /// I/O queues that are wanted.
    queues: u16,
    /// Opened when the path is first taken, since it may come up late.
    lanes: OnceCell<Lanes>,
}

impl Paths {
    /// Paths with so many queues wanted for each.
    pub(super) fn new(queues: impl IntoIterator<Item = u16>) -> Arc<Self> {
        let path = |queues| Path { queues, lanes: OnceCell::new() };
        Arc::new(Self(queues.into_iter().map(path).collect()))
    }

    /// The queues of a path, whose associations are `generations`. An error comes with the association that it is
    /// about.
    pub(super) async fn lanes(
        &self,
        path: usize,
        generations: &Arc<Generations>,
    ) -> Result<&Lanes, (Arc<Association>, Error)> {
        let Some(Path { queues, lanes }) = self.0.get(path) else {
            return Err((generations.current(), Error::invalid("there is no such path")));
        };
        let open = || async {
            let association = generations.current();
            let granted = association.traits.io_queues.min(*queues);
            let all = generations.clone();
            let opened = blocking(move || (0..granted).map(|_| Queue::open(all.clone())).collect()).await;
            opened.and_then(Lanes::start).map_err(|error| {
                generations.takes_no_connection(&association, &error);
                (association, error)
            })
        };
        lanes.get_or_try_init(open).await
    }

    /// Has every driver see whether its association is still there, and the present one.
    pub(super) fn look(&self) {
        self.0.iter().filter_map(|path| path.lanes.get()).for_each(Lanes::look);
    }
}

/// Hands jobs to the drivers.
#[derive(Debug)]
pub(super) struct Lanes {
    drivers: Vec<mpsc::UnboundedSender<Message>>,
    next_driver: AtomicUsize,
    next_job: AtomicU64,
}

impl Lanes {
    /// Starts a driver for each queue.
    fn start(queues: Vec<Queue>) -> Result<Self> {
        let mut drivers = Vec::new();
        for queue in queues {
            // No bound of its own: every sender waits for what it sent.
            let (sender, mail) = mpsc::unbounded_channel();
            let driver = Driver::new(queue, mail)?;
            ::tokio::spawn(driver.run());
            drivers.push(sender);
        }
        Ok(Self { drivers, next_driver: AtomicUsize::new(0), next_job: AtomicU64::new(0) })
    }

    fn look(&self) {
        for driver in &self.drivers {
            // One that has ended sees nothing.
            drop(driver.send(Message::Look));
        }
    }

    /// Hands `job` to a driver, each in its turn, and waits for what becomes of it. Giving this up gives the job up.
    pub(super) async fn run(&self, job: Job) -> Result<Done> {
        let turn = self.next_driver.fetch_add(1, Ordering::Relaxed);
        let count = self.drivers.len().max(1);
        let driver = self.drivers.get(turn % count);
        let driver =
            driver.ok_or_else(|| Error::invalid("the controller was connected without I/O queues"))?;
        let id = self.next_job.fetch_add(1, Ordering::Relaxed);
        let (reply, done) = oneshot::channel();
        let ended = || Error::from(ErrorKind::ShutDown);
        driver.send(Message::Begin { id, job: Box::new(job), reply }).map_err(|_| ended())?;
        let waiting = Waiting { driver: Some(driver), id };
        let done = done.await;
        waiting.over();
        done.map_err(|_| ended())
    }
}

/// A future that waits for a job.
struct Waiting<'a> {
    driver: Option<&'a mpsc::UnboundedSender<Message>>,
    id: u64,
}

impl Waiting<'_> {
    fn over(mut self) {
        self.driver = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(driver) = self.driver {
            // A driver that has ended has given it up already.
            drop(driver.send(Message::GiveUp(self.id)));
        }
    }
}
