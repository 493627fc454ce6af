//! Moves the core's bytes: gathers what is sent from where it lies, scatters what is received into place.
//! Host and target share it.

pub(crate) mod ahead;
mod outlet;
#[cfg(test)]
mod shared_memory;

use std::io::IoSliceMut;
use std::time::Duration;

use super::patience::Patience;
use super::transport::{RecvHalf, TransportError, Wait};

pub use outlet::Outlet;
#[cfg(feature = "io-uring")]
pub(crate) use outlet::{MAX_SEGMENTS, gather};

/// The receive ring: what does not go into place at once.
const RING_LEN: usize = 128 * 1024;
/// How much is received past data that goes into place: the headers behind it, hardly their data.
const LOOK_AHEAD: usize = 1024;
/// The most places that one receive scatters to.
pub const MAX_PLACES: usize = 16;
/// Data shorter than this goes through the ring, where one receive serves many PDUs.
pub const IN_PLACE_MIN: usize = 4096;

/// What a receive brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes went into place; more may be in [`Intake::bytes`].
    InPlace(usize),
    /// Bytes are in [`Intake::bytes`].
    Buffered,
    /// Nothing came in time.
    Nothing,
}

/// The receiving end of a connection.
#[derive(Debug)]
pub struct Intake {
    half: RecvHalf,
    ring: Box<[u8]>,
    start: usize,
    end: usize,
    patience: Patience,
    /// Only this process can reach the memory that is received into.
    private_memory: bool,
    /// Long data is likely to come next, behind its header.
    long: bool,
    /// The last receive brought as much as there was room for.
    brimful: bool,
}

impl Intake {
    /// Receives from `half`.
    pub fn new(half: RecvHalf) -> Self {
        // Where records are opened in the process they wait in the record layer's own buffer.
        let len = if half.opens_in_process() { 0 } else { RING_LEN };
        Self {
            half,
            ring: vec![0; len].into_boxed_slice(),
            start: 0,
            end: 0,
            patience: Patience::default(),
            private_memory: true,
            long: false,
            brimful: false,
        }
    }

    /// Sets for how long a receive that has to wait tries again and again before it sleeps; where that is in vain time
    /// after time, ever fewer of them.
    #[must_use]
    pub fn busy_poll(self, busy_poll: Duration) -> Self {
        Self { patience: Patience::of(busy_poll), ..self }
    }

    /// Sets whether only this process can reach the memory that is received into, as it is without. Where others can, no
    /// place is given anything but its own bytes, and nothing is looked at there.
    #[must_use]
    pub fn private_memory(self, private_memory: bool) -> Self {
        Self { private_memory, ..self }
    }

    /// The half itself.
    pub fn half(&self) -> &RecvHalf {
        &self.half
    }

    /// The half itself.
    pub fn half_mut(&mut self) -> &mut RecvHalf {
        &mut self.half
    }

    /// As the half says; asked for at every receive.
    fn opens_in_process(&self) -> bool {
        self.ring.is_empty()
    }

    /// Received bytes that are not consumed yet.
    pub fn bytes(&self) -> &[u8] {
        if self.opens_in_process() { self.half.opened() } else { &self.ring[self.start..self.end] }
    }

    /// The first `n` of [`bytes`](Self::bytes) are done with.
    pub fn consume(&mut self, n: usize) {
        if self.opens_in_process() {
            self.half.consume(n);
        } else {
            self.start += n.min(self.end - self.start);
        }
    }

    /// Says whether long data is likely to come next. Then no more than its header is received before there is a place
    /// for it, lest it be copied from the ring.
    pub fn expect_long_data(&mut self, long: bool) {
        self.long = long;
    }

    /// Whether the socket is likely to have more: the last receive brought as much as there was room for. Not known, and
    /// never so, where records are opened in the process; of those that are here, [`RecvHalf::has_buffered`] tells.
    pub fn is_brimful(&self) -> bool {
        self.brimful
    }

    /// Whether data may be received to its place. With TLS alerts and KeyUpdates may come there, too, from kernel and
    /// process, and are looked at where they lie.
    fn may_place(&self) -> bool {
        self.private_memory || matches!(self.half, RecvHalf::Plain(_))
    }

    /// How much of the ring is received to where there is no place.
    fn ring_room(&self) -> usize {
        if self.long && self.may_place() { LOOK_AHEAD } else { self.ring.len() }
    }

    /// Where a caller that makes its own system calls may receive to, with [`bytes`](Self::bytes) empty; `None` where
    /// the kernel opens records, or holds one back.
    #[cfg(feature = "io-uring")]
    pub(crate) fn space(&mut self) -> Option<&mut [u8]> {
        if matches!(self.half, RecvHalf::Plain(_)) {
            let room = self.ring_room();
            return (self.start == self.end).then_some(&mut self.ring[..room]);
        }
        match &mut self.half {
            RecvHalf::Tls(half) => half.space(),
            RecvHalf::Plain(_) => None,
        }
    }

    /// `n` bytes were received to [`space`](Self::space).
    #[cfg(feature = "io-uring")]
    pub(crate) fn filled(&mut self, n: usize) -> Result<Received, TransportError> {
        match &mut self.half {
            RecvHalf::Plain(_) if n == 0 => Err(TransportError::Closed),
            RecvHalf::Plain(_) => {
                (self.start, self.end) = (0, n);
                self.brimful = n == self.ring_room();
                Ok(Received::Buffered)
            }
            RecvHalf::Tls(half) => {
                half.filled(n);
                // At the stream's end this is what tells whether it was cut off.
                self.receive(None, Wait::Now)
            }
        }
    }

