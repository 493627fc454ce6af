//! Sending and waiting for what comes in one system call, by io_uring(7).
//!
//! Nothing is in flight between calls: an [`exchange`](Uring::exchange) ends when both of its operations have, so that
//! memory is lent for the call alone, and an event loop goes on waiting for the socket as it is.

#![allow(unsafe_code)] // The kernel is given addresses; each stays valid until its operation has ended.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode, squeue};
use nix::errno::Errno;

use super::transport::{SendHalf, TransportError};

/// A send, a receive, and what cancels it.
const ENTRIES: u32 = 4;
const SEND: u64 = 1;
const RECEIVE: u64 = 2;
const CANCEL: u64 = 3;

/// A ring for one queue.
pub(crate) struct Uring {
    ring: IoUring,
}

/// What an [`exchange`](Uring::exchange) did.
#[derive(Debug)]
pub(crate) struct Exchanged {
    /// How many bytes were sent; an error of the kind `WouldBlock` where the socket took none.
    pub(crate) sent: io::Result<usize>,
    /// How many bytes were received, 0 at the end of the stream; `None` where none came in time, and where not all
    /// was sent.
    pub(crate) received: Option<io::Result<usize>>,
}

impl Uring {
    /// A ring, where the kernel gives one and has what is needed.
    ///
    /// # Errors
    /// There is no io_uring here: too old a kernel, or a sandbox that refuses it.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::builder().setup_coop_taskrun().build(ENTRIES);
        // Linux before 5.19 does not know the flag.
        let ring = ring.or_else(|_| IoUring::new(ENTRIES))?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::SendMsg::CODE, opcode::Recv::CODE, opcode::AsyncCancel::CODE];
        if !ring.params().is_feature_ext_arg() || needed.iter().any(|code| !probe.is_supported(*code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { ring })
    }

    /// Sends `bufs` as far as the socket takes them now and, if it took all, receives into `room`, waiting for at most
    /// `limit`.
    pub(crate) fn exchange(
        &mut self,
        fd: BorrowedFd<'_>,
        bufs: &[IoSlice<'_>],
        room: &mut [u8],
        limit: Duration,
    ) -> io::Result<Exchanged> {
        // SAFETY: all zeros is a message without anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = bufs.as_ptr().cast_mut().cast();
        message.msg_iovlen = bufs.len() as _;
        // A send that is short is a failure to the operation that is linked to it, so that nobody waits for the
        // answer to what has not gone (io_uring_enter(2), IOSQE_IO_LINK and MSG_WAITALL).
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;
        let fd = Fd(fd.as_raw_fd());
        let send = opcode::SendMsg::new(fd, &raw const message).flags(flags as u32).build();
        let receive =
            opcode::Recv::new(fd, room.as_mut_ptr(), room.len().try_into().unwrap_or(u32::MAX)).build();
        self.push(&send.flags(squeue::Flags::IO_LINK).user_data(SEND))?;
        self.push(&receive.user_data(RECEIVE))?;
        let time = Timespec::from(limit);
        // It also ends early: at a signal, or when the time is over.
        let entered = self.ring.submitter().submit_with_args(2, &SubmitArgs::new().timespec(&time));
        let flight = self.land(fd);
        match entered.map_err(|error| error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)) {
            Err(errno) if ![Errno::EINTR, Errno::ETIME].contains(&errno) => Err(errno.into()),
            // What the kernel has not taken points to memory that goes back now: the ring is not to be used again, and is
            // not, since the connection ends with the error.
            _ if !self.ring.submission().is_empty() => {
                Err(io::Error::other("io_uring took one operation of two"))
            }
            _ => Ok(flight.exchanged()),
        }
    }

    /// Ends what is still in flight, and says what came of all of it.
    fn land(&mut self, fd: Fd) -> Flight {
        let mut flight = Flight { up: 2 - self.ring.submission().len(), ..Flight::default() };
        flight.reap(&mut self.ring);
        if flight.up == 0 {
            return flight;
        }
        let cancel = opcode::AsyncCancel::new(RECEIVE).build().user_data(CANCEL);
        let mut cancelled = self.push(&cancel).is_ok();
        flight.up += usize::from(cancelled);
        while flight.up > 0 {
            let entered = self.ring.submit_and_wait(1);
            if entered.is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) && cancelled {
                // Not known to happen. The memory is the kernel's until the receive has ended: this ends it.
                // SAFETY: the call takes no memory; the caller's descriptor is open.
                let _ = unsafe { libc::shutdown(fd.0, libc::SHUT_RDWR) };
                flight.up -= self.ring.submission().len();
                cancelled = false;
            }
            flight.reap(&mut self.ring);
            std::hint::spin_loop();
        }
        flight
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: what the entry points to belongs to the caller of `exchange`, which does not return before the
        // operation has ended.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

/// What an exchange did to a stream that may be TLS.
#[derive(Debug)]
pub(crate) struct Progress {
    /// How many of the bytes to be sent were taken.
    pub(crate) accepted: usize,
    /// The socket takes no more now.
    pub(crate) blocked: bool,
    /// How many bytes came, as they are on the wire: 0 at the stream's end.
    pub(crate) received: Option<usize>,
}

