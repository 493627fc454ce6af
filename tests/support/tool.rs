//! The tool `nvme-tcp`, as its users get it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::{Process, Run};

/// A call of the tool.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    input: Option<Vec<u8>>,
}

impl Tool {
    /// A call with these arguments.
    pub fn new<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let mut tool = Self::other(Self::path(), args);
        tool.command.env_remove("NVME_TCP_TLS_KEY");
        tool
    }

    /// A call of another program of these tests.
    pub fn other<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, input: None }
    }

    /// The call itself, and what it is given on standard input.
    pub(crate) fn into_parts(self) -> (Command, Option<Vec<u8>>) {
        (self.command, self.input)
    }

    /// Where it is: `NVME_TCP_TOOL`, else the release build beside these tests, made now.
    pub fn path() -> &'static Path {
        static PATH: OnceLock<PathBuf> = OnceLock::new();
        PATH.get_or_init(|| match std::env::var_os("NVME_TCP_TOOL") {
            Some(path) => path.into(),
            None => build(),
        })
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it `bytes` on standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self.piped_input()
    }

    /// Gives it a pipe as standard input: [`Process::take_stdin`].
    #[must_use]
    pub fn piped_input(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Has its standard output go elsewhere.
    #[must_use]
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Has its standard error go elsewhere.
    #[must_use]
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Process {
        let mut process = Process::start(&mut self.command);
        if let Some(bytes) = self.input {
            process.feed(bytes);
        }
        process
    }

    /// Runs it to its end.
    pub fn run(self) -> Run {
        self.start().finish()
    }
}

fn build() -> PathBuf {
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().expect("a program knows where it is");
    let target = test.ancestors().nth(3).expect("a test lies in cargo's target folder").to_owned();
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--quiet", "-p", "nvme-tcp-cli", "--target-dir"]).arg(&target);
    // What cargo tells tests of themselves would have build scripts run again.
    let told = |name: &OsStr| name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME";
    std::env::vars_os().filter(|(name, _)| told(name)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo can be started");
    assert!(status.success(), "the tool does not build: {status}");
    target.join("release/nvme-tcp")
}
