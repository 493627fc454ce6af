//! The two halves of a connection, each for a task of its own.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ready::Registered;
use crate::error::Error;
use crate::event::Flow;
use crate::record::ContentType;
use crate::socket::{RecvHalf, SendHalf, Wait};

/// The receiving half of a [`Socket`](super::Socket): one task owns it.
#[derive(Debug)]
pub struct ReadHalf {
    registered: Registered,
    half: RecvHalf,
}

impl ReadHalf {
    pub(super) fn new(registered: Registered, half: RecvHalf) -> Self {
        Self { registered, half }
    }

    pub(super) fn into_inner(self) -> RecvHalf {
        self.half
    }

    /// The half itself, for what needs no waiting: events, budget, [`Wait::Now`].
    pub fn get_mut(&mut self) -> &mut RecvHalf {
        &mut self.half
    }

    /// The same, to look at.
    pub fn get_ref(&self) -> &RecvHalf {
        &self.half
    }

    /// Receives application data, as [`RecvHalf::recv_vectored`] with its typed errors. Can be given up.
    ///
    /// # Errors
    /// As there, but never `WouldBlock`.
    pub async fn recv_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_recv(cx, bufs)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<Result<usize, Error>> {
        let Self { registered, half } = self;
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if half.has_buffered() {
            // The reactor knows nothing of it. It may turn out to be no data, but then a part of a record.
            match half.recv_vectored(bufs, Wait::Now) {
                Err(error) if error.is_retryable() => {}
                result => return Poll::Ready(result),
            }
        }
        registered.poll(cx, Flow::Receive, || half.recv_vectored(bufs, Wait::Now))
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = ready!(self.poll_recv(cx, &mut [IoSliceMut::new(buf.initialize_unfilled())]))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

/// The sending half of a [`Socket`](super::Socket): one task owns it.
#[derive(Debug)]
pub struct WriteHalf {
    registered: Registered,
    half: SendHalf,
}

impl WriteHalf {
    pub(super) fn new(registered: Registered, half: SendHalf) -> Self {
        Self { registered, half }
    }

    pub(super) fn into_inner(self) -> SendHalf {
        self.half
    }

    /// The half itself, for what needs no waiting: events, budget, [`Wait::Now`].
    pub fn get_mut(&mut self) -> &mut SendHalf {
        &mut self.half
    }

    /// The same, to look at.
    pub fn get_ref(&self) -> &SendHalf {
        &self.half
    }

    /// Sends application data, as [`SendHalf::send_vectored`] with its typed errors. Can be given up: then
    /// nothing was taken.
    ///
    /// # Errors
    /// As there, but never `WouldBlock`.
    pub async fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize, Error> {
        self.attempt(|half| half.send_vectored(bufs, Wait::Now)).await
    }

    /// Sends a part of a file, as [`SendHalf::send_file`]: by sendfile(2) where the kernel seals. A slow disk holds
    /// the task up.
    ///
    /// # Errors
    /// As there, but never `WouldBlock`.
    pub async fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<usize, Error> {
        self.attempt(|half| half.send_file(file, offset, len, Wait::Now)).await
    }

    /// Sends one record of its own, as [`SendHalf::send_record`].
    ///
    /// # Errors
    /// As there, but never `WouldBlock`.
    pub async fn send_record(&mut self, content_type: ContentType, content: &[u8]) -> Result<usize, Error> {
        self.attempt(|half| half.send_record(content_type, content, Wait::Now)).await
    }

    /// Changes the sending key, as [`SendHalf::update_key`]. Can be given up: then the old key is in force and
    /// nothing was said of a new one.
    ///
    /// # Errors
    /// As there, but never `WouldBlock`.
    pub async fn update_key(&mut self, request: bool) -> Result<(), Error> {
        self.attempt(|half| half.update_key(request, Wait::Now)).await
    }

    async fn attempt<T>(
        &mut self,
        mut operation: impl FnMut(&mut SendHalf) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Self { registered, half } = self;
        poll_fn(|cx| registered.poll(cx, Flow::Send, || operation(half))).await
    }

    /// Until `operation` says that all has gone.
    fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&mut SendHalf) -> Result<bool, Error>,
    ) -> Poll<io::Result<()>> {
        let Self { registered, half } = self;
        let result = registered.poll(cx, Flow::Send, || match operation(half) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::from(io::ErrorKind::WouldBlock).into()),
            Err(error) => Err(error),
        });
        result.map_err(io::Error::from)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { registered, half } = &mut *self;
        let result = registered.poll(cx, Flow::Send, || half.send_vectored(bufs, Wait::Now));
        result.map_err(io::Error::from)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_until(cx, |half| {
            match half.settle(Wait::Now) {
                Err(error) if error.is_would_block() => return Err(error),
                // It stays owed, or has ended this half: then `flush` says so.
                _ => {}
            }
            half.flush(Wait::Now)
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_until(cx, |half| half.close_notify(Wait::Now))
    }
}