impl SendHalf {
    /// Sends `bufs` and then receives to `room`, as [`Uring::exchange`] does; `None` where the kernel seals.
    pub(crate) fn exchange(
        &mut self,
        uring: &mut Uring,
        bufs: &[IoSlice<'_>],
        room: &mut [u8],
        limit: Duration,
    ) -> Result<Option<Progress>, TransportError> {
        let progress = |exchanged: Exchanged, accepted: Option<usize>, all: usize| {
            let sent = match exchanged.sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                sent => sent?,
            };
            let received = exchanged.received.transpose()?;
            let (accepted, blocked) = (accepted.unwrap_or(sent), sent < all);
            Ok::<_, TransportError>((sent, Progress { accepted, blocked, received }))
        };
        match self {
            Self::Plain(stream) => {
                let all = bufs.iter().map(|buf| buf.len()).sum();
                let exchanged = uring.exchange(stream.as_fd(), bufs, room, limit)?;
                Ok(Some(progress(exchanged, None, all)?.1))
            }
            Self::Tls(half) => {
                let Some(accepted) = half.seal_vectored(bufs)? else { return Ok(None) };
                if accepted < bufs.iter().map(|buf| buf.len()).sum() {
                    // What is sealed goes first.
                    return Ok(Some(Progress { accepted, blocked: false, received: None }));
                }
                let all = half.sealed().len();
                let exchanged = uring.exchange(half.as_fd(), &[IoSlice::new(half.sealed())], room, limit)?;
                let (sent, progress) = progress(exchanged, Some(accepted), all)?;
                half.sent(sent);
                Ok(Some(progress))
            }
        }
    }
}

/// The operations of one exchange.
#[derive(Debug, Default)]
struct Flight {
    /// How many have not ended.
    up: usize,
    sent: Option<i32>,
    received: Option<i32>,
}

impl Flight {
    /// Takes what has ended.
    fn reap(&mut self, ring: &mut IoUring) {
        for entry in ring.completion() {
            self.up = self.up.saturating_sub(1);
            match entry.user_data() {
                SEND => self.sent = Some(entry.result()),
                RECEIVE => self.received = Some(entry.result()),
                _ => {}
            }
        }
    }

    fn exchanged(&self) -> Exchanged {
        let result = |result: i32| match usize::try_from(result) {
            Ok(n) => Ok(n),
            Err(_) => Err(io::Error::from_raw_os_error(-result)),
        };
        // Cancelled by what `land` did, or because the send was short.
        let received = self.received.filter(|result| ![-libc::ECANCELED, -libc::EINTR].contains(result));
        Exchanged { sent: result(self.sent.unwrap_or(-libc::EAGAIN)), received: received.map(result) }
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn uring(name: &str) -> Option<Uring> {
        Uring::new().inspect_err(|error| eprintln!("SKIPPED {name}: no io_uring: {error}")).ok()
    }

    #[test]
    fn what_is_sent_is_answered_in_the_same_call() {
        let Some(mut uring) = uring("what_is_sent_is_answered_in_the_same_call") else { return };
        let (near, mut far) = pair();
        let echo = std::thread::spawn(move || {
            let mut bytes = [0; 6];
            far.read_exact(&mut bytes).unwrap();
            far.write_all(&bytes).unwrap();
        });
        let bufs = [IoSlice::new(b"one"), IoSlice::new(b"two")];
        let mut room = [0; 100];
        let done = uring.exchange(near.as_fd(), &bufs, &mut room, LONG).unwrap();
        assert_eq!((done.sent.unwrap(), done.received.unwrap().unwrap()), (6, 6));
        assert_eq!(&room[..6], b"onetwo");
        echo.join().unwrap();
        // The stream's end.
        let done = uring.exchange(near.as_fd(), &[], &mut room, LONG).unwrap();
        assert_eq!(done.received.unwrap().unwrap(), 0);
    }

    #[test]
    fn a_wait_in_vain_leaves_nothing_behind() {
        let Some(mut uring) = uring("a_wait_in_vain_leaves_nothing_behind") else { return };
        let (near, mut far) = pair();
        let mut room = [0; 8];
        for _ in 0..3 {
            let begun = Instant::now();
            let limit = Duration::from_millis(20);
            let done = uring.exchange(near.as_fd(), &[IoSlice::new(b"x")], &mut room, limit).unwrap();
            assert!(done.sent.is_ok() && done.received.is_none() && begun.elapsed() >= limit);
        }
        // Had a receive been left, these bytes would go where it pointed.
        let mut other = [0; 8];
        far.write_all(b"later").unwrap();
        let done = uring.exchange(near.as_fd(), &[], &mut other, LONG).unwrap();
        assert_eq!((done.received.unwrap().unwrap(), &other[..5], room), (5, &b"later"[..], [0; 8]));
    }

    #[test]
    fn nobody_waits_for_the_answer_to_what_has_not_gone() {
        let Some(mut uring) = uring("nobody_waits_for_the_answer_to_what_has_not_gone") else { return };
        let (near, far) = pair();
        setsockopt(&near, sockopt::SndBuf, &(64 << 10)).unwrap();
        let bytes = vec![7; 32 << 20];
        let mut room = [0; 8];
        let begun = Instant::now();
        // The far end's buffer grows with what comes, so that it may take several to fill it.
        let refused = loop {
            let done = uring.exchange(near.as_fd(), &[IoSlice::new(&bytes)], &mut room, LONG).unwrap();
            assert!(done.received.is_none() && begun.elapsed() < LONG);
            match done.sent {
                Ok(sent) => assert!(sent < bytes.len()),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(far);
    }
}
