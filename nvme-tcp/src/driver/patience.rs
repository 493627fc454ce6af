//! Asking the socket again and again before sleeping (`busy_poll`), as long as that is worth it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::transport::{RecvHalf, TransportError, Wait};
use crate::trials::Trials;

/// How long the socket is asked again and again before a receive sleeps, and whether that is worth it.
#[derive(Debug, Default)]
pub(super) struct Patience {
    limit: Duration,
    trials: Trials,
}

impl Patience {
    /// Asks for that long.
    pub(super) fn of(limit: Duration) -> Self {
        Self { limit, ..Self::default() }
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
        if self.trials.begin() {
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
                    self.trials.end(true);
                    return Ok(received);
                }
            }
            self.trials.end(false);
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

    /// So often in a row, and the next wait is one to try in.
    fn tried_in_vain(patience: &mut Patience, times: u32) {
        for _ in 0..times {
            patience.trials.end(false);
        }
        until_next(patience);
    }

    /// How many waits are left out before the next that is tried.
    fn until_next(patience: &mut Patience) -> usize {
        std::iter::repeat_with(|| patience.trials.begin()).take_while(|tries| !tries).count()
    }

    #[test]
    fn what_comes_in_time_and_what_does_not_is_noted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut half = transport::plain(stream).1;
        let mut patience = Patience::of(Duration::from_micros(50));
        tried_in_vain(&mut patience, 5);
        let nothing = patience.receive(&mut half, Wait::Block, |_, _| Ok(None::<()>)).unwrap();
        assert!(nothing.is_none());
        assert_eq!(until_next(&mut patience), 63);
        // Something that comes after the first look.
        peer.write_all(b"x").unwrap();
        let mut patience = Patience::of(Duration::from_secs(20));
        tried_in_vain(&mut patience, 6);
        let mut looks = 0;
        let mut look = |_: &mut RecvHalf, wait| {
            looks += 1;
            assert_eq!(wait, Wait::Now);
            Ok((looks > 1).then_some(looks))
        };
        assert_eq!(patience.receive(&mut half, Wait::Block, &mut look).unwrap(), Some(2));
        assert_eq!(until_next(&mut patience), 0);
        // As if it had never been in vain.
        patience.trials.end(false);
        assert_eq!(until_next(&mut patience), 1);
        // Not at all without a limit.
        let sleeps = |_: &mut RecvHalf, wait| {
            assert_eq!(wait, Wait::Block);
            Ok(Some(()))
        };
        assert_eq!(Patience::default().receive(&mut half, Wait::Block, sleeps).unwrap(), Some(()));
    }
}
