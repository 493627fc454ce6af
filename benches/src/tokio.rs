//! The initiator by futures, all on one thread.

use std::time::Duration;

use nvme_tcp::tokio::Controller;
use tokio::task::JoinSet;

use crate::Result;
use crate::cell::{Cell, Mode, Offsets};
use crate::far_end::FarEnd;
use crate::measure::{self, Sample};
use crate::nvme::options;

/// Runs a cell.
pub(crate) fn run(far: &FarEnd, cell: &Cell, time: Duration) -> Result<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let controller = runtime.block_on(Controller::connect(options(&far.address, Mode::Tokio)?))?;
    let namespace = runtime.block_on(controller.namespace(1))?;
    let mut offsets = Offsets::new(cell);
    let mut tasks = JoinSet::new();
    let submit = |tasks: &mut JoinSet<_>, buffer: Vec<u8>, offset| {
        let (namespace, write) = (namespace.clone(), cell.write);
        tasks.spawn_on(
            async move {
                match write {
                    true => namespace.write_at(buffer, offset).await,
                    false => namespace.read_at(buffer, offset).await,
                }
            },
            runtime.handle(),
        );
    };
    for _ in 0..cell.depth {
        submit(&mut tasks, vec![0x5a; cell.size as usize], offsets.next());
    }
    let sample = measure::sample(far, time, || {
        let Some(done) = runtime.block_on(tasks.join_next()) else { return Ok(0) };
        let mut done = Some(done);
        let mut count = 0;
        while let Some(finished) = done {
            let (result, buffer) = finished?;
            result?;
            count += 1;
            submit(&mut tasks, buffer, offsets.next());
            done = tasks.try_join_next();
        }
        Ok(count)
    })?;
    runtime.block_on(async {
        while tasks.join_next().await.is_some() {}
        controller.shutdown().await;
    });
    Ok(sample)
}
