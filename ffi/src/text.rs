//! Strings and buffers, from and to C.

use std::ffi::{CStr, CString, c_char, c_void};
use std::slice;

use crate::call::Outcome;
use crate::error::Failure;

/// A string that C gave.
///
/// # Safety
/// The pointer is NULL, or to a string that ends with a zero byte and lives as long as the result.
pub(crate) unsafe fn text<'a>(from: *const c_char, what: &str) -> Outcome<&'a str> {
    // SAFETY: this function's contract.
    let text = unsafe { maybe_text(from, what) }?;
    text.ok_or_else(|| Failure::here(libc::EINVAL, format!("{what} is NULL")))
}

/// The same, where NULL means that there is none.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn maybe_text<'a>(from: *const c_char, what: &str) -> Outcome<Option<&'a str>> {
    if from.is_null() {
        return Ok(None);
    }
    // SAFETY: this function's contract.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_str().map(Some).map_err(|_| Failure::here(libc::EINVAL, format!("{what} is not UTF-8")))
}

/// Bytes that C gave to read.
///
/// # Safety
/// The pointer is to `len` bytes, or `len` is 0; they live and do not change as long as the result.
pub(crate) unsafe fn bytes<'a>(from: *const c_void, len: usize, what: &str) -> Outcome<&'a [u8]> {
    check(from, len, what)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: this function's contract.
    Ok(unsafe { slice::from_raw_parts(from.cast(), len) })
}

/// Bytes that C gave to fill.
///
/// # Safety
/// The pointer is to `len` bytes, or `len` is 0; nobody else uses them as long as the result lives.
pub(crate) unsafe fn bytes_mut<'a>(to: *mut c_void, len: usize, what: &str) -> Outcome<&'a mut [u8]> {
    check(to, len, what)?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: this function's contract.
    Ok(unsafe { slice::from_raw_parts_mut(to.cast(), len) })
}

/// A list that C gave, or an error: NULL with a length, or longer than memory can be.
pub(crate) fn check<T>(from: *const T, len: usize, what: &str) -> Outcome<()> {
    let invalid = |text: &str| Err(Failure::here(libc::EINVAL, format!("{what} {text}")));
    match len {
        0 => Ok(()),
        _ if from.is_null() => invalid("is NULL"),
        _ if len.saturating_mul(size_of::<T>().max(1)) > isize::MAX as usize => {
            invalid("is longer than memory")
        }
        _ => Ok(()),
    }
}

/// A string for C to borrow; a zero byte would end it, so it ends it.
pub(crate) fn owned(text: &str) -> CString {
    let text = text.split('\0').next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}

/// A string in an array of a struct, cut to what fits with a zero byte at its end, between two characters.
pub(crate) fn array<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    let mut len = text.len().min(N.saturating_sub(1));
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    for (to, from) in array.iter_mut().zip(text.bytes().take(len)) {
        *to = from as c_char;
    }
    array
}

/// Copies a string and its zero byte to the caller's buffer.
///
/// # Safety
/// As [`bytes_mut`].
pub(crate) unsafe fn copy(text: &str, to: *mut c_char, len: usize, what: &str) -> Outcome<()> {
    // SAFETY: this function's contract.
    let to = unsafe { bytes_mut(to.cast(), len, what) }?;
    let Some((zero, room)) = to.get_mut(..=text.len()).and_then(|to| to.split_last_mut()) else {
        let needed = text.len() + 1;
        return Err(Failure::here(libc::ENOSPC, format!("{what} has {len} bytes, {needed} are needed")));
    };
    room.copy_from_slice(text.as_bytes());
    *zero = 0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_cut_between_characters() {
        assert_eq!(array::<4>("abc"), [b'a', b'b', b'c', 0].map(|b| b as c_char));
        assert_eq!(array::<4>("ab\u{e9}"), [b'a', b'b', 0, 0].map(|b| b as c_char));
        assert_eq!(array::<1>("a"), [0]);
    }

    #[test]
    fn a_copy_wants_room_for_its_end() {
        let mut room = [7; 4];
        // SAFETY: the array is four bytes long.
        unsafe { copy("abc", room.as_mut_ptr().cast(), 4, "it") }.unwrap();
        assert_eq!(room, *b"abc\0");
        // SAFETY: as above, and only three of them are lent.
        let failure = unsafe { copy("abc", room.as_mut_ptr().cast(), 3, "it") }.unwrap_err();
        assert_eq!(failure.errno, libc::ENOSPC);
    }
}
