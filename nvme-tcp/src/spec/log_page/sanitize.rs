//! LID 81h, Sanitize Status (Base, section 5.1.12.1.33).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// LID 81h. Times are in seconds, FFFFFFFFh for no estimate.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SanitizeLog {
    /// SPROG: how much is done, in parts of 65,536.
    pub progress: U16,
    /// SSTAT: the state in bits 2:0, overwrite passes in 7:3, data erased over the whole life in 8.
    pub status: U16,
    /// SCDW10: CDW10 of the Sanitize that it is about.
    pub cdw10: U32,
    /// ETO: how long an overwrite takes.
    pub overwrite_time: U32,
    /// ETBE: how long a block erase takes.
    pub block_erase_time: U32,
    /// ETCE: how long a crypto erase takes.
    pub crypto_erase_time: U32,
    /// The same three without deallocation after it.
    pub times_without_deallocation: [U32; 3],
    reserved_32: [u8; 480],
}

/// How the last sanitize went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SanitizeState {
    /// There never was one.
    Never,
    /// It is done.
    Done,
    /// It runs.
    Running,
    /// It failed.
    Failed,
    /// It is done, and blocks were deallocated although that was not wanted.
    DoneAndDeallocated,
    /// A state that this library does not know.
    Other(u8),
}

impl SanitizeLog {
    /// All zero.
    pub fn zeroed() -> Self {
        Self::new_zeroed()
    }

    /// How the last sanitize went.
    pub fn state(&self) -> SanitizeState {
        match self.status.get() as u8 & 0b111 {
            0 => SanitizeState::Never,
            1 => SanitizeState::Done,
            2 => SanitizeState::Running,
            3 => SanitizeState::Failed,
            4 => SanitizeState::DoneAndDeallocated,
            other => SanitizeState::Other(other),
        }
    }
}

const _: () = assert!(size_of::<SanitizeLog>() == 512);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_three_bits() {
        let mut log = SanitizeLog::zeroed();
        assert_eq!(log.state(), SanitizeState::Never);
        log.status.set(0x102);
        assert_eq!(log.state(), SanitizeState::Running);
        log.status.set(5);
        assert_eq!(log.state(), SanitizeState::Other(5));
    }
}
