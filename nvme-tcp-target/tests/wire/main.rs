//! The target against the initiator's core and against hostile hosts, over a simulated wire.

mod admin;
mod authentication;
mod bare;
mod commands;
mod connect;
mod events;
mod hostile;
mod queues;
mod random;
mod support;
