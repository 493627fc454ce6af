//! What the Rust library does by itself, for the package's own comparison with it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::{Failure, Outcome};
use crate::namespace::Namespace;

/// Reads pieces of `size` bytes in turn by the blocking calls, on `threads` threads for `seconds`: bytes per second.
#[pyfunction]
pub(crate) fn measure(
    py: Python<'_>,
    namespace: &Namespace,
    size: usize,
    threads: usize,
    seconds: f64,
) -> PyResult<f64> {
    let time = Duration::try_from_secs_f64(seconds);
    let time = time.map_err(|_| Failure::argument(format!("seconds is {seconds}, expected 0 or more")))?;
    Ok(py.detach(|| run(namespace.inner(), size, threads, time))?)
}

fn run(namespace: &nvme_tcp::Namespace, size: usize, threads: usize, time: Duration) -> Outcome<f64> {
    let slots = namespace.size().checked_div(size as u64).filter(|slots| *slots > 0);
    let slots = slots.ok_or_else(|| Failure::argument("the namespace is smaller than one read"))?;
    let (bytes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let read = |first: usize| -> nvme_tcp::Result<()> {
        let mut buffer = vec![0; size];
        let mut slot = first as u64;
        while !stop.load(Ordering::Relaxed) {
            namespace.read_at(&mut buffer, slot % slots * size as u64)?;
            bytes.fetch_add(size as u64, Ordering::Relaxed);
            slot += threads as u64;
        }
        Ok(())
    };
    let read = &read;
    let begin = Instant::now();
    let results: nvme_tcp::Result<Vec<()>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || read(first))).collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        // A panic goes on to the caller.
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
            .collect()
    });
    let took = begin.elapsed();
    results?;
    Ok(bytes.load(Ordering::Relaxed) as f64 / took.as_secs_f64())
}
