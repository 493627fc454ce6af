//! TLS on a TCP socket whose records the Linux kernel seals and opens, and the same with records
//! sealed in the process where the kernel has no TLS.
//!
//! A [`Socket`] gives the keys to the kernel where that works, tells by [`Socket::info`] who seals the
//! records of each direction and why, and behaves the same whoever does. Its keys come
//!
//! - from a TLS 1.3 handshake of its own with an external pre-shared key (RFC 8446; `psk_dhe_ke`), as NVMe/TCP
//!   uses it: [`Socket::connect`], [`Socket::accept`];
//! - from rustls, certificates and all, with the feature `rustls`: `rustls::connect`, `rustls::accept`;
//! - from anywhere else, for TLS 1.2 and 1.3: [`Socket::from_keys`] with [`keys::RawKeys`], also out of a
//!   [`keys::KeyLog`].
//!
//! It serves blocking code, event loops of your own ([`Wait::Now`] and poll(2)), and with the feature `tokio`
//! that runtime: `tokio::Socket` is the same as `AsyncRead` and `AsyncWrite`, whole or in halves.
//!
//! ```no_run
//! use std::io::Write;
//! use std::net::TcpStream;
//!
//! use ktls::crypto::Hash;
//! use ktls::handshake::{ClientConfig, Psk};
//! use ktls::secret::Secret;
//! use ktls::{Options, Socket, Wait};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Secret::new(&[7; 32]).ok_or("too long")?;
//! let psk = Psk::new(b"client 1".to_vec(), key, Hash::Sha256)?;
//! let stream = TcpStream::connect("192.0.2.1:4420")?;
//! let mut socket = Socket::connect(stream, &ClientConfig::new(psk), &Options::new(), None)?;
//! println!("sealed by {}", socket.info().send);
//! socket.write_all(b"hello")?;
//! socket.halves().0.close_notify(Wait::Block)?;
//! # Ok(())
//! # }
//! ```

pub mod alert;
pub mod cipher;
pub mod cmsg;
pub mod crypto;
mod errno;
mod error;
mod event;
pub mod handshake;
pub mod keys;
pub mod observe;
mod probe;
pub mod record;
#[cfg(feature = "rustls")]
pub mod rustls;
pub mod secret;
mod socket;
mod sys;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use error::Error;
pub use event::{Event, Flow};
pub use probe::{Probe, SuiteProbe, probe, probe_cipher, probe_ciphers};
pub use record::budget::Budget;
pub use socket::{Direction, Info, Layer, Options, RecvHalf, SealedBy, SendHalf, Socket, Wait, Why};
