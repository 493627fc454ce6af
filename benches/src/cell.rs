//! What is measured.

use std::str::FromStr;

use clap::ValueEnum;

/// A workload: one size, one direction, one queue depth. Its name says which: `4k_rr_q32` is random reads of 4 KiB with 32
/// in flight; `rw` are random writes, `r` and `w` the same of larger pieces.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) name: String,
    /// Bytes in each command.
    pub(crate) size: u32,
    pub(crate) write: bool,
    /// Commands in flight.
    pub(crate) depth: usize,
    /// Whether it is quoted in commands or in bytes a second.
    pub(crate) iops: bool,
}

/// Those of the table.
pub(crate) const CELLS: [&str; 7] =
    ["4k_rr_q1", "4k_rr_q32", "4k_rr_q128", "4k_rw_q32", "128k_r_q16", "128k_w_q16", "1m_r_q8"];

/// The most commands in flight.
pub(crate) const MAX_DEPTH: usize = 1024;

impl FromStr for Cell {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let parsed = || {
            let (size, rest) = name.split_once('_')?;
            let (pattern, depth) = rest.split_once("_q")?;
            let (number, unit) = size.split_at(size.len().checked_sub(1)?);
            let unit: u32 = match unit {
                "k" => 1 << 10,
                "m" => 1 << 20,
                _ => return None,
            };
            let size = number.parse::<u32>().ok()?.checked_mul(unit)?;
            let (write, iops) = match pattern {
                "rr" => (false, true),
                "rw" => (true, true),
                "r" => (false, false),
                "w" => (true, false),
                _ => return None,
            };
            let depth = depth.parse().ok().filter(|depth| (1..=MAX_DEPTH).contains(depth))?;
            (size % 4096 == 0 && (4096..=1 << 20).contains(&size)).then(|| Self {
                name: name.to_owned(),
                size,
                write,
                depth,
                iops,
            })
        };
        parsed().ok_or_else(|| {
            format!("a cell is called as 4k_rr_q32: 4k to 1m, rr, rw, r or w, and 1 to {MAX_DEPTH} in flight")
        })
    }
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
        Self::over(cell.size.into())
    }

    /// In pieces of `size` bytes.
    pub(crate) fn over(size: u64) -> Self {
        Self { slots: SPAN / size, size, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Others, for who goes beside: far away in the same cycle. (One step ahead, each would go where the other has just
    /// been, and find it in the target's cache.)
    pub(crate) fn split(&mut self) -> Self {
        self.next();
        // The output function of SplitMix64: it turns neighbours into strangers, and only zero into zero.
        let mut random = self.random;
        for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb_u64)] {
            random = (random ^ random >> shift).wrapping_mul(factor);
        }
        Self { random: random ^ random >> 31, ..*self }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % self.slots * self.size
    }
}

/// How the connection protects its bytes, or who moves them. Without a word on it, that is a
/// [`Queue`](nvme_tcp::Queue) in plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Plain,
    Digest,
    Tls,
    /// Asking the socket again and again before sleeping, at both ends
    Poll,
    /// The same with TLS; only where it is asked for
    #[value(name = "tls_poll")]
    TlsPoll,
    /// Sending and waiting in one system call.
    Uring,
    /// Futures on one thread.
    Tokio,
    /// The functions of the C library.
    C,
}

impl Mode {
    /// Those of the table.
    pub(crate) const ALL: [Self; 7] =
        [Self::Plain, Self::Digest, Self::Tls, Self::Poll, Self::Uring, Self::Tokio, Self::C];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Digest => "digest",
            Self::Tls => "tls",
            Self::Poll => "poll",
            Self::TlsPoll => "tls_poll",
            Self::Uring => "uring",
            Self::Tokio => "tokio",
            Self::C => "c",
        }
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsPoll)
    }

    pub(crate) fn polls(self) -> bool {
        matches!(self, Self::Poll | Self::TlsPoll)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn those_beside_each_other_go_their_own_ways() {
        let mut first = Offsets::over(4096);
        let mut all: Vec<_> = (0..16).map(|_| first.split()).collect();
        let visited: HashSet<_> =
            all.iter_mut().flat_map(|one| (0..100).map(|_| one.next()).collect::<Vec<_>>()).collect();
        // Of 1,600 out of 65,536 some 20 come twice by chance.
        assert!(visited.len() > 1_540, "{}", visited.len());
    }
}
