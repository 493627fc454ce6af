//! A byte stream to a peer, plain or TLS, in two halves that two threads may own.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::socket::{MsgFlags, recvmsg, sendmsg};

pub use ktls::Wait;

/// Why a stream gives or takes no more bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error("the TLS connection failed: {0}")]
    Tls(ktls::Error),
    /// The peer closed its direction.
    #[error("the peer closed the connection")]
    Closed,
}

impl From<ktls::Error> for TransportError {
    fn from(error: ktls::Error) -> Self {
        match error {
            ktls::Error::Io(error) => Self::Io(error),
            error => Self::Tls(error),
        }
    }
}

/// The sending half.
#[derive(Debug)]
pub enum SendHalf {
    /// TCP as it is.
    Plain(Arc<TcpStream>),
    /// TLS.
    Tls(Box<ktls::SendHalf>),
}

/// The receiving half.
#[derive(Debug)]
pub enum RecvHalf {
    /// TCP as it is.
    Plain(Arc<TcpStream>),
    /// TLS.
    Tls(Box<ktls::RecvHalf>),
}

/// Both halves of a plain connection.
pub fn plain(stream: TcpStream) -> (SendHalf, RecvHalf) {
    let stream = Arc::new(stream);
    (SendHalf::Plain(stream.clone()), RecvHalf::Plain(stream))
}

/// Both halves of a TLS connection.
pub fn tls(socket: ktls::Socket) -> (SendHalf, RecvHalf) {
    let (send, recv) = socket.into_halves();
    (SendHalf::Tls(Box::new(send)), RecvHalf::Tls(Box::new(recv)))
}

/// `None` where the call would have had to wait longer.
fn unless_blocked<T>(result: Result<T, impl Into<TransportError>>) -> Result<Option<T>, TransportError> {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    match result.map_err(Into::into) {
        Ok(value) => Ok(Some(value)),
        Err(TransportError::Io(e)) if matches!(e.kind(), WouldBlock | TimedOut | Interrupted) => Ok(None),
        Err(e) => Err(e),
    }
}

impl SendHalf {
    /// Sends the beginning of `bufs`, and says how many bytes that was; `None` where none could be taken now.
    pub fn send(&mut self, bufs: &[IoSlice<'_>], wait: Wait) -> Result<Option<usize>, TransportError> {
        match self {
            Self::Plain(stream) => {
                let flags = MsgFlags::MSG_NOSIGNAL | dont_wait(wait);
                let sent = sendmsg::<()>(stream.as_raw_fd(), bufs, &[], flags, None);
                unless_blocked(sent.map_err(io::Error::from))
            }
            Self::Tls(half) => unless_blocked(half.send_vectored(bufs, wait)),
        }
    }

    /// Sends what was taken and is still held back; whether all of it is gone.
    pub fn flush(&mut self, wait: Wait) -> Result<bool, TransportError> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(half) => Ok(unless_blocked(half.flush(wait))?.unwrap_or(false)),
        }
    }

    /// Whether bytes that were taken are still held back.
    pub fn has_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(half) => half.has_pending(),
        }
    }

    /// Whether the key that seals what is sent has come close to its record limit; told once.
    pub fn take_budget_alarm(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(half) => {
                half.has_event() && matches!(half.take_event(), Some(ktls::Event::BudgetLow { .. }))
            }
        }
    }

    /// Whether that key is so close to its limit that no new command is to begin under it.
    pub fn is_nearly_spent(&self) -> bool {
        matches!(self, Self::Tls(half) if half.budget().is_nearly_spent())
    }

    /// Gives buffers back that hold nothing; the next call that needs one makes it again.
    pub fn release(&mut self) {
        if let Self::Tls(half) = self {
            half.release_buffers();
        }
    }

    /// Tells the peer that this end sends no more: close_notify with TLS. As far as the socket takes it now.
    pub fn close_notify(&mut self) {
        if let Self::Tls(half) = self {
            // The connection ends in any case.
            drop(half.close_notify(Wait::Now));
        }
    }

    /// Ends both directions of the socket at once; whoever waits on it wakes up.
    pub fn shutdown(&self) {
        // It may be over already.
        drop(self.tcp().shutdown(Shutdown::Both));
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(half) => half.tcp(),
        }
    }
}

impl AsFd for SendHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp().as_fd()
    }
}

impl RecvHalf {
    /// Receives into `bufs`; `None` where nothing came in time.
    pub fn recv(&mut self, bufs: &mut [IoSliceMut<'_>], wait: Wait) -> Result<Option<usize>, TransportError> {
        let received = match self {
            Self::Plain(stream) => {
                let received = recvmsg::<()>(stream.as_raw_fd(), bufs, None, dont_wait(wait));
                unless_blocked(received.map(|message| message.bytes).map_err(io::Error::from))
            }
            Self::Tls(half) => unless_blocked(half.recv_vectored(bufs, wait)),
        };
        match received? {
            Some(0) => Err(TransportError::Closed),
            n => Ok(n),
        }
    }

    /// Whether received bytes are opened in the process: [`fill`](Self::fill) then spares a copy.
    pub fn opens_in_process(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(half) => half.opens_in_process(),
        }
    }

    /// Whether something is here that the descriptor does not show: poll(2) only where this says no.
    pub fn has_buffered(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(half) => half.has_buffered(),
        }
    }

    /// Opens records in the process until there is [plaintext](Self::opened), receiving if need be; whether
    /// there is.
    pub fn fill(&mut self, wait: Wait) -> Result<bool, TransportError> {
        match self {
            Self::Plain(_) => Ok(false),
            Self::Tls(half) => match unless_blocked(half.fill_buf(wait))? {
                Some([]) => Err(TransportError::Closed),
                bytes => Ok(bytes.is_some()),
            },
        }
    }

    /// Whether that key is so close to its limit that no new command is to begin under it.
    pub fn is_nearly_spent(&self) -> bool {
        matches!(self, Self::Tls(half) if half.budget().is_nearly_spent())
    }

    /// Gives buffers back that hold nothing; the next call that needs one makes it again.
    pub fn release(&mut self) {
        if let Self::Tls(half) = self {
            half.release_buffers();
        }
    }

    /// The plaintext that was opened and not yet consumed.
    pub fn opened(&self) -> &[u8] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(half) => half.buffered(),
        }
    }

    /// The first `n` bytes of [`opened`](Self::opened) are done with.
    pub fn consume(&mut self, n: usize) {
        if let Self::Tls(half) = self {
            half.consume(n);
        }
    }

    /// Whether the key that opens what is received has come close to its record limit; told once.
    pub fn take_budget_alarm(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(half) => {
                half.has_event() && matches!(half.take_event(), Some(ktls::Event::BudgetLow { .. }))
            }
        }
    }
}

impl AsFd for RecvHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Tls(half) => half.tcp().as_fd(),
        }
    }
}

fn dont_wait(wait: Wait) -> MsgFlags {
    match wait {
        Wait::Now => MsgFlags::MSG_DONTWAIT,
        Wait::Block => MsgFlags::empty(),
    }
}
