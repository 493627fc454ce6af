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

/// How the connection protects its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Plain,
    Digest,
    Tls,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Digest, Self::Tls];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Digest => "digest",
            Self::Tls => "tls",
        }
    }
}
