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
/// `KEYCTL_DESCRIBE` of linux/keyctl.h.
const KEYCTL_DESCRIBE: c_int = 6;
/// `KEYCTL_LINK` of linux/keyctl.h.
const KEYCTL_LINK: c_int = 8;
/// `KEYCTL_REVOKE` of linux/keyctl.h.
const KEYCTL_REVOKE: c_int = 3;
/// `KEY_SPEC_PROCESS_KEYRING` of linux/keyctl.h.
pub(crate) const PROCESS_KEYRING: c_int = -2;
/// No payload of key texts, and no description, is nearly as long.
const MAX_PAYLOAD: usize = 4096;
/// A keyring of so many bytes has 16,384 keys.
const MAX_KEYRING: usize = 1 << 16;

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
    get(KEYCTL_READ, serial, MAX_PAYLOAD)
}

/// The serial numbers of the keys in a keyring.
pub(crate) fn members(keyring: c_int) -> io::Result<Vec<c_int>> {
    let payload = get(KEYCTL_READ, keyring, MAX_KEYRING)?;
    let numbers = payload.chunks_exact(size_of::<c_int>());
    Ok(numbers.filter_map(|number| number.try_into().ok().map(c_int::from_ne_bytes)).collect())
}

/// What a key is: `type;UID;GID;permissions;description`.
pub(crate) fn describe(serial: c_int) -> io::Result<String> {
    let mut text = get(KEYCTL_DESCRIBE, serial, MAX_PAYLOAD)?;
    // With its terminating zero.
    text.pop();
    String::from_utf8(text.to_vec()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Puts a key into a keyring, too.
pub(crate) fn link(serial: c_int, keyring: c_int) -> io::Result<()> {
    // SAFETY: the operation takes numbers only.
    number(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_LINK, serial, keyring) }).map(drop)
}

/// What an operation writes about a key, `most` bytes at most.
fn get(operation: c_int, serial: c_int, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut payload = Zeroizing::new(vec![0; most]);
    // SAFETY: the buffer is writable and as long as is said.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, operation, serial, payload.as_mut_ptr(), payload.len()) };
    let len = number(result)? as usize;
    if len > payload.len() {
        let what = format!("there are {len} bytes of it, at most {most} are expected");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
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
