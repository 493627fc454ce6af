//! An NVMe/TCP initiator in the user's own process, with TLS 1.3 by pre-shared key.

mod association;
pub mod auth;
mod connector;
mod controller;
pub mod discovery;
pub mod driver;
mod error;
mod generations;
pub mod host;
mod housekeeping;
mod key_file;
mod key_text;
mod namespace;
pub mod nqn;
mod options;
pub mod proto;
pub mod psk;
mod queue;
pub mod spec;

pub use connector::TlsFacts;
pub use controller::{Controller, ControllerInfo};
pub use error::{Blame, Error, ErrorKind, NamespaceRefusal, Result, Scope};
pub use namespace::Namespace;
pub use options::{Options, Security};
pub use queue::{Queue, QueueCompletion, Rejected};
