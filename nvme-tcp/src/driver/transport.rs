//! A byte stream to a peer, plain or TLS, in two halves that two threads may own.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::socket::{MsgFlags, recvmsg, sendmsg};

/// Whether a call may wait for the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Do what can be done now.
    Now,
    /// Wait, at most for the socket's own time limit.
    Block,
}

/// Why a stream gives or takes no more bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed its direction.
    #[error("the peer closed the connection")]
    Closed,
}

/// The sending half.
#[derive(Debug)]
pub enum SendHalf {
    /// TCP as it is.
    Plain(Arc<TcpStream>),
}

/// The receiving half.
#[derive(Debug)]
pub enum RecvHalf {
    /// TCP as it is.
    Plain(Arc<TcpStream>),
}

/// Both halves of a plain connection.
pub fn plain(stream: TcpStream) -> (SendHalf, RecvHalf) {
    let stream = Arc::new(stream);
    (SendHalf::Plain(stream.clone()), RecvHalf::Plain(stream))
}

/// `None` where the call would have had to wait longer.
fn or_would_block(result: io::Result<usize>) -> Result<Option<usize>, TransportError> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

impl SendHalf {
    /// Sends the beginning of `bufs`, and says how many bytes that was; `None` where none could be taken now.
    pub fn send(&mut self, bufs: &[IoSlice<'_>], wait: Wait) -> Result<Option<usize>, TransportError> {
        match self {
            Self::Plain(stream) => {
                let flags = MsgFlags::MSG_NOSIGNAL | dont_wait(wait);
                let sent = sendmsg::<()>(stream.as_raw_fd(), bufs, &[], flags, None);
                or_would_block(sent.map_err(io::Error::from))
            }
        }
    }

    /// Sends what was taken and is still held back; whether all of it is gone.
    pub fn flush(&mut self, _wait: Wait) -> Result<bool, TransportError> {
        match self {
            Self::Plain(_) => Ok(true),
        }
    }

    /// Whether bytes that were taken are still held back.
    pub fn has_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
        }
    }

    /// Whether the key that seals what is sent has come close to its record limit; told once.
    pub fn take_budget_alarm(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
        }
    }

    /// Ends both directions of the socket at once; whoever waits on it wakes up.
    pub fn shutdown(&self) {
        match self {
            // It may be over already.
            Self::Plain(stream) => drop(stream.shutdown(Shutdown::Both)),
        }
    }
}

impl AsFd for SendHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
        }
    }
}

impl RecvHalf {
    /// Receives into `bufs`; `None` where nothing came in time.
    pub fn recv(&mut self, bufs: &mut [IoSliceMut<'_>], wait: Wait) -> Result<Option<usize>, TransportError> {
        match self {
            Self::Plain(stream) => {
                let received = recvmsg::<()>(stream.as_raw_fd(), bufs, None, dont_wait(wait));
                match or_would_block(received.map(|message| message.bytes).map_err(io::Error::from))? {
                    Some(0) => Err(TransportError::Closed),
                    n => Ok(n),
                }
            }
        }
    }

    /// Whether received bytes are opened in the process: [`fill`](Self::fill) then spares a copy.
    pub fn opens_in_process(&self) -> bool {
        match self {
            Self::Plain(_) => false,
        }
    }

    /// Plaintext that was opened in the process, at least a byte of it; `None` where nothing came in time,
    /// or where [`opens_in_process`](Self::opens_in_process) is not so.
    pub fn fill(&mut self, _wait: Wait) -> Result<Option<&[u8]>, TransportError> {
        match self {
            Self::Plain(_) => Ok(None),
        }
    }

    /// Whether the key that opens what is received has come close to its record limit; told once.
    pub fn take_budget_alarm(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
        }
    }

    /// The plaintext that was opened and not yet consumed.
    pub fn opened(&self) -> &[u8] {
        match self {
            Self::Plain(_) => &[],
        }
    }

    /// The first `n` bytes of [`opened`](Self::opened) are done with.
    pub fn consume(&mut self, _n: usize) {
        match self {
            Self::Plain(_) => {}
        }
    }
}

impl AsFd for RecvHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
        }
    }
}

fn dont_wait(wait: Wait) -> MsgFlags {
    match wait {
        Wait::Now => MsgFlags::MSG_DONTWAIT,
        Wait::Block => MsgFlags::empty(),
    }
}
