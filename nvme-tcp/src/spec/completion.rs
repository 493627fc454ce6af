//! The completion queue entry (Base, section 4.2).

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use super::status::Status;

/// Completion queue entry, 16 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Cqe {
    /// DW0 and DW1: what the command gives back.
    pub result: U64,
    /// SQHD: the submission queue head; FFFFh with flow control disabled.
    pub sqhd: U16,
    /// SQID: reserved in fabrics.
    pub sqid: U16,
    /// CID: the command that is completed.
    pub cid: U16,
    /// The status field with the phase bit, which fabrics do not use, at bit 0.
    pub status: U16,
}

impl Cqe {
    /// A completion of command `cid`.
    pub fn new(cid: u16, status: Status, result: u64) -> Self {
        Self { result: result.into(), cid: cid.into(), status: (status.0 << 1).into(), ..Self::default() }
    }

    /// The status, without the phase bit.
    pub fn status(&self) -> Status {
        Status(self.status.get() >> 1)
    }

    /// DW0 of the result.
    pub fn dw0(&self) -> u32 {
        self.result.get() as u32
    }
}

const _: () = assert!(size_of::<Cqe>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_goes_over_the_phase_bit() {
        let cqe = Cqe::new(7, Status::CONNECT_INVALID_HOST.with_do_not_retry(), 0);
        assert_eq!(cqe.status.get(), 0x4184 << 1);
        assert!(cqe.status().is(Status::CONNECT_INVALID_HOST));
        assert!(cqe.status().do_not_retry());
        assert!(!cqe.status().is_success());
        assert!(Cqe::default().status().is_success());
        assert_eq!(Status(0b01 << 11).retry_delay(), 1);
    }
}
