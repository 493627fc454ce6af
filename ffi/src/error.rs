//! What a thread's last failure was.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::io;
use std::ops::Deref;
use std::ptr;

use nvme_tcp::spec::completion::Status;
use nvme_tcp::{Blame, Scope};

use crate::text;

/// Scope of an error: one command failed, the rest goes on.
pub const NVME_TCP_SCOPE_COMMAND: c_int = 1;
/// Scope of an error: a queue or connection is lost, and with it the association.
pub const NVME_TCP_SCOPE_QUEUE: c_int = 2;
/// Scope of an error: the controller, or the way to it.
pub const NVME_TCP_SCOPE_CONTROLLER: c_int = 3;
/// Scope of an error: what the caller asked for, before anything was sent.
pub const NVME_TCP_SCOPE_CONFIGURATION: c_int = 4;

/// Who can mend an error: the caller, by another argument, key or address.
pub const NVME_TCP_BLAME_CALLER: c_int = 1;
/// Who can mend an error: the controller at the other end, or who runs it.
pub const NVME_TCP_BLAME_PEER: c_int = 2;
/// Who can mend an error: the network between.
pub const NVME_TCP_BLAME_NETWORK: c_int = 3;
/// Who can mend an error: this machine's kernel.
pub const NVME_TCP_BLAME_KERNEL: c_int = 4;

/// A failed call, as its thread is told. It is one pointer, so that calls that succeed carry nothing about.
#[derive(Debug)]
pub(crate) struct Failure(Box<Facts>);

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) errno: i32,
    pub(crate) scope: Scope,
    pub(crate) blame: Blame,
    pub(crate) status: Option<Status>,
    retryable: bool,
    message: String,
    hint: Option<String>,
}

impl Deref for Failure {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl Failure {
    /// A wrong argument, or another failure that this library finds by itself.
    #[cold]
    pub(crate) fn here(errno: i32, message: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            errno,
            scope: Scope::Configuration,
            blame: Blame::Caller,
            status: None,
            retryable: false,
            message: message.into(),
            hint: None,
        }))
    }

    /// With a word on what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// What it is, in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<nvme_tcp::Error> for Failure {
    #[cold]
    #[inline(never)]
    fn from(error: nvme_tcp::Error) -> Self {
        Self(Box::new(Facts {
            errno: error.errno(),
            scope: error.scope(),
            blame: error.blame(),
            status: error.status(),
            retryable: error.is_retryable(),
            message: error.to_string(),
            hint: error.hint(),
        }))
    }
}

/// A failure of a TLS connection of the caller's own.
pub(crate) fn tls(error: &ktls::Error) -> Failure {
    Failure(Box::new(Facts {
        errno: error.errno(),
        scope: Scope::Queue,
        blame: match error {
            ktls::Error::KernelTlsUnavailable { .. }
            | ktls::Error::RekeyUnsupported { .. }
            | ktls::Error::KernelOnly { .. } => Blame::Kernel,
            ktls::Error::Io(_) | ktls::Error::Truncated => Blame::Network,
            ktls::Error::RecordSize { .. } | ktls::Error::SendClosed | ktls::Error::NoNextKey { .. } => {
                Blame::Caller
            }
            _ => Blame::Peer,
        },
        status: None,
        retryable: error.is_retryable(),
        message: error.to_string(),
        hint: error.hint().map(str::to_owned),
    }))
}

/// A failed system call.
pub(crate) fn system(error: &io::Error, what: &str) -> Failure {
    Failure::here(ktls::Error::errno_of(error, libc::EIO), format!("{what}: {error}"))
}

pub(crate) fn scope_code(scope: Scope) -> c_int {
    match scope {
        Scope::Command => NVME_TCP_SCOPE_COMMAND,
        Scope::Queue => NVME_TCP_SCOPE_QUEUE,
        Scope::Controller => NVME_TCP_SCOPE_CONTROLLER,
        Scope::Configuration => NVME_TCP_SCOPE_CONFIGURATION,
    }
}

pub(crate) fn blame_code(blame: Blame) -> c_int {
    match blame {
        Blame::Caller => NVME_TCP_BLAME_CALLER,
        Blame::Peer => NVME_TCP_BLAME_PEER,
        Blame::Network => NVME_TCP_BLAME_NETWORK,
        Blame::Kernel => NVME_TCP_BLAME_KERNEL,
    }
}

/// What a thread's getters tell.
struct Last {
    failure: Failure,
    message: CString,
    hint: Option<CString>,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Keeps a failure as the thread's last.
pub(crate) fn set(failure: Failure) {
    let message = text::owned(&failure.message);
    let hint = failure.hint.as_deref().map(text::owned);
    // Refused only in a thread that is just ending.
    let _ = LAST.try_with(|last| last.replace(Some(Last { failure, message, hint })));
}

fn last<T>(otherwise: T, read: impl FnOnce(&Last) -> T) -> T {
    let found = LAST.try_with(|last| last.borrow().as_ref().map(read));
    found.ok().flatten().unwrap_or(otherwise)
}

#[cfg(test)]
pub(crate) fn last_message() -> String {
    last(String::new(), |last| last.message.to_string_lossy().into_owned())
}

/// What went wrong in the last call of this thread that failed: one sentence, without a line's end, "" if
/// none has failed yet. A call that succeeds leaves it as it is. It is valid until the thread's next call
/// that fails, or its end.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_error_message() -> *const c_char {
    last(c"".as_ptr(), |last| last.message.as_ptr())
}

/// What an operator or the caller can do about it, or NULL where nobody can say. It is valid as long as the
/// message.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_error_hint() -> *const c_char {
    last(ptr::null(), |last| last.hint.as_ref().map_or(ptr::null(), |hint| hint.as_ptr()))
}

/// How far it reaches: one of NVME_TCP_SCOPE_*, 0 if nothing has failed yet.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_error_scope() -> c_int {
    last(0, |last| scope_code(last.failure.scope))
}

/// Who can mend it: one of NVME_TCP_BLAME_*, 0 if nothing has failed yet.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_error_blame() -> c_int {
    last(0, |last| blame_code(last.failure.blame))
}

/// The status code type (SCT) of the NVMe status behind it, -1 where there is none.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_error_status_type() -> c_int {
    last(-1, |last| last.failure.status.map_or(-1, |status| status.code_type().into()))
}

/// The status code (SC) of the NVMe status behind it, -1 where there is none.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_error_status_code() -> c_int {
    last(-1, |last| last.failure.status.map_or(-1, |status| status.code().into()))
}

/// Whether the same call may succeed later with nothing changed by the caller.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_error_is_retryable() -> bool {
    last(false, |last| last.failure.retryable)
}
