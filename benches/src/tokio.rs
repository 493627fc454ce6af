//! The initiator by futures, all on one thread: as many tasks as commands in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nvme_tcp::tokio::Controller;
use tokio::task::JoinSet;

use crate::Result;
use crate::cell::{Cell, Mode, Offsets};
use crate::far_end::FarEnd;
use crate::measure::{self, Sample, Stretch};
use crate::nvme::options;

/// Runs a cell.
pub(crate) fn run(far: &FarEnd, cell: &Cell, time: Duration) -> Result<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let controller = runtime.block_on(Controller::connect(options(far, Mode::Tokio)?))?;
    let namespace = runtime.block_on(controller.namespace(1))?;
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut readers = JoinSet::new();
    let mut offsets = Offsets::new(cell);
    for _ in 0..cell.depth {
        let (namespace, write, mut buffer) = (namespace.clone(), cell.write, vec![0x5a; cell.size as usize]);
        let (done, stop, mut offsets) = (done.clone(), stop.clone(), offsets.split());
        let reader = async move {
            while !stop.load(Ordering::Relaxed) {
                let offset = offsets.next();
                let (result, back) = match write {
                    true => namespace.write_at(buffer, offset).await,
                    false => namespace.read_at(buffer, offset).await,
                };
                result?;
                buffer = back;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, nvme_tcp::Error>(())
        };
        readers.spawn_on(reader, runtime.handle());
    }
    runtime.block_on(async {
        tokio::time::sleep(measure::warm_up(time)).await;
        let (before, stretch) = (done.load(Ordering::Relaxed), Stretch::begin(far)?);
        tokio::time::sleep(time).await;
        let sample = stretch.end(done.load(Ordering::Relaxed) - before);
        stop.store(true, Ordering::Relaxed);
        while let Some(reader) = readers.join_next().await {
            reader??;
        }
        controller.shutdown().await;
        sample
    })
}
