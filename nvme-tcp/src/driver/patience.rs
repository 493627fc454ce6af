//! Asking the socket again and again before sleeping (`busy_poll`), as long as that is worth it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::transport::{RecvHalf, TransportError, Wait};

/// How long the socket is asked again and again before a receive sleeps, and whether that is worth it.
#[derive(Debug, Default)]
pub(super) struct Patience {
    limit: Duration,
    /// How often in a row nothing came for that long.
    in_vain: u32,
    /// How many receives are to sleep at once.
    rest: u32,
}

impl Patience {
    /// One wait in 64 is the least that is tried.
    const MOST_IN_VAIN: u32 = 6;

    /// Asks for that long.
    pub(super) fn of(limit: Duration) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether this wait is one to ask the socket in.
    fn begin(&mut self) -> bool {
        if self.rest == 0 {
            return !self.limit.is_zero();
        }
        self.rest -= 1;
        false
    }

    /// Something came in time, or did not.
    fn end(&mut self, in_time: bool) {
        self.in_vain = if in_time { 0 } else { Self::MOST_IN_VAIN.min(self.in_vain + 1) };
        self.rest = (1 << self.in_vain) - 1;
    }

    /// Receives; where that has to wait, asks the socket for some time before it sleeps.
    pub(super) fn receive<T>(
        &mut self,
        half: &mut RecvHalf,
        wait: Wait,
        mut receive: impl FnMut(&mut RecvHalf, Wait) -> Result<Option<T>, TransportError>,
    ) -> Result<Option<T>, TransportError> {
        if wait == Wait::Now || self.limit.is_zero() {
            return receive(half, wait);
        }
        let received = receive(half, Wait::Now)?;
        if received.is_some() {
            return Ok(received);
        }
        if self.begin() {
            let begin = Instant::now();
            while begin.elapsed() < self.limit {
                // Unlike a receive, this takes no lock that what comes in would have to wait for.
                let mut fds = [PollFd::new(half.as_fd(), PollFlags::POLLIN)];
                if matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0)) {
                    std::hint::spin_loop();
                    continue;
                }
                let received = receive(half, Wait::Now)?;
                if received.is_some() {
                    self.end(true);
                    return Ok(received);
                }
            }
            self.end(false);
        }
        receive(half, wait)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::driver::transport;

    #[test]
    fn asking_the_socket_in_vain_is_done_ever_less_often() {
        let mut patience = Patience::of(Duration::from_micros(50));
        let mut asked = Vec::new();
        for wait in 0..400 {
            if patience.begin() {
                asked.push(wait);
                patience.end(false);
            }
        }
        assert_eq!(asked, [0, 2, 6, 14, 30, 62, 126, 190, 254, 318, 382]);
        // Once was enough.
        let until_next = (0..64).find(|_| patience.begin());
        assert!(until_next.is_some());
        patience.end(true);
        assert!((0..100).all(|_| {
            let asks = patience.begin();
            patience.end(asks);
            asks
        }));
        // Not at all without a limit.
        assert!(!Patience::default().begin());
    }

    #[test]
    fn what_comes_in_time_and_what_does_not_is_noted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut half = transport::plain(stream).1;
        let mut patience = Patience { in_vain: 5, ..Patience::of(Duration::from_micros(50)) };
        let nothing = patience.receive(&mut half, Wait::Block, |_, _| Ok(None::<()>)).unwrap();
        assert!((nothing, patience.in_vain, patience.rest) == (None, 6, 63));
        // Something that comes after the first look.
        peer.write_all(b"x").unwrap();
        let mut patience = Patience { in_vain: 6, ..Patience::of(Duration::from_secs(20)) };
        let mut looks = 0;
        let mut look = |_: &mut RecvHalf, wait| {
            looks += 1;
            assert_eq!(wait, Wait::Now);
            Ok((looks > 1).then_some(looks))
        };
        assert_eq!(patience.receive(&mut half, Wait::Block, &mut look).unwrap(), Some(2));
        assert_eq!((patience.in_vain, patience.rest), (0, 0));
    }
}
