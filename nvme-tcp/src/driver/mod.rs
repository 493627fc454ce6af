//! Drivers put the protocol core on a socket. They own what the core does not: memory, sockets, threads, time.

pub mod transport;
pub mod wire;
