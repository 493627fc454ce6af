//! An NVMe/TCP initiator in the user's own process, with TLS 1.3 by pre-shared key.

pub mod driver;
mod error;
pub mod host;
pub mod nqn;
pub mod proto;
pub mod psk;
pub mod spec;

pub use error::{Blame, Error, ErrorKind, NamespaceRefusal, Result, Scope};
