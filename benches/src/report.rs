//! The table.

use serde::Serialize;

use crate::Result;
use crate::cell::{Cell, Mode};
use crate::measure::Sample;

/// One row: medians over the rounds.
#[derive(Debug, Serialize)]
struct Row {
    cell: String,
    mode: &'static str,
    iops: f64,
    mib_s: f64,
    cpu_us_per_io: f64,
    /// What of that is this process's own work, and what the kernel's.
    user_us_per_io: f64,
    system_us_per_io: f64,
    /// The same as `cpu_us_per_io` at the target.
    target_cpu_us_per_io: f64,
    /// Commands a second as a part of the bare loop's in the same round.
    raw_ratio: f64,
    /// The same beside a bare loop that moves about in as much memory, and seals and opens where the mode does.
    same_memory_ratio: f64,
    /// (most - least) / median of the commands a second.
    spread: f64,
    #[serde(skip)]
    quoted_in_iops: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Table {
    /// TCP's, of what was measured; of a target that ran already, of this end's connections.
    congestion_control: String,
    cells: Vec<Row>,
}

impl Table {
    pub(crate) fn new(congestion_control: String) -> Self {
        Self { congestion_control, cells: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        cell: &Cell,
        mode: Mode,
        samples: &[Sample],
        raw: &[Sample],
        same_memory: &[Sample],
    ) {
        let iops: Vec<f64> = samples.iter().map(Sample::iops).collect();
        let ratio = |raw: &[Sample]| {
            median(&samples.iter().zip(raw).map(|(s, raw)| s.iops() / raw.iops()).collect::<Vec<_>>())
        };
        let cpu: Vec<f64> = samples.iter().map(Sample::cpu_us).collect();
        let system: Vec<f64> = samples.iter().map(Sample::system_us).collect();
        let far_cpu: Vec<f64> = samples.iter().map(Sample::far_cpu_us).collect();
        let middle = median(&iops);
        let most = iops.iter().copied().fold(0.0, f64::max);
        let least = iops.iter().copied().fold(f64::INFINITY, f64::min);
        self.cells.push(Row {
            cell: cell.name.clone(),
            mode: mode.name(),
            iops: middle,
            mib_s: middle * f64::from(cell.size) / f64::from(1 << 20),
            cpu_us_per_io: median(&cpu),
            user_us_per_io: median(&cpu) - median(&system),
            system_us_per_io: median(&system),
            target_cpu_us_per_io: median(&far_cpu),
            raw_ratio: ratio(raw),
            same_memory_ratio: ratio(same_memory),
            spread: (most - least) / middle,
            quoted_in_iops: cell.iops,
        });
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text =
            "| cell | mode | rate | CPU per I/O | user + system | target's | of the bare loop | over the same memory | spread |\n|---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for row in &self.cells {
            let rate = match row.quoted_in_iops {
                true => format!("{:.1} k IOPS", row.iops / 1e3),
                false => format!("{:.0} MiB/s", row.mib_s),
            };
            text += &format!(
                "| {} | {} | {rate} | {:.2} us | {:.2} + {:.2} | {:.2} us | {:.2} | {:.2} | {:.0} % |\n",
                row.cell,
                row.mode,
                row.cpu_us_per_io,
                row.user_us_per_io,
                row.system_us_per_io,
                row.target_cpu_us_per_io,
                row.raw_ratio,
                row.same_memory_ratio,
                row.spread * 100.0
            );
        }
        text + &format!("\nTCP congestion control: {}\n", self.congestion_control)
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
