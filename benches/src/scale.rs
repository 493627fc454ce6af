//! How cost grows as work grows: the CPU time of a command with more queues, more depth, more connections, beside the bare
//! loop's over the same range. One thread waits for all connections of an end by epoll(7); the other end has a thread
//! for each.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nvme_tcp::{Controller, Namespace, Queue, QueueCompletion};
use serde::Serialize;

use crate::Result;
use crate::cell::{Cell, Mode, Offsets};
use crate::far_end::FarEnd;
use crate::measure::{self, Sample};
use crate::report::median;
use crate::{nvme, raw};

/// What grows.
struct Range {
    name: &'static str,
    values: &'static [usize],
    load: fn(usize) -> Load,
}

/// So many queues of one controller after the other, each with so many 4 KiB random reads in flight.
#[derive(Clone, Copy)]
struct Load {
    queues: usize,
    depth: usize,
}

const RANGES: [Range; 3] = [
    Range {
        name: "queues of one controller, 4 in flight each",
        values: &[1, 4, 16, 64],
        load: |n| Load { queues: n, depth: 4 },
    },
    Range {
        name: "in flight on one queue",
        values: &[1, 4, 16, 64, 256, 1024],
        load: |n| Load { queues: 1, depth: n },
    },
    Range {
        name: "connections, 1 in flight each",
        values: &[1, 10, 100, 1000],
        load: |n| Load { queues: n, depth: 1 },
    },
];

/// The most queues of one controller.
const QUEUES: usize = 64;

/// One line: medians over the rounds.
#[derive(Debug, Serialize)]
struct Row {
    range: &'static str,
    value: usize,
    cpu_us_per_io: f64,
    raw_cpu_us_per_io: f64,
    target_cpu_us_per_io: f64,
    raw_far_cpu_us_per_io: f64,
    /// How the cost has grown since the range's first line, as a part of how the bare loop's has in the same round: the
    /// median of the rounds.
    growth: f64,
    target_growth: f64,
}

/// One connection of either kind.
trait Member: AsFd {
    /// It is readable: takes what came, and asks for as much again; how many commands were done.
    fn step(&mut self) -> Result<u64>;
}

struct Driven<'a> {
    queue: Queue,
    namespace: &'a Namespace,
    cell: &'a Cell,
    offsets: Offsets,
    done: Vec<QueueCompletion>,
}

impl AsFd for Driven<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl Member for Driven<'_> {
    fn step(&mut self) -> Result<u64> {
        self.queue.poll(&mut self.done, Duration::ZERO)?;
        let count = self.done.len() as u64;
        for completion in self.done.drain(..) {
            completion.result?;
            let buffer = completion.buffer.unwrap_or_default();
            nvme::submit(&mut self.queue, self.namespace, self.cell, buffer, &mut self.offsets)?;
        }
        self.queue.send()?;
        Ok(count)
    }
}

struct Bare<'a> {
    requester: raw::Requester,
    buffer: &'a RefCell<raw::Buffer>,
}

impl AsFd for Bare<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.requester.as_fd()
    }
}

impl Member for Bare<'_> {
    fn step(&mut self) -> Result<u64> {
        self.requester.step(&mut self.buffer.borrow_mut())
    }
}

/// Steps those that are readable.
fn turn<M: Member>(far: &FarEnd, members: &mut [M], time: Duration) -> Result<Sample> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (number, member) in members.iter().enumerate() {
        epoll.add(member.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
    }
    let mut events = [EpollEvent::empty(); 64];
    measure::sample(far, time, || {
        let ready = epoll.wait(&mut events, EpollTimeout::from(5000_u16))?;
        let mut count = 0;
        for event in &events[..ready] {
            if let Some(member) = members.get_mut(event.data() as usize) {
                count += member.step()?;
            }
        }
        Ok(count)
    })
}

