//! The protocol without I/O: bytes and the time go in, bytes and events come out.
//!
//! Nothing here owns a socket, a clock, a thread or a random source, so every driver and every test runs
//! the same code. [`Connection`] holds the call contract; [`Framer`] and [`Transmit`] are the two halves
//! that the target shares with it.

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

pub use association::{AdminCommand, BringUp, Step};
pub(crate) use association::{authenticates, refused};
pub use authentication::Exchange;
pub use connection::{
    ADMIN_IN_CAPSULE, Completion, Connection, ConnectionConfig, DataFault, Door, Event, Negotiated,
    SubmitError, Transfer, Wants,
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
