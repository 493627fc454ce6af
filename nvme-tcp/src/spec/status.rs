//! The status field of a completion (Base, section 4.2.3; NVM, section 3.1.2; Zoned, section 3.1).

use std::fmt;

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
    SGL_SEGMENT_INVALID = 0x0, 0x0d, "invalid SGL segment descriptor";
    SGL_COUNT_INVALID = 0x0, 0x0e, "invalid number of SGL descriptors";
    SGL_LENGTH_INVALID = 0x0, 0x0f, "data SGL length invalid";
    METADATA_SGL_LENGTH_INVALID = 0x0, 0x10, "metadata SGL length invalid";
    SGL_TYPE_INVALID = 0x0, 0x11, "SGL descriptor type invalid";
    CMB_USE_INVALID = 0x0, 0x12, "invalid use of controller memory buffer";
    PRP_OFFSET_INVALID = 0x0, 0x13, "PRP offset invalid";
    ATOMIC_WRITE_UNIT_EXCEEDED = 0x0, 0x14, "atomic write unit exceeded";
    OPERATION_DENIED = 0x0, 0x15, "operation denied";
    SGL_OFFSET_INVALID = 0x0, 0x16, "SGL offset invalid";
    HOST_ID_INCONSISTENT = 0x0, 0x18, "host identifier inconsistent format";
    KEEP_ALIVE_EXPIRED = 0x0, 0x19, "keep alive timer expired";
    KEEP_ALIVE_INVALID = 0x0, 0x1a, "keep alive timeout invalid";
    PREEMPTED_AND_ABORTED = 0x0, 0x1b, "command aborted due to preempt and abort";
    SANITIZE_FAILED = 0x0, 0x1c, "sanitize failed";
    SANITIZE_IN_PROGRESS = 0x0, 0x1d, "sanitize in progress";
    SGL_GRANULARITY_INVALID = 0x0, 0x1e, "SGL data block granularity invalid";
    NOT_SUPPORTED_IN_CMB = 0x0, 0x1f, "command not supported for queue in CMB";
    WRITE_PROTECTED = 0x0, 0x20, "namespace is write protected";
    COMMAND_INTERRUPTED = 0x0, 0x21, "command interrupted";
    TRANSIENT_TRANSPORT = 0x0, 0x22, "transient transport error";
    LOCKDOWN = 0x0, 0x23, "command prohibited by command and feature lockdown";
    MEDIA_NOT_READY = 0x0, 0x24, "admin command media not ready";
    KEY_TAG_INVALID = 0x0, 0x25, "invalid key tag";
    DISPERSED_NOT_ENABLED = 0x0, 0x26, "host dispersed namespace support not enabled";
    HOST_ID_NOT_INITIALIZED = 0x0, 0x27, "host identifier not initialized";
    INCORRECT_KEY = 0x0, 0x28, "incorrect key";
    FDP_DISABLED = 0x0, 0x29, "flexible data placement disabled";
    PLACEMENT_HANDLES_INVALID = 0x0, 0x2a, "invalid placement handle list";
    LBA_OUT_OF_RANGE = 0x0, 0x80, "LBA out of range";
    CAPACITY_EXCEEDED = 0x0, 0x81, "capacity exceeded";
    NAMESPACE_NOT_READY = 0x0, 0x82, "namespace not ready";
    RESERVATION_CONFLICT = 0x0, 0x83, "reservation conflict";
    FORMAT_IN_PROGRESS = 0x0, 0x84, "format in progress";
    VALUE_SIZE_INVALID = 0x0, 0x85, "invalid value size";
    KEY_SIZE_INVALID = 0x0, 0x86, "invalid key size";
    KEY_DOES_NOT_EXIST = 0x0, 0x87, "KV key does not exist";
    UNRECOVERED_ERROR = 0x0, 0x88, "unrecovered error";
    KEY_EXISTS = 0x0, 0x89, "key exists";
    COMPLETION_QUEUE_INVALID = 0x1, 0x00, "completion queue invalid";
    INVALID_QUEUE_ID = 0x1, 0x01, "invalid queue identifier";
    INVALID_QUEUE_SIZE = 0x1, 0x02, "invalid queue size";
    ABORT_LIMIT_EXCEEDED = 0x1, 0x03, "abort command limit exceeded";
    AER_LIMIT_EXCEEDED = 0x1, 0x05, "asynchronous event request limit exceeded";
    INVALID_FIRMWARE_SLOT = 0x1, 0x06, "invalid firmware slot";
    INVALID_FIRMWARE_IMAGE = 0x1, 0x07, "invalid firmware image";
    INVALID_INTERRUPT_VECTOR = 0x1, 0x08, "invalid interrupt vector";
    INVALID_LOG_PAGE = 0x1, 0x09, "invalid log page";
    INVALID_FORMAT = 0x1, 0x0a, "invalid format";
    FIRMWARE_NEEDS_CONVENTIONAL_RESET = 0x1, 0x0b, "firmware activation requires conventional reset";
    INVALID_QUEUE_DELETION = 0x1, 0x0c, "invalid queue deletion";
    FEATURE_NOT_SAVEABLE = 0x1, 0x0d, "feature identifier not saveable";
    FEATURE_NOT_CHANGEABLE = 0x1, 0x0e, "feature not changeable";
    FEATURE_NOT_NAMESPACE_SPECIFIC = 0x1, 0x0f, "feature not namespace specific";
    FIRMWARE_NEEDS_SUBSYSTEM_RESET = 0x1, 0x10, "firmware activation requires NVM subsystem reset";
    FIRMWARE_NEEDS_CONTROLLER_RESET = 0x1, 0x11, "firmware activation requires controller level reset";
    FIRMWARE_EXCEEDS_MAXIMUM_TIME = 0x1, 0x12, "firmware activation requires maximum time violation";
    FIRMWARE_ACTIVATION_PROHIBITED = 0x1, 0x13, "firmware activation prohibited";
    OVERLAPPING_RANGE = 0x1, 0x14, "overlapping range";
    NAMESPACE_INSUFFICIENT_CAPACITY = 0x1, 0x15, "namespace insufficient capacity";
    NAMESPACE_ID_UNAVAILABLE = 0x1, 0x16, "namespace identifier unavailable";
    NAMESPACE_ALREADY_ATTACHED = 0x1, 0x18, "namespace already attached";
    NAMESPACE_IS_PRIVATE = 0x1, 0x19, "namespace is private";
    NAMESPACE_NOT_ATTACHED = 0x1, 0x1a, "namespace not attached";
    THIN_PROVISIONING_NOT_SUPPORTED = 0x1, 0x1b, "thin provisioning not supported";
    CONTROLLER_LIST_INVALID = 0x1, 0x1c, "controller list invalid";
    SELF_TEST_IN_PROGRESS = 0x1, 0x1d, "device self-test in progress";
    BOOT_PARTITION_WRITE_PROHIBITED = 0x1, 0x1e, "boot partition write prohibited";
    INVALID_CONTROLLER_ID = 0x1, 0x1f, "invalid controller identifier";
    INVALID_SECONDARY_STATE = 0x1, 0x20, "invalid secondary controller state";
    INVALID_RESOURCE_COUNT = 0x1, 0x21, "invalid number of controller resources";
    INVALID_RESOURCE_ID = 0x1, 0x22, "invalid resource identifier";
    SANITIZE_PROHIBITED_WITH_PMR = 0x1, 0x23, "sanitize prohibited while persistent memory region is enabled";
    INVALID_ANA_GROUP = 0x1, 0x24, "ANA group identifier invalid";
    ANA_ATTACH_FAILED = 0x1, 0x25, "ANA attach failed";
    INSUFFICIENT_CAPACITY = 0x1, 0x26, "insufficient capacity";
    ATTACHMENT_LIMIT_EXCEEDED = 0x1, 0x27, "namespace attachment limit exceeded";
    PROHIBITION_NOT_SUPPORTED = 0x1, 0x28, "prohibition of command execution not supported";
    COMMAND_SET_NOT_SUPPORTED = 0x1, 0x29, "I/O command set not supported";
    COMMAND_SET_NOT_ENABLED = 0x1, 0x2a, "I/O command set not enabled";
    COMMAND_SET_COMBINATION_REJECTED = 0x1, 0x2b, "I/O command set combination rejected";
    INVALID_COMMAND_SET = 0x1, 0x2c, "invalid I/O command set";
    IDENTIFIER_UNAVAILABLE = 0x1, 0x2d, "identifier unavailable";
    NAMESPACE_IS_DISPERSED = 0x1, 0x2e, "namespace is dispersed";
    INVALID_DISCOVERY_INFORMATION = 0x1, 0x2f, "invalid discovery information";
    ZONING_STRUCTURE_LOCKED = 0x1, 0x30, "zoning data structure locked";
    ZONING_STRUCTURE_NOT_FOUND = 0x1, 0x31, "zoning data structure not found";
    INSUFFICIENT_DISCOVERY_RESOURCES = 0x1, 0x32, "insufficient discovery resources";
    FUNCTION_DISABLED = 0x1, 0x33, "requested function disabled";
    ZONE_GROUP_ORIGINATOR_INVALID = 0x1, 0x34, "ZoneGroup originator invalid";
    INVALID_HOST = 0x1, 0x35, "invalid host";
    INVALID_SUBSYSTEM = 0x1, 0x36, "invalid NVM subsystem";
    INVALID_CONTROLLER_DATA_QUEUE = 0x1, 0x37, "invalid controller data queue";
    NOT_ENOUGH_RESOURCES = 0x1, 0x38, "not enough resources";
    CONTROLLER_SUSPENDED = 0x1, 0x39, "controller suspended";
    CONTROLLER_NOT_SUSPENDED = 0x1, 0x3a, "controller not suspended";
    CONTROLLER_DATA_QUEUE_FULL = 0x1, 0x3b, "controller data queue full";
    CONNECT_INCOMPATIBLE_FORMAT = 0x1, 0x80, "connect incompatible format, or conflicting attributes";
    CONNECT_CONTROLLER_BUSY = 0x1, 0x81, "connect controller busy, or invalid protection information";
    CONNECT_INVALID_PARAMETERS = 0x1, 0x82, "connect invalid parameters, or attempted write to read-only range";
    CONNECT_RESTART_DISCOVERY = 0x1, 0x83, "connect restart discovery, or command size limit exceeded";
    CONNECT_INVALID_HOST = 0x1, 0x84, "connect invalid host";
    INVALID_QUEUE_TYPE = 0x1, 0x85, "invalid queue type, or incompatible namespace or format";
    FAST_COPY_NOT_POSSIBLE = 0x1, 0x86, "fast copy not possible";
    OVERLAPPING_IO_RANGE = 0x1, 0x87, "overlapping I/O range";
    NAMESPACE_NOT_REACHABLE = 0x1, 0x88, "namespace not reachable";
    INSUFFICIENT_RESOURCES = 0x1, 0x89, "insufficient resources";
    DISCOVER_RESTART = 0x1, 0x90, "discover restart";
    AUTHENTICATION_REQUIRED = 0x1, 0x91, "authentication required";
    INVALID_ZONE_OPERATION = 0x1, 0xb6, "invalid zone operation request";
    ZRWA_UNAVAILABLE = 0x1, 0xb7, "zone random write area resources unavailable";
    ZONE_BOUNDARY = 0x1, 0xb8, "zone boundary error";
    ZONE_IS_FULL = 0x1, 0xb9, "zone is full";
    ZONE_IS_READ_ONLY = 0x1, 0xba, "zone is read only";
    ZONE_IS_OFFLINE = 0x1, 0xbb, "zone is offline";
    ZONE_INVALID_WRITE = 0x1, 0xbc, "zone invalid write";
    TOO_MANY_ACTIVE_ZONES = 0x1, 0xbd, "too many active zones";
    TOO_MANY_OPEN_ZONES = 0x1, 0xbe, "too many open zones";
    INVALID_ZONE_TRANSITION = 0x1, 0xbf, "invalid zone state transition";
    WRITE_FAULT = 0x2, 0x80, "write fault";
    UNRECOVERED_READ = 0x2, 0x81, "unrecovered read error";
    GUARD_CHECK = 0x2, 0x82, "end-to-end guard check error";
    APPLICATION_TAG_CHECK = 0x2, 0x83, "end-to-end application tag check error";
    REFERENCE_TAG_CHECK = 0x2, 0x84, "end-to-end reference tag check error";
    COMPARE_FAILURE = 0x2, 0x85, "compare failure";
    ACCESS_DENIED = 0x2, 0x86, "access denied";
    DEALLOCATED_BLOCK = 0x2, 0x87, "deallocated or unwritten logical block";
    STORAGE_TAG_CHECK = 0x2, 0x88, "end-to-end storage tag check error";
    INTERNAL_PATH = 0x3, 0x00, "internal path error";
    ANA_PERSISTENT_LOSS = 0x3, 0x01, "asymmetric access persistent loss";
    ANA_INACCESSIBLE = 0x3, 0x02, "asymmetric access inaccessible";
    ANA_TRANSITION = 0x3, 0x03, "asymmetric access transition";
    CONTROLLER_PATH = 0x3, 0x60, "controller pathing error";
    HOST_PATH = 0x3, 0x70, "host pathing error";
    ABORTED_BY_HOST = 0x3, 0x71, "command aborted by host";
}

