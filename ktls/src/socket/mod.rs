//! TLS on a TCP socket.
//!
//! ```text
//!                 Socket
//!           SendHalf    RecvHalf        each usable by a thread of its own
//!          /   |             |   \
//!    Sealer  kernel      kernel  Opener  each direction by itself
//!          \   |             |   /
//!              one file descriptor
//! ```

mod control;
mod files;
pub(crate) mod handshake;
mod info;
mod options;
mod own_calls;
mod recv;
mod sealing;
mod send;
pub(crate) mod shared;

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

pub use info::{Direction, Info, SealedBy, Why};
pub use options::{Layer, Options, Wait};
pub use recv::RecvHalf;
pub use send::SendHalf;

use crate::error::Error;
use crate::event::{Event, Flow};
use crate::handshake::{ClientConfig, MAX_FRAGMENT_LEN, ServerConfig};
use crate::keys::{Established, RawKeys};
use crate::observe::{Conf, SocketTls};
use crate::probe::{Probe, probe};
use crate::record::kernel;
use crate::record::process::{Opener, Sealer};
use crate::sys;
use handshake::Blocking;
use recv::Opening;
use sealing::Sealing;
use shared::Shared;

/// A TCP connection with TLS on it.
///
/// [`connect`](Self::connect) and [`accept`](Self::accept) do a handshake with a pre-shared key,
/// [`from_keys`](Self::from_keys) takes over where somebody else has done one; data then goes through the
/// two [`halves`](Self::halves), or through `std::io::Read` and `Write`, which wait. Dropping it closes
/// the connection without close_notify: call [`SendHalf::close_notify`] first.
#[derive(Debug)]
pub struct Socket {
    pub(crate) send: SendHalf,
    pub(crate) recv: RecvHalf,
    pub(crate) info: Info,
}

impl Socket {
    /// Does a client's handshake over `stream`, and installs the keys as `options` say. `deadline` bounds
    /// the whole handshake.
    ///
    /// Reads record by record, so nothing that follows the handshake is read with it.
    ///
    /// # Errors
    /// [`Error::Handshake`], [`Error::Io`] (`TimedOut` at the deadline), or
    /// [`Error::KernelTlsUnavailable`].
    pub fn connect(
        stream: TcpStream,
        config: &ClientConfig,
        options: &Options,
        deadline: Option<Instant>,
    ) -> Result<Self, Error> {
        stream.set_nonblocking(false)?;
        let mut transport = Blocking { fd: stream.as_fd(), deadline };
        let keys = handshake::now(handshake::connect(&mut transport, config))?;
        Self::from_established(stream, keys, options)
    }

    /// Does a server's handshake over `stream`; else as [`connect`](Self::connect).
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn accept(
        stream: TcpStream,
        config: &ServerConfig,
        options: &Options,
        deadline: Option<Instant>,
    ) -> Result<Self, Error> {
        stream.set_nonblocking(false)?;
        let mut transport = Blocking { fd: stream.as_fd(), deadline };
        let keys = handshake::now(handshake::accept(&mut transport, config))?;
        Self::from_established(stream, keys, options)
    }

    /// Takes over after a handshake: the next byte from and to the wire must be the first of a record
    /// with sequence number 0. The descriptor is made blocking.
    ///
    /// # Errors
    /// [`Error::KernelTlsUnavailable`] where [`Layer::Kernel`] was asked for; [`Error::Io`].
    pub fn from_established(
        stream: TcpStream,
        mut keys: Established,
        options: &Options,
    ) -> Result<Self, Error> {
        let (group, psk_identity) = (keys.group, std::mem::take(&mut keys.psk_identity));
        let mut socket = Self::from_keys(stream, keys.into(), options)?;
        socket.info.group = Some(group);
        socket.info.psk_identity = psk_identity;
        Ok(socket)
    }

    /// Takes over with keys from anywhere: the next byte from and to the wire must be the first of a record
    /// with the sequence number that its key says. The descriptor is made blocking.
    ///
    /// # Errors
    /// [`Error::KernelOnly`] for a cipher that neither this library nor the kernel has; else as
    /// [`from_established`](Self::from_established).
    pub fn from_keys(stream: TcpStream, keys: RawKeys, options: &Options) -> Result<Self, Error> {
        stream.set_nonblocking(false)?;
        let cipher = keys.cipher();
        let (sealing, opening) = install(&stream, &keys, options)?;
        // Nothing below fails: the kernel may have keys now, and where it has not, this library has the cipher.
        let conf = SocketConf::ask(&stream, sealing.is_ok() || opening.is_ok());
        let send = match &sealing {
            Ok(_) => Direction::kernel(conf.tx()),
            Err(why) => Direction::process(why.clone()),
        };
        let receive = match &opening {
            Ok(_) => Direction::kernel(conf.rx()),
            Err(why) => Direction::process(why.clone()),
        };
        let mut info = Info::new(cipher, send, receive);
        // Without a card it would be accepted, and do nothing.
        info.send_zerocopy = options.send_zerocopy
            && info.send.by == SealedBy::Nic
            && sys::tls::zerocopy_ro(stream.as_fd()).is_ok();
        let sealing = match sealing {
            Ok(kernel) => Sealing::Kernel(Box::new(kernel)),
            Err(_) => {
                let meter = options.meter(Flow::Send);
                Sealing::Process(Box::new(Sealer::with_key(keys.tx, keys.max_send_fragment, meter)?))
            }
        };
        let opening = match opening {
            Ok(kernel) => Opening::Kernel(Box::new(kernel)),
            Err(_) => {
                let opener = Opener::with_key(keys.rx, options.meter(Flow::Receive))?;
                Opening::Process(Box::new(opener.max_fragment(keys.max_receive_fragment)))
            }
        };
        let shared = Arc::new(Shared::new(stream));
        let send = SendHalf::new(Arc::clone(&shared), sealing, info.send.by);
        let recv = RecvHalf::new(shared, opening, cipher.version(), keys.schedule, info.receive.by);
        Ok(Self { send, recv, info })
    }

