//! Failures of the libraries as Python's exceptions, which `nvme_tcp._errors` defines.

use std::io;

use nvme_tcp::driver::transport::TransportError;
use nvme_tcp::proto::BringUpError;
use nvme_tcp::psk::KeyTextError;
use nvme_tcp::spec::completion::Status;
use nvme_tcp::{ErrorKind, Scope};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Which class of `nvme_tcp._errors` an exception has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Nvme,
    Configuration,
    Connection,
    Timeout,
    Tls,
    TlsTimeout,
    Authentication,
    KtlsUnsupported,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Nvme => "NvmeError",
            Self::Configuration => "ConfigurationError",
            Self::Connection => "NvmeConnectionError",
            Self::Timeout => "NvmeTimeoutError",
            Self::Tls => "TlsError",
            Self::TlsTimeout => "TlsTimeoutError",
            Self::Authentication => "AuthenticationError",
            Self::KtlsUnsupported => "KtlsUnsupportedError",
        }
    }
}

/// What failed, before it is an exception: it can be made without the interpreter.
#[derive(Debug)]
pub(crate) struct Failure {
    class: Class,
    errno: i32,
    message: String,
    scope: Scope,
    status: Option<Status>,
    hint: Option<String>,
    retryable: bool,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A wrong argument.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self {
            class: Class::Configuration,
            errno: libc::EINVAL,
            message: message.into(),
            scope: Scope::Configuration,
            status: None,
            hint: None,
            retryable: false,
        }
    }

    /// Something that was closed by this program.
    pub(crate) fn closed(what: &str) -> Self {
        let message = format!("the {what} is closed");
        Self { class: Class::Nvme, errno: libc::ESHUTDOWN, ..Self::argument(message) }
    }

    /// With a word on what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The exception itself.
    pub(crate) fn exception<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let fields = PyDict::new(py);
        fields.set_item("scope", scope(self.scope))?;
        fields.set_item("status_type", self.status.map(Status::code_type))?;
        fields.set_item("status_code", self.status.map(Status::code))?;
        fields.set_item("hint", self.hint.as_deref())?;
        fields.set_item("retryable", self.retryable)?;
        let class = py.import("nvme_tcp._errors")?.getattr(self.class.name())?;
        class.call_method("_make", (self.errno, &self.message), Some(&fields))
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| match failure.exception(py) {
            Ok(exception) => Self::from_value(exception),
            Err(error) => error,
        })
    }
}

impl From<nvme_tcp::Error> for Failure {
    fn from(error: nvme_tcp::Error) -> Self {
        Self {
            class: class_of(&error),
            errno: error.errno(),
            message: error.to_string(),
            scope: error.scope(),
            status: error.status(),
            hint: error.hint(),
            retryable: error.is_retryable(),
        }
    }
}

impl From<ktls::Error> for Failure {
    fn from(error: ktls::Error) -> Self {
        Self {
            class: tls_class(&error),
            errno: error.errno(),
            scope: Scope::Queue,
            status: None,
            hint: error.hint().map(Into::into),
            retryable: error.is_retryable(),
            message: error.to_string(),
        }
    }
}

impl From<KeyTextError> for Failure {
    fn from(error: KeyTextError) -> Self {
        let hint = error.hint();
        Self::argument(error.to_string()).hint(hint)
    }
}

impl From<nvme_tcp::uri::UriError> for Failure {
    fn from(error: nvme_tcp::uri::UriError) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<nvme_tcp::psk::PskError> for Failure {
    fn from(error: nvme_tcp::psk::PskError) -> Self {
        nvme_tcp::Error::from(error).into()
    }
}

impl From<nvme_tcp::psk::KeyFileError> for Failure {
    fn from(error: nvme_tcp::psk::KeyFileError) -> Self {
        nvme_tcp::Error::from(error).into()
    }
}

/// An operation of the system on something that is no connection: a plain `OSError`.
pub(crate) fn system(error: &io::Error, what: &str) -> PyErr {
    let errno = ktls::Error::errno_of(error, libc::EIO);
    pyo3::exceptions::PyOSError::new_err((errno, format!("{what}: {error}")))
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Command => "command",
        Scope::Queue => "queue",
        Scope::Controller => "controller",
        Scope::Configuration => "configuration",
    }
}

fn class_of(error: &nvme_tcp::Error) -> Class {
    match error.kind() {
        _ if error.scope() == Scope::Configuration => Class::Configuration,
        ErrorKind::UnknownFate { cause, .. } => class_of(cause),
        // The other end is gone; what it was sealed with does not matter.
        ErrorKind::Lost(TransportError::Tls(ktls::Error::Truncated)) => Class::Connection,
        ErrorKind::Tls { source, .. } | ErrorKind::Lost(TransportError::Tls(source)) => tls_class(source),
        ErrorKind::PeerSpeaksTls { .. } => Class::Tls,
        ErrorKind::BringUp(
            BringUpError::AuthenticationRequired
            | BringUpError::SecureChannelRequired
            | BringUpError::Authentication(_),
        ) => Class::Authentication,
        _ if error.status().is_some_and(|status| status.is(Status::AUTHENTICATION_REQUIRED)) => {
            Class::Authentication
        }
        _ if error.errno() == libc::ETIMEDOUT => Class::Timeout,
        ErrorKind::Connect { .. }
        | ErrorKind::Lost(_)
        | ErrorKind::NoIcResp { .. }
        | ErrorKind::Terminated { .. } => Class::Connection,
        _ => Class::Nvme,
    }
}

fn tls_class(error: &ktls::Error) -> Class {
    match error {
        ktls::Error::KernelTlsUnavailable { .. }
        | ktls::Error::KernelOnly { .. }
        | ktls::Error::RekeyUnsupported { .. } => Class::KtlsUnsupported,
        ktls::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) =>
        {
            Class::TlsTimeout
        }
        _ => Class::Tls,
    }
}