fn ours(far: &FarEnd, cell: &Cell, load: Load, time: Duration) -> Result<Sample> {
    let mut controllers: Vec<(Controller, usize)> = Vec::new();
    let mut left = load.queues;
    while left > 0 {
        let queues = left.min(QUEUES);
        let options = nvme::options(far, Mode::Plain)?.io_queues(0).owned_queues(queues as u16);
        controllers.push((options.queue_size(load.depth as u32 + 1).connect()?, queues));
        left -= queues;
    }
    let namespaces: Result<Vec<Namespace>> =
        controllers.iter().map(|(controller, _)| Ok(controller.namespace(1)?)).collect();
    let namespaces = namespaces?;
    let mut offsets = Offsets::new(cell);
    let mut members = Vec::new();
    for ((controller, queues), namespace) in controllers.iter().zip(&namespaces) {
        for _ in 0..*queues {
            let (queue, offsets) = (controller.queue()?, offsets.split());
            let mut member = Driven { queue, namespace, cell, offsets, done: Vec::with_capacity(load.depth) };
            for _ in 0..load.depth {
                let buffer = vec![0; cell.size as usize];
                nvme::submit(&mut member.queue, namespace, cell, buffer, &mut member.offsets)?;
            }
            member.queue.send()?;
            members.push(member);
        }
    }
    let sample = turn(far, &mut members, time);
    drop(members);
    for (controller, _) in controllers {
        controller.shutdown();
    }
    sample
}

fn bare(far: &FarEnd, cell: &Cell, load: Load, time: Duration) -> Result<Sample> {
    let kind = raw::Kind::like(Mode::Plain);
    let all = Cell { depth: cell.depth * load.queues, ..cell.clone() };
    let buffer = RefCell::new(raw::buffer(&all, kind));
    let start = |_| Ok(Bare { requester: raw::Requester::start(far, cell, kind)?, buffer: &buffer });
    let mut members = (0..load.queues).map(start).collect::<Result<Vec<_>>>()?;
    turn(far, &mut members, time)
}

/// Measures all ranges, and gives the table as Markdown and as JSON.
pub(crate) fn run(rounds: usize, time: Duration) -> Result<(String, String)> {
    let (target, raw_end) = (FarEnd::start(Mode::Plain.name(), None)?, FarEnd::start("raw", None)?);
    nvme::fill(&target, Mode::Plain)?;
    measure::pin(1)?;
    let mut rows: Vec<Row> = Vec::new();
    for range in &RANGES {
        // By value, then by round: these machines drift, so that only what was measured in one round is compared.
        let mut pairs: Vec<Vec<[Sample; 2]>> = vec![Vec::new(); range.values.len()];
        for _ in 0..rounds {
            for (&value, pairs) in range.values.iter().zip(&mut pairs) {
                let load = (range.load)(value);
                let cell: Cell = format!("4k_rr_q{}", load.depth).parse()?;
                pairs.push([ours(&target, &cell, load, time)?, bare(&raw_end, &cell, load, time)?]);
            }
        }
        for (&value, pairs_of_value) in range.values.iter().zip(&pairs) {
            let middle = |which: usize, cost: fn(&Sample) -> f64| {
                median(&pairs_of_value.iter().map(|pair| cost(&pair[which])).collect::<Vec<_>>())
            };
            let growth = |cost: fn(&Sample) -> f64| {
                let beside = |[ours, bare]: &[Sample; 2]| cost(ours) / cost(bare);
                let rounds = pairs_of_value.iter().zip(&pairs[0]);
                median(&rounds.map(|(now, first)| beside(now) / beside(first)).collect::<Vec<_>>())
            };
            rows.push(Row {
                range: range.name,
                value,
                cpu_us_per_io: middle(0, Sample::cpu_us),
                raw_cpu_us_per_io: middle(1, Sample::cpu_us),
                target_cpu_us_per_io: middle(0, Sample::far_cpu_us),
                raw_far_cpu_us_per_io: middle(1, Sample::far_cpu_us),
                growth: growth(Sample::cpu_us),
                target_growth: growth(Sample::far_cpu_us),
            });
        }
        eprintln!("{} done", range.name);
    }
    Ok((markdown(&rows), serde_json::to_string_pretty(&rows)?))
}

fn markdown(rows: &[Row]) -> String {
    let mut text = "| range | | CPU per I/O | bare loop's | growth beside it | target's | bare loop's | growth beside it |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        text += &format!(
            "| {} | {} | {:.2} us | {:.2} us | {:.2} | {:.2} us | {:.2} us | {:.2} |\n",
            row.range,
            row.value,
            row.cpu_us_per_io,
            row.raw_cpu_us_per_io,
            row.growth,
            row.target_cpu_us_per_io,
            row.raw_far_cpu_us_per_io,
            row.target_growth
        );
    }
    text
}
