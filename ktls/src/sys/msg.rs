//! sendmsg(2), recvmsg(2), sendfile(2), poll(2), with the content types of TLS records beside the data.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

use super::check;
use crate::cmsg;
use crate::socket::Wait;

/// The most slices that one call takes (`UIO_MAXIOV`).
const MAX_SLICES: usize = 1024;
/// Room for one control message with one byte, and for a second one in case the kernel adds any.
const CONTROL_LEN: usize = 64;

/// Control data with the alignment that `cmsghdr` asks for.
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

fn flags(wait: Wait) -> libc::c_int {
    match wait {
        Wait::Now => libc::MSG_DONTWAIT,
        Wait::Block => 0,
    }
}

fn empty_header() -> libc::msghdr {
    // SAFETY: msghdr is made of integers and pointers, for which zero is a valid value; musl's has
    // private padding, so it cannot be written out.
    unsafe { mem::zeroed() }
}

/// Sends `bufs`, and on a socket with `TLS_TX` keeps the last record open where `more` is to come (`MSG_MORE`).
/// There is never a SIGPIPE.
#[inline(always)]
pub(crate) fn send_data(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    more: bool,
    wait: Wait,
) -> io::Result<usize> {
    send_flagged(fd, bufs, None, flags(wait) | if more { libc::MSG_MORE } else { 0 })
}

/// Sends `bufs` and gives the number of bytes taken. On a socket with `TLS_TX`, `record_type` makes
/// them a record of that type; elsewhere it must be `None`. There is never a SIGPIPE.
pub(crate) fn send(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    record_type: Option<u8>,
    wait: Wait,
) -> io::Result<usize> {
    send_flagged(fd, bufs, record_type, flags(wait))
}

#[inline(always)]
fn send_flagged(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    record_type: Option<u8>,
    flags: libc::c_int,
) -> io::Result<usize> {
    let mut control;
    let mut header = empty_header();
    header.msg_iov = bufs.as_ptr().cast_mut().cast();
    header.msg_iovlen = bufs.len().min(MAX_SLICES) as _;
    if let Some(record_type) = record_type {
        control = Control([0; CONTROL_LEN]);
        put_record_type(&mut header, &mut control, record_type);
    }
    // SAFETY: an IoSlice is an iovec by its documentation, so msg_iov points to msg_iovlen of them, each
    // naming readable memory; msg_control is null or points into `control`. All of them outlive the
    // call, and sendmsg writes to none.
    check(unsafe { libc::sendmsg(fd.as_raw_fd(), &header, flags | libc::MSG_NOSIGNAL) })
}

/// Writes the one control message `TLS_SET_RECORD_TYPE` into `control` and points `header` to it.
fn put_record_type(header: &mut libc::msghdr, control: &mut Control, record_type: u8) {
    control.0[..cmsg::SPACE].copy_from_slice(&cmsg::set_record_type(record_type));
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = cmsg::SPACE as _;
}

/// What recvmsg(2) gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Bytes written to the buffers.
    pub(crate) len: usize,
    /// The content type of the record, or records, that they are from; `None` without `TLS_RX`, and at
    /// the end of the stream.
    pub(crate) record_type: Option<u8>,
    flags: libc::c_int,
}

impl Received {
    /// Whether the kernel had no room for the content type.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.flags & libc::MSG_CTRUNC != 0
    }

    /// Whether a control record ends here.
    pub(crate) fn ends_record(&self) -> bool {
        self.flags & libc::MSG_EOR != 0
    }
}

/// Receives into `bufs`.
pub(crate) fn receive(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>], wait: Wait) -> io::Result<Received> {
    let mut control = Control([0; CONTROL_LEN]);
    let came = receive_with(&mut control, fd, bufs, wait);
    came.map(|came| came.with_type(&control))
}

/// The same for a socket with `TLS_RX` that hardly brings anything but application data: its length, or whatever else
/// came.
#[inline(always)]
pub(crate) fn receive_data(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    wait: Wait,
) -> Result<usize, io::Result<Received>> {
    let mut control = Control([0; CONTROL_LEN]);
    match receive_with(&mut control, fd, bufs, wait) {
        Ok(came) if came.is_data(&control) => Ok(came.len),
        came => Err(came.map(|came| came.with_type(&control))),
    }
}

/// What recvmsg(2) has left beside the control data.
struct Came {
    len: usize,
    controllen: usize,
    flags: libc::c_int,
}

impl Came {
    #[inline(always)]
    fn is_data(&self, control: &Control) -> bool {
        let all = self.flags & libc::MSG_CTRUNC == 0;
        self.len > 0 && all && self.controllen == cmsg::SPACE && cmsg::is_data(&control.0)
    }

    #[inline(never)]
    fn with_type(self, control: &Control) -> Received {
        let control = control.0.get(..self.controllen).unwrap_or_default();
        Received { len: self.len, record_type: cmsg::record_type(control), flags: self.flags }
    }
}

