//! Time and CPU time of a stretch of work.

use std::fs::read_to_string;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, getpid};

use crate::Result;
use crate::far_end::FarEnd;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) count: u64,
    pub(crate) time: Duration,
    /// CPU time of this end.
    pub(crate) cpu: Duration,
    /// What of it the kernel took.
    pub(crate) system: Duration,
    /// CPU time of the other end.
    pub(crate) far_cpu: Duration,
}

impl Sample {
    pub(crate) fn iops(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }

    /// What one command costs at this end, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count.max(1) as f64
    }

    /// What of that the kernel takes, in microseconds.
    pub(crate) fn system_us(&self) -> f64 {
        self.system.min(self.cpu).as_secs_f64() * 1e6 / self.count.max(1) as f64
    }

    /// What one command costs at the other end, in microseconds.
    pub(crate) fn far_cpu_us(&self) -> f64 {
        self.far_cpu.as_secs_f64() * 1e6 / self.count.max(1) as f64
    }
}

/// TCP's congestion control of what is measured: the one that was asked for, or the system's.
pub(crate) fn congestion_control(wanted: Option<&str>) -> String {
    let system = || read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    wanted.map_or_else(
        || system().map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned()),
        str::to_owned,
    )
}

/// Keeps this thread, and those it starts, on one CPU, where there is more than one.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    let mut set = CpuSet::new();
    set.set(cpu % cpus)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}

/// A stretch of work that has begun.
#[derive(Debug)]
pub(crate) struct Stretch<'a> {
    far: &'a FarEnd,
    start: Instant,
    cpu: Duration,
    system: Duration,
    far_cpu: Duration,
}

impl<'a> Stretch<'a> {
    pub(crate) fn begin(far: &'a FarEnd) -> Result<Self> {
        Ok(Self {
            far,
            cpu: cpu_time(getpid())?,
            system: system_time()?,
            far_cpu: far.cpu_time()?,
            start: Instant::now(),
        })
    }

    /// It ends, with so many commands done.
    pub(crate) fn end(self, count: u64) -> Result<Sample> {
        let time = self.start.elapsed();
        let cpu = cpu_time(getpid())?.saturating_sub(self.cpu);
        let system = system_time()?.saturating_sub(self.system);
        Ok(Sample { count, time, cpu, system, far_cpu: self.far.cpu_time()?.saturating_sub(self.far_cpu) })
    }
}

/// Calls `step`, which says how many commands it completed at `far`, until `time` is over.
pub(crate) fn sample(far: &FarEnd, time: Duration, mut step: impl FnMut() -> Result<u64>) -> Result<Sample> {
    let warm = Instant::now() + warm_up(time);
    while Instant::now() < warm {
        step()?;
    }
    let stretch = Stretch::begin(far)?;
    let mut count = 0;
    while stretch.start.elapsed() < time {
        for _ in 0..16 {
            count += step()?;
        }
    }
    stretch.end(count)
}

/// What the caches and the buffers need at first is not counted.
pub(crate) fn warm_up(time: Duration) -> Duration {
    time / 10
}

/// What the kernel has used so far for all threads of this process.
fn system_time() -> nix::Result<Duration> {
    let time = getrusage(UsageWho::RUSAGE_SELF)?.system_time();
    Ok(Duration::from_micros(time.num_microseconds().try_into().unwrap_or(0)))
}

/// What all threads of a process have used so far.
pub(crate) fn cpu_time(process: Pid) -> nix::Result<Duration> {
    Ok(clock_gettime(clock_getcpuclockid(process)?)?.into())
}
