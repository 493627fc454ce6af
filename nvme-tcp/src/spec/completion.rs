//! The completion queue entry and its status field (Base, section 4.2).

use std::fmt;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

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

/// Status: SC in bits 7:0, SCT in 10:8, CRD in 12:11, M in 13, DNR in 14 (the status field without its
/// phase bit).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($name:ident = $sct:literal, $sc:literal, $text:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!("SCT ", stringify!($sct), ", SC ", stringify!($sc), ": ", $text, ".")]
                pub const $name: Self = Self::of($sct, $sc);
            )*

            /// What the specification calls it.
            pub fn text(self) -> &'static str {
                match (self.code_type(), self.code()) {
                    $(($sct, $sc) => $text,)*
                    (7, _) => "vendor-specific status",
                    _ => "status that this library has no name for",
                }
            }
        }
    };
}

statuses! {
    SUCCESS = 0x0, 0x00, "successful completion";
    INVALID_OPCODE = 0x0, 0x01, "invalid command opcode";
    INVALID_FIELD = 0x0, 0x02, "invalid field in command";
    COMMAND_ID_CONFLICT = 0x0, 0x03, "command ID conflict";
    DATA_TRANSFER_ERROR = 0x0, 0x04, "data transfer error";
    POWER_LOSS = 0x0, 0x05, "commands aborted due to power loss notification";
    INTERNAL_ERROR = 0x0, 0x06, "internal error";
    ABORT_REQUESTED = 0x0, 0x07, "command abort requested";
    SQ_DELETED = 0x0, 0x08, "command aborted due to SQ deletion";
    FAILED_FUSED = 0x0, 0x09, "command aborted due to failed fused command";
    MISSING_FUSED = 0x0, 0x0a, "command aborted due to missing fused command";
    INVALID_NAMESPACE = 0x0, 0x0b, "invalid namespace or format";
    COMMAND_SEQUENCE_ERROR = 0x0, 0x0c, "command sequence error";
    SGL_LENGTH_INVALID = 0x0, 0x0f, "data SGL length invalid";
    SGL_TYPE_INVALID = 0x0, 0x11, "SGL descriptor type invalid";
    SGL_OFFSET_INVALID = 0x0, 0x16, "SGL offset invalid";
    HOST_ID_INCONSISTENT = 0x0, 0x18, "host identifier inconsistent format";
    KEEP_ALIVE_EXPIRED = 0x0, 0x19, "keep alive timer expired";
    KEEP_ALIVE_INVALID = 0x0, 0x1a, "keep alive timeout invalid";
    SANITIZE_FAILED = 0x0, 0x1c, "sanitize failed";
    SANITIZE_IN_PROGRESS = 0x0, 0x1d, "sanitize in progress";
    WRITE_PROTECTED = 0x0, 0x20, "namespace is write protected";
    COMMAND_INTERRUPTED = 0x0, 0x21, "command interrupted";
    TRANSIENT_TRANSPORT = 0x0, 0x22, "transient transport error";
    LOCKDOWN = 0x0, 0x23, "command prohibited by command and feature lockdown";
    MEDIA_NOT_READY = 0x0, 0x24, "admin command media not ready";
    LBA_OUT_OF_RANGE = 0x0, 0x80, "LBA out of range";
    CAPACITY_EXCEEDED = 0x0, 0x81, "capacity exceeded";
    NAMESPACE_NOT_READY = 0x0, 0x82, "namespace not ready";
    RESERVATION_CONFLICT = 0x0, 0x83, "reservation conflict";
    FORMAT_IN_PROGRESS = 0x0, 0x84, "format in progress";
    INVALID_QUEUE_ID = 0x1, 0x01, "invalid queue identifier";
    INVALID_QUEUE_SIZE = 0x1, 0x02, "invalid queue size";
    ABORT_LIMIT_EXCEEDED = 0x1, 0x03, "abort command limit exceeded";
    AER_LIMIT_EXCEEDED = 0x1, 0x05, "asynchronous event request limit exceeded";
    INVALID_LOG_PAGE = 0x1, 0x09, "invalid log page";
    FEATURE_NOT_SAVEABLE = 0x1, 0x0d, "feature identifier not saveable";
    FEATURE_NOT_CHANGEABLE = 0x1, 0x0e, "feature not changeable";
    CONNECT_INCOMPATIBLE_FORMAT = 0x1, 0x80, "connect incompatible format, or conflicting attributes";
    CONNECT_CONTROLLER_BUSY = 0x1, 0x81, "connect controller busy, or invalid protection information";
    CONNECT_INVALID_PARAMETERS = 0x1, 0x82, "connect invalid parameters, or attempted write to read-only range";
    CONNECT_RESTART_DISCOVERY = 0x1, 0x83, "connect restart discovery, or command size limit exceeded";
    CONNECT_INVALID_HOST = 0x1, 0x84, "connect invalid host";
    INVALID_QUEUE_TYPE = 0x1, 0x85, "invalid queue type";
    DISCOVER_RESTART = 0x1, 0x90, "discover restart";
    AUTHENTICATION_REQUIRED = 0x1, 0x91, "authentication required";
    WRITE_FAULT = 0x2, 0x80, "write fault";
    UNRECOVERED_READ = 0x2, 0x81, "unrecovered read error";
    GUARD_CHECK = 0x2, 0x82, "end-to-end guard check error";
    APPLICATION_TAG_CHECK = 0x2, 0x83, "end-to-end application tag check error";
    REFERENCE_TAG_CHECK = 0x2, 0x84, "end-to-end reference tag check error";
    COMPARE_FAILURE = 0x2, 0x85, "compare failure";
    ACCESS_DENIED = 0x2, 0x86, "access denied";
    DEALLOCATED_BLOCK = 0x2, 0x87, "deallocated or unwritten logical block";
    INTERNAL_PATH = 0x3, 0x00, "internal path error";
    ANA_PERSISTENT_LOSS = 0x3, 0x01, "asymmetric access persistent loss";
    ANA_INACCESSIBLE = 0x3, 0x02, "asymmetric access inaccessible";
    ANA_TRANSITION = 0x3, 0x03, "asymmetric access transition";
    CONTROLLER_PATH = 0x3, 0x60, "controller pathing error";
    HOST_PATH = 0x3, 0x70, "host pathing error";
    ABORTED_BY_HOST = 0x3, 0x71, "command aborted by host";
}

