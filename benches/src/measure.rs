//! Time and CPU time of a stretch of work.

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;

use crate::Result;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) count: u64,
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
}

impl Sample {
    pub(crate) fn iops(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count.max(1) as f64
    }
}

/// Keeps this thread, and those it starts, on one CPU, where there is more than one.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    let mut set = CpuSet::new();
    set.set(cpu % cpus)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}

/// Calls `step`, which says how many commands it completed, until `time` is over.
pub(crate) fn sample(time: Duration, mut step: impl FnMut() -> Result<u64>) -> Result<Sample> {
    // What the caches and the buffers need is not counted.
    let warm = Instant::now() + time / 10;
    while Instant::now() < warm {
        step()?;
    }
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let mut count = 0;
    while start.elapsed() < time {
        for _ in 0..16 {
            count += step()?;
        }
    }
    Ok(Sample { count, time: start.elapsed(), cpu: cpu_time()?.saturating_sub(cpu) })
}

fn cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().max(0) as u64, time.tv_usec().max(0) as u32 * 1000)
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}
