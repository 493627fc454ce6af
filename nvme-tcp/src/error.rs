//! What can go wrong, whose turn it then is, and what would mend it.

mod errno;
mod hint;
mod parts;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::discovery::Refusal;
use crate::driver::transport::TransportError;
use crate::host::HostError;
use crate::kernel::KernelError;
use crate::proto::{BringUpError, DataFault, Violation};
use crate::psk::{KeyFileError, PskError};
use crate::spec::completion::Status;
use crate::spec::malformed::Malformed;
use crate::spec::pdu::FatalStatus;

pub use self::parts::{Blame, NamespaceRefusal, Scope, TriedIdentities};

/// The result of this library's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// The host's own NQN or ID cannot be had.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A pre-shared key cannot be derived.
    #[error(transparent)]
    Key(#[from] PskError),
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The source of the keys gives none.
    #[error("no key from the key source: {0}")]
    KeySource(crate::key_source::KeySourceError),
    /// No TCP connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// Connections cannot be made from where, or in the way, that the options say.
    #[error("cannot connect from here with {what}: {source}")]
    Route {
        /// Which option.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// No TLS, or no longer.
    #[error("TLS with {address} failed: {source}")]
    Tls {
        /// With whom.
        address: String,
        /// With which identities.
        tried: TriedIdentities,
        /// Why.
        source: ktls::Error,
    },
    /// The answer to plain NVMe/TCP was a TLS record.
    #[error("{address} answers in TLS")]
    PeerSpeaksTls {
        /// Who.
        address: String,
    },
    /// The connection ended before ICResp.
    #[error("{address} closed the connection instead of answering ICReq")]
    NoIcResp {
        /// Who.
        address: String,
        /// Whether TLS was up.
        tls: bool,
    },
    /// The controller did not come up.
    #[error(transparent)]
    BringUp(#[from] BringUpError),
    /// A command failed.
    #[error("{command} failed: {status}")]
    Status {
        /// Which command.
        command: &'static str,
        /// What the controller said.
        status: Status,
    },
    /// A command's data was not what the controller said it was.
    #[error("{command}: {}", describe(.fault))]
    Data {
        /// Which command.
        command: &'static str,
        /// What was wrong.
        fault: DataFault,
    },
    /// The controller does not have a command, or not this form of it.
    #[error("the controller does not have {0}")]
    Unsupported(&'static str),
    /// A log changed each time that it was read.
    #[error("{what} changed {tries} times while it was read")]
    Unstable {
        /// Which log.
        what: &'static str,
        /// How often it was read.
        tries: u32,
    },
    /// An entry of a discovery log does not lead to a connection that the options allow.
    #[error("not connected: {0}")]
    Entry(#[from] Refusal),
    /// A data structure from the controller cannot be what it is said to be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The controller broke the protocol.
    #[error("the controller broke the protocol: {0}")]
    Protocol(#[from] Violation),
    /// The controller says that this host broke the protocol.
    #[error("the controller terminated the connection: {} (FES {fes}, FEI {fei})", FatalStatus::from_code(*.fes).map_or_else(|| "unknown reason".to_owned(), |s| s.to_string()))]
    Terminated {
        /// Fatal error status.
        fes: u16,
        /// Fatal error information.
        fei: u32,
    },
    /// The connection was lost.
    #[error("{0}")]
    Lost(#[from] TransportError),
    /// An answer did not come in time.
    #[error("no answer to {what} within {} ms", after.as_millis())]
    Timeout {
        /// To what.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// An option is longer than this library can count.
    #[error("{option} is {given:?}, expected at most {most:?}")]
    TooLong {
        /// Which option.
        option: &'static str,
        /// What it was given.
        given: Duration,
        /// The longest there can be.
        most: Duration,
    },
    /// The namespace cannot be used.
    #[error("namespace {nsid} {refusal}")]
    Namespace {
        /// Which.
        nsid: u32,
        /// Why.
        refusal: NamespaceRefusal,
    },
    /// More than the namespace holds.
    #[error("bytes {offset} to {end} are not all inside the namespace of {size} bytes")]
    OutOfRange {
        /// The first byte.
        offset: u64,
        /// The byte after the last.
        end: u64,
        /// The namespace's size in bytes.
        size: u64,
    },
    /// Not whole blocks.
    #[error("{what} of {value} bytes is not a multiple of the block size, {block_size}")]
    Unaligned {
        /// "offset" or "length".
        what: &'static str,
        /// How many bytes.
        value: u64,
        /// The block size in bytes.
        block_size: u32,
    },
    /// A read was given up by this program before it was done.
    #[error("the read was cancelled")]
    Cancelled,
    /// A command that changes something was outstanding when its association was lost, and nothing says whether it
    /// was carried out.
    #[error("{command} may or may not have been carried out: {cause}")]
    UnknownFate {
        /// Which command.
        command: &'static str,
        /// How the association was lost, or why the command was held no longer.
        cause: Error,
        /// How long the old controller may still carry it out: a write to the same place before that may be
        /// overwritten. `None` where nothing says, since there is no keep-alive.
        fenced_in: Option<Duration>,
    },
    /// No path leads to the namespace.
    #[error("no path leads to namespace {nsid}: {why}")]
    NoPath {
        /// Which namespace.
        nsid: u32,
        /// Since when, or why not.
        why: &'static str,
    },
    /// A namespace with several paths has no name that says that they lead to the same.
    #[error(
        "namespace {nsid} has neither UUID nor NGUID nor EUI64: nothing says whether two paths lead to it"
    )]
    NamespaceId {
        /// Which namespace.
        nsid: u32,
    },
    /// The kernel's own initiator did not do what it was asked for.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The controller was shut down by this program.
    #[error("the controller was shut down")]
    ShutDown,
}

fn describe(fault: &DataFault) -> String {
    match fault {
        DataFault::Digest => "the data digest does not match the data".to_owned(),
        DataFault::Short { got, expected } => {
            format!("the controller reported success after {got} of {expected} bytes")
        }
    }
}

/// An error of this library. Clones share one cause, since a lost connection fails many commands.
///
/// ```
/// use nvme_tcp::{Blame, Options, Scope, host::HostIdentity};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
/// // Nobody listens there.
/// let error = Options::new("127.0.0.1:1", "nqn.2024-01.io.example:images", host).connect().unwrap_err();
/// assert_eq!((error.scope(), error.blame()), (Scope::Controller, Blame::Network));
/// println!("{error}; {}", error.hint().unwrap_or_default());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<ErrorKind>);

impl Error {
    /// The cause.
    ///
    /// ```
    /// use nvme_tcp::{Error, ErrorKind};
    ///
    /// let error = Error::from(ErrorKind::Unaligned { what: "offset", value: 700, block_size: 512 });
    /// // What the message says, for a program.
    /// if let ErrorKind::Unaligned { value, block_size, .. } = error.kind() {
    ///     assert_eq!(value.next_multiple_of(u64::from(*block_size)), 1024);
    /// }
    /// ```
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        ErrorKind::InvalidArgument(what.into()).into()
    }

    /// How far it reaches.
    ///
    /// ```
    /// use nvme_tcp::{Error, ErrorKind, Scope, spec::status::Status};
    ///
    /// let status = Status::RESERVATION_CONFLICT;
    /// let conflict = Error::from(ErrorKind::Status { command: "Write", status });
    /// // Nothing to reconnect for.
    /// assert_eq!(conflict.scope(), Scope::Command);
    /// ```
    pub fn scope(&self) -> Scope {
        use ErrorKind::*;
        match self.kind() {
            InvalidArgument(_)
            | Host(_)
            | Key(_)
            | KeyFile(_)
            | KeySource(_)
            | OutOfRange { .. }
            | Unaligned { .. }
            | Entry(_)
            | Route { .. }
            | TooLong { .. } => Scope::Configuration,
            Status { .. }
            | Data { .. }
            | Namespace { .. }
            | NamespaceId { .. }
            | NoPath { .. }
            | Cancelled => Scope::Command,
            Unsupported(_) | Malformed(_) | Unstable { .. } => Scope::Command,
            Protocol(_) | Terminated { .. } | Lost(_) | Timeout { .. } | UnknownFate { .. } => Scope::Queue,
            Kernel(_) => Scope::Controller,
            Connect { .. } | Tls { .. } | PeerSpeaksTls { .. } | NoIcResp { .. } | BringUp(_) | ShutDown => {
                Scope::Controller
            }
        }
    }

    /// Whose turn it is.
    ///
    /// ```
    /// use nvme_tcp::{Blame, Error, ErrorKind};
    ///
    /// // A plain connection, to a listener with TLS: the target is all right.
    /// let error = Error::from(ErrorKind::PeerSpeaksTls { address: "10.0.0.5:4420".into() });
    /// assert_eq!(error.blame(), Blame::Caller);
    /// ```
    pub fn blame(&self) -> Blame {
        use ErrorKind::*;
        match self.kind() {
            InvalidArgument(_)
            | Host(_)
            | Key(_)
            | KeyFile(_)
            | KeySource(_)
            | OutOfRange { .. }
            | Unaligned { .. }
            | Route { .. }
            | TooLong { .. } => Blame::Caller,
            Namespace { .. } | PeerSpeaksTls { .. } | Cancelled | ShutDown => Blame::Caller,
            Entry(Refusal::TlsRequired | Refusal::ConcatNotTaken) => Blame::Caller,
            Connect { .. } | Lost(_) | Timeout { .. } | UnknownFate { .. } | NoPath { .. } => Blame::Network,
            Kernel(_) => Blame::Kernel,
            Tls { source: ktls::Error::KernelTlsUnavailable { .. }, .. } => Blame::Kernel,
            BringUp(BringUpError::AuthenticationRequired | BringUpError::SecureChannelRequired) => {
                Blame::Caller
            }
            BringUp(BringUpError::Authentication(e)) if e.may_be_the_caller() => Blame::Caller,
            _ => Blame::Peer,
        }
    }

    /// Whether the same call may succeed later, with nothing changed by the caller.
    ///
    /// ```
    /// use nvme_tcp::{Error, ErrorKind, spec::status::Status};
    ///
    /// let failed = |status| Error::from(ErrorKind::Status { command: "Read", status });
    /// assert!(failed(Status::NAMESPACE_NOT_READY).is_retryable());
    /// assert!(!failed(Status::NAMESPACE_NOT_READY.with_do_not_retry()).is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::Status { status, .. } => !status.do_not_retry(),
            ErrorKind::Data { .. } | ErrorKind::Unstable { .. } => true,
            // A caller has to find out first.
            ErrorKind::UnknownFate { .. } => false,
            ErrorKind::BringUp(error @ BringUpError::Refused { status, .. }) => {
                !status.do_not_retry() || error.is_of_expired_controller()
            }
            _ => self.blame() == Blame::Network,
        }
    }

    /// The NVMe status behind it, if there is one.
    ///
    /// ```
    /// use nvme_tcp::{Error, ErrorKind, spec::status::Status};
    ///
    /// let full = Status::CAPACITY_EXCEEDED.with_do_not_retry();
    /// let error = Error::from(ErrorKind::Status { command: "Write", status: full });
    /// // `is` looks at type and code only.
    /// assert!(error.status().is_some_and(|status| status.is(Status::CAPACITY_EXCEEDED)));
    /// assert_eq!(Error::from(ErrorKind::ShutDown).status(), None);
    /// ```
    pub fn status(&self) -> Option<Status> {
        match self.kind() {
            ErrorKind::Status { status, .. }
            | ErrorKind::BringUp(
                BringUpError::Refused { status, .. } | BringUpError::Failed { status, .. },
            ) => Some(*status),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.0)
    }
}

impl<E: Into<ErrorKind>> From<E> for Error {
    fn from(cause: E) -> Self {
        Self(Arc::new(cause.into()))
    }
}