#[inline(always)]
fn receive_with(
    control: &mut Control,
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    wait: Wait,
) -> io::Result<Came> {
    let mut header = empty_header();
    header.msg_iov = bufs.as_mut_ptr().cast();
    header.msg_iovlen = bufs.len().min(MAX_SLICES) as _;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN as _;
    // SAFETY: an IoSliceMut is an iovec by its documentation, so msg_iov points to msg_iovlen of them,
    // each naming memory that is ours to write; msg_control points to CONTROL_LEN writable bytes. All
    // of them outlive the call.
    let len = check(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, flags(wait)) })?;
    // u32 on musl, usize else.
    #[allow(clippy::unnecessary_cast)]
    Ok(Came { len, controllen: header.msg_controllen as usize, flags: header.msg_flags })
}

/// Receives into one buffer of a socket without `TLS_RX`.
pub(crate) fn receive_plain(fd: BorrowedFd<'_>, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
    let (data, len) = (buf.as_mut_ptr(), buf.len());
    // SAFETY: `data` points to `len` bytes that are ours to write for the length of the call.
    check(unsafe { libc::recv(fd.as_raw_fd(), data.cast(), len, flags(wait)) })
}

/// Sends `len` bytes of `file` from `offset` by sendfile(2), which waits as the descriptor is set, and
/// gives the number of bytes taken: 0 at the end of the file. There is never a SIGPIPE.
pub(crate) fn send_file(
    fd: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    len: usize,
) -> io::Result<usize> {
    let mut offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let _guard = PipeSignal::hold()?;
    // SAFETY: `offset` is a valid off_t for the length of the call; no other memory is involved.
    check(unsafe { libc::sendfile(fd.as_raw_fd(), file.as_raw_fd(), &mut offset, len) })
}

/// An empty file in memory (memfd_create(2)).
pub(crate) fn memory_file() -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string that lives for ever.
    let raw = unsafe { libc::memfd_create(c"ktls".as_ptr(), libc::MFD_CLOEXEC) };
    check(raw as isize)?;
    // SAFETY: `raw` was just made, is open, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Whether sendfile(2) and splice(2), which have no MSG_DONTWAIT, never wait for this socket (`O_NONBLOCK`).
pub(crate) fn never_waits(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: F_GETFL takes no argument.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) } as isize)?;
    Ok(flags & libc::O_NONBLOCK as usize != 0)
}

/// Reads from `file` at `offset` by pread(2), without moving the file's own position.
pub(crate) fn read_at(file: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (data, len) = (buf.as_mut_ptr(), buf.len());
    // SAFETY: `data` points to `len` bytes that are ours to write for the length of the call.
    check(unsafe { libc::pread(file.as_raw_fd(), data.cast(), len, offset) })
}

/// Whether `fd` is ready for `events` (`POLLIN`, `POLLOUT`) now.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, events: libc::c_short) -> io::Result<bool> {
    poll(fd, events, 0)
}

/// Waits until `fd` is ready for `events` (`POLLIN`, `POLLOUT`) or `deadline` has passed, which is an
/// error of the kind `TimedOut`.
pub(crate) fn wait_for(
    fd: BorrowedFd<'_>,
    events: libc::c_short,
    deadline: Option<Instant>,
) -> io::Result<()> {
    loop {
        let timeout = match deadline {
            None => -1,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left == Duration::ZERO {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                // Rounded up, so that a rest of less than a millisecond is not a busy loop.
                libc::c_int::try_from(left.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX)
            }
        };
        match poll(fd, events, timeout) {
            Ok(false) => {}
            Ok(true) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// poll(2) of one descriptor, for `timeout` milliseconds; -1 is for ever.
fn poll(fd: BorrowedFd<'_>, events: libc::c_short, timeout: libc::c_int) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: `poll` is one pollfd, and stays for the length of the call.
    Ok(check(unsafe { libc::poll(&mut poll, 1, timeout) } as isize)? > 0)
}

/// Keeps SIGPIPE from this thread while sendfile(2) or splice(2), which have no MSG_NOSIGNAL, may raise it.
pub(super) struct PipeSignal {
    set: libc::sigset_t,
    before: libc::sigset_t,
    /// One was pending already: it is somebody else's, and stays.
    was_pending: bool,
}

impl PipeSignal {
    pub(super) fn hold() -> io::Result<Self> {
        // SAFETY: a sigset_t is an array of integers; sigemptyset below gives it its meaning.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: `set` is a sigset_t to write to.
        unsafe { libc::sigemptyset(&mut set) };
        // SAFETY: `set` was initialised, and SIGPIPE is a signal.
        unsafe { libc::sigaddset(&mut set, libc::SIGPIPE) };
        let mut before = set;
        let mut pending = set;
        // SAFETY: `pending` is a sigset_t to write to.
        unsafe { libc::sigpending(&mut pending) };
        // SAFETY: `pending` was filled in by the call above, or is still `set`.
        let was_pending = unsafe { libc::sigismember(&pending, libc::SIGPIPE) } == 1;
        // SAFETY: both are valid sets; `before` takes the mask of this thread.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before) } {
            0 => Ok(Self { set, before, was_pending }),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Drop for PipeSignal {
    fn drop(&mut self) {
        if !self.was_pending {
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `set` and `now` are valid for the length of the call; no siginfo is asked for.
            unsafe { libc::sigtimedwait(&self.set, ptr::null_mut(), &now) };
        }
        // SAFETY: `before` is the mask that this thread had; no old mask is asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}
