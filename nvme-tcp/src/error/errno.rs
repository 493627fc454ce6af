//! Numbers of <errno.h>, for callers in other languages.

use nix::libc;

use super::{Error, ErrorKind, NamespaceRefusal};
use crate::driver::transport::TransportError;
use crate::key_source::KeyringError;
use crate::proto::{BringUpError, DataFault};
use crate::psk::KeyFileError;
use crate::spec::completion::Status;

impl Error {
    /// The number of <errno.h> that says most of it.
    ///
    /// ```
    /// use nvme_tcp::{Error, ErrorKind, spec::status::Status};
    /// use std::io;
    ///
    /// let full = Error::from(ErrorKind::Status { command: "Write", status: Status::CAPACITY_EXCEEDED });
    /// // For code that knows files only.
    /// assert_eq!(io::Error::from_raw_os_error(full.errno()).kind(), io::ErrorKind::StorageFull);
    /// ```
    pub fn errno(&self) -> i32 {
        match self.kind() {
            ErrorKind::KeyFile(KeyFileError::Io { source, .. }) => ktls::Error::errno_of(source, libc::EIO),
            ErrorKind::KeyFile(KeyFileError::Permissions { .. }) => libc::EACCES,
            ErrorKind::KeyFile(KeyFileError::Exists { .. }) => libc::EEXIST,
            ErrorKind::InvalidArgument(_)
            | ErrorKind::Host(_)
            | ErrorKind::Key(_)
            | ErrorKind::KeyFile(_)
            | ErrorKind::OutOfRange { .. }
            | ErrorKind::Unaligned { .. } => libc::EINVAL,
            // Another source's error has no number.
            ErrorKind::KeySource(source) => source
                .downcast_ref::<KeyringError>()
                .map_or(libc::EIO, |error| error.errno.unwrap_or(libc::EINVAL)),
            ErrorKind::Connect { source, .. } => ktls::Error::errno_of(source, libc::EHOSTUNREACH),
            ErrorKind::Route { source, .. } => ktls::Error::errno_of(source, libc::EINVAL),
            ErrorKind::Tls { source, .. } => source.errno(),
            ErrorKind::PeerSpeaksTls { .. } => libc::EPROTONOSUPPORT,
            ErrorKind::NoIcResp { .. } => libc::ECONNRESET,
            ErrorKind::BringUp(error) => match error {
                BringUpError::Refused { status, .. } if status.is(Status::CONNECT_INVALID_HOST) => {
                    libc::EACCES
                }
                BringUpError::Refused { .. } => libc::ECONNREFUSED,
                BringUpError::AuthenticationRequired
                | BringUpError::SecureChannelRequired
                | BringUpError::Authentication(_) => libc::EACCES,
                BringUpError::Failed { status, .. } => status_errno(*status),
                BringUpError::NotReady { .. } => libc::ETIMEDOUT,
                BringUpError::Unusable { .. } => libc::EOPNOTSUPP,
                _ => libc::EPROTO,
            },
            ErrorKind::Status { status, .. } => status_errno(*status),
            ErrorKind::Data { fault: DataFault::Digest, .. } => libc::EBADMSG,
            ErrorKind::Protocol(_) => libc::EPROTO,
            ErrorKind::Terminated { .. } => libc::ECONNABORTED,
            ErrorKind::Lost(TransportError::Tls(source)) => source.errno(),
            ErrorKind::Lost(_) => libc::ECONNRESET,
            ErrorKind::Timeout { .. } => libc::ETIMEDOUT,
            ErrorKind::Namespace { refusal: NamespaceRefusal::Missing, .. } => libc::ENOENT,
            ErrorKind::Namespace { .. } => libc::EOPNOTSUPP,
            ErrorKind::Entry(_) | ErrorKind::TooLong { .. } => libc::EINVAL,
            ErrorKind::Unsupported(_) => libc::EOPNOTSUPP,
            ErrorKind::Malformed(_) => libc::EPROTO,
            ErrorKind::UnknownFate { cause, .. } => cause.errno(),
            ErrorKind::Cancelled => libc::ECANCELED,
            ErrorKind::ShutDown => libc::ESHUTDOWN,
            _ => libc::EIO,
        }
    }
}

/// What Linux makes of a status (nvme_error_status in drivers/nvme/host/core.c), and a little more.
fn status_errno(status: Status) -> i32 {
    let known = [
        (Status::INVALID_OPCODE, libc::EOPNOTSUPP),
        (Status::INVALID_FIELD, libc::EOPNOTSUPP),
        (Status::INVALID_NAMESPACE, libc::ENOENT),
        (Status::LBA_OUT_OF_RANGE, libc::EINVAL),
        (Status::CAPACITY_EXCEEDED, libc::ENOSPC),
        (Status::NAMESPACE_NOT_READY, libc::EAGAIN),
        (Status::RESERVATION_CONFLICT, libc::EBADE),
        (Status::WRITE_PROTECTED, libc::EROFS),
        (Status::CONNECT_INVALID_PARAMETERS, libc::EROFS),
        (Status::UNRECOVERED_READ, libc::ENODATA),
        (Status::WRITE_FAULT, libc::ENODATA),
        (Status::GUARD_CHECK, libc::EILSEQ),
        (Status::APPLICATION_TAG_CHECK, libc::EILSEQ),
        (Status::REFERENCE_TAG_CHECK, libc::EILSEQ),
        (Status::COMPARE_FAILURE, libc::EILSEQ),
        (Status::ACCESS_DENIED, libc::EACCES),
        (Status::AUTHENTICATION_REQUIRED, libc::EACCES),
        (Status::ABORT_REQUESTED, libc::ECANCELED),
    ];
    known.into_iter().find(|(known, _)| status.is(*known)).map_or(libc::EIO, |(_, errno)| errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_number() {
        let status = |status| Error::from(ErrorKind::Status { command: "Write", status }).errno();
        assert_eq!(status(Status::CAPACITY_EXCEEDED.with_do_not_retry()), libc::ENOSPC);
        assert_eq!(status(Status::of(7, 1)), libc::EIO);
        assert_eq!(Error::from(ErrorKind::Cancelled).errno(), libc::ECANCELED);
        assert_eq!(Error::invalid("x").errno(), libc::EINVAL);
        let source = std::io::Error::from_raw_os_error(libc::EPERM);
        let route = ErrorKind::Route { what: "priority 7".into(), source };
        assert_eq!(Error::from(route).errno(), libc::EPERM);
    }
}
