//! `Namespace`: bytes at offsets, from and to any buffer.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use nvme_tcp::ByteRange;
use nvme_tcp::spec::command::nvm::IoFlags;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Lent;
use crate::controller::Counters;
use crate::error::{Failure, Outcome, system};
use crate::reservations::Reservations;

/// Bytes that a copy moves between two looks at signals, by default.
const CHUNK: usize = 8 << 20;

/// A namespace: bytes at offsets. Any thread may use it, several at once.
///
/// Offsets and lengths are in bytes, and multiples of `block_size`; `open` gives a file object that takes any.
/// Buffers are whatever has the buffer protocol and lies in one piece (bytes, bytearray, memoryview, mmap, array,
/// NumPy arrays, PyTorch's CPU tensors). They are used in place while other
/// threads of Python run; change none that a call uses.
#[pyclass(frozen, module = "nvme_tcp")]
#[derive(Debug)]
pub(crate) struct Namespace {
    inner: nvme_tcp::Namespace,
    counters: Arc<Counters>,
}

impl Namespace {
    pub(crate) fn new(inner: nvme_tcp::Namespace, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }

    pub(crate) fn inner(&self) -> &nvme_tcp::Namespace {
        &self.inner
    }

    fn read_into(&self, py: Python<'_>, buffer: &mut [u8], offset: u64) -> Outcome<()> {
        let bytes = buffer.len();
        let result = py.detach(|| self.inner.read_at(buffer, offset).map_err(Failure::from));
        self.counters.count(&self.counters.reads, Some((&self.counters.bytes_read, bytes)), &result);
        result
    }

    /// Something that may wait and is not counted, with the interpreter free for other threads.
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        what: impl FnOnce(&nvme_tcp::Namespace) -> nvme_tcp::Result<T> + Send,
    ) -> PyResult<T> {
        Ok(py.detach(|| what(&self.inner)).map_err(Failure::from)?)
    }

    fn write_from(&self, py: Python<'_>, buffer: &[u8], offset: u64, flags: IoFlags) -> Outcome<()> {
        let result = py.detach(|| self.inner.write_with(buffer, offset, flags).map_err(Failure::from));
        let bytes = (&self.counters.bytes_written, buffer.len());
        self.counters.count(&self.counters.writes, Some(bytes), &result);
        result
    }

    fn within(&self, offset: u64, length: u64) -> Outcome<()> {
        let (end, size) = (offset.saturating_add(length), self.inner.size());
        match end > size {
            true => Err(nvme_tcp::Error::from(nvme_tcp::ErrorKind::OutOfRange { offset, end, size }).into()),
            false => Ok(()),
        }
    }

    /// A whole number of blocks, at least one.
    fn chunk(&self, chunk: Option<usize>) -> Outcome<usize> {
        let block = self.inner.block_size() as usize;
        match chunk.unwrap_or(CHUNK.max(block)) {
            chunk if chunk > 0 && chunk % block == 0 => Ok(chunk),
            other => Err(Failure::argument(format!("chunk is {other}, expected a multiple of {block}"))),
        }
    }

    /// Writes `data`, which may end inside a block: the rest of that block stays as it is.
    fn write_any_length(&self, py: Python<'_>, data: &[u8], offset: u64) -> Outcome<()> {
        let block = self.inner.block_size() as usize;
        let (whole, rest) = data.split_at(data.len() / block * block);
        if !whole.is_empty() {
            self.write_from(py, whole, offset, IoFlags::empty())?;
        }
        if !rest.is_empty() {
            let mut last = vec![0; block];
            let at = offset + whole.len() as u64;
            self.read_into(py, &mut last, at)?;
            let (new, _) = last.split_at_mut(rest.len());
            new.copy_from_slice(rest);
            self.write_from(py, &last, at, IoFlags::empty())?;
        }
        Ok(())
    }
}

#[pymethods]
impl Namespace {
    /// Its ID.
    #[getter]
    fn nsid(&self) -> u32 {
        self.inner.id()
    }

