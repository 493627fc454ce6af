//! The I/O queues of a controller, each with its driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ::tokio::sync::{mpsc, oneshot};

use super::driver::{Driver, Message};
use super::work::{Done, Job};
use crate::error::{Error, ErrorKind, Result};
use crate::generations::Generations;
use crate::queue::Queue;

/// Hands jobs to the drivers.
#[derive(Debug)]
pub(super) struct Lanes {
    generations: Arc<Generations>,
    drivers: Vec<mpsc::UnboundedSender<Message>>,
    next_driver: AtomicUsize,
    next_job: AtomicU64,
}

impl Lanes {
    /// Starts a driver for each queue.
    pub(super) fn start(generations: &Arc<Generations>, queues: Vec<Queue>) -> Result<Self> {
        let mut drivers = Vec::new();
        for queue in queues {
            // No bound of its own: every sender waits for what it sent.
            let (sender, mail) = mpsc::unbounded_channel();
            let driver = Driver::new(queue, mail)?;
            ::tokio::spawn(driver.run());
            drivers.push(sender);
        }
        let generations = generations.clone();
        Ok(Self { generations, drivers, next_driver: AtomicUsize::new(0), next_job: AtomicU64::new(0) })
    }

    pub(super) fn generations(&self) -> &Arc<Generations> {
        &self.generations
    }

    /// Has every driver see whether its association is still the present one.
    pub(super) fn look(&self) {
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
