//! End to end: the initiator against the embedded target, beside a bare loop that moves the same bytes.
//!
//! The other end runs in a process of its own on CPU 0, the measured end on CPU 1. Every cell is run in turn
//! with each mode and with the bare loop, several times over, since such figures mean little but as ratios
//! taken in one run.

mod c;
mod cell;
mod far_end;
mod measure;
mod nvme;
mod raw;
mod report;
mod scale;
mod sealed;
mod tokio;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::cell::{CELLS, Cell, Mode};
use crate::far_end::{Elsewhere, FarEnd};
use crate::measure::Sample;
use crate::raw::Kind;

/// Measures the initiator against the embedded target and a bare loop
#[derive(Debug, Parser)]
struct Args {
    /// Under two minutes in all
    #[arg(long)]
    quick: bool,
    /// These cells instead of the table's: 4k_rr_q32 and the like, of any size and depth
    #[arg(long = "cell", value_name = "NAME")]
    cells: Vec<Cell>,
    /// Only these modes
    #[arg(long = "mode", value_name = "MODE")]
    modes: Vec<Mode>,
    /// How cost grows with queues, depth and connections, instead of the table
    #[arg(long, conflicts_with_all = ["cells", "modes", "target"])]
    scale: bool,
    /// TCP congestion control of all connections, the bare loop's too, instead of the system's; with --target this end's
    #[arg(long, value_name = "NAME", conflicts_with = "scale")]
    congestion_control: Option<String>,
    /// Also write the result there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// The other end of a measurement; started by the program itself
    #[arg(long, hide = true)]
    far_end: Option<String>,
}

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.far_end {
        Some(what) => far_end::serve(what, args.congestion_control.as_deref()),
        None => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end-to-end: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let (rounds, time) =
        if args.quick { (3, Duration::from_millis(320)) } else { (5, Duration::from_secs(3)) };
    if args.scale {
        let (markdown, json) = scale::run(rounds, time)?;
        print!("{markdown}");
        return match &args.json {
            Some(path) => Ok(std::fs::write(path, json)?),
            None => Ok(()),
        };
    }
    let modes: Vec<Mode> = if args.modes.is_empty() { Mode::ALL.to_vec() } else { args.modes.clone() };
    let cells = match &args.cells[..] {
        [] => CELLS.into_iter().map(str::parse).collect::<Result<_, _>>()?,
        chosen => chosen.to_vec(),
    };
    let congestion_control = args.congestion_control.as_deref();
    let raw_end = FarEnd::start("raw", congestion_control)?;
    let end = |mode: &Mode| match &args.elsewhere.target {
        Some(address) => FarEnd::elsewhere(address, &args.elsewhere, congestion_control),
        None => FarEnd::start(mode.name(), congestion_control),
    };
    let ends = modes.iter().map(|mode| Ok((*mode, end(mode)?)));
    let ends = ends.collect::<Result<Vec<_>>>()?;
    for (mode, end) in &ends {
        nvme::fill(end, *mode)?;
    }
    measure::pin(1)?;
    let mut table = report::Table::new(measure::congestion_control(congestion_control));
    for cell in &cells {
        let mut loops: Vec<(Kind, Vec<Sample>)> = Vec::new();
        for kind in modes.iter().flat_map(|mode| [Kind::least(*mode), Kind::like(*mode)]) {
            if loops.iter().all(|(other, _)| *other != kind) {
                loops.push((kind, Vec::new()));
            }
        }
        let mut samples: Vec<(Mode, Vec<Sample>)> = modes.iter().map(|mode| (*mode, Vec::new())).collect();
        for _ in 0..rounds {
            for (kind, into) in &mut loops {
                into.push(raw::run(&raw_end, cell, *kind, time)?);
            }
            for ((mode, end), (_, into)) in ends.iter().zip(&mut samples) {
                into.push(match mode {
                    Mode::Tokio => tokio::run(end, cell, time)?,
                    Mode::C => c::run(end, cell, time)?,
                    _ => nvme::run(end, *mode, cell, time)?,
                });
            }
        }
        let of =
            |wanted| loops.iter().find(|(kind, _)| *kind == wanted).map_or(&[][..], |(_, samples)| samples);
        for (mode, samples) in &samples {
            table.add(cell, *mode, samples, of(Kind::least(*mode)), of(Kind::like(*mode)));
        }
        eprintln!("{} done", cell.name);
    }
    print!("{}", table.markdown());
    if let Some(path) = &args.json {
        std::fs::write(path, table.json()?)?;
    }
    Ok(())
}
