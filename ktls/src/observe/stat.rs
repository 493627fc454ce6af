//! The kernel's own counters of TLS, of a network namespace.

use std::fs;
use std::io;
use std::path::Path;

use thiserror::Error;

/// Where the kernel keeps its TLS counters (Linux 5.5).
pub const TLS_STAT: &str = "/proc/net/tls_stat";

/// Why the counters could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsStatError {
    /// There is no such file: module tls is not loaded, or /proc is not mounted.
    #[error("{TLS_STAT} does not exist: module tls is not loaded, or /proc is not mounted")]
    Absent,
    /// It cannot be read.
    #[error("{TLS_STAT}: {0}")]
    Io(#[source] io::Error),
    /// A line is not a name and a number.
    #[error("{TLS_STAT}, line {line}: expected a name and a number, got \"{got}\"")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What stands there.
        got: String,
    },
    /// A counter stands there twice.
    #[error("{TLS_STAT}, line {line}: \"{name}\" stands there twice")]
    Twice {
        /// Which line, from 1.
        line: usize,
        /// The counter's name.
        name: String,
    },
}

/// The counters of /proc/net/tls_stat (Documentation/networking/tls.rst): those that this kernel has, in
/// its order, whether this library knows their names or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsStat {
    counters: Vec<(String, u64)>,
}

impl TlsStat {
    /// Reads those of this network namespace, from /proc/net/tls_stat (net/tls/tls_proc.c).
    ///
    /// # Errors
    /// [`TlsStatError`].
    pub fn read() -> Result<Self, TlsStatError> {
        Self::read_from(Path::new(TLS_STAT))
    }

    fn read_from(path: &Path) -> Result<Self, TlsStatError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TlsStatError::Absent),
            Err(error) => Err(TlsStatError::Io(error)),
        }
    }

    /// Takes the text of such a file.
    ///
    /// # Errors
    /// [`TlsStatError::Line`] where a line is not a name and a number.
    pub fn parse(text: &str) -> Result<Self, TlsStatError> {
        let mut this = Self::default();
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let (Some(name), value, None) = (words.next(), words.next(), words.next()) else {
                return Err(TlsStatError::Line { line: index + 1, got: line.to_owned() });
            };
            let Some(value) = value.and_then(|value| value.parse().ok()) else {
                return Err(TlsStatError::Line { line: index + 1, got: line.to_owned() });
            };
            if this.get(name).is_some() {
                return Err(TlsStatError::Twice { line: index + 1, name: name.to_owned() });
            }
            this.counters.push((name.to_owned(), value));
        }
        Ok(this)
    }

    /// The counter `name`, such as "TlsTxSw", if this kernel has it.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.counters.iter().find(|(known, _)| known == name).map(|&(_, value)| value)
    }

    /// How much each counter has grown since `earlier`, which was read in the same network namespace.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |(name, value): &(String, u64)| {
            (name.clone(), value.saturating_sub(earlier.get(name).unwrap_or(0)))
        };
        Self { counters: self.counters.iter().map(grown).collect() }
    }

    /// What came of expecting records without padding.
    pub fn no_pad(&self) -> NoPad {
        NoPad {
            violations: self.get("TlsRxNoPadViolation").unwrap_or(0),
            retries: self.get("TlsDecryptRetry").unwrap_or(0),
        }
    }

    /// All counters in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counters.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// How often the kernel opened a record straight into the caller's memory and had to open it again
/// (`TLS_RX_EXPECT_NO_PAD`), over all sockets of the network namespace: there is no count for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoPad {
    /// Records with padding.
    pub violations: u64,
    /// The same, and control records: those are few and always opened twice.
    pub retries: u64,
}

impl NoPad {
    /// What to do about it, for so many records opened, if anything: each record opened twice costs as much
    /// again, each opened once spares a copy.
    pub fn advice(&self, records: u64) -> Option<&'static str> {
        (self.violations.saturating_mul(10) > records).then_some(
            "peers pad their records: Options::expect_no_pad(false) for those saves opening them twice",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_kept_whether_known_or_not() {
        let text = "TlsCurrTxSw                     \t0\nTlsTxSw                         \t12\nTlsNew \t3\n";
        let stat = TlsStat::parse(text).unwrap();
        assert_eq!(stat.get("TlsTxSw"), Some(12));
        assert_eq!(stat.get("TlsRxSw"), None);
        assert_eq!(stat.iter().collect::<Vec<_>>(), [("TlsCurrTxSw", 0), ("TlsTxSw", 12), ("TlsNew", 3)]);
    }

    #[test]
    fn a_strange_line_is_named() {
        for text in ["TlsTxSw 1\nTlsRxSw\n", "TlsTxSw 1\nTlsRxSw -1\n", "TlsTxSw 1\nTlsRxSw 1 2\n"] {
            assert!(matches!(TlsStat::parse(text), Err(TlsStatError::Line { line: 2, .. })), "{text}");
        }
    }

    #[test]
    fn a_counter_stands_there_once() {
        let error = TlsStat::parse("TlsTxSw 1\nTlsRxSw 1\nTlsTxSw 2\n").unwrap_err();
        assert!(matches!(error, TlsStatError::Twice { line: 3, name } if name == "TlsTxSw"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads /proc")]
    fn an_absent_file_says_why() {
        let error = TlsStat::read_from(Path::new("/proc/net/no_such_file")).unwrap_err();
        assert!(matches!(error, TlsStatError::Absent));
    }
}
