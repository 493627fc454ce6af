//! The wire, as the specifications have it: one file for each PDU, command and log page.
//!
//! Sources: NVM Express Base Specification 2.x ("Base"), NVM Command Set Specification 1.x ("NVM") and
//! NVMe/TCP Transport Specification 1.x ("TCP"). Every structure is little-endian and laid out byte for
//! byte, so it is read from and written to the wire without a copy of its own.

pub mod async_event;
pub mod command;
pub mod completion;
pub mod digest;
pub mod discovery_log;
pub mod identify;
pub mod log_page;
pub mod malformed;
pub mod pdu;
pub mod property;
pub mod reservation;
pub mod sgl;
pub mod status;
pub mod text;
