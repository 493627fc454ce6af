//! A connection on which rustls has done the handshake, and maybe more, taken over.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use ::rustls::{Connection, ProtocolVersion};
use thiserror::Error as ThisError;

use super::{About, keys, stack};
use crate::error::Error;
use crate::handshake::RECORD_HEADER_LEN;
use crate::socket::{Options, Socket};

/// A TCP stream that gives rustls no byte of a record before it has asked for all of the one before it, and
/// knows whether it stands between two records.
///
/// rustls reads ahead as far as its buffer goes, and does not tell whether part of a record is in it. Through
/// this stream, as in `connection.complete_io(&mut stream)` or [`rustls::Stream`](::rustls::Stream), it gets
/// at most the rest of one record at a time.
#[derive(Debug)]
pub struct RecordStream {
    stream: TcpStream,
    header: [u8; RECORD_HEADER_LEN],
    header_len: usize,
    body_left: usize,
}

impl RecordStream {
    /// Takes a stream from which nothing was read yet, or only whole records.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, header: [0; RECORD_HEADER_LEN], header_len: 0, body_left: 0 }
    }

    /// Whether all that was read is whole records.
    pub fn is_between_records(&self) -> bool {
        self.header_len == 0 && self.body_left == 0
    }

    /// The TCP socket, for addresses and options.
    pub fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// The stream itself, wherever in a record it stands.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }
}

impl Read for RecordStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.body_left > 0 {
            let most = buf.len().min(self.body_left);
            let n = self.stream.read(buf.get_mut(..most).unwrap_or_default())?;
            self.body_left -= n;
            return Ok(n);
        }
        let rest = self.header.get_mut(self.header_len..).unwrap_or_default();
        let most = buf.len().min(rest.len());
        let n = self.stream.read(buf.get_mut(..most).unwrap_or_default())?;
        rest.iter_mut().zip(buf.iter().take(n)).for_each(|(to, from)| *to = *from);
        self.header_len += n;
        if let (RECORD_HEADER_LEN, [_, _, _, high, low]) = (self.header_len, self.header) {
            self.header_len = 0;
            self.body_left = u16::from_be_bytes([high, low]).into();
        }
        Ok(n)
    }
}

impl Write for RecordStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Why a connection cannot be taken over as it is.
#[derive(Clone, Debug, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Reason {
    /// Go on with `complete_io`.
    #[error("its handshake is not finished")]
    Handshaking,
    /// Go on with `write_tls`.
    #[error("it has records that were not sent yet")]
    Unsent,
    /// Take them with `reader`.
    #[error("it has {bytes} bytes of data that were received and not taken")]
    Undelivered {
        /// How many.
        bytes: usize,
    },
    /// Go on with `read_tls` and `process_new_packets`.
    #[error("it has read part of a record")]
    PartialRecord,
    /// There is nothing more to receive.
    #[error("the peer has closed it")]
    Closed,
    /// What it had received is not valid.
    #[error("{0}")]
    Stack(::rustls::Error),
}

/// A connection that was not taken over, with all that belongs to it.
#[derive(ThisError)]
#[error("rustls's connection cannot be taken over: {reason}")]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The stream, as it was given.
    pub stream: RecordStream,
    /// The connection, as it was given.
    pub connection: Connection,
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Why [`from_connection`] gave no socket.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum ConvertError {
    /// Something would have been lost: all is given back.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// The connection is gone: rustls gave no keys (is `enable_secret_extraction` set?), or nobody took them.
    #[error(transparent)]
    Failed(Error),
}

/// Takes over a connection that rustls has with `stream`, where nothing would be lost by that. Its
/// configuration must have `enable_secret_extraction`.
///
/// Of such a connection rustls gives the keys and no more: tickets that come later are dropped, and a
/// KeyUpdate of the peer ends it with [`Error::NoNextKey`]. [`connect`](super::connect) and
/// [`accept`](super::accept) have neither fault.
///
/// # Errors
/// [`ConvertError`].
pub fn from_connection(
    stream: RecordStream,
    connection: impl Into<Connection>,
    options: &Options,
) -> Result<Socket, ConvertError> {
    let mut connection = connection.into();
    if let Some(reason) = reason(&stream, &mut connection) {
        return Err(ConvertError::Refused(Box::new(Refused { reason, stream, connection })));
    }
    let about = About::new(&connection);
    let version = connection.protocol_version().unwrap_or(ProtocolVersion::TLSv1_3);
    let socket = connection
        .dangerous_extract_secrets()
        .map_err(stack)
        .and_then(|secrets| about.socket(stream.into_inner(), keys::of(secrets, version)?, None, options));
    socket.map_err(ConvertError::Failed)
}

fn reason(stream: &RecordStream, connection: &mut Connection) -> Option<Reason> {
    let state = match connection.process_new_packets() {
        Ok(state) => state,
        Err(error) => return Some(Reason::Stack(error)),
    };
    if connection.is_handshaking() {
        Some(Reason::Handshaking)
    } else if state.plaintext_bytes_to_read() > 0 {
        Some(Reason::Undelivered { bytes: state.plaintext_bytes_to_read() })
    } else if state.peer_has_closed() {
        Some(Reason::Closed)
    } else if state.tls_bytes_to_write() > 0 {
        Some(Reason::Unsent)
    } else if !stream.is_between_records() {
        Some(Reason::PartialRecord)
    } else {
        None
    }
}
