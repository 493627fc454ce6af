//! Drives a handshake over a descriptor, record by record: nothing behind it is ever read.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::error::Error;
use crate::handshake::{
    ClientConfig, ClientHandshake, Handshake, MAX_CIPHERTEXT_LEN, RECORD_HEADER_LEN, ServerConfig,
    ServerHandshake, record_length,
};
use crate::keys::Established;
use crate::socket::Wait;
use crate::sys;

pub(super) fn connect(
    fd: BorrowedFd<'_>,
    config: &ClientConfig,
    deadline: Option<Instant>,
) -> Result<Established, Error> {
    drive(fd, ClientHandshake::new(config)?, deadline)
}

pub(super) fn accept(
    fd: BorrowedFd<'_>,
    config: &ServerConfig,
    deadline: Option<Instant>,
) -> Result<Established, Error> {
    drive(fd, ServerHandshake::new(config)?, deadline)
}

fn drive(
    fd: BorrowedFd<'_>,
    mut handshake: impl Handshake,
    deadline: Option<Instant>,
) -> Result<Established, Error> {
    let mut record = [0; RECORD_HEADER_LEN + MAX_CIPHERTEXT_LEN];
    loop {
        match send_all(fd, &handshake.take_output(), deadline) {
            // The peer has gone: what it said before tells why.
            Err(error) if has_gone(&error) && !handshake.is_finished() => {}
            result => result?,
        }
        if handshake.is_finished() {
            return Ok(handshake.into_established()?);
        }
        let outcome = read_one(fd, &mut handshake, &mut record, deadline);
        if let Err(error) = outcome {
            // The alert, if there is one to send; the handshake's error says more than one of its own.
            let _ = send_all(fd, &handshake.take_output(), deadline);
            return Err(error);
        }
    }
}

fn read_one(
    fd: BorrowedFd<'_>,
    handshake: &mut impl Handshake,
    record: &mut [u8; RECORD_HEADER_LEN + MAX_CIPHERTEXT_LEN],
    deadline: Option<Instant>,
) -> Result<(), Error> {
    let Some((header, body)) = record.split_first_chunk_mut::<RECORD_HEADER_LEN>() else {
        unreachable!("the array is longer than a header")
    };
    if !receive_exactly(fd, header, deadline)? {
        return Err(handshake.closed().into());
    }
    let len = match record_length(header) {
        Ok(len) => len,
        Err(_) => {
            // A header by itself makes the handshake fail in the same way, with the alert.
            return Ok(handshake.read_record(header)?);
        }
    };
    let Some(body) = body.get_mut(..len) else { unreachable!("record_length keeps to the longest body") };
    if !receive_exactly(fd, body, deadline)? {
        return Err(handshake.closed().into());
    }
    let whole = record.get_mut(..RECORD_HEADER_LEN + len).unwrap_or_default();
    Ok(handshake.read_record(whole)?)
}

/// Appends one whole record to `record`, and no byte behind it; says whether there was one before the end of
/// the stream.
#[cfg(feature = "rustls")]
pub(crate) fn append_record(
    fd: BorrowedFd<'_>,
    record: &mut Vec<u8>,
    deadline: Option<Instant>,
) -> Result<bool, Error> {
    let mut header = [0; RECORD_HEADER_LEN];
    if !receive_exactly(fd, &mut header, deadline)? {
        return Ok(false);
    }
    let len = record_length(&header)?;
    record.extend_from_slice(&header);
    let begin = record.len();
    record.resize(begin + len, 0);
    Ok(receive_exactly(fd, record.get_mut(begin..).unwrap_or_default(), deadline)?)
}

/// Fills `buf`, or says that the stream ended before.
fn receive_exactly(fd: BorrowedFd<'_>, mut buf: &mut [u8], deadline: Option<Instant>) -> io::Result<bool> {
    while !buf.is_empty() {
        match sys::msg::receive_plain(fd, buf, Wait::Now) {
            Ok(0) => return Ok(false),
            Ok(n) => buf = buf.get_mut(n..).unwrap_or_default(),
            // tlshd and others close with unread bytes, which makes the kernel send a RST.
            Err(error) if has_gone(&error) => return Ok(false),
            Err(error) => wait_or_give_up(fd, error, libc::POLLIN, deadline)?,
        }
    }
    Ok(true)
}

pub(crate) fn send_all(fd: BorrowedFd<'_>, mut bytes: &[u8], deadline: Option<Instant>) -> io::Result<()> {
    while !bytes.is_empty() {
        match sys::msg::send(fd, &[IoSlice::new(bytes)], None, Wait::Now) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) => wait_or_give_up(fd, error, libc::POLLOUT, deadline)?,
        }
    }
    Ok(())
}

pub(crate) fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Waits after `WouldBlock`; every other error is given back.
fn wait_or_give_up(
    fd: BorrowedFd<'_>,
    error: io::Error,
    events: libc::c_short,
    deadline: Option<Instant>,
) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock => sys::msg::wait_for(fd, events, deadline),
        io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}
