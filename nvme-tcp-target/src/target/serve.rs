//! One connection's thread: receive, carry out, send, and wait for more.

use std::io::IoSliceMut;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};
use nvme_tcp::driver::transport::{TransportError, Wait};
use nvme_tcp::driver::wire::{IN_PLACE_MIN, Intake, MAX_PLACES, Outlet, Received};
use nvme_tcp::proto::Door;

use super::bell::Bell;
use super::event::{Close, Refusal, TargetEvent};
use super::secure::{Secured, TLS_HANDSHAKE, secure};
use super::{Reporter, Security};
use crate::fault::{FaultPlan, Tampered};
use crate::hub::Hub;
use crate::session::{MAX_BACKLOG, Origin, Session, SessionEnd};

/// How long a receive waits at most.
const TICK: Duration = Duration::from_millis(20);
/// How long a host that broke the protocol is given to read the reason.
const LINGER: Duration = Duration::from_secs(1);
/// A command capsule without data.
const CAPSULE_LEN: usize = 72;

/// What a connection's thread needs.
pub(super) struct Connection {
    pub(super) hub: Arc<Hub>,
    pub(super) stream: TcpStream,
    /// Which listener it came in by, from 0.
    pub(super) port: u16,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) security: Security,
    pub(super) faults: FaultPlan,
    pub(super) bell: Arc<Bell>,
    pub(super) reporter: Reporter,
}

impl Connection {
    /// Serves the connection to its end.
    pub(super) fn run(self) {
        let Self { hub, stream, port, peer, local, security, faults, bell, reporter } = self;
        let ip = stream.local_addr().map_or(local.ip(), |address| address.ip());
        let refuse = |reason| {
            hub.counters.refused_connections.add(1);
            reporter.report(&TargetEvent::Refused { peer, reason });
        };
        if let Err(error) = stream.set_nodelay(true) {
            return refuse(Refusal::Resources(error));
        }
        let Secured { halves, channel, tls } = match secure(stream, &hub, &security) {
            Ok(secured) => secured,
            Err(reason) => return refuse(reason),
        };
        let (send, recv) = halves;
        let tick = TimeVal::milliseconds(TICK.as_millis() as i64);
        if let Err(errno) = setsockopt(&recv.as_fd(), ReceiveTimeout, &tick) {
            return refuse(Refusal::Resources(errno.into()));
        }
        reporter.report(&TargetEvent::Accepted { peer, local, tls });
        let origin = Origin { local: Some(ip), port, channel };
        let session = Session::new(hub.clone(), origin, bell.clone().into());
        let mut serving = Serving {
            hub: hub.clone(),
            session,
            outlet: Outlet::new(send),
            intake: Intake::new(recv).busy_poll(hub.config.busy_poll),
            tampered: faults.is_armed().then(|| Tampered::new(faults)),
            bell,
            blocked: false,
            setup_until: Instant::now() + hub.config.setup_timeout,
            taken: Instant::now(),
            received: false,
            busy: false,
            waited: false,
            lively: false,
            advanced: false,
        };
        let end = serving.run();
        let qid = serving.session.qid();
        serving.close(&end);
        match end {
            End::Refused(reason) => refuse(reason),
            End::Closed(reason) => reporter.report(&TargetEvent::Closed { peer, qid, reason }),
        }
    }
}

enum End {
    Refused(Refusal),
    Closed(Close),
}

impl<E: Into<Close>> From<E> for End {
    fn from(reason: E) -> Self {
        Self::Closed(reason.into())
    }
}

struct Serving {
    hub: Arc<Hub>,
    session: Session,
    outlet: Outlet,
    intake: Intake,
    tampered: Option<Tampered>,
    bell: Arc<Bell>,
    /// The socket takes no more for now.
    blocked: bool,
    /// When the queue has to be set up.
    setup_until: Instant,
    /// When the socket last took something, or had nothing to take.
    taken: Instant,
    /// Whether a byte was received at all.
    received: bool,
    /// More than one command came at once, so more are likely to be there: receiving is tried before waiting.
    busy: bool,
    /// Nothing was known to be here when this turn began, so that the host is likely to wait in its turn for what its
    /// first receive asks for.
    waited: bool,
    /// The last wait was for something that came.
    lively: bool,
    /// Nothing has come or was waited for since the last look at what is due.
    advanced: bool,
}

