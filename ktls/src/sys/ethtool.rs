//! The ioctls of ethtool(8) whose answers are lists, which netlink does not have: a driver's own counters.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;

use super::check;

/// Of linux/sockios.h.
const SIOCETHTOOL: u32 = 0x8946;

/// Memory for a request and its answer, with a page behind it that nobody can write to.
///
/// The kernel writes as much as the driver has by then, not as much as there is room for, and a driver's list may
/// have grown since its length was asked for. Then the kernel comes to that page and gives EFAULT, instead of
/// writing over what lies behind.
pub(crate) struct Answer {
    start: NonNull<u8>,
    /// What may be read and written: whole pages.
    len: usize,
    /// With the page behind.
    mapped: usize,
}

impl Answer {
    /// At least `len` bytes, all zero.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        // SAFETY: sysconf(3) takes an integer.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(io::Error::other)?;
        let len = len.max(1).checked_next_multiple_of(page).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapped = len.checked_add(page).ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let start = unsafe { libc::mmap(ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        // From here on the mapping goes with its owner.
        let this = Self { start, len, mapped };
        // SAFETY: the pages are those of the mapping made above, without the last one, and nobody else knows them.
        let opened =
            unsafe { libc::mprotect(start.as_ptr().cast(), len, libc::PROT_READ | libc::PROT_WRITE) };
        check(opened as isize)?;
        Ok(this)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` are mapped and readable as long as `self` lives, were made as zeroes, and
        // change only through `&mut self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and writable; `&mut self` makes it the only way to them.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this address and length, and no borrow of it is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}

/// Asks ethtool about `device` in this network namespace: `request` holds one of its structs, and then the answer.
/// A name that is too long is cut.
pub(crate) fn ask(device: &str, request: &mut Answer) -> io::Result<()> {
    // SAFETY: socket(2) takes three integers.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(raw as isize)?;
    // SAFETY: `raw` was just made, is open, and nobody else knows of it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: ifreq is made of integers, arrays of them and a pointer, for which zero is a valid value.
    let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
    // One place stays zero: the name's end.
    let places = ifreq.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1);
    places.zip(device.bytes()).for_each(|(place, byte)| *place = byte as libc::c_char);
    ifreq.ifr_ifru.ifru_data = request.start.as_ptr().cast();
    // SAFETY: `ifreq` is valid for the length of the call. The kernel reads and writes from `ifru_data` on, never
    // jumping forward: `request` is ours alone, and behind it lies a page at which the kernel stops.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &mut ifreq) };
    check(result as isize).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "makes system calls")]
    fn the_page_behind_stops_the_kernel() {
        let mut answer = Answer::new(1).unwrap();
        let len = answer.bytes().len();
        assert!(answer.bytes().iter().all(|&byte| byte == 0));
        let zeroes = std::fs::File::open("/dev/zero").unwrap();
        let start = answer.bytes_mut().as_mut_ptr().cast();
        // SAFETY: the kernel may write to all of `answer`, and not to the page behind it, which is the test.
        let read = unsafe { libc::read(zeroes.as_raw_fd(), start, len + 1) };
        // Cut at the page, or refused: written beyond it is nothing.
        assert!(read <= len as isize, "{read} of {len}");
    }
}
