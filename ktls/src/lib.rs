//! TLS on a TCP socket whose records the Linux kernel seals and opens, and the same with records
//! sealed in the process where the kernel has no TLS.

pub mod alert;
pub mod cipher;
pub mod crypto;
pub mod handshake;
pub mod keys;
pub mod secret;
