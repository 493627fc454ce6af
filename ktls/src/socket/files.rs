//! Files and pipes: sent and received without a copy where the kernel seals and opens.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use super::Wait;
use super::recv::{Opening, RecvHalf};
use super::sealing::Sealing;
use super::send::SendHalf;
use crate::error::Error;
use crate::sys;

/// How much of a file or a pipe is read at once where its pages cannot go to the kernel, in bytes.
const CHUNK: usize = 64 * 1024;

impl SendHalf {
    /// Sends `len` bytes of `file` from `offset`, and gives the number of bytes accepted: fewer than
    /// `len` as with [`send_vectored`](Self::send_vectored) or at the end of the file, 0 beyond it. To go on,
    /// call again with what is left. What was accepted ends with a record, also where the file has become shorter
    /// meanwhile; where it changes, either content goes.
    ///
    /// The kernel's layer takes the file's pages without a copy. sendfile(2) knows nothing of [`Wait::Now`]: with it
    /// that is so where the descriptor is non-blocking, as on tokio, or by [`set_nonblocking`] of
    /// [`tcp`](Self::tcp). Elsewhere, and in the process's layer, the file is read.
    ///
    /// [`set_nonblocking`]: std::net::TcpStream::set_nonblocking
    ///
    /// # Errors
    /// As [`send_vectored`](Self::send_vectored), and those of reading the file, which end nothing.
    pub fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        wait: Wait,
    ) -> Result<usize, Error> {
        self.ready(wait)?;
        if self.takes_pages(wait)? {
            if let Sealing::Kernel(kernel) = &mut self.sealing {
                let result = kernel.send_file(self.shared.fd(), file, offset, len, wait);
                return self.pages_sent(result, wait);
            }
        }
        let mut chunk = std::mem::take(&mut self.file_chunk);
        chunk.resize(CHUNK, 0);
        let mut taken = 0;
        let result = loop {
            let want = (len - taken).min(CHUNK);
            let part = chunk.get_mut(..want).unwrap_or_default();
            let read = match sys::msg::read_at(file, part, offset.saturating_add(taken as u64)) {
                Ok(0) => break Ok(taken),
                Ok(read) => read,
                Err(error) => break Err(Error::Io(error)),
            };
            match self.send_vectored(&[IoSlice::new(part.get(..read).unwrap_or_default())], wait) {
                Ok(sent) => {
                    taken += sent;
                    if sent < read || taken == len {
                        break Ok(taken);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.file_chunk = chunk;
        match result {
            Err(_) if taken > 0 => Ok(taken),
            other => other,
        }
    }

    /// Sends at most `len` bytes from a pipe (splice(2)), and gives their number: 0 where nobody can write to the pipe
    /// any more. The last record stays open where `more` is to come, as with [`send_more`](Self::send_more) (kernels
    /// before 6.5 end it, and hold it back). To go on, call again with what is left: nothing leaves the pipe that is not
    /// accepted.
    ///
    /// [`Wait::Now`] is for the pipe too, and `WouldBlock` may be either's: poll(2) both. The kernel's layer takes the
    /// pipe's pages without a copy; the process's layer reads them. Nobody else may read from the pipe meanwhile.
    ///
    /// # Errors
    /// As [`send_vectored`](Self::send_vectored), and those of the pipe, which end nothing. [`Error::Io`] of the kind
    /// `InvalidInput` for [`Wait::Now`] where the kernel seals and the descriptor is blocking: splice(2) would wait.
    /// [`set_nonblocking`](std::net::TcpStream::set_nonblocking) of [`tcp`](Self::tcp) is the mend; then
    /// [`Wait::Block`] no longer waits.
    pub fn splice_from(
        &mut self,
        pipe: BorrowedFd<'_>,
        len: usize,
        more: bool,
        wait: Wait,
    ) -> Result<usize, Error> {
        self.ready(wait)?;
        let pages = self.takes_pages(wait)?;
        if let Sealing::Kernel(kernel) = &mut self.sealing {
            if !pages {
                let why = "the descriptor is blocking, so splice(2) would wait: set_nonblocking(true)";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
            }
            let result = kernel.splice(self.shared.fd(), pipe, len, more, wait);
            return self.pages_sent(result, wait);
        }
        // What is read from a pipe is gone from it: no more is read than is taken for certain.
        let written = self.write_out(wait);
        self.latch(written)?;
        let mut most = self.sealing.capacity().min(len);
        if most == 0 && len > 0 {
            // The key is at its limit, or what is here already is in the way: this says which, or makes room.
            self.flush(wait)?;
            self.sealing.meter().check()?;
            most = self.sealing.capacity().min(len);
            if most == 0 {
                return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
            }
        }
        let mut chunk = std::mem::take(&mut self.file_chunk);
        chunk.resize(CHUNK, 0);
        let part = chunk.get_mut(..most.min(CHUNK)).unwrap_or_default();
        let result = sys::splice::read(pipe, part, wait).map_err(Error::Io).and_then(|read| {
            let bufs = [IoSlice::new(part.get(..read).unwrap_or_default())];
            if more { self.send_more(&bufs, wait) } else { self.send_vectored(&bufs, wait) }
        });
        self.file_chunk = chunk;
        result
    }

    /// Whether the kernel can be given pages by a call that does what `wait` says.
    fn takes_pages(&self, wait: Wait) -> io::Result<bool> {
        let kernel = matches!(self.sealing, Sealing::Kernel(_));
        Ok(kernel && (wait == Wait::Block || sys::msg::never_waits(self.shared.fd())?))
    }

    /// What became of pages given to the kernel. No error is latched: it may be that of the file, and the
    /// socket's own comes again by itself.
    fn pages_sent(&mut self, result: Result<usize, Error>, wait: Wait) -> Result<usize, Error> {
        match &result {
            // EINVAL may be the file's.
            Err(error @ Error::Io(cause))
                if cause.raw_os_error() == Some(libc::EMSGSIZE) && self.is_receivers(error) =>
            {
                self.ready(wait)?;
            }
            _ => {}
        }
        result
    }
}

impl RecvHalf {
    /// Moves at most `len` bytes of application data into a pipe (splice(2)), and gives their number: 0 only after
    /// the peer's close_notify. Control records are dealt with as always.
    ///
    /// The kernel's layer moves the pages in which it opened one record; the process's layer writes to the pipe.
    /// [`Wait::Now`] is for the pipe too.
    ///
    /// # Errors
    /// As [`recv_vectored`](Self::recv_vectored), and those of the pipe, which end nothing: what was not moved stays.
    pub fn splice_to(&mut self, pipe: BorrowedFd<'_>, len: usize, wait: Wait) -> Result<usize, Error> {
        if len == 0 {
            return Ok(0);
        }
        while self.buffered().is_empty() {
            let Opening::Kernel(_) = self.opening else {
                if self.fill_buf(wait)?.is_empty() {
                    return Ok(0);
                }
                break;
            };
            if let Some(moved) = self.splice_by_kernel(pipe, len, wait)? {
                return Ok(moved);
            }
        }
        let part = self.buffered();
        let part = part.get(..len).unwrap_or(part);
        let written = sys::splice::write(pipe, part, wait).map_err(Error::Io)?;
        self.consume(written);
        Ok(written)
    }

    /// One step: pages moved, or the end, or a control record dealt with. Data that comes instead of one is in the
    /// buffer then.
    fn splice_by_kernel(
        &mut self,
        pipe: BorrowedFd<'_>,
        len: usize,
        wait: Wait,
    ) -> Result<Option<usize>, Error> {
        /// A control record is put together from parts, and data meets it rarely.
        const PART: usize = 256;
        if self.is_closed() {
            return Ok(Some(0));
        }
        self.check_failed()?;
        let Opening::Kernel(kernel) = &mut self.opening else { return Ok(None) };
        let spliced = kernel.splice(self.shared.fd(), pipe, len, wait);
        if let Some(moved) = self.latch(spliced)? {
            return match self.control_check_data() {
                Ok(()) => Ok(Some(moved)),
                Err(error) => self.latch(Err(error)),
            };
        }
        let mut part = [0; PART];
        let step = self.kernel_step(&mut [IoSliceMut::new(&mut part)], wait);
        if let Some(n) = self.latch(step)? {
            self.put_buffered(part.get(..n).unwrap_or_default());
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "makes system calls")]
    fn a_full_pipe_is_would_block() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let page = vec![7; libc::PIPE_BUF];
        let mut written = 0;
        let error = loop {
            match sys::splice::write(writer.as_fd(), &page, Wait::Now) {
                Ok(n) => written += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut got = vec![0; written];
        assert_eq!(sys::splice::read(reader.as_fd(), &mut got, Wait::Now).unwrap(), written);
        assert!(got.iter().all(|&byte| byte == 7));
        let empty = sys::splice::read(reader.as_fd(), &mut got, Wait::Now).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }
}
