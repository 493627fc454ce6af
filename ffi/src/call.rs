//! The boundary that every call passes.

use std::any::Any;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{self, Failure};

/// How a call ends.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// What a C function can give back in place of a result: -errno.
pub(crate) trait Code {
    /// The value for a failure.
    fn failed(errno: i32) -> Self;
}

impl Code for i32 {
    fn failed(errno: i32) -> Self {
        -errno
    }
}

impl Code for libc::ssize_t {
    fn failed(errno: i32) -> Self {
        -(errno as Self)
    }
}

/// Runs a call: a failure becomes the thread's last error, and so does a panic, which must not cross into C.
#[inline(always)]
pub(crate) fn guard<R: Code>(work: impl FnOnce() -> Outcome<R>) -> R {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => result,
        Ok(Err(failure)) => R::failed(failed(failure)),
        Err(panic) => R::failed(failed(fault(&*panic))),
    }
}

/// Keeps a failure for the thread; its number.
#[cold]
#[inline(never)]
fn failed(failure: Failure) -> i32 {
    let errno = failure.errno;
    error::set(failure);
    errno
}

/// The same for a call that has no result but 0.
#[inline(always)]
pub(crate) fn call(work: impl FnOnce() -> Outcome<()>) -> i32 {
    guard(|| work().map(|()| 0))
}

/// The same for a call that gives a plain value, and `otherwise` where it fails.
pub(crate) fn value<T>(otherwise: T, work: impl FnOnce() -> Outcome<T>) -> T {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => value,
        Ok(Err(failure)) => {
            error::set(failure);
            otherwise
        }
        Err(panic) => {
            error::set(fault(&*panic));
            otherwise
        }
    }
}

/// A fault of this library, which ended in a panic.
#[cold]
fn fault(panic: &(dyn Any + Send)) -> Failure {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Failure::here(libc::ENOTRECOVERABLE, format!("a fault of libnvme_tcp: {said}"))
}

/// Counts the forks that lie between the program's start and this process.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Which process made a handle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Born(u32);

impl Born {
    /// In this process.
    pub(crate) fn here() -> Self {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            extern "C" fn in_child() {
                FORKS.fetch_add(1, Ordering::Relaxed);
            }
            // SAFETY: the handler only adds to an atomic number, which is allowed after fork, and the library
            // is never unloaded. (Without memory for it, forks go unnoticed, as with most libraries.)
            let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this is the process that made it.
    pub(crate) fn is_here(&self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

/// Something that C programs hold on to.
pub(crate) trait Handle {
    /// What it is, for messages.
    const NAME: &'static str;

    /// Which process made it.
    fn born(&self) -> &Born;
}

/// Implements [`Handle`] by a field `born`.
macro_rules! handle {
    ($type:ty, $name:literal) => {
        impl $crate::call::Handle for $type {
            const NAME: &'static str = $name;

            fn born(&self) -> &$crate::call::Born {
                &self.born
            }
        }
    };
}
pub(crate) use handle;

/// What a handle that cannot be used fails with: one of another process, or none at all.
#[cold]
fn unusable(name: &str, there: bool) -> Failure {
    if !there {
        return Failure::here(libc::EINVAL, format!("the {name} is NULL"));
    }
    Failure::here(libc::ECHILD, format!("this {name} was made before fork(2), by another process"))
        .hint("make it in the process that uses it")
}

/// The handle behind a pointer.
#[inline(always)]
pub(crate) fn get<T: Handle>(handle: Option<&T>) -> Outcome<&T> {
    match handle {
        Some(handle) if handle.born().is_here() => Ok(handle),
        unfit => Err(unusable(T::NAME, unfit.is_some())),
    }
}

/// The same, to change it.
#[inline(always)]
pub(crate) fn get_mut<T: Handle>(handle: Option<&mut T>) -> Outcome<&mut T> {
    match handle {
        Some(handle) if handle.born().is_here() => Ok(handle),
        unfit => Err(unusable(T::NAME, unfit.is_some())),
    }
}

/// Frees a handle. In a forked child its memory stays as it is: its sockets and locks are the parent's too.
pub(crate) fn free<T: Handle>(handle: Option<Box<T>>) {
    let Some(handle) = handle else { return };
    value((), || {
        match handle.born().is_here() {
            true => drop(handle),
            false => std::mem::forget(handle),
        }
        Ok(())
    });
}

/// A place that the caller gave for a result.
pub(crate) struct Place<'a, T>(&'a mut MaybeUninit<T>);

impl<T> Place<'_, T> {
    /// Puts the result there.
    pub(crate) fn put(self, value: T) {
        self.0.write(value);
    }
}

impl<T> Place<'_, *mut T> {
    /// Hands a new handle over.
    pub(crate) fn give(self, value: T) {
        self.0.write(Box::into_raw(Box::new(value)));
    }
}

