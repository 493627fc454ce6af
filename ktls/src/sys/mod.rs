//! The only unsafe code of this crate: what the kernel offers, with safe signatures.
//!
//! Every function takes borrowed file descriptors and slices and gives `io::Result`s; none keeps
//! anything, none decides anything.
#![allow(unsafe_code)] // System calls with pointers cannot be made without it.

pub(crate) mod ethtool;
pub(crate) mod msg;
pub(crate) mod netlink;
#[cfg(feature = "tokio")]
pub(crate) mod reactor;
pub(crate) mod splice;
pub(crate) mod tls;

use std::io;

/// What a system call gave, -1 standing for errno.
fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
