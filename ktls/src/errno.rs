//! Numbers of <errno.h>, for callers in other languages.

use std::io;

use crate::error::Error;
use crate::handshake::Error as Handshake;

impl Error {
    /// The number of <errno.h> that says most of it.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Io(error) => Self::errno_of(error, libc::EIO),
            Self::Handshake(
                Handshake::AlertReceived { .. }
                | Handshake::Closed { .. }
                | Handshake::FinishedMismatch
                | Handshake::BadRecordMac
                | Handshake::BinderMismatch { .. }
                | Handshake::UnknownIdentity { .. },
            ) => libc::EKEYREJECTED,
            Self::Handshake(Handshake::Config(_)) => libc::EINVAL,
            Self::Handshake(_) => libc::EPROTO,
            Self::Alert(_) | Self::PeerAtFault(_) => libc::ECONNABORTED,
            Self::Truncated => libc::ECONNRESET,
            Self::BadRecord(_) => libc::EBADMSG,
            Self::BudgetExhausted { .. } | Self::NoNextKey { .. } => libc::EKEYEXPIRED,
            Self::RekeyUnsupported { .. } | Self::KernelOnly { .. } | Self::KernelTlsUnavailable { .. } => {
                libc::EOPNOTSUPP
            }
            Self::RecordSize { .. } => libc::EMSGSIZE,
            Self::SendClosed => libc::EPIPE,
            _ => libc::EIO,
        }
    }

    /// The number of an I/O error; `otherwise` where it has none and its kind says none.
    pub fn errno_of(error: &io::Error, otherwise: i32) -> i32 {
        error.raw_os_error().unwrap_or_else(|| match error.kind() {
            io::ErrorKind::WouldBlock => libc::EAGAIN,
            io::ErrorKind::TimedOut => libc::ETIMEDOUT,
            io::ErrorKind::Interrupted => libc::EINTR,
            io::ErrorKind::NotFound => libc::ENOENT,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => libc::ECONNRESET,
            io::ErrorKind::InvalidInput => libc::EINVAL,
            _ => otherwise,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_without_a_number_gets_that_of_its_kind() {
        let of = |kind| Error::errno_of(&io::Error::from(kind), libc::EIO);
        assert_eq!(of(io::ErrorKind::TimedOut), libc::ETIMEDOUT);
        assert_eq!(of(io::ErrorKind::Other), libc::EIO);
        assert_eq!(Error::from(io::Error::from_raw_os_error(libc::ENOSPC)).errno(), libc::ENOSPC);
        assert_eq!(Error::Truncated.errno(), libc::ECONNRESET);
        assert_eq!(Error::from(Handshake::FinishedMismatch).errno(), libc::EKEYREJECTED);
    }
}
