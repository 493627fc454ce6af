//! Under construction.

pub mod host;
pub mod nqn;
pub mod psk;
