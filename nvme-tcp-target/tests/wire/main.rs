//! The target against the initiator's core and against hostile hosts, over a simulated wire.

mod admin;
mod hostile;
mod random;
mod support;
