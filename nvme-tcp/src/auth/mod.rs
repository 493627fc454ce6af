//! In-band authentication by DH-HMAC-CHAP (NVMe Base, 8.3.4.5), one way and both ways, and what it leaves behind
//! for TLS (secure channel concatenation).
//!
//! ```text
//! host                                                  controller
//!   AUTH_Negotiate: hashes, groups, SC_C           ->
//!                                                  <-   Challenge: C1, S1, g^y
//!   Reply: R1 (the host's secret), C2, S2, g^x     ->
//!                                                  <-   Success1: R2 (the controller's secret)
//!   Success2, both ways only                       ->
//! ```
//!
//! [`Host`] and [`Controller`] are the two ends without I/O: messages go in and come out, and the random bytes of
//! a transaction are handed in. Authentication Send and Authentication Receive carry them, on the admin queue and
//! on each I/O queue after its Connect; on the queues of a TLS connection whose PSK came from authentication there
//! is nothing left to prove.
//!
//! ```
//! use nvme_tcp::auth::{Action, Authentication, Controller, DhchapSecret, Entropy, Host, SecretHash, SecureChannel};
//!
//! let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
//! let (host_nqn, subsystem_nqn) = ("nqn.2024-01.org.example:host", "nqn.2024-01.org.example:images");
//! let none = SecureChannel::None;
//! let mut host = Host::new(settings.clone(), host_nqn, subsystem_nqn, none, Entropy::gather()?);
//! let mut controller = Controller::new(settings, host_nqn, subsystem_nqn, none, Entropy::gather()?);
//! let agreed = loop {
//!     match host.action().expect("both have the same secret") {
//!         Action::Send(message) => controller.received(&message),
//!         Action::Receive => host.received(&controller.give()),
//!         Action::Done(agreed) => break agreed,
//!     }
//! };
//! assert!(!agreed.mutual);
//! # Ok::<(), ktls::crypto::CryptoError>(())
//! ```

mod codes;
mod common;
mod controller;
mod dh;
mod error;
mod groups;
mod host;
pub mod message;
mod secret;

pub use crate::key_file::KeyFileError;
pub use common::{Agreed, Authentication, Entropy};
pub use controller::{Controller, Progress};
pub use dh::{DhError, DhGroup, DhKey, EXPONENT_LEN};
pub use error::AuthError;
pub use host::{Action, Host};
pub use message::{Reason, SecureChannel};
pub use secret::{DhchapSecret, SecretHash, SecretTextError};
