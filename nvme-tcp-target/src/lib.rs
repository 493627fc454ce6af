//! An embedded NVMe/TCP target.

pub mod namespace;
pub mod proto;
