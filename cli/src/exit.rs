//! How the tool ends: documented exit codes, and failures that name the cause and the mend.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use ktls::crypto::CryptoError;
use nvme_tcp::auth::SecretTextError;
use nvme_tcp::host::HostError;
use nvme_tcp::nqn::NqnError;
use nvme_tcp::proto::BringUpError;
use nvme_tcp::psk::{KeyFileError, KeyTextError, PskError};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::{Error, ErrorKind};

/// The help's paragraph on exit codes: [`Exit`] in words.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  I/O or NVMe error, or what was verified is not the same
  2  wrong usage: flags, key text, URI, size
  3  no connection: unreachable, refused, timed out
  4  TLS or authentication: wrong key, unknown identity, TLS against plain, host not allowed
  5  this kernel lacks what was asked for
  6  the peer broke the protocol";

/// The exit code of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// I/O failed, a command came back with an error, or what was verified differs.
    Io = 1,
    /// Flags, key text, URI or size are wrong.
    Usage = 2,
    /// No connection came about.
    Connect = 3,
    /// TLS or authentication failed, or this host is not allowed.
    Tls = 4,
    /// The kernel lacks something.
    Kernel = 5,
    /// The peer broke the protocol.
    Protocol = 6,
}

impl Exit {
    /// The exit code of an error of the library.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidArgument(_)
            | ErrorKind::Host(_)
            | ErrorKind::Key(_)
            | ErrorKind::KeyFile(_)
            | ErrorKind::KeySource(_) => Self::Usage,
            ErrorKind::Connect { .. } | ErrorKind::Timeout { what: "ICReq", .. } => Self::Connect,
            ErrorKind::Tls { source: ktls::Error::KernelTlsUnavailable { .. }, .. } => Self::Kernel,
            ErrorKind::Tls { source: ktls::Error::Io(error), .. } if is_timeout(error) => Self::Connect,
            ErrorKind::Tls { .. } | ErrorKind::PeerSpeaksTls { .. } => Self::Tls,
            // Before ICResp, a listener that wants TLS just closes.
            ErrorKind::NoIcResp { .. } => Self::Tls,
            ErrorKind::BringUp(
                BringUpError::AuthenticationRequired
                | BringUpError::SecureChannelRequired
                | BringUpError::Authentication(_),
            ) => Self::Tls,
            ErrorKind::BringUp(
                BringUpError::Refused { status, .. } | BringUpError::Failed { status, .. },
            ) if status.is(Status::CONNECT_INVALID_HOST) || status.is(Status::AUTHENTICATION_REQUIRED) => {
                Self::Tls
            }
            ErrorKind::Protocol(_) | ErrorKind::Terminated { .. } => Self::Protocol,
            _ => Self::Io,
        }
    }
}

/// What to do about a file that cannot be read or written.
pub fn file_hint(action: &str, error: &io::Error) -> Option<String> {
    use io::ErrorKind::*;
    let hint = match error.kind() {
        NotFound => "check the name, and that its folder is there",
        PermissionDenied => {
            return Some(format!("run this as a user who may {action} it, or change its permissions"));
        }
        IsADirectory => "name a file, not a folder",
        StorageFull | QuotaExceeded | FileTooLarge => "make room there, or choose another place",
        ReadOnlyFilesystem => "choose another place, or mount the file system for writing",
        ResourceBusy | ExecutableFileBusy => "end the program that uses it",
        BrokenPipe => return None,
        _ => "the kernel's log (dmesg) may say what is wrong with the device",
    };
    Some(hint.to_owned())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Why the tool ends, for the user's eyes.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    cause: String,
    hint: Option<String>,
    /// Whether nobody is left to read it: the reader of a pipe is gone.
    silent: bool,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, cause: impl fmt::Display) -> Self {
        Self { exit, cause: cause.to_string(), hint: None, silent: false }
    }

    /// Wrong usage.
    pub fn usage(cause: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, cause)
    }

    /// Adds what the user can do about it.
    pub fn hint(self, hint: impl Into<Option<String>>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// A file of this machine failed: `action` is "read" or "write". A reader of a pipe that has seen enough,
    /// as `head` has, is no error to talk about.
    pub fn file(action: &str, what: impl fmt::Display, error: &io::Error) -> Self {
        let silent = error.kind() == io::ErrorKind::BrokenPipe;
        let failure = Self::new(Exit::Io, format_args!("cannot {action} {what}: {error}"));
        Self { silent, ..failure.hint(file_hint(action, error)) }
    }

    /// Standard output could not be written.
    pub fn stdout(error: io::Error) -> Self {
        Self::file("write", "to standard output", &error)
    }

    /// Prints cause and hint to standard error, and gives the process's exit code.
    pub fn report(&self) -> ExitCode {
        if !self.silent {
            // Where standard error is closed, the exit code still tells.
            let _ = write!(io::stderr(), "{self}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "nvme-tcp: {}", self.cause)?;
        match &self.hint {
            Some(hint) => writeln!(f, "hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::of(&error), &error).hint(error.hint())
    }
}

impl From<KeyTextError> for Failure {
    fn from(error: KeyTextError) -> Self {
        Self::usage(&error).hint(error.hint())
    }
}

impl From<SecretTextError> for Failure {
    fn from(error: SecretTextError) -> Self {
        Self::usage(&error).hint(error.hint())
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        match &error {
            KeyFileError::Io { action, source, .. } => {
                Self::new(Exit::Io, &error).hint(file_hint(action, source))
            }
            _ => Self::usage(&error).hint(error.hint()),
        }
    }
}

impl From<PskError> for Failure {
    fn from(error: PskError) -> Self {
        Self::usage(error).hint(error.hint())
    }
}

impl From<NqnError> for Failure {
    fn from(error: NqnError) -> Self {
        Self::usage(error)
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let (exit, hint) = match &error {
            HostError::Io { source, .. } => (Exit::Io, file_hint("read", source)),
            HostError::Random => (Exit::Io, None),
            _ => (Exit::Usage, error.hint()),
        };
        Self::new(exit, &error).hint(hint)
    }
}

impl From<CryptoError> for Failure {
    fn from(_: CryptoError) -> Self {
        Self::new(Exit::Io, "the system gives no random bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code() {
        let codes = [Exit::Io, Exit::Usage, Exit::Connect, Exit::Tls, Exit::Kernel, Exit::Protocol];
        for exit in codes {
            assert!(HELP.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
    }

    #[test]
    fn cause_and_hint_have_a_line_each() {
        let failure = Failure::usage("a size is empty").hint("give one, as 4K".to_owned());
        assert_eq!(failure.to_string(), "nvme-tcp: a size is empty\nhint: give one, as 4K\n");
        assert_eq!(Failure::usage("x").to_string(), "nvme-tcp: x\n");
    }

    #[test]
    fn a_reader_that_went_away_is_no_news() {
        assert!(Failure::stdout(io::ErrorKind::BrokenPipe.into()).silent);
        assert!(!Failure::stdout(io::ErrorKind::StorageFull.into()).silent);
    }
}
