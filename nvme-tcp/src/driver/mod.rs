//! Drivers put the protocol core on a socket. They own what the core does not: memory, sockets, threads, time.

pub(crate) mod bell;
mod engine;
mod loan;
pub(crate) mod shared;
pub mod transport;
#[cfg(feature = "io-uring")]
pub(crate) mod uring;
pub mod wire;

pub(crate) use engine::{Engine, Flush};
pub(crate) use loan::Loan;
