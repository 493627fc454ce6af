//! The latest PDUs, as text for a report.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::PduEvent;

/// The latest PDUs of any number of connections. A clone is the same dump. Written out ([`Display`](fmt::Display)) it
/// is a line of text for each: seconds since the dump was made, the connection's number, `>` for what was sent and
/// `<` for what was received, the PDU and what its header says. No data, no key and no name is in it.
#[derive(Clone)]
pub struct Dump(Arc<Inner>);

struct Inner {
    begun: Instant,
    most: usize,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<(Duration, u64, PduEvent)>,
    gone: u64,
}

impl Dump {
    /// Keeps the latest `most` PDUs, about 50 bytes of memory each.
    ///
    /// ```
    /// use nvme_tcp::trace::Dump;
    ///
    /// // Half a megabyte at most, however long it runs.
    /// let dump = Dump::new(10_000);
    /// assert!(dump.to_string().ends_with("PDU headers: 0 of 0\n"));
    /// ```
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { begun: Instant::now(), most: most.max(1), lines: Mutex::default() }))
    }

    /// The PDUs that it has, the oldest first, each with the number of its connection.
    ///
    /// ```no_run
    /// # fn example(dump: &nvme_tcp::trace::Dump) {
    /// use nvme_tcp::spec::pdu::PduType;
    ///
    /// // Did a target end a connection, and of which of them?
    /// for (connection, event) in dump.events() {
    ///     if event.kind() == Some(PduType::C2hTermReq) {
    ///         println!("connection {connection}: {event}");
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Vec<(u64, PduEvent)> {
        self.lines().kept.iter().map(|(_, connection, event)| (*connection, *event)).collect()
    }

    pub(super) fn add(&self, connection: u64, event: PduEvent) {
        let mut lines = self.lines();
        if lines.kept.len() >= self.0.most {
            lines.kept.pop_front();
            lines.gone += 1;
        }
        lines.kept.push_back((self.0.begun.elapsed(), connection, event));
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump").field("kept", &self.lines().kept.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Formatted without the lock, which connections wait for.
        let (kept, gone) = {
            let lines = self.lines();
            (lines.kept.clone(), lines.gone)
        };
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "# nvme-tcp {version}, PDU headers: {} of {}", kept.len(), kept.len() as u64 + gone)?;
        for (at, connection, event) in kept {
            writeln!(f, "{:>12.6} c{connection} {event}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let dump = Dump::new(2);
        for plen in 1..=3_u8 {
            dump.add(9, PduEvent::read(true, &[0, 0, 128, 0, plen, 0, 0, 0]).unwrap());
        }
        let lens: Vec<_> = dump.clone().events().iter().map(|(_, event)| event.plen).collect();
        assert_eq!(lens, [2, 3]);
        let text = dump.to_string();
        assert!(text.starts_with("# nvme-tcp ") && text.contains("2 of 3\n"), "{text}");
        assert!(text.ends_with(" c9 > ICReq       flags 00 plen 3\n"), "{text}");
    }
}
