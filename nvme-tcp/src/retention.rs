//! The kernel's key retention service: `add_key(2)`, `request_key(2)`, `keyctl(2)`.
//!
//! Unsafe because libc has no wrappers for these system calls.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;

use libc::{c_char, c_int, c_long, c_void};
use zeroize::Zeroizing;

/// `KEYCTL_READ` of linux/keyctl.h.
const KEYCTL_READ: c_int = 11;
/// `KEYCTL_REVOKE` of linux/keyctl.h.
const KEYCTL_REVOKE: c_int = 3;
/// `KEY_SPEC_PROCESS_KEYRING` of linux/keyctl.h.
pub(crate) const PROCESS_KEYRING: c_int = -2;
/// No payload of key texts is nearly as long.
const MAX_PAYLOAD: usize = 4096;

/// Puts a key of this type into a keyring, in the place of what it had under this description; the key's serial number.
pub(crate) fn add(kind: &CStr, description: &CStr, payload: &[u8], keyring: c_int) -> io::Result<c_int> {
    // SAFETY: both strings end with NUL, the payload is as long as is said, and all of them outlive the call, which
    // copies them.
    let serial = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            kind.as_ptr(),
            description.as_ptr(),
            payload.as_ptr().cast::<c_void>(),
            payload.len(),
            keyring,
        )
    };
    number(serial)
}

/// The serial number of the key of this type and description in the keyrings of the thread, the process and the session.
pub(crate) fn find(kind: &CStr, description: &CStr) -> io::Result<c_int> {
    let no_callout: *const c_char = std::ptr::null();
    // SAFETY: both strings end with NUL and outlive the call; null says that nobody is to be asked for the key.
    let serial =
        unsafe { libc::syscall(libc::SYS_request_key, kind.as_ptr(), description.as_ptr(), no_callout, 0) };
    number(serial)
}

/// The payload of a key, at most 4096 bytes.
pub(crate) fn read(serial: c_int) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut payload = Zeroizing::new(vec![0; MAX_PAYLOAD]);
    // SAFETY: the buffer is writable and as long as is said.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_READ, serial, payload.as_mut_ptr(), payload.len()) };
    let len = number(result)? as usize;
    if len > payload.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its payload is longer than 4096 bytes"));
    }
    payload.truncate(len);
    Ok(payload)
}

/// Makes a key useless for everybody.
pub(crate) fn revoke(serial: c_int) -> io::Result<()> {
    // SAFETY: the operation takes a number only.
    number(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_REVOKE, serial) }).map(drop)
}

fn number(result: c_long) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as c_int) }
}
