//! The pre-shared keys of NVMe/TCP: from the text an administrator hands out to the identity and key
//! of a TLS 1.3 handshake (NVMe TCP Transport, "TLS PSK and PSK Identity Derivation").
//!
//! ```text
//! NVMeTLSkey-1:hh:...:   ConfiguredKey    what both ends were given, one text for host and subsystem
//!        | HKDF with the host NQN
//!     retained PSK                        bound to the host
//!        | HKDF with the identity (version 0) or its digest (version 1)
//!      TlsPsk                             bound to host and subsystem: what TLS gets
//! ```
//!
//! A client tries one candidate identity for each connection, since the servers in the field look at
//! the first identity only: [`candidates`] gives them in order.
//!
//! ```
//! use nvme_tcp::psk::{candidates, ConfiguredKey, Policy};
//!
//! let key: ConfiguredKey = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:".parse()?;
//! let psks = candidates(&[key], "nqn.psk-test-host", "nqn.psk-test-subsys", Policy::default())?;
//! assert!(psks[0].identity().starts_with("NVMe1R01 nqn.psk-test-host nqn.psk-test-subsys "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod candidates;
mod derive;
pub mod generated;
mod given;
mod key;
mod text;

pub use crate::key_file::KeyFileError;
pub use candidates::{Policy, candidates};
pub use derive::{Derivation, IdentityVersion, Origin, PskError, TlsPsk, derive, retained};
pub(crate) use given::chosen;
pub use given::{TLS_KEYS_FILE, TlsPskError};
pub use key::{ConfiguredKey, KeyHash};
pub use text::KeyTextError;
