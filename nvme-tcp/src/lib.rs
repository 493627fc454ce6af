//! An NVMe/TCP initiator in the user's own process, with TLS 1.3 by pre-shared key.

pub mod proto;
pub mod spec;
