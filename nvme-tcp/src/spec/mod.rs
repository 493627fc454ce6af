//! The wire, as the specifications have it: one file for each PDU, command and log page.
//!
//! Sources: NVM Express Base Specification 2.x ("Base"), NVM Command Set Specification 1.x ("NVM") and
//! NVMe/TCP Transport Specification 1.x ("TCP"). Every structure is little-endian and laid out byte for
//! byte, so it is read from and written to the wire without a copy of its own.
//!
//! ```
//! use nvme_tcp::spec::command::{Sqe, nvm};
//! use nvme_tcp::spec::completion::{Cqe, Status};
//! use zerocopy::{FromBytes, IntoBytes};
//!
//! let read: Sqe = nvm::read(1, 0x1_0000_0000, 8);
//! assert_eq!((read.as_bytes().len(), read.slba(), read.get_cdw(12)), (64, 0x1_0000_0000, 7));
//! let answer = Cqe::new(read.cid.get(), Status::LBA_OUT_OF_RANGE, 0);
//! let same = Cqe::ref_from_bytes(answer.as_bytes()).expect("sixteen bytes");
//! assert!(same.status().is(Status::LBA_OUT_OF_RANGE) && !same.status().do_not_retry());
//! ```

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