    /// Receives, with [`bytes`](Self::bytes) empty: the next `place.len()` bytes of the stream into `place`
    /// where there is one, what follows into the ring.
    pub fn receive(&mut self, place: Option<&mut [u8]>, wait: Wait) -> Result<Received, TransportError> {
        debug_assert!(self.bytes().is_empty(), "received bytes must be consumed first");
        let place = place.filter(|place| !place.is_empty() && self.may_place());
        if self.opens_in_process() {
            return match place {
                Some(place) => self.receive_to(&mut [IoSliceMut::new(place)], wait),
                None => {
                    let filled = self
                        .patience
                        .receive(&mut self.half, wait, |half, wait| Ok(half.fill(wait)?.then_some(())))?;
                    Ok(filled.map_or(Received::Nothing, |()| Received::Buffered))
                }
            };
        }
        self.start = 0;
        self.end = 0;
        let Some(place) = place else {
            let room = self.ring_room();
            let mut ring = [IoSliceMut::new(&mut self.ring[..room])];
            let received =
                self.patience.receive(&mut self.half, wait, |half, wait| half.recv(&mut ring, wait))?;
            self.end = received.unwrap_or(0);
            self.brimful = self.end == room;
            return Ok(if received.is_some() { Received::Buffered } else { Received::Nothing });
        };
        let room = place.len();
        let look_ahead = &mut self.ring[..LOOK_AHEAD];
        let mut places = [IoSliceMut::new(place), IoSliceMut::new(look_ahead)];
        let received =
            self.patience.receive(&mut self.half, wait, |half, wait| half.recv(&mut places, wait))?;
        self.brimful = received == Some(room + LOOK_AHEAD);
        Ok(received.map_or(Received::Nothing, |n| {
            self.end = n.saturating_sub(room);
            Received::InPlace(n.min(room))
        }))
    }

    /// Receives, with [`bytes`](Self::bytes) empty: the next bytes of the stream into `places`, which are the
    /// beginning of `left` bytes of data, and what follows the data into the ring.
    pub fn receive_scattered(
        &mut self,
        places: &mut [IoSliceMut<'_>],
        left: usize,
        wait: Wait,
    ) -> Result<Received, TransportError> {
        if places.is_empty() || !self.may_place() {
            return self.receive(None, wait);
        }
        if self.opens_in_process() {
            return self.receive_to(places, wait);
        }
        debug_assert!(self.bytes().is_empty(), "received bytes must be consumed first");
        self.start = 0;
        self.end = 0;
        let room: usize = places.iter().map(|place| place.len()).sum();
        let mut all: [IoSliceMut<'_>; MAX_PLACES + 1] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let mut count = 0;
        for (slot, place) in all.iter_mut().zip(places.iter_mut().take(MAX_PLACES)) {
            *slot = IoSliceMut::new(place);
            count += 1;
        }
        // Not where data would go there that has a place of its own.
        let look_ahead = if room == left { LOOK_AHEAD } else { 0 };
        if look_ahead > 0 {
            all[count] = IoSliceMut::new(&mut self.ring[..look_ahead]);
            count += 1;
        }
        let received =
            self.patience.receive(&mut self.half, wait, |half, wait| half.recv(&mut all[..count], wait))?;
        self.brimful = received == Some(room + look_ahead);
        Ok(received.map_or(Received::Nothing, |n| {
            self.end = n.saturating_sub(room);
            Received::InPlace(n.min(room))
        }))
    }

    /// Receives into `places` alone: the record layer keeps what follows.
    fn receive_to(&mut self, places: &mut [IoSliceMut<'_>], wait: Wait) -> Result<Received, TransportError> {
        let received = self.patience.receive(&mut self.half, wait, |half, wait| half.recv(places, wait))?;
        Ok(received.map_or(Received::Nothing, Received::InPlace))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{MsgFlags, recv};

    use super::*;
    use crate::driver::transport;

    /// Waits until `len` bytes wait to be received, and leaves them there.
    pub(crate) fn arrived(socket: &TcpStream, len: usize) {
        let all = MsgFlags::MSG_PEEK | MsgFlags::MSG_WAITALL;
        assert_eq!(recv(socket.as_raw_fd(), &mut vec![0; len], all).unwrap(), len);
    }

    #[test]
    fn before_long_data_has_a_place_little_of_it_is_received() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let bytes: Vec<u8> = (0..64 * 1024_u32).map(|i| (i / 7) as u8).collect();
        peer.write_all(&bytes).unwrap();
        arrived(&stream, bytes.len());
        let mut intake = Intake::new(transport::plain(stream.try_clone().unwrap()).1);

        intake.expect_long_data(true);
        assert_eq!(intake.receive(None, Wait::Block).unwrap(), Received::Buffered);
        let head = intake.bytes().to_vec();
        assert_eq!((head.len(), intake.is_brimful()), (LOOK_AHEAD, true));
        intake.consume(head.len());
        // The data's own place, and what is behind it.
        let mut place = vec![0; 8192];
        assert_eq!(intake.receive(Some(&mut place), Wait::Block).unwrap(), Received::InPlace(8192));
        assert!(intake.is_brimful());
        let behind = intake.bytes().to_vec();
        intake.consume(behind.len());
        let mut all = [head, place, behind].concat();
        intake.expect_long_data(false);
        assert_eq!(intake.receive(None, Wait::Block).unwrap(), Received::Buffered);
        assert!(intake.bytes().len() > LOOK_AHEAD);
        assert!(!intake.is_brimful(), "all of it is here");
        all.extend(intake.bytes());
        assert!(bytes.starts_with(&all));
    }
}
