//! CapsuleCmd and CapsuleResp: a command, and what became of it (TCP, sections 3.6.2.5 and 3.6.2.6).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::CommonHeader;
use crate::spec::command::Sqe;
use crate::spec::completion::Cqe;

/// Command Capsule: in-capsule data follows at PDO.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CapsuleCmd {
    /// Type 04h.
    pub common: CommonHeader,
    /// The submission queue entry.
    pub sqe: Sqe,
}

/// Response Capsule.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CapsuleResp {
    /// Type 05h.
    pub common: CommonHeader,
    /// The completion queue entry.
    pub cqe: Cqe,
}

const _: () = assert!(size_of::<CapsuleCmd>() == 72 && size_of::<CapsuleResp>() == 24);
