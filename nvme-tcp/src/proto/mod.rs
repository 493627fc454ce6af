//! The protocol without I/O: bytes and the time go in, bytes and events come out.
//!
//! Nothing here owns a socket, a clock, a thread or a random source, so every driver and every test runs
//! the same code. [`Connection`] holds the call contract; [`Framer`] and [`Transmit`] are the two halves
//! that the target shares with it.
//!
//! ```
//! use nvme_tcp::proto::{Connection, ConnectionConfig, Event, Segment, Transfer};
//! use nvme_tcp::spec::{command::nvm, pdu::IcResp};
//! use zerocopy::IntoBytes;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut connection = Connection::new(ConnectionConfig {
//!     depth: 8,
//!     header_digest: false,
//!     data_digest: false,
//!     digests_optional: false,
//!     maxr2t: 0,
//!     hpda: 0,
//! });
//! // What it wants sent, a driver takes to a socket: first ICReq.
//! let bytes: usize = connection.segments().map(|segment| match segment {
//!     Segment::Bytes(header) => header.len(),
//!     Segment::Payload(payload) => payload.len as usize,
//! }).sum();
//! assert_eq!(bytes, 128);
//! connection.sent(bytes);
//! // What the socket gives goes in, and events come out.
//! let answer = IcResp::new(0, false, false, 131_072);
//! let mut input = answer.as_bytes();
//! assert!(matches!(connection.consume(&mut input)?, Some(Event::Open(_))));
//! // From now on it takes commands, with data that it knows by its length only.
//! connection.submit(&nvm::read(1, 0, 8), Transfer::Read(4096), None)?;
//! assert_eq!((connection.outstanding(), connection.room()), (1, 7));
//! # Ok(())
//! # }
//! ```

mod association;
mod authentication;
mod connection;
mod events;
mod frame;
mod keep_alive;
mod multipath;
mod recovery;
mod shutdown;
mod slots;
mod traits;
mod transmit;
mod violation;

pub(crate) use association::refused;
pub use association::{AdminCommand, BringUp, Step};
pub use authentication::Exchange;
pub(crate) use authentication::authenticates;
pub use connection::{
    ADMIN_IN_CAPSULE, Completion, Connection, ConnectionConfig, DataFault, Door, Event, Foreseen, Gaps,
    Negotiated, SubmitError, Transfer, Wants,
};
pub use events::{AsyncEvents, EventStep, MAX_EVENT_REQUESTS};
pub use frame::{Frame, Framer, Pdu, Sender};
pub use keep_alive::{KeepAlive, KeepAliveAction};
pub use multipath::{Choice, PathPolicy, Paths};
pub use recovery::{AfterLoss, Recoverer, Recovery, RecoveryStep, UnknownWrites, is_repeatable};
pub use shutdown::{Shutdown, ShutdownStep};
pub use slots::CommandId;
pub use traits::{BringUpError, ControllerTraits, Settings};
pub use transmit::{Payload, Segment, Transmit};
pub use violation::Violation;