impl Status {
    /// A status of this type and code.
    pub const fn of(sct: u8, sc: u8) -> Self {
        Self((sct as u16 & 7) << 8 | sc as u16)
    }

    /// SC: the status code.
    pub fn code(self) -> u8 {
        self.0 as u8
    }

    /// SCT: the status code type.
    pub fn code_type(self) -> u8 {
        (self.0 >> 8) as u8 & 7
    }

    /// Whether the command succeeded.
    pub fn is_success(self) -> bool {
        self.0 & 0x7ff == 0
    }

    /// DNR: trying the same command again gives the same.
    pub fn do_not_retry(self) -> bool {
        self.0 & 1 << 14 != 0
    }

    /// The same status with DNR set.
    pub fn with_do_not_retry(self) -> Self {
        Self(self.0 | 1 << 14)
    }

    /// CRD: which of the controller's CRDT1 to CRDT3 to wait before a retry; 0 for none.
    pub fn retry_delay(self) -> u8 {
        (self.0 >> 11) as u8 & 3
    }

    /// Whether type and code are those of `other`, whatever the other bits say.
    pub fn is(self, other: Self) -> bool {
        self.0 & 0x7ff == other.0 & 0x7ff
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SCT {:x}h, SC {:02x}h", self.text(), self.code_type(), self.code())?;
        f.write_str(if self.do_not_retry() { ", do not retry)" } else { ")" })
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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

    #[test]
    fn prints_what_the_specification_calls_it() {
        let text = Status::LBA_OUT_OF_RANGE.with_do_not_retry().to_string();
        assert_eq!(text, "LBA out of range (SCT 0h, SC 80h, do not retry)");
    }
}
