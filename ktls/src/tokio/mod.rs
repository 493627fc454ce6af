//! The same socket on tokio: `AsyncRead` and `AsyncWrite`, whole or in two halves that tasks own.
//!
//! Every operation can be given up: a future that is dropped before it is ready has taken nothing from its
//! buffer and lost nothing that was received, and what was begun of a record is finished by the next call.
//! Where this process seals, accepted bytes may wait for room: `flush` sends them. `shutdown` sends
//! close_notify and says so only when nothing of it is left to do; the FIN follows when the socket is dropped.
//!
//! A peer's request for a KeyUpdate, met while reading, is answered by the writing side: by a whole [`Socket`]
//! at once where there is room, by a [`WriteHalf`] before its next data or at its next `flush`. So no two tasks
//! ever send at once.
//!
//! ```no_run
//! use ktls::Options;
//! use ktls::handshake::ClientConfig;
//! use ktls::tokio::Socket;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//!
//! # async fn example(config: ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
//! let stream = TcpStream::connect("192.0.2.1:4420").await?;
//! let mut socket = Socket::connect(stream, &config, &Options::new()).await?;
//! socket.write_all(b"hello").await?;
//! socket.flush().await?;
//! let mut answer = [0; 5];
//! socket.read_exact(&mut answer).await?;
//! socket.shutdown().await?;
//! # Ok(())
//! # }
//! ```

mod halves;
mod ready;
#[cfg(feature = "rustls")]
pub mod rustls;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use ::tokio::net::TcpStream;

pub use halves::{ReadHalf, WriteHalf};

use crate::error::Error;
use crate::event::{Event, Flow};
use crate::handshake::{ClientConfig, ServerConfig};
use crate::keys::{Established, RawKeys};
use crate::socket::handshake::{self, Transport};
use crate::socket::{Info, Options, Wait};
use ready::Registered;

/// A TCP connection with TLS on it, on tokio's reactor: see the [module](self).
#[derive(Debug)]
pub struct Socket {
    read: ReadHalf,
    write: WriteHalf,
    info: Info,
}

impl Socket {
    /// Does a client's handshake with a pre-shared key over `stream`, and installs the keys as `options` say.
    /// To bound its time, give it up: that closes the connection.
    ///
    /// # Errors
    /// As [`Socket::connect`](crate::Socket::connect).
    pub async fn connect(stream: TcpStream, config: &ClientConfig, options: &Options) -> Result<Self, Error> {
        let keys = handshake::connect(&mut Leave(&stream), config).await?;
        Self::from_established(stream, keys, options)
    }

    /// Does a server's handshake over `stream`; else as [`connect`](Self::connect).
    ///
    /// # Errors
    /// As [`Socket::connect`](crate::Socket::connect).
    pub async fn accept(stream: TcpStream, config: &ServerConfig, options: &Options) -> Result<Self, Error> {
        let keys = handshake::accept(&mut Leave(&stream), config).await?;
        Self::from_established(stream, keys, options)
    }

    /// Takes over after a handshake, as [`Socket::from_established`](crate::Socket::from_established).
    ///
    /// # Errors
    /// Those of that, and [`Error::Io`] where the reactor refuses the descriptor.
    pub fn from_established(stream: TcpStream, keys: Established, options: &Options) -> Result<Self, Error> {
        Self::from_socket(crate::Socket::from_established(stream.into_std()?, keys, options)?)
    }

    /// Takes over with keys from anywhere, as [`Socket::from_keys`](crate::Socket::from_keys).
    ///
    /// # Errors
    /// As [`from_established`](Self::from_established).
    pub fn from_keys(stream: TcpStream, keys: RawKeys, options: &Options) -> Result<Self, Error> {
        Self::from_socket(crate::Socket::from_keys(stream.into_std()?, keys, options)?)
    }

    /// Puts a socket on the reactor of the runtime that this is called in. The descriptor is made non-blocking.
    ///
    /// # Errors
    /// [`Error::Io`] where the reactor refuses the descriptor.
    ///
    /// # Panics
    /// Outside of a runtime with I/O enabled.
    pub fn from_socket(socket: crate::Socket) -> Result<Self, Error> {
        let crate::Socket { send, recv, info } = socket;
        // For sendfile(2): all other calls say themselves that they do not wait.
        send.tcp().set_nonblocking(true)?;
        let registered = Registered::new(send.shared())?;
        let read = ReadHalf::new(registered.clone(), recv);
        Ok(Self { read, write: WriteHalf::new(registered, send), info })
    }

    /// Takes the socket off the reactor. The descriptor is made blocking.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses that.
    pub fn into_socket(self) -> Result<crate::Socket, Error> {
        self.tcp().set_nonblocking(false)?;
        Ok(crate::Socket { send: self.write.into_inner(), recv: self.read.into_inner(), info: self.info })
    }

    /// What the connection turned out to be.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Both halves, for one task.
    pub fn halves(&mut self) -> (&mut ReadHalf, &mut WriteHalf) {
        (&mut self.read, &mut self.write)
    }

    /// Both halves, for a task each. The descriptor is closed with the second of them.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// The TCP socket, for addresses and options. Reading from it or writing to it breaks the connection.
    pub fn tcp(&self) -> &std::net::TcpStream {
        self.write.get_ref().tcp()
    }

    /// What happened in either direction since the last call.
    pub fn take_event(&mut self) -> Option<Event> {
        self.read.get_mut().take_event().or_else(|| self.write.get_mut().take_event())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.read).poll_read(cx, buf);
        // What the peer asked for or did wrong is answered if that needs no waiting. What stays undone is done
        // before the next data; and an error shows there.
        let _ = self.write.get_mut().settle(Wait::Now);
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}

/// Waits for tokio's leave: for the handshake, before the descriptor is a socket of ours.
pub(crate) struct Leave<'stream>(pub(crate) &'stream TcpStream);

impl Transport for Leave<'_> {
    async fn attempt<T>(
        &mut self,
        direction: Flow,
        mut operation: impl FnMut(std::os::fd::BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        use std::os::fd::AsFd;
        let interest = match direction {
            Flow::Send => Interest::WRITABLE,
            Flow::Receive => Interest::READABLE,
        };
        self.0.async_io(interest, || operation(self.0.as_fd())).await
    }
}
