//! The behaviours of the Linux kernel's own TLS selftests (tools/testing/selftests/net/tls.c) that reach
//! through this library, under the kernel's names: what that suite asks of a socket with kernel TLS is
//! asked of ours, whoever seals and opens. docs/ktls-selftests.md says which are here and which are not.
//!
//! The bodies are our own. Each runs as `process`, with this process at both ends, and as `kernel`, in the
//! three pairings that have the kernel in them.

#[path = "../socket_support/mod.rs"]
mod socket_support;

#[macro_use]
mod harness;

mod plain;
mod tls;
mod tls_basic;
mod tls_err;
mod zero_len;
