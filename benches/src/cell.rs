//! What is measured.

use clap::ValueEnum;

/// A workload: one size, one direction, one queue depth.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    /// Bytes in each command.
    pub(crate) size: u32,
    pub(crate) write: bool,
    /// Commands in flight.
    pub(crate) depth: usize,
    /// Whether it is quoted in commands or in bytes a second.
    pub(crate) iops: bool,
}

/// Bytes of the namespace that the cells move about in.
pub(crate) const SPAN: u64 = 256 << 20;

/// Where each command of a cell goes: all over the namespace.
#[derive(Debug)]
pub(crate) struct Offsets {
    slots: u64,
    size: u64,
    random: u64,
}

impl Offsets {
    pub(crate) fn new(cell: &Cell) -> Self {
        Self { slots: SPAN / u64::from(cell.size), size: cell.size.into(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Others, for who goes beside.
    pub(crate) fn split(&mut self) -> Self {
        self.next();
        Self { random: self.random, ..*self }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % self.slots * self.size
    }
}

/// All of them.
pub(crate) const CELLS: [Cell; 7] = [
    Cell { name: "4k_rr_q1", size: 4096, write: false, depth: 1, iops: true },
    Cell { name: "4k_rr_q32", size: 4096, write: false, depth: 32, iops: true },
    Cell { name: "4k_rr_q128", size: 4096, write: false, depth: 128, iops: true },
    Cell { name: "4k_rw_q32", size: 4096, write: true, depth: 32, iops: true },
    Cell { name: "128k_r_q16", size: 128 << 10, write: false, depth: 16, iops: false },
    Cell { name: "128k_w_q16", size: 128 << 10, write: true, depth: 16, iops: false },
    Cell { name: "1m_r_q8", size: 1 << 20, write: false, depth: 8, iops: false },
];

/// How the connection protects its bytes, or who moves them. Without a word on it, that is a
/// [`Queue`](nvme_tcp::Queue) in plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Plain,
    Digest,
    Tls,
    /// Sending and waiting in one system call.
    Uring,
    /// Futures on one thread.
    Tokio,
    /// The functions of the C library.
    C,
}

impl Mode {
    pub(crate) const ALL: [Self; 6] =
        [Self::Plain, Self::Digest, Self::Tls, Self::Uring, Self::Tokio, Self::C];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Digest => "digest",
            Self::Tls => "tls",
            Self::Uring => "uring",
            Self::Tokio => "tokio",
            Self::C => "c",
        }
    }
}
