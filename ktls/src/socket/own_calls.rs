//! For callers that make the system calls themselves, as with io_uring: where this process seals or opens, the
//! halves are codecs, and the caller moves their bytes.

use std::io::IoSlice;

use super::recv::Opening;
use super::sealing::Sealing;
use super::{RecvHalf, SendHalf, Wait};
use crate::error::Error;

impl SendHalf {
    /// Seals application data without sending it, and gives the number of plaintext bytes accepted; `None` where the
    /// kernel seals, or something else has to be sent first, so that [`send_vectored`](Self::send_vectored) is the
    /// call. What is [`sealed`](Self::sealed) is then the caller's to send.
    ///
    /// # Errors
    /// As [`send_vectored`](Self::send_vectored).
    pub fn seal_vectored(&mut self, bufs: &[IoSlice<'_>]) -> Result<Option<usize>, Error> {
        if !matches!(self.sealing, Sealing::Process(_)) {
            return Ok(None);
        }
        self.ready(Wait::Now)?;
        let Sealing::Process(sealer) = &mut self.sealing else { return Ok(None) };
        let result = sealer.seal(bufs, 0).map(Some);
        self.latch(result)
    }

    /// Sealed bytes that wait to be sent; empty where the kernel seals.
    pub fn sealed(&self) -> &[u8] {
        match &self.sealing {
            Sealing::Process(sealer) => sealer.pending(),
            Sealing::Kernel(_) => &[],
        }
    }

    /// Notes that the caller has sent the first `n` bytes of [`sealed`](Self::sealed).
    pub fn sent(&mut self, n: usize) {
        if let Sealing::Process(sealer) = &mut self.sealing {
            sealer.sent(n);
        }
    }
}

impl RecvHalf {
    /// Where the caller may receive the next bytes of the stream to, then to say so by [`filled`](Self::filled);
    /// `None` where the kernel opens, or something is [here](Self::has_buffered) already.
    pub fn space(&mut self) -> Option<&mut [u8]> {
        if self.has_buffered() || self.is_closed() || self.check_failed().is_err() {
            return None;
        }
        match &mut self.opening {
            Opening::Process(opener) => Some(opener.space()),
            Opening::Kernel(_) => None,
        }
    }

    /// Notes that the caller has received `n` bytes to [`space`](Self::space). Where the stream has ended there,
    /// [`fill_buf`](Self::fill_buf) tells a clean end from one that is cut off.
    pub fn filled(&mut self, n: usize) {
        if let Opening::Process(opener) = &mut self.opening {
            opener.filled(n);
        }
    }
}