    /// What the connection turned out to be.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Both halves, for one thread.
    pub fn halves(&mut self) -> (&mut SendHalf, &mut RecvHalf) {
        (&mut self.send, &mut self.recv)
    }

    /// Both halves, for a thread each. The descriptor is closed with the second of them.
    pub fn into_halves(self) -> (SendHalf, RecvHalf) {
        (self.send, self.recv)
    }

    /// The TCP socket, for addresses and options. Reading from it or writing to it breaks the connection.
    pub fn tcp(&self) -> &TcpStream {
        self.send.tcp()
    }

    /// What happened in either direction since the last call.
    pub fn take_event(&mut self) -> Option<Event> {
        self.recv.take_event().or_else(|| self.send.take_event())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.send.as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buf)])
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(self.recv.recv_vectored(bufs, Wait::Block)?)
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.send.send_vectored(bufs, Wait::Block)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send.flush(Wait::Block)?;
        Ok(())
    }
}

type Installed = (Result<kernel::Sender, Why>, Result<kernel::Receiver, Why>);

/// Gives the kernel each direction's key where that is wanted and works, else says why not. Where one
/// direction is refused, the socket is as good as before for the other.
fn install(stream: &TcpStream, keys: &RawKeys, options: &Options) -> Result<Installed, Error> {
    let fd = stream.as_fd();
    let layers = [options.send_layer, options.receive_layer];
    let kernel = if layers == [Layer::Process; 2] { Err(Why::Asked) } else { attach(fd) };
    let may = |layer| if layer == Layer::Process { Err(Why::Asked) } else { kernel.clone() };
    let why = |error: io::Error| Why::from_key(keys.cipher(), &error);
    let send = may(options.send_layer).and_then(|()| {
        let meter = options.meter(Flow::Send);
        kernel::Sender::install(fd, keys.tx.clone(), keys.max_send_fragment, meter).map_err(why)
    });
    // The kernel takes records of any length, so that a limit of ours is kept exactly by this process only.
    let limited = keys.max_receive_fragment < MAX_FRAGMENT_LEN;
    let receive = match options.receive_layer {
        Layer::Auto if limited && keys.cipher().cipher().in_process() => Err(Why::RecordSizeLimit),
        layer => may(layer),
    };
    let receive = receive.and_then(|()| {
        let meter = options.meter(Flow::Receive);
        let (key, fragment) = (keys.rx.clone(), keys.max_receive_fragment);
        kernel::Receiver::install(fd, key, fragment, options.expect_no_pad, meter).map_err(why)
    });
    // Required and refused: the connection ends here, whatever keys the kernel has by now.
    required(options.send_layer, Flow::Send, send.as_ref().err())?;
    required(options.receive_layer, Flow::Receive, receive.as_ref().err())?;
    if let (false, Some(why)) =
        (keys.cipher().cipher().in_process(), send.as_ref().err().or(receive.as_ref().err()))
    {
        return Err(Error::KernelOnly { cipher: keys.cipher(), why: why.clone() });
    }
    Ok((send, receive))
}

fn required(layer: Layer, direction: Flow, refused: Option<&Why>) -> Result<(), Error> {
    match refused {
        Some(why) if layer == Layer::Kernel => {
            Err(Error::KernelTlsUnavailable { direction, why: why.clone() })
        }
        _ => Ok(()),
    }
}

/// Makes the socket one that may get keys; without keys it stays plain TCP.
fn attach(fd: BorrowedFd<'_>) -> Result<(), Why> {
    sys::tls::attach(fd).map_err(|error| Why::from_ulp(&error))?;
    match probe() {
        Probe { missing: Some(why), .. } => Err(why),
        Probe { counts_records: false, .. } => Err(Why::NoRecordCount),
        Probe { .. } => Ok(()),
    }
}

/// Where the kernel keeps the keys, or why it does not tell.
struct SocketConf(Result<SocketTls, String>);

impl SocketConf {
    fn ask(stream: &TcpStream, has_key: bool) -> Self {
        if !has_key {
            return Self(Err(String::new()));
        }
        let addresses = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?)));
        Self(match addresses {
            Ok((local, peer)) => SocketTls::ask(local, peer).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        })
    }

    fn tx(&self) -> Result<Conf, &str> {
        self.0.as_ref().map(|tls| tls.tx.unwrap_or(Conf::Base)).map_err(String::as_str)
    }

    fn rx(&self) -> Result<Conf, &str> {
        self.0.as_ref().map(|tls| tls.rx.unwrap_or(Conf::Base)).map_err(String::as_str)
    }
}
