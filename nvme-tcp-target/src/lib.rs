//! An embedded NVMe/TCP target: serves RAM and files as namespaces, plain or with TLS 1.3 by pre-shared key.
//!
//! The layers, each of which knows only what is below it:
//! ```text
//! Target     listeners, threads, sockets, TLS
//! Session    one connection: its commands carried out, without I/O
//! Hub        subsystems, controllers (associations), the discovery log
//! proto      the controller's side of NVMe/TCP, without I/O
//! namespace  where the bytes are
//! ```

mod ana;
mod channel;
mod controller;
mod fault;
mod hub;
mod keys;
mod login;
mod memory;
pub mod namespace;
pub mod proto;
mod reservation;
mod session;
mod statistics;
mod subsystem;
mod target;

pub use ana::AnaState;
pub use channel::Channel;
pub use controller::AssociationEnd;
pub use fault::{Fault, FaultPlan, Field};
pub use hub::{Config, Hub};
pub use keys::{KeyRing, PskNames};
pub use namespace::{Backend, Namespace, NamespaceError, Page, Shared};
pub use session::{Origin, Session, SessionEnd};
pub use statistics::Statistics;
pub use subsystem::{Subsystem, SubsystemError};
pub use target::{Close, Listener, Refusal, StartError, Target, TargetBuilder, TargetEvent};
