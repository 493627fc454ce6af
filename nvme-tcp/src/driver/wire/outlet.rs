//! The sending end of a connection: gathers what is sent from where it lies.

use std::io::IoSlice;
use std::os::fd::AsFd;

use crate::driver::transport::{SendHalf, TransportError, Wait};
use crate::proto::{Payload, Segment};

/// The most pieces that one system call gathers.
pub(crate) const MAX_SEGMENTS: usize = 64;
/// Less than this is nearly always all there is, and the room for more takes longer to make than to fill.
const FEW_SEGMENTS: usize = 5;
/// Where short data goes to an end that waits for it, so much of it goes at once, in bytes: the first portion wakes
/// that end, which works on it while the next are on their way.
const PORTION: usize = 32 * 1024;
/// A PDU's data is short below this, in bytes. Of longer ones the other end has enough to do, and each call is one more
/// that may have to wake it.
const SHORT: usize = 32 * 1024;

/// The sending end of a connection.
#[derive(Debug)]
pub struct Outlet {
    half: SendHalf,
    /// The other end is likely to do nothing until it gets what is sent next.
    awaited: bool,
}

impl Outlet {
    /// Sends on `half`.
    pub fn new(half: SendHalf) -> Self {
        Self { half, awaited: false }
    }

    /// The half itself.
    pub fn half(&self) -> &SendHalf {
        &self.half
    }

    /// The half itself.
    pub fn half_mut(&mut self) -> &mut SendHalf {
        &mut self.half
    }

    /// Says whether the other end is likely to do nothing until it gets what is sent next. Then short data goes in
    /// portions, but not with TLS: how much is sealed for one call is the record layer's to say.
    pub fn set_awaited(&mut self, awaited: bool) {
        self.awaited = awaited && matches!(self.half, SendHalf::Plain(_));
    }

    /// How much data is to have its digests before anything is sent, in bytes, where the next is `len` bytes long; of
    /// what does not go in portions `most`.
    pub fn digest_at_once(&self, len: u32, most: usize) -> usize {
        if self.awaited && (len as usize) < SHORT { PORTION } else { most }
    }

    /// A descriptor of the same socket, to wait on while the outlet itself is out of reach.
    pub fn as_owned_fd(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.half.as_fd().try_clone_to_owned()
    }

    /// Sends the first of `segments`, as many as one call takes; `resolve` knows where a payload lies, and gives what
    /// of it lies in one piece. Says how many bytes went, `None` where none could go now.
    pub fn send<'a>(
        &mut self,
        segments: impl Iterator<Item = Segment<'a>> + Clone,
        resolve: impl Fn(Payload) -> &'a [u8],
        wait: Wait,
    ) -> Result<Option<usize>, TransportError> {
        let (pieces, count) = gather::<FEW_SEGMENTS>(segments.clone(), &resolve);
        if count < FEW_SEGMENTS {
            return self.half.send(&pieces[..count], wait);
        }
        let (pieces, count) = gather::<MAX_SEGMENTS>(segments, resolve);
        let pieces = &pieces[..count];
        self.half.send(if self.awaited { portion(pieces) } else { pieces }, wait)
    }
}

/// The first of `pieces`, as many as go at once where the other end waits for them. A last portion may be half as long
/// again.
fn portion<'a, 'b>(pieces: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    // By their mean: half of the pieces are headers, or more data where it lies in several places.
    if total <= PORTION + PORTION / 2 || total / pieces.len() >= SHORT / 2 {
        return pieces;
    }
    let mut end = 0;
    let whole = pieces.iter().position(|piece| {
        end += piece.len();
        end >= PORTION
    });
    match whole {
        // What is left may be as little as a digest, which nobody should wait for.
        Some(last) if total - end > PORTION / 2 => &pieces[..=last],
        _ => pieces,
    }
}

/// The first of `segments` where they lie, as many as `N` has room for, and how many pieces that are.
pub(crate) fn gather<'a, const N: usize>(
    segments: impl Iterator<Item = Segment<'a>>,
    resolve: impl Fn(Payload) -> &'a [u8],
) -> ([IoSlice<'a>; N], usize) {
    let mut pieces = [IoSlice::new(&[]); N];
    let mut count = 0;
    let mut gather = |bytes: &'a [u8]| {
        let room = pieces.get_mut(count)?;
        *room = IoSlice::new(bytes);
        count += 1;
        Some(())
    };
    for segment in segments {
        let all = match segment {
            Segment::Bytes(bytes) => gather(bytes),
            Segment::Payload(payload) => payload.pieces(&resolve).try_for_each(&mut gather),
        };
        if all.is_none() {
            break;
        }
    }
    (pieces, count)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{MsgFlags, recv};

    use super::*;
    use crate::driver::transport;
    use crate::driver::wire::shared_memory::over_tls;
    use crate::driver::wire::tests::arrived;

    #[test]
    fn short_data_goes_in_portions_to_an_end_that_waits_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        let mut outlet = Outlet::new(transport::plain(stream).0);
        let (header, data) = ([1; 24], vec![2; 4096]);
        let pdus = |count| (0..count).flat_map(|_| [Segment::Bytes(&header), Segment::Bytes(&data)]);
        let sent = |outlet: &mut Outlet, count| {
            let n = outlet.send(pdus(count), |_| &[], Wait::Block).unwrap().unwrap();
            arrived(&peer, n);
            assert_eq!(recv(peer.as_raw_fd(), &mut vec![0; n], MsgFlags::MSG_WAITALL).unwrap(), n);
            n
        };
        assert_eq!((sent(&mut outlet, 16), outlet.digest_at_once(4096, 7)), (16 * 4120, 7));
        outlet.set_awaited(true);
        // Whole pieces, and nothing is left that is hardly worth a call.
        assert_eq!((sent(&mut outlet, 16), outlet.digest_at_once(4096, 7)), (8 * 4120, PORTION));
        assert_eq!(sent(&mut outlet, 11), 11 * 4120);
        assert_eq!(outlet.digest_at_once(SHORT as u32, 7), 7);
        // Long data is enough for the other end, and goes as it is.
        let long = vec![3; SHORT];
        let of = |len| [&header[..], &long[..len]].repeat(4);
        let pieces = |len| of(len).into_iter().map(IoSlice::new).collect::<Vec<_>>();
        assert_eq!([SHORT, SHORT / 2].map(|len| portion(&pieces(len)).len()), [8, 4]);
        // Nor does the digest of the last of two go alone.
        let two = [&header[..], &long[4096..], &header, &long[4096..], &header[..4]].map(IoSlice::new);
        assert_eq!(portion(&two).len(), 5);
        outlet.set_awaited(false);
        assert_eq!(sent(&mut outlet, 16), 16 * 4120);
        // Records go as they are sealed.
        let ((half, _), _peer) = over_tls(1);
        let mut outlet = Outlet::new(half);
        outlet.set_awaited(true);
        assert_eq!(outlet.digest_at_once(4096, 7), 7);
    }
}
