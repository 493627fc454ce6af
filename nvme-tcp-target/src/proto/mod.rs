//! The controller's side of the protocol without I/O: bytes go in, bytes and commands come out.
//!
//! [`Connection`] holds the call contract. It mirrors [`nvme_tcp::proto::Connection`], the host's side, and
//! stands on the same two halves, [`Framer`](nvme_tcp::proto::Framer) and
//! [`Transmit`](nvme_tcp::proto::Transmit).

mod connection;
mod slots;

pub use connection::{C2hSuccess, Connection, ConnectionConfig, Event, Negotiated};
