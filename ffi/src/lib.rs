//! The C library: what `include/nvme_tcp.h` declares. C programs read that header; from Rust, use the crates
//! nvme-tcp and linux-ktls themselves.
//!
//! ```text
//! call      the boundary: no panic crosses it, a forked child stays out, out-parameters
//! error     what a thread's last failure was
//! text      strings in and out
//! options, controller, namespace, discovery, key, passthrough, statistics    the synchronous calls
//! events    what happens to a controller
//! queue     for event loops
//! tls       kernel TLS
//! ```
//!
//! A pointer that C may give as NULL is an `Option` of a reference or a box here: that it else points to what
//! it says is what every C function relies on. Only strings, buffers and lists are raw.
#![allow(unsafe_code, reason = "a C interface: exported names, and memory that C programs own")]
#![allow(rustdoc::broken_intra_doc_links, reason = "the texts are those of the C header, with its brackets")]
#![allow(non_camel_case_types, reason = "the names of C types")]

mod call;
mod controller;
mod discovery;
mod error;
mod events;
mod key;
mod namespace;
mod options;
mod passthrough;
mod queue;
mod statistics;
mod text;
mod tls;
mod version;

pub use controller::*;
pub use discovery::*;
pub use error::*;
pub use events::*;
pub use key::*;
pub use namespace::*;
pub use options::*;
pub use passthrough::*;
pub use queue::*;
pub use statistics::*;
pub use tls::*;
pub use version::*;
