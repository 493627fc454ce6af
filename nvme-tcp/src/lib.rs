//! Under construction.

pub mod nqn;
pub mod psk;
