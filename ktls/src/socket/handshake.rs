//! Drives a handshake over a descriptor, record by record: nothing behind it is ever read.
//!
//! One body serves threads and runtimes: it asks a [`Transport`] to wait, which blocks the thread in one case
//! and gives way to other tasks in the other.

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::error::Error;
use crate::event::Flow;
use crate::handshake::{
    ClientConfig, ClientHandshake, Handshake, MAX_CIPHERTEXT_LEN, RECORD_HEADER_LEN, ServerConfig,
    ServerHandshake, record_length,
};
use crate::keys::Established;
use crate::socket::Wait;
use crate::sys;

/// A descriptor, and how to wait for it.
pub(crate) trait Transport {
    /// Calls `operation` until it gives something other than `WouldBlock`, waiting in between until the
    /// descriptor is ready for `direction`.
    async fn attempt<T>(
        &mut self,
        direction: Flow,
        operation: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T>;
}

/// Waits by poll(2), until a deadline.
pub(crate) struct Blocking<'fd> {
    pub(crate) fd: BorrowedFd<'fd>,
    pub(crate) deadline: Option<Instant>,
}

impl Transport for Blocking<'_> {
    async fn attempt<T>(
        &mut self,
        direction: Flow,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let events = match direction {
            Flow::Send => libc::POLLOUT,
            Flow::Receive => libc::POLLIN,
        };
        loop {
            match operation(self.fd) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sys::msg::wait_for(self.fd, events, self.deadline)?;
                }
                result => return result,
            }
        }
    }
}

/// The output of a future that waits inside of its calls, as those of [`Blocking`] do.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing in it gives way"),
    }
}

/// Does a client's handshake with a pre-shared key.
pub(crate) async fn connect(
    transport: &mut impl Transport,
    config: &ClientConfig,
) -> Result<Established, Error> {
    drive(transport, ClientHandshake::new(config)?).await
}

/// Does a server's.
pub(crate) async fn accept(
    transport: &mut impl Transport,
    config: &ServerConfig,
) -> Result<Established, Error> {
    drive(transport, ServerHandshake::new(config)?).await
}

async fn drive(transport: &mut impl Transport, mut handshake: impl Handshake) -> Result<Established, Error> {
    let mut record = Vec::with_capacity(RECORD_HEADER_LEN + MAX_CIPHERTEXT_LEN);
    loop {
        match send_all(transport, &handshake.take_output()).await {
            // The peer has gone: what it said before tells why.
            Err(error) if has_gone(&error) && !handshake.is_finished() => {}
            result => result?,
        }
        if handshake.is_finished() {
            return Ok(handshake.into_established()?);
        }
        record.clear();
        if let Err(error) = read_one(transport, &mut handshake, &mut record).await {
            // The alert, if there is one to send; the handshake's error says more than one of its own.
            let _ = send_all(transport, &handshake.take_output()).await;
            return Err(error);
        }
    }
}

async fn read_one(
    transport: &mut impl Transport,
    handshake: &mut impl Handshake,
    record: &mut Vec<u8>,
) -> Result<(), Error> {
    match append_record(transport, record).await {
        Ok(true) => Ok(handshake.read_record(record)?),
        Ok(false) => Err(handshake.closed().into()),
        // A header by itself makes the handshake fail in the same way, with the alert.
        Err(Error::Handshake(_)) => Ok(handshake.read_record(record)?),
        Err(error) => Err(error),
    }
}

/// Appends one whole record to `record`, and no byte behind it; says whether there was one before the end of
/// the stream.
pub(crate) async fn append_record(
    transport: &mut impl Transport,
    record: &mut Vec<u8>,
) -> Result<bool, Error> {
    let mut header = [0; RECORD_HEADER_LEN];
    if !receive_exactly(transport, &mut header).await? {
        return Ok(false);
    }
    record.extend_from_slice(&header);
    let len = record_length(&header)?;
    let begin = record.len();
    record.resize(begin + len, 0);
    Ok(receive_exactly(transport, record.get_mut(begin..).unwrap_or_default()).await?)
}

/// Fills `buf`, or says that the stream ended before.
async fn receive_exactly(transport: &mut impl Transport, mut buf: &mut [u8]) -> io::Result<bool> {
    while !buf.is_empty() {
        let part = &mut *buf;
        match transport.attempt(Flow::Receive, |fd| sys::msg::receive_plain(fd, part, Wait::Now)).await {
            Ok(0) => return Ok(false),
            Ok(n) => buf = buf.get_mut(n..).unwrap_or_default(),
            // tlshd and others close with unread bytes, which makes the kernel send a RST.
            Err(error) if has_gone(&error) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

pub(crate) async fn send_all(transport: &mut impl Transport, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let send = |fd: BorrowedFd<'_>| sys::msg::send(fd, &[IoSlice::new(bytes)], None, Wait::Now);
        match transport.attempt(Flow::Send, send).await {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(crate) fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