/// The place for a result, which must not be NULL. It is asked for before any work is done.
pub(crate) fn place<T>(out: Option<&mut MaybeUninit<T>>) -> Outcome<Place<'_, T>> {
    out.map(Place).ok_or_else(|| Failure::here(libc::EINVAL, "the pointer for the result is NULL"))
}

/// A struct whose first member says how much of it the caller knows.
///
/// # Safety
/// The type is `repr(C)`, its first member is a `usize`, its size in bytes, and every pattern of bits is a
/// value of it.
pub(crate) unsafe trait Sizing: Copy {
    /// The size that its first release had.
    const FIRST: usize;
    /// Its own size in it.
    fn with_size(self, size: usize) -> Self;
}

/// Implements [`Sizing`] by a field `size`. `$last` is the last member that the first release had.
macro_rules! sizing {
    ($type:ty, $last:ident: $member:ty) => {
        // SAFETY: the structs that this is used for are `repr(C)`, begin with `size: usize`, and hold
        // numbers, pointers and arrays of both.
        unsafe impl $crate::call::Sizing for $type {
            const FIRST: usize = std::mem::offset_of!($type, $last) + size_of::<$member>();

            fn with_size(self, size: usize) -> Self {
                Self { size, ..self }
            }
        }
    };
}
pub(crate) use sizing;

/// Fills in as much of a struct as the caller knows.
///
/// # Safety
/// The pointer is NULL, or to a struct of this type as far as its first member says.
pub(crate) unsafe fn fill<T: Sizing>(out: *mut T, make: impl FnOnce() -> Outcome<T>) -> Outcome<()> {
    // SAFETY: this function's contract.
    let (size, known) = unsafe { known::<T>(out) }?;
    let value = make()?.with_size(size);
    let from = (&raw const value).cast::<u8>();
    // SAFETY: `size` bytes are there, and `known` is neither more than that nor than the value has.
    unsafe { std::ptr::copy_nonoverlapping(from, out.cast::<u8>(), known) };
    Ok(())
}

/// Reads as much of a struct as the caller knows; the rest is `empty`'s.
///
/// # Safety
/// As [`fill`].
pub(crate) unsafe fn read<T: Sizing>(from: *const T, empty: T) -> Outcome<T> {
    // SAFETY: this function's contract.
    let (_, known) = unsafe { known::<T>(from) }?;
    let mut value = empty;
    let to = (&raw mut value).cast::<u8>();
    // SAFETY: `known` is neither more than the caller has nor than the value has, and any bytes are a value.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), to, known) };
    Ok(value)
}

/// The size that the caller says a struct has, and how much of that this library knows.
///
/// # Safety
/// As [`fill`].
unsafe fn known<T: Sizing>(at: *const T) -> Outcome<(usize, usize)> {
    if at.is_null() {
        return Err(Failure::here(libc::EINVAL, "a struct is NULL"));
    }
    // SAFETY: the first member is the size, which the caller has set.
    let size = unsafe { at.cast::<usize>().read() };
    if size < T::FIRST {
        let first = T::FIRST;
        return Err(Failure::here(
            libc::EINVAL,
            format!("the struct's size is {size}, expected {first} or more"),
        )
        .hint("set the member `size` to sizeof of the struct before the call"));
    }
    Ok((size, size.min(size_of::<T>())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_of_the_thread() {
        assert_eq!(call(|| panic!("so it is")), -libc::ENOTRECOVERABLE);
        let message = error::last_message();
        assert!(message.contains("so it is"), "{message}");
        assert_eq!(value(7, || panic!("{}", 1)), 7);
        assert_eq!(guard::<libc::ssize_t>(|| Err(Failure::here(5, "five"))), -5);
    }
}
