//! The pairings, and the few calls that every behaviour is made of.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::time::Instant;

use ktls::{Error, Layer, Options, SealedBy, Socket, Wait, probe};
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::socket_support::{DEADLINE, SUITE, send_all, sockets};

/// Who seals and opens at the two ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairing(pub(crate) Layer, pub(crate) Layer);

/// Those with the kernel in them.
pub(crate) const WITH_KERNEL: [Pairing; 3] = [
    Pairing(Layer::Kernel, Layer::Kernel),
    Pairing(Layer::Kernel, Layer::Process),
    Pairing(Layer::Process, Layer::Kernel),
];

impl Pairing {
    /// Two connected sockets.
    pub(crate) fn sockets(self) -> [Socket; 2] {
        self.sockets_with(&Options::new())
    }

    /// The same, with other options.
    pub(crate) fn sockets_with(self, options: &Options) -> [Socket; 2] {
        sockets(SUITE, [&options.clone().layer(self.0), &options.clone().layer(self.1)])
    }
}

/// Makes `NAME::process` and `NAME::kernel` of each function that takes a [`Pairing`].
macro_rules! pairs {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            #[test]
            fn process() {
                super::$name($crate::harness::Pairing(ktls::Layer::Process, ktls::Layer::Process));
            }

            #[test]
            fn kernel() {
                if $crate::socket_support::kernel_has_tls(concat!(module_path!(), "::kernel")) {
                    for pairing in $crate::harness::WITH_KERNEL {
                        println!("{pairing:?}");
                        super::$name(pairing);
                    }
                }
            }
        })*
    };
}

/// Makes `NAME::process` and `NAME::kernel` of each function that takes the [`Layer`] of one socket, whose
/// peer is the test itself.
macro_rules! alone {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            #[test]
            fn process() {
                super::$name(ktls::Layer::Process);
            }

            #[test]
            fn kernel() {
                if $crate::socket_support::kernel_has_tls(concat!(module_path!(), "::kernel")) {
                    super::$name(ktls::Layer::Kernel);
                }
            }
        })*
    };
}

/// Sends all of `data` by as few calls as it takes.
pub(crate) fn send(socket: &mut Socket, data: &[u8]) {
    send_all(socket.halves().0, data);
}

/// One receive of at most `max` bytes.
pub(crate) fn try_receive(socket: &mut Socket, max: usize, wait: Wait) -> Result<Vec<u8>, Error> {
    let mut buf = vec![0; max];
    let n = socket.halves().1.recv_vectored(&mut [IoSliceMut::new(&mut buf)], wait)?;
    buf.truncate(n);
    Ok(buf)
}

/// The same, waiting for something.
pub(crate) fn receive(socket: &mut Socket, max: usize) -> Vec<u8> {
    try_receive(socket, max, Wait::Block).unwrap()
}

/// Receives exactly `len` bytes, as MSG_WAITALL does.
pub(crate) fn receive_exactly(socket: &mut Socket, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        let part = receive(socket, len - all.len());
        assert!(!part.is_empty(), "ended after {} bytes of {len}", all.len());
        all.extend_from_slice(&part);
    }
    all
}

/// Nothing can be received now.
pub(crate) fn expect_nothing(socket: &mut Socket) {
    let error = try_receive(socket, 100, Wait::Now).unwrap_err();
    assert!(error.is_would_block(), "{error}");
}

/// Sends `bufs` by one call that takes all of them.
pub(crate) fn send_slices(socket: &mut Socket, parts: &[Vec<u8>]) {
    let bufs: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let total: usize = parts.iter().map(Vec::len).sum();
    assert_eq!(socket.halves().0.send_vectored(&bufs, Wait::Block).unwrap(), total);
}

/// poll(2) for reading; whether it came within `milliseconds`.
pub(crate) fn polls_readable(socket: &Socket, milliseconds: u16) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, PollTimeout::from(milliseconds)).unwrap() == 1
}

/// Waits as an event loop of a caller does, what is buffered first, until `socket` gives `len` bytes.
pub(crate) fn receive_by_polling(socket: &mut Socket, len: usize) -> Vec<u8> {
    let end = Instant::now() + DEADLINE;
    let mut all = Vec::new();
    while all.len() < len {
        assert!(Instant::now() < end, "{} of {len} bytes came", all.len());
        match try_receive(socket, len - all.len(), Wait::Now) {
            Ok(part) => all.extend_from_slice(&part),
            Err(error) if error.is_would_block() => {
                assert!(!socket.halves().1.has_buffered(), "has_buffered promised more");
                assert!(polls_readable(socket, 10_000), "{} of {len} bytes came", all.len());
            }
            Err(error) => panic!("{error}"),
        }
    }
    all
}

/// Whether the keys of what `socket` receives can change.
pub(crate) fn can_change_receive_key(socket: &Socket) -> bool {
    socket.info().receive.by == SealedBy::Process || probe().rekey
}

/// Whether the keys of what `socket` sends can change.
pub(crate) fn can_change_send_key(socket: &Socket) -> bool {
    socket.info().send.by == SealedBy::Process || probe().rekey
}
