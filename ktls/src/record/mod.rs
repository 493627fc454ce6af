//! TLS records: sealed and opened by this process ([`process`]) or by the kernel.

pub mod budget;
pub(crate) mod kernel;
pub mod process;

use std::fmt;

use thiserror::Error;

use crate::alert::Alert;

/// How many records in a row may carry no application data before a peer is taken for hostile.
pub const MAX_IDLE_RECORDS: u32 = 32;

/// What a protected record carries (RFC 8446, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ContentType {
    /// 21
    Alert = 21,
    /// 22
    Handshake = 22,
    /// 23
    ApplicationData = 23,
}

impl ContentType {
    /// The type with this number, where a protected record may have it: `change_cipher_spec` (20) is
    /// never protected.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::ApplicationData),
            _ => None,
        }
    }

    /// Its number on the wire.
    pub const fn to_byte(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alert => "alert",
            Self::Handshake => "handshake",
            Self::ApplicationData => "application_data",
        })
    }
}

/// A record from the peer that breaks RFC 8446, or that somebody on the way has changed. The
/// connection is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadRecord {
    /// The header's type: after the handshake of TLS 1.3 every record is `application_data` on the outside.
    #[error("its outer type is {got}, expected 23")]
    OuterType {
        /// What the header says.
        got: u8,
    },
    /// The header's version: the kernel checks it, and in TLS 1.2 this process does.
    #[error("its header has another version of TLS")]
    Header,
    /// The header's length, or the length after opening.
    #[error("it is {len} bytes long, expected at most {max}")]
    TooLong {
        /// What it is, where known; else 0.
        len: usize,
        /// What it may be.
        max: usize,
    },
    /// The header's length, which leaves no room for a content type and a tag.
    #[error("it is {len} bytes long, expected at least {min}")]
    TooShort {
        /// What it is.
        len: usize,
        /// What it must be.
        min: usize,
    },
    /// The tag: the peer has another key, or the bytes were changed on the way.
    #[error("record {sequence} is not authentic: another key, or changed on the way")]
    NotAuthentic {
        /// Its sequence number under this key, where known; else the number of records so far.
        sequence: u64,
    },
    /// The inner plaintext holds nothing but zeros.
    #[error("it holds no content type")]
    NoContentType,
    /// The content type; that of TLS 1.3 is inside.
    #[error("its content type is {got}, expected 21, 22 or 23")]
    InnerType {
        /// What the record says.
        got: u8,
    },
    /// An alert or handshake record without content.
    #[error("it is an empty {content_type} record")]
    Empty {
        /// Its type.
        content_type: ContentType,
    },
    /// An alert that is not two bytes.
    #[error("its alert is {len} bytes long, expected 2")]
    AlertLength {
        /// What it is.
        len: usize,
    },
    /// Too many records in a row without application data.
    #[error("it is one of more than {MAX_IDLE_RECORDS} in a row without application data")]
    TooManyIdle,
    /// Other records between the parts of one handshake message (RFC 8446, section 5.1).
    #[error("{content_type} stands between the parts of a handshake message")]
    Interleaved {
        /// What came instead of the rest.
        content_type: ContentType,
    },
    /// The kernel gave a control record that did not fit its place.
    #[error("the kernel cut off its content type")]
    Cut,
}

impl BadRecord {
    /// What the peer is told before the connection ends.
    pub fn alert(&self) -> Alert {
        match self {
            Self::OuterType { .. }
            | Self::NoContentType
            | Self::InnerType { .. }
            | Self::Empty { .. }
            | Self::TooManyIdle
            | Self::Interleaved { .. } => Alert::UNEXPECTED_MESSAGE,
            Self::Header => Alert::PROTOCOL_VERSION,
            Self::TooLong { .. } => Alert::RECORD_OVERFLOW,
            Self::TooShort { .. } | Self::NotAuthentic { .. } => Alert::BAD_RECORD_MAC,
            Self::AlertLength { .. } => Alert::DECODE_ERROR,
            Self::Cut => Alert::INTERNAL_ERROR,
        }
    }
}
