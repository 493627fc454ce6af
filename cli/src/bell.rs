//! A bell that can be waited for along with other descriptors, by poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// It rings from [`ring`](Self::ring) until [`silence`](Self::silence), for all who wait.
#[derive(Debug)]
pub struct Bell(EventFd);

impl Bell {
    /// A silent one.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// Rings, if it does not already.
    pub fn ring(&self) {
        // It fails at 2^64 - 1 rings, and then it rings.
        let _ = self.0.write(1);
    }

    /// Ends the ringing.
    pub fn silence(&self) {
        // It fails where it was silent.
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of `fds` can be read or has ended, for at most `limit`; says which.
pub fn readable<const N: usize>(fds: [BorrowedFd<'_>; N], limit: Option<Duration>) -> io::Result<[bool; N]> {
    let limit =
        limit.map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
    let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut fds, limit) {
        Ok(_) => Ok(fds.map(|fd| fd.any().unwrap_or(true))),
        // A signal whose handler came back: whoever waits looks again.
        Err(Errno::EINTR) => Ok([false; N]),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_until_it_is_silenced() {
        let (one, other) = (Bell::new().unwrap(), Bell::new().unwrap());
        let rings = || readable([one.as_fd(), other.as_fd()], Some(Duration::ZERO)).unwrap();
        assert_eq!(rings(), [false, false]);
        one.ring();
        one.ring();
        assert_eq!([rings(), rings()], [[true, false], [true, false]]);
        one.silence();
        one.silence();
        other.ring();
        assert_eq!(rings(), [false, true]);
    }

    #[test]
    fn an_end_is_something_to_read() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(readable([reader.as_fd()], Some(Duration::ZERO)).unwrap(), [false]);
        drop(writer);
        assert_eq!(readable([reader.as_fd()], None).unwrap(), [true]);
    }
}
