//! TLS on a TCP socket whose records the Linux kernel seals and opens, and the same with records
//! sealed in the process where the kernel has no TLS.

pub mod alert;
pub mod cipher;
pub mod crypto;
mod error;
mod event;
pub mod handshake;
pub mod keys;
pub mod observe;
mod probe;
pub mod record;
pub mod secret;
mod socket;
mod sys;

pub use error::Error;
pub use event::{Event, Flow};
pub use probe::{Probe, SuiteProbe, probe};
pub use record::budget::Budget;
pub use socket::{Direction, Info, Layer, Options, RecvHalf, SealedBy, SendHalf, Socket, Wait, Why};
