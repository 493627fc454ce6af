//! An NVMe/TCP initiator in the user's own process: no root, no hugepages, no kernel driver; TLS 1.3 by
//! pre-shared key, sealed by the kernel where it can.
//!
//! ```no_run
//! use nvme_tcp::{Options, host::HostIdentity, psk::ConfiguredKey};
//!
//! # fn main() -> nvme_tcp::Result<()> {
//! # let image = vec![0; 1 << 20];
//! let key = ConfiguredKey::from_file("/etc/nvme/image.key")?;
//! let controller = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?)
//!     .tls(key)
//!     .connect()?;
//! let namespace = controller.namespace(1)?;
//! namespace.write_at(&image, 0)?;
//! namespace.flush()?;
//! controller.shutdown();
//! # Ok(())
//! # }
//! ```
//!
//! - [`Controller`] and [`Namespace`] are shared between threads; their calls block, split data at MDTS and keep
//!   their queue full.
//! - [`Queue`] belongs to one thread: submit many commands with the memory they use, poll, or wait for its
//!   descriptor in an event loop.
//! - Commands beyond reading and writing are methods of both: of [`Namespace`] compare, fused compare and write,
//!   verify, copy, Dataset Management and reservations; of [`Controller`] Identify, log pages, features, firmware,
//!   what destroys data (behind an [`EraseConsent`]), and any command at all by passthrough.
//! - [`discovery`] asks discovery controllers what there is, follows their referrals, and connects to what it found.
//! - [`psk`] has the key text, the identities and the derivations; [`host`] who this host is.
//! - [`proto`] is the protocol without I/O, and [`spec`] the wire as the standards have it, for those who bring a
//!   driver or a target of their own; [`driver`] holds what this crate's drivers share with such a target.
//!
//! What goes wrong is an [`Error`]: how far it reaches ([`Scope`]), whose turn it is ([`Blame`]), and a hint for
//! an operator. Nothing falls back from TLS to plain text.
//!
//! - [`events`] tells what a controller reports by itself, and what becomes of the association with it.
//!
//! - [`Recovery`] brings lost associations up again, and says what becomes of the commands meanwhile.
//!
//! - [`KeySource`] gives keys that change while a controller is used, and [`Controller::rotate_keys`] goes over to
//!   them with no failed and no repeated I/O.
//! - [`multipath`] makes one of several controllers of a subsystem.
//! - `tokio`, behind the feature of that name, is the same on tokio's reactor, with several paths and keys that change.
//! - [`trace`] shows what goes over the connections, PDU by PDU, with no data and no key in it.
//! - [`kernel`] drives the kernel's own initiator, and passes commands to its devices, many at a time behind the feature
//!   `io-uring`; [`Options::attach`] opens a [`Namespace`] by either, as a setting says.
//!
//! - [`Queue`]s send and wait in one system call behind the feature `io-uring`, where `Options::io_uring` asks for that
//!   and the kernel lets them.
//!
//! Programs to begin with are in `examples/`: a copy, an event loop of one's own, a discovery watcher, a failover. A
//! plain structure of [`spec`], and what the core in [`proto`] and [`driver`] is made of, has its example at the type or
//! the module that it belongs to.

mod association;
pub mod auth;
mod changed;
mod connector;
mod controller;
mod dial;
pub mod discovery;
pub mod driver;
mod error;
pub mod events;
mod generations;
pub mod host;
mod housekeeping;
pub mod kernel;
mod key_file;
mod key_source;
mod key_text;
pub mod multipath;
mod namespace;
pub mod nqn;
mod options;
pub mod proto;
pub mod psk;
mod queue;
mod retention;
mod rotation;
mod runner;
pub mod spec;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod trace;
mod trials;
pub mod uri;

pub use connector::TlsFacts;
pub use controller::{
    Activation, AsyncEvents, Controller, ControllerInfo, EraseConsent, FirmwareCommit, FormatOptions,
    HostBehavior, NamespaceIds, NewNamespace, NumberOfQueues, PowerManagement, RawCommand, RawCompletion,
    RawData,
};
pub use error::{Blame, Error, ErrorKind, NamespaceRefusal, Result, Scope, TriedIdentities};
pub use events::{Event, Events};
pub use key_source::{KeySource, KeySourceError, KeyringKey, TlsKeyring};
pub use namespace::{
    Acquire, ByteRange, DatasetAttributes, DatasetRange, Namespace, NamespaceInfo, Register, Release,
};
pub use options::{Options, Security};
pub use proto::{Recovery, UnknownWrites};
pub use queue::{Queue, QueueCompletion, Rejected};
pub use rotation::Rotation;