impl Serving {
    fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.turn() {
                return end;
            }
        }
    }

    /// Waits for something to do, and does it.
    fn turn(&mut self) -> Result<(), End> {
        let more = std::mem::take(&mut self.busy) || !self.intake.bytes().is_empty();
        let ready = more && self.may_receive();
        self.waited = !more && !self.blocked;
        let wait = if !ready && self.may_wait_in_receive() { Wait::Block } else { Wait::Now };
        if !ready && wait == Wait::Now {
            self.wait()?;
        }
        if !self.advanced {
            self.advance()?;
        }
        self.lively = false;
        while self.may_receive() && self.receive_some(wait)? {
            // Whoever never stops sending is held to the same deadlines.
            self.advance()?;
            let data_to_come = matches!(self.session.door(), Door::InPlace(_) | Door::Discard(_));
            // Records opened in the process may be there without the socket being readable.
            if !data_to_come && !self.intake.half().opens_in_process() {
                break;
            }
            self.waited = false;
        }
        if wait == Wait::Block && !self.lively {
            self.release();
        }
        Ok(())
    }

    /// Gives back what only a connection needs that is at work.
    fn release(&mut self) {
        self.intake.half_mut().release();
        self.outlet.half_mut().release();
        self.session.release();
    }

    /// Does what is due, and sends what the socket takes.
    fn advance(&mut self) -> Result<(), End> {
        if self.bell.is_stopped() {
            return Err(Close::Shutdown.into());
        }
        let now = Instant::now();
        self.session.poll(now)?;
        if !self.session.is_set_up() && now >= self.setup_until {
            return Err(Close::Idle.into());
        }
        self.flush(now)?;
        self.advanced = true;
        if !self.blocked {
            self.taken = now;
        } else if now >= self.taken + self.hub.config.send_timeout {
            return Err(Close::Stalled(self.hub.config.send_timeout).into());
        }
        Ok(())
    }

    fn may_receive(&self) -> bool {
        self.session.backlog() < MAX_BACKLOG
    }

    /// Whether the next thing to come is most likely a command: waiting in the receive itself then saves poll(2), and
    /// the bell is heard a [`TICK`] later at most.
    fn may_wait_in_receive(&self) -> bool {
        let idle = !self.blocked && self.may_receive() && self.session.deadline().is_none();
        idle && self.lively && self.session.is_set_up() && self.tampered.is_none()
    }

    /// Waits for the socket, the bell or the next deadline.
    fn wait(&mut self) -> Result<(), End> {
        self.advanced = false;
        let setup = (!self.session.is_set_up()).then_some(self.setup_until);
        let stalled = self.blocked.then(|| self.taken + self.hub.config.send_timeout);
        let held = self.tampered.as_ref().and_then(Tampered::next);
        let deadline = [setup, stalled, held, self.session.deadline()].into_iter().flatten().min();
        let timeout = match deadline {
            // Rounded up: not to wake too early, and again at once.
            Some(at) => {
                let ms = at.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
                PollTimeout::try_from(i32::try_from(ms).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, self.may_receive());
        wanted.set(PollFlags::POLLOUT, self.blocked);
        let mut fds = [
            PollFd::new(self.intake.half().as_fd(), wanted),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(TransportError::Io(errno.into()).into()),
        }
        if fds[1].any().unwrap_or(false) {
            self.bell.clear();
        }
        Ok(())
    }

    /// Receives what has come, with TLS all records that are there, so that their answers go out together; whether
    /// anything had.
    fn receive_some(&mut self, wait: Wait) -> Result<bool, End> {
        let mut any = false;
        while self.receive(wait)? {
            any = true;
            if !self.intake.half().has_buffered() || !self.may_receive() {
                break;
            }
        }
        Ok(any)
    }

    /// Receives what has come, if all that came before was taken, and carries out the commands in it; whether there
    /// was anything.
    fn receive(&mut self, wait: Wait) -> Result<bool, End> {
        self.advanced = false;
        if self.intake.bytes().is_empty() && !self.receive_more(wait)? {
            return Ok(false);
        }
        let now = Instant::now();
        let mut input = self.intake.bytes();
        let len = input.len();
        self.session.consume(&mut input, now)?;
        let left = input.len();
        self.intake.consume(len - left);
        self.intake.expect_long_data(self.session.expects_long_data());
        Ok(true)
    }

    fn receive_more(&mut self, wait: Wait) -> Result<bool, End> {
        let received = match self.session.door() {
            Door::InPlace(at) if at.len as usize >= IN_PLACE_MIN => {
                let mut places: [IoSliceMut<'_>; MAX_PLACES] =
                    std::array::from_fn(|_| IoSliceMut::new(&mut []));
                let count = self.session.places(at, &mut places);
                self.intake.receive_scattered(&mut places[..count], at.len as usize, wait)?
            }
            _ => self.intake.receive(None, wait)?,
        };
        if received == Received::Nothing {
            return Ok(false);
        }
        self.lively = true;
        let counters = &self.hub.counters;
        if let Received::InPlace(n) = received {
            counters.bytes_received.add(n as u64);
            self.session.advance(n, Instant::now())?;
        }
        let bytes = self.intake.bytes();
        let len = bytes.len();
        if !self.received && bytes.first() == Some(&TLS_HANDSHAKE) {
            return Err(End::Refused(Refusal::TlsOnPlain));
        }
        self.received = true;
        self.busy |= len > CAPSULE_LEN;
        counters.bytes_received.add(len as u64);
        Ok(true)
    }

    /// Sends what the socket takes now.
    fn flush(&mut self, now: Instant) -> Result<(), End> {
        if let Some(tampered) = &mut self.tampered {
            self.blocked = !tampered.flush(&mut self.session, &mut self.outlet, &self.hub.counters)?;
            return Ok(());
        }
        self.outlet.set_awaited(self.waited && !self.blocked);
        while self.session.wants_write() {
            let outlet = &self.outlet;
            self.session.fill_next_digests(|len| outlet.digest_at_once(len, usize::MAX));
            let session = &self.session;
            let sent = self.outlet.send(session.segments(), |at| session.memory(at), Wait::Now)?;
            let Some(n) = sent else {
                self.blocked = true;
                return Ok(());
            };
            self.taken = now;
            self.hub.counters.bytes_sent.add(n as u64);
            self.session.sent(n);
        }
        self.blocked = !self.outlet.half_mut().flush(Wait::Now)?;
        // Memory of commands that are sent goes back to the pool.
        Ok(self.session.settle(now)?)
    }

    /// Closes the connection; a host that broke the protocol or failed to authenticate itself is told so.
    fn close(&mut self, end: &End) {
        if let End::Closed(Close::Session(SessionEnd::Violation(_) | SessionEnd::Authentication(_))) = end {
            self.tell();
        }
        if !matches!(end, End::Closed(Close::Fault)) {
            self.outlet.half_mut().close_notify();
        }
        self.outlet.half().shutdown();
    }

    /// Sends the C2HTermReq, and reads what still comes until the host closes: closing with bytes unread
    /// would make the kernel throw the C2HTermReq away.
    fn tell(&mut self) {
        let until = Instant::now() + LINGER;
        let mut finished = false;
        while !self.bell.is_stopped() {
            if !finished {
                if self.flush_last().is_err() {
                    return;
                }
                if !self.blocked {
                    finished = true;
                    self.outlet.half_mut().close_notify();
                    // The host may have closed already.
                    drop(
                        self.outlet
                            .half()
                            .as_fd()
                            .try_clone_to_owned()
                            .map(|fd| TcpStream::from(fd).shutdown(std::net::Shutdown::Write)),
                    );
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let len = self.intake.bytes().len();
            self.intake.consume(len);
            match self.intake.receive(None, Wait::Now) {
                Ok(Received::Nothing) => {}
                // More may be there; but not for ever.
                Ok(_) => continue,
                Err(_) => return,
            }
            let timeout = PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::ZERO);
            let mut wanted = PollFlags::POLLIN;
            wanted.set(PollFlags::POLLOUT, self.blocked);
            let mut fds = [
                PollFd::new(self.intake.half().as_fd(), wanted),
                PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
            ];
            if poll(&mut fds, timeout).is_err() {
                return;
            }
        }
    }

    /// As [`flush`](Self::flush), for a session that is over.
    fn flush_last(&mut self) -> Result<(), End> {
        match self.flush(Instant::now()) {
            Err(End::Closed(Close::Session(_))) => Ok(()),
            other => other,
        }
    }
}
