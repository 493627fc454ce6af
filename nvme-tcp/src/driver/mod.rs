//! Drivers put the protocol core on a socket. They own what the core does not: memory, sockets, threads, time.

mod engine;
mod loan;
pub(crate) mod shared;
pub mod transport;
pub mod wire;

pub(crate) use engine::{Engine, Finished, Flush};
pub(crate) use loan::Loan;
