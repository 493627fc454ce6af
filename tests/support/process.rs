//! A child process with a deadline, and what it says.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Standard output as text.
    ///
    /// # Panics
    /// It is none.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is text")
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The same, having seen that the program succeeded.
    ///
    /// # Panics
    /// It failed.
    #[must_use]
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// That the tool failed as it is documented to: with this exit code and nothing else on standard
    /// error than a line that names the cause and one that names the mend.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    pub fn failed(&self, code: i32, cause: &str, hint: &str) {
        let said = &self.stderr;
        assert_eq!(self.code, Some(code), "{said}");
        let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("nvme-tcp: warning: ")).collect();
        match lines[..] {
            [first, second] => {
                assert!(first.starts_with("nvme-tcp: ") && first.contains(cause), "{cause:?} in: {said}");
                assert!(second.starts_with("hint: ") && second.contains(hint), "{hint:?} in: {said}");
            }
            _ => panic!("a line for the cause and one for the mend, not: {said}"),
        }
    }
}

#[derive(Debug, Default)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Streams that have not ended.
    open: usize,
}

#[derive(Debug, Default)]
struct Said {
    output: Mutex<Output>,
    more: Condvar,
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    said: Arc<Said>,
}

impl Process {
    /// Starts a program. What it says is kept where its outputs are pipes.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self::listen_to(child)
    }

    /// The same; `None` where the program is not there.
    pub fn try_start(command: &mut Command) -> Option<Self> {
        command.spawn().ok().map(Self::listen_to)
    }

    fn listen_to(mut child: Child) -> Self {
        let said = Arc::new(Said::default());
        if let Some(stream) = child.stdout.take() {
            listen(stream, &said, |output| &mut output.stdout);
        }
        if let Some(stream) = child.stderr.take() {
            listen(stream, &said, |output| &mut output.stderr);
        }
        Self { child, said }
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, where that is a pipe that nobody took yet.
    ///
    /// # Panics
    /// It is not.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("standard input is a pipe")
    }

    /// Feeds it `bytes`, then ends its standard input, without waiting for it to take them.
    pub fn feed(&mut self, bytes: Vec<u8>) {
        let mut stdin = self.take_stdin();
        // A program that wants no more may close its end.
        thread::spawn(move || drop(stdin.write_all(&bytes)));
    }

    /// Waits for the first line of standard output.
    ///
    /// # Panics
    /// There is none.
    pub fn first_line(&self) -> String {
        let line = self.wait(|output| {
            let end = output.stdout.iter().position(|byte| *byte == b'\n')?;
            Some(String::from_utf8_lossy(&output.stdout[..end]).into_owned())
        });
        line.expect("a first line")
    }

    /// What it has printed on standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.said.output.lock().unwrap_or_else(PoisonError::into_inner).stdout.clone()
    }

    /// Waits until it has said `text` on standard error; `false` if it ended first.
    pub fn has_said(&self, text: &str) -> bool {
        let found = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        self.wait(|output| found(&output.stderr).then_some(())).is_some()
    }

    /// Waits until it has printed this line on standard output; `false` if not within this time.
    pub fn has_printed(&self, line: &str, within: Duration) -> bool {
        let end = Instant::now() + within;
        let mut output = self.said.output.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut lines = output.stdout.split(|byte| *byte == b'\n');
            let left = end.saturating_duration_since(Instant::now());
            if lines.any(|said| said == line.as_bytes()) {
                return true;
            } else if output.open == 0 || left.is_zero() {
                return false;
            }
            output = self.said.more.wait_timeout(output, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until `find` finds something in what it said; `None` if it ended first.
    fn wait<T>(&self, find: impl Fn(&Output) -> Option<T>) -> Option<T> {
        let end = Instant::now() + DEADLINE;
        let mut output = self.said.output.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&output) {
                return Some(found);
            }
            if output.open == 0 {
                return None;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not in time; it said: {}", String::from_utf8_lossy(&output.stderr));
            output = self.said.more.wait_timeout(output, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for its end, for at most [`DEADLINE`].
    ///
    /// # Panics
    /// It does not end.
    pub fn finish(mut self) -> Run {
        drop(self.child.stdin.take());
        // Its outputs end with it; then there is nothing left to wait for.
        self.wait(|_| None::<()>);
        let code = self.ended().code();
        let output = std::mem::take(&mut *self.said.output.lock().unwrap_or_else(PoisonError::into_inner));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Run { code, stdout: output.stdout, stderr }
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }

    /// Ends it at once, as a machine that loses power would.
    ///
    /// # Panics
    /// It cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.ended();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn listen(
    mut stream: impl Read + Send + 'static,
    said: &Arc<Said>,
    part: impl Fn(&mut Output) -> &mut Vec<u8> + Send + 'static,
) {
    let said = said.clone();
    said.output.lock().unwrap_or_else(PoisonError::into_inner).open += 1;
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let n = stream.read(&mut bytes).unwrap_or(0);
            let mut output = said.output.lock().unwrap_or_else(PoisonError::into_inner);
            part(&mut output).extend_from_slice(&bytes[..n]);
            output.open -= usize::from(n == 0);
            said.more.notify_all();
            if n == 0 {
                return;
            }
        }
    });
}