/// SCT 1h from SC 80h on means one thing to a fabrics command and another to an I/O command: these are the I/O
/// commands' names for codes that the table above has under their fabrics names.
impl Status {
    /// Of an I/O command: conflicting attributes.
    pub const CONFLICTING_ATTRIBUTES: Self = Self::of(1, 0x80);
    /// Of an I/O command: invalid protection information.
    pub const INVALID_PROTECTION_INFORMATION: Self = Self::of(1, 0x81);
    /// Of an I/O command: attempted write to read-only range.
    pub const WRITE_TO_READ_ONLY_RANGE: Self = Self::of(1, 0x82);
    /// Of an I/O command: command size limit exceeded.
    pub const COMMAND_SIZE_LIMIT_EXCEEDED: Self = Self::of(1, 0x83);
    /// Of an I/O command: invalid command ID.
    pub const INVALID_COMMAND_ID: Self = Self::of(1, 0x84);
    /// Of an I/O command: incompatible namespace or format.
    pub const INCOMPATIBLE_NAMESPACE: Self = Self::of(1, 0x85);
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
    fn prints_what_the_specification_calls_it() {
        let text = Status::LBA_OUT_OF_RANGE.with_do_not_retry().to_string();
        assert_eq!(text, "LBA out of range (SCT 0h, SC 80h, do not retry)");
    }

    #[test]
    fn names_are_those_of_the_specifications() {
        let figures = [
            (0x000, "successful completion"),
            (0x00d, "invalid SGL segment descriptor"),
            (0x01b, "command aborted due to preempt and abort"),
            (0x02a, "invalid placement handle list"),
            (0x083, "reservation conflict"),
            (0x10b, "firmware activation requires conventional reset"),
            (0x110, "firmware activation requires NVM subsystem reset"),
            (0x114, "overlapping range"),
            (0x124, "ANA group identifier invalid"),
            (0x132, "insufficient discovery resources"),
            (0x183, "connect restart discovery, or command size limit exceeded"),
            (0x187, "overlapping I/O range"),
            (0x1bf, "invalid zone state transition"),
            (0x285, "compare failure"),
            (0x360, "controller pathing error"),
            (0x7c0, "vendor-specific status"),
            (0x017, "status that this library has no name for"),
        ];
        for (status, text) in figures {
            assert_eq!(Status(status).text(), text);
        }
        assert_eq!(Status::COMMAND_SIZE_LIMIT_EXCEEDED, Status(0x183));
    }
}
