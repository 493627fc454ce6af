//! Child processes with a deadline, their output seen line by line while they run.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long lines are still read after a child has ended: something it started may hold its output open.
const AFTERGLOW: Duration = Duration::from_secs(5);

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    By(ExitStatus),
    /// It was still running at its deadline, and has been killed with all that it had started.
    Deadline(Duration),
}

impl Ended {
    pub(crate) fn success(&self) -> bool {
        matches!(self, Self::By(status) if status.success())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::By(status) => write!(f, "{status}"),
            Self::Deadline(deadline) => write!(f, "killed at its deadline of {} s", deadline.as_secs()),
        }
    }
}

enum Event {
    Line(String),
    Ended(io::Result<ExitStatus>),
}

/// Runs a command and hands on each line of its output, error output included, in the order written.
pub(crate) fn lines(
    command: &Command,
    deadline: Duration,
    mut on_line: impl FnMut(&str),
) -> io::Result<Ended> {
    let mut child = one_output(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let pid = child.id();
    let output = child.stdout.take().ok_or_else(|| io::Error::other("the child has no output"))?;

    let (sender, events) = mpsc::channel();
    let ended = sender.clone();
    std::thread::spawn(move || ended.send(Event::Ended(child.wait())));
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while matches!(output.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(Event::Line(text.trim_end_matches(['\n', '\r']).to_owned())).is_err() {
                return;
            }
            line.clear();
        }
    });

    let mut until = Instant::now() + deadline;
    let mut end = None;
    loop {
        match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Event::Line(line)) => on_line(&line),
            Ok(Event::Ended(status)) => {
                end.get_or_insert(Ended::By(status?));
                until = Instant::now() + AFTERGLOW;
            }
            Err(RecvTimeoutError::Timeout) if end.is_none() => {
                kill_family(pid)?;
                end = Some(Ended::Deadline(deadline));
                until = Instant::now() + AFTERGLOW;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return end.ok_or_else(|| io::Error::other("the child's end was not seen"));
            }
        }
    }
}

/// Runs a command to its end with its output shown.
pub(crate) fn shown(command: &Command, deadline: Duration) -> io::Result<Ended> {
    lines(command, deadline, |line| println!("{line}"))
}

/// Runs a command and keeps its output.
pub(crate) fn kept(command: &Command, deadline: Duration) -> io::Result<(Ended, String)> {
    let mut text = String::new();
    let ended = lines(command, deadline, |line| {
        text.push_str(line);
        text.push('\n');
    })?;
    Ok((ended, text))
}

/// Where a program is, also in the folders of the administrator, which a user's PATH often lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The same command with its error output in its output: only so do both keep their order. `exec` keeps the
/// process's id that of the command.
fn one_output(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

/// Kills a process and those that it started, each by its own id. It must not have been waited for yet.
fn kill_family(pid: u32) -> io::Result<()> {
    let mut family = vec![pid];
    let mut next = 0;
    let parents = parents()?;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(child, _)| child));
        next += 1;
    }
    let ids = family.iter().map(u32::to_string);
    // `kill` of the shell: a program of that name is not everywhere.
    Command::new("/bin/sh").args(["-c", "kill -KILL \"$@\" 2>/dev/null; :", "sh"]).args(ids).status()?;
    Ok(())
}

/// (process, its parent) of every process there is.
fn parents() -> io::Result<Vec<(u32, u32)>> {
    let mut pairs = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may have ended since. Its name is in parentheses and may hold anything.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        pairs.extend(parent.map(|parent| (pid, parent)));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_come_in_the_order_written() {
        let (ended, text) =
            kept(&shell("echo a; echo b >&2; echo c; exit 3"), Duration::from_secs(10)).unwrap();
        assert_eq!(text, "a\nb\nc\n");
        assert_eq!(ended.to_string(), "exit status: 3");
    }

    #[test]
    fn a_deadline_ends_the_child_and_its_children() {
        let start = Instant::now();
        let deadline = Duration::from_secs(1);
        let ended = lines(&shell("sleep 100 & wait"), deadline, |_| ()).unwrap();
        assert_eq!(ended, Ended::Deadline(deadline));
        // The output is closed, which the grandchild held too: it is gone.
        assert!(start.elapsed() < deadline + AFTERGLOW);
    }
}
