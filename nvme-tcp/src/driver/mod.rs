//! Drivers put the protocol core on a socket. They own what the core does not: memory, sockets, threads, time.
//!
//! Public is what a target of one's own can use: byte streams, plain or TLS, in two halves, and what gathers and scatters.
//!
//! ```no_run
//! use nvme_tcp::driver::transport::{self, Wait};
//! use std::net::TcpStream;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut send, _receive) = transport::plain(TcpStream::connect("10.0.0.5:4420")?);
//! let sent = send.send(&[std::io::IoSlice::new(b"bytes")], Wait::Block)?;
//! assert!(sent.is_some());
//! # Ok(())
//! # }
//! ```

pub(crate) mod bell;
mod engine;
mod loan;
mod patience;
pub(crate) mod shared;
pub mod transport;
#[cfg(feature = "io-uring")]
pub(crate) mod uring;
pub mod wire;

pub(crate) use engine::{Engine, Flush};
pub(crate) use loan::Loan;
