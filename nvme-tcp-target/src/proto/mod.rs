//! The controller's side of the protocol without I/O: bytes go in, bytes and commands come out.
//!
//! [`Connection`] holds the call contract. It mirrors [`nvme_tcp::proto::Connection`], the host's side, and
//! stands on the same two halves, [`Framer`](nvme_tcp::proto::Framer) and
//! [`Transmit`](nvme_tcp::proto::Transmit).

mod config;
mod connection;
mod event;
mod slots;

pub use config::{C2hSuccess, ConnectionConfig, Negotiated};
pub use connection::Connection;
pub(crate) use connection::is_write;
pub use event::Event;