    /// Its size in bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.inner.size()
    }

    /// The size of a block in bytes.
    #[getter]
    fn block_size(&self) -> u32 {
        self.inner.block_size()
    }

    /// Whether it is write protected.
    #[getter]
    fn read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    /// The most data that one command moves, in bytes. Longer calls make several, side by side.
    #[getter]
    fn max_transfer(&self) -> usize {
        self.inner.max_transfer()
    }

    fn __len__(&self) -> PyResult<usize> {
        usize::try_from(self.inner.size()).map_err(|_| {
            pyo3::exceptions::PyOverflowError::new_err("the namespace is larger than this machine's memory")
        })
    }

    /// `length` bytes from `offset` on.
    fn read<'py>(&self, py: Python<'py>, offset: u64, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        // Before the memory is taken: a wrong length may be more than there is.
        self.within(offset, length as u64)?;
        PyBytes::new_with(py, length, |buffer| Ok(self.read_into(py, buffer, offset)?))
    }

    /// Fills a buffer with what stands at `offset`; its length in bytes.
    ///
    /// >>> import array, nvme_tcp
    /// >>> with nvme_tcp.testing.Target("1M") as target, nvme_tcp.connect(target.uri) as controller:
    /// ...     values = array.array("I", [7]) * 128
    /// ...     controller.namespace().readinto(0, values), set(values)
    /// (512, {0})
    fn readinto(&self, py: Python<'_>, offset: u64, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut lent = Lent::writable(buffer)?;
        let length = lent.len();
        self.read_into(py, lent.bytes_mut(), offset)?;
        Ok(length)
    }

    /// Writes a buffer to `offset`; its length in bytes. It is durable after a `flush`; with `fua` (force unit access) on
    /// return.
    #[pyo3(signature = (offset, buffer, *, fua = false))]
    fn write(&self, py: Python<'_>, offset: u64, buffer: &Bound<'_, PyAny>, fua: bool) -> PyResult<usize> {
        let lent = Lent::readable(buffer)?;
        let flags = if fua { IoFlags::FORCE_UNIT_ACCESS } else { IoFlags::empty() };
        self.write_from(py, lent.bytes(), offset, flags)?;
        Ok(lent.len())
    }

    /// Compares a buffer with what stands at `offset`, at the controller: whether they are the same.
    fn compare(&self, py: Python<'_>, offset: u64, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let lent = Lent::readable(buffer)?;
        self.call(py, |namespace| namespace.compare(lent.bytes(), offset))
    }

    /// Writes `new` to `offset` if `expected` stands there, as one atomic operation of the controller: whether it was
    /// written. With a block that hosts share it makes a lock.
    fn compare_and_write(
        &self,
        py: Python<'_>,
        offset: u64,
        expected: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let (expected, new) = (Lent::readable(expected)?, Lent::readable(new)?);
        self.call(py, |namespace| namespace.compare_and_write(expected.bytes(), new.bytes(), offset))
    }

    /// Has the controller read `length` bytes at `offset` and check them, without sending them. Raises what is wrong.
    fn verify(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        self.call(py, |namespace| namespace.verify(offset, length))
    }

    /// Marks `length` bytes at `offset` so that reading them fails until they are written again.
    fn write_uncorrectable(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        self.call(py, |namespace| namespace.write_uncorrectable(offset, length))
    }

    /// Copies `sources`, pairs of offset and length, one after the other to `destination`, without sending the data over
    /// the network.
    fn copy(&self, py: Python<'_>, sources: Vec<(u64, u64)>, destination: u64) -> PyResult<()> {
        let ranges: Vec<_> = sources.into_iter().map(|(offset, len)| ByteRange { offset, len }).collect();
        self.call(py, |namespace| namespace.copy(&ranges, destination))
    }

    /// Who may read and write it, where several hosts share it.
    #[getter]
    fn reservations(this: Py<Self>) -> Reservations {
        Reservations::new(this)
    }

    /// Makes everything that was written before durable.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let result = py.detach(|| self.inner.flush().map_err(Failure::from));
        self.counters.count(&self.counters.flushes, None, &result);
        Ok(result?)
    }

    /// Tells the controller that `length` bytes at `offset` are not needed any more. What they read as then is the
    /// controller's to choose.
    fn discard(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        self.call(py, |namespace| namespace.deallocate(offset, length))
    }

    /// Makes `length` bytes at `offset` read as zeros, without sending them where the controller can.
    fn write_zeroes(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        let result = py.detach(|| self.inner.write_zeroes(offset, length).map_err(Failure::from));
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        self.counters.count(&self.counters.writes, Some((&self.counters.bytes_written, bytes)), &result);
        Ok(result?)
    }

    /// Writes the file at `path` to `offset` and flushes; the number of bytes.
    ///
    /// A file that ends within a block leaves the rest of that block as it is. `progress` is called with the bytes done
    /// and the file's size after each `chunk` bytes (8 MiB by default); what it raises ends the copy, and so does Ctrl-C.
    ///
    /// >>> import nvme_tcp, tempfile
    /// >>> with nvme_tcp.testing.Target("1M") as target, nvme_tcp.connect(target.uri) as controller:
    /// ...     with tempfile.NamedTemporaryFile() as image:
    /// ...         size = image.write(b"an image")
    /// ...         image.flush()
    /// ...         controller.namespace().copy_from(image.name, progress=lambda done, total: print(f"{done / total:.0%}"))
    /// 100%
    /// 8
    #[pyo3(signature = (path, *, offset = 0, progress = None, chunk = None, flush = true))]
    fn copy_from(
        &self,
        py: Python<'_>,
        path: PathBuf,
        offset: u64,
        progress: Option<&Bound<'_, PyAny>>,
        chunk: Option<usize>,
        flush: bool,
    ) -> PyResult<u64> {
        let mut buffer = vec![0; self.chunk(chunk)?];
        let (file, total) = py
            .detach(|| {
                let file = File::open(&path)?;
                let total = std::io::Seek::seek(&mut &file, std::io::SeekFrom::End(0))?;
                Ok((file, total))
            })
            .map_err(|error| system(&error, &path.display().to_string()))?;
        self.within(offset, total)?;
        let mut done = 0;
        while done < total {
            let want = usize::try_from(total - done).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..want).unwrap_or_default();
            py.detach(|| file.read_exact_at(piece, done))
                .map_err(|error| system(&error, &path.display().to_string()))?;
            self.write_any_length(py, piece, offset + done)?;
            done += want as u64;
            tell(py, progress, done, total)?;
        }
        if flush {
            self.flush(py)?;
        }
        Ok(done)
    }

    /// Writes `length` bytes from `offset` (to the end by default) to a file at `path`, which is made or replaced; the
    /// number of bytes. `progress` and `chunk` are as in `copy_from`.
    #[pyo3(signature = (path, *, offset = 0, length = None, progress = None, chunk = None))]
    fn copy_to(
        &self,
        py: Python<'_>,
        path: PathBuf,
        offset: u64,
        length: Option<u64>,
        progress: Option<&Bound<'_, PyAny>>,
        chunk: Option<usize>,
    ) -> PyResult<u64> {
        let total = length.unwrap_or(self.inner.size().saturating_sub(offset));
        let mut buffer = vec![0; self.chunk(chunk)?];
        let failed = |error: &std::io::Error| system(error, &path.display().to_string());
        self.within(offset, total)?;
        let open = || OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file = py.detach(open).map_err(|error| failed(&error))?;
        let block = self.inner.block_size() as usize;
        let mut done = 0;
        while done < total {
            let want = usize::try_from(total - done).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..want.next_multiple_of(block)).unwrap_or_default();
            self.read_into(py, piece, offset + done)?;
            let piece = piece.get(..want).unwrap_or_default();
            py.detach(|| file.write_all_at(piece, done)).map_err(|error| failed(&error))?;
            done += want as u64;
            tell(py, progress, done, total)?;
        }
        Ok(done)
    }

    /// The namespace as a seekable binary file: a `NamespaceFile` (`io.RawIOBase`), or with `buffering` other than 0 a
    /// buffered one around it. `mode` is "r+b", "rb" or "wb", which truncates nothing.
    #[pyo3(signature = (mode = "r+b", buffering = 0))]
    fn open<'py>(this: &Bound<'py, Self>, mode: &str, buffering: i32) -> PyResult<Bound<'py, PyAny>> {
        this.py().import("nvme_tcp._file")?.getattr("open_namespace")?.call1((this, mode, buffering))
    }

    fn __repr__(&self) -> String {
        let (nsid, size, block) = (self.inner.id(), self.inner.size(), self.inner.block_size());
        format!("<nvme_tcp.Namespace {nsid}, {size} bytes in blocks of {block}>")
    }
}

/// Lets signals come through (`KeyboardInterrupt`), and tells the caller how far a copy is.
fn tell(py: Python<'_>, progress: Option<&Bound<'_, PyAny>>, done: u64, total: u64) -> PyResult<()> {
    py.check_signals()?;
    if let Some(progress) = progress {
        progress.call1((done, total))?;
    }
    Ok(())
}
