//! What passed, what failed, what was skipped, and how to read that off a test program's output.

use std::fmt;

/// The sums of a run, with the names of what did not pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// Adds another.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }

    /// Adds what the tests in one run said of themselves. `skip_lines` are those that the tests wrote into
    /// the file named by `NVME_TCP_SKIPPED`: the test harness counted them as passed.
    pub(crate) fn add_tests(&mut self, prefix: &str, report: TestReport, skip_lines: &str) {
        let skipped: Vec<&str> = skip_lines.lines().filter(|line| !line.trim().is_empty()).collect();
        self.passed += report.passed.saturating_sub(skipped.len());
        self.failed.extend(report.failed.into_iter().map(|name| format!("{prefix}{name}")));
        self.skipped.extend(skipped.into_iter().map(|line| format!("{prefix}{line}")));
        self.skipped.extend(report.ignored.into_iter().map(|name| format!("{prefix}{name}: ignored")));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.skipped {
            writeln!(f, "SKIPPED {name}")?;
        }
        for name in &self.failed {
            writeln!(f, "FAILED {name}")?;
        }
        writeln!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped.len())
    }
}

/// What test programs said, read line by line: those of one `cargo test`, or a single one.
#[derive(Debug, Default)]
pub(crate) struct TestReport {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) ignored: Vec<String>,
    program: String,
    /// The program has started and has not given its result.
    open: bool,
    failures: Option<Vec<String>>,
}

impl TestReport {
    /// A test program is about to be run; its name goes before the names of its tests.
    pub(crate) fn start(&mut self, program: &str) {
        self.finish();
        program.clone_into(&mut self.program);
        self.open = true;
    }

    /// One line of output, cargo's or a test program's.
    pub(crate) fn line(&mut self, line: &str) {
        let trimmed = line.trim();
        if let Some(program) = program_of(trimmed) {
            self.start(&program);
        } else if let Some(result) = trimmed.strip_prefix("test result: ") {
            self.result(result);
        } else if let Some((name, _)) =
            trimmed.strip_prefix("test ").and_then(|t| t.split_once(" ... ignored"))
        {
            self.ignored.push(format!("{} {name}", self.program));
        } else if line == "failures:" {
            // Stands twice: before the outputs of the failed tests and before their names.
            self.failures = Some(Vec::new());
        } else if let (Some(failures), Some(name)) = (&mut self.failures, line.strip_prefix("    ")) {
            failures.push(name.trim().to_owned());
        }
    }

    /// No more lines: a program that has not given its result has died.
    pub(crate) fn finish(&mut self) {
        if std::mem::take(&mut self.open) {
            self.failed.push(format!("{} (ended without a result)", self.program));
        }
        self.failures = None;
    }

    fn result(&mut self, result: &str) {
        self.open = false;
        let names = self.failures.take().unwrap_or_default();
        let count = |what: &str| {
            result
                .split(['.', ';'])
                .find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<usize>().ok())
                .unwrap_or(0)
        };
        self.passed += count(" passed");
        let failed = count(" failed");
        // The list may have lines of a test's own output in it; the last ones are the names.
        let names = names.iter().skip(names.len().saturating_sub(failed));
        let before = self.failed.len();
        self.failed.extend(names.map(|name| format!("{} {name}", self.program)));
        while self.failed.len() < before + failed {
            self.failed.push(format!("{} (a test without a name)", self.program));
        }
    }
}

/// The program that a line of cargo's announces: `Running tests/abi.rs (target/debug/deps/abi-1f)`,
/// `Running unittests src/lib.rs (target/debug/deps/ktls-2e)`, `Doc-tests ktls`.
fn program_of(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} doc-tests"));
    }
    let (_, path) = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?;
    let file = path.rsplit('/').next()?;
    Some(file.rsplit_once('-').map_or(file, |(name, _hash)| name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> TestReport {
        let mut report = TestReport::default();
        text.lines().for_each(|line| report.line(line));
        report.finish();
        report
    }

    const TWO_PROGRAMS: &str = "
     Running unittests src/lib.rs (/x/target/debug/deps/ktls_sys-3c9c693fdbbe1c71)

running 3 tests
test a ... ok
test b::c ... FAILED
test slow ... ignored, takes an hour

failures:

---- b::c stdout ----
thread 'b::c' panicked:
    an indented line of the test's own

failures:
    b::c

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests ktls_sys

running 2 tests

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn reads_what_cargo_test_prints() {
        let report = read(TWO_PROGRAMS);
        assert_eq!(report.passed, 3);
        assert_eq!(report.failed, ["ktls_sys b::c"]);
        assert_eq!(report.ignored, ["ktls_sys slow"]);
    }

    #[test]
    fn a_program_that_dies_is_a_failure() {
        let report = read("     Running tests/abi.rs (target/debug/deps/abi-1f)\n\nrunning 1 test\n");
        assert_eq!(report.passed, 0);
        assert_eq!(report.failed, ["abi (ended without a result)"]);
        // Also when another one follows.
        let text =
            format!("     Running tests/abi.rs (target/debug/deps/abi-1f)\nrunning 1 test\n{TWO_PROGRAMS}");
        assert_eq!(read(&text).failed, ["abi (ended without a result)", "ktls_sys b::c"]);
    }

    #[test]
    fn a_skipped_test_does_not_count_as_passed() {
        let mut tally = Tally::default();
        tally.add_tests("uml:", read(TWO_PROGRAMS), "a: no gcc\n");
        let text = tally.to_string();
        assert_eq!(
            text,
            "SKIPPED uml:a: no gcc\nSKIPPED uml:ktls_sys slow: ignored\nFAILED uml:ktls_sys b::c\n\
             2 passed, 1 failed, 2 skipped\n"
        );
    }
}
