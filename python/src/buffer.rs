//! Memory of Python's objects, by the buffer protocol, without a copy.
#![allow(unsafe_code, reason = "the buffer protocol is one of C")]

use std::ffi::c_int;
use std::fmt;
use std::ptr::NonNull;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

/// The memory of an object (bytes, bytearray, memoryview, mmap, array, NumPy, PyTorch), one contiguous piece. The object
/// keeps it in place for as long as this lives: a bytearray cannot be resized, an mmap not closed.
///
/// Python does not forbid that another thread changes it meanwhile. Then the data is one or the other, as with
/// `socket.recv_into` and `os.readv`, which do the same; who says `private_memory=True` promises not to.
pub(crate) struct Lent {
    view: Box<ffi::Py_buffer>,
}

// SAFETY: the view is only read after it was filled in, and given back with the interpreter attached; the
// memory that it names stays where it is whatever thread looks.
unsafe impl Send for Lent {}
// SAFETY: as above; nothing of the view changes behind a shared reference.
unsafe impl Sync for Lent {}

impl Lent {
    /// Memory to read from.
    pub(crate) fn readable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::new(object, ffi::PyBUF_SIMPLE)
    }

    /// Memory to write to: `BufferError` or `ValueError` where the object's is not (bytes, a read-only array).
    pub(crate) fn writable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::new(object, ffi::PyBUF_WRITABLE)
    }

    fn new(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<Self> {
        let py = object.py();
        let mut result = Self::get(object, flags);
        if result.as_ref().is_err_and(|error| error.is_instance_of::<PyTypeError>(py)) {
            if let Some(array) = array_of(object)? {
                result = Self::get(&array, flags);
            }
        }
        // What Python itself says when it refuses a str as bytes.
        result.map_err(|error| match (error.is_instance_of::<PyTypeError>(py), object.get_type().name()) {
            (true, Ok(name)) => {
                PyTypeError::new_err(format!("a bytes-like object is required, not '{name}'"))
            }
            _ => error,
        })
    }

    fn get(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: the object lives, the view is ours and empty, and the interpreter is attached (`object` says so).
        match unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) } {
            0 => Ok(Self { view }),
            _ => Err(PyErr::fetch(object.py())),
        }
    }

    /// How many bytes it is.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.view.len).unwrap_or(0)
    }

    /// Where it begins; some address or other where it has no bytes.
    pub(crate) fn start(&self) -> *mut u8 {
        NonNull::new(self.view.buf.cast::<u8>()).unwrap_or(NonNull::dangling()).as_ptr()
    }

    /// The memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the object keeps `len` bytes there for as long as the view is not given back.
        unsafe { std::slice::from_raw_parts(self.start(), self.len()) }
    }

    /// The memory of a view that [`writable`](Self::writable) made.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        assert_eq!(self.view.readonly, 0, "only `writable` gives memory to write to");
        // SAFETY: as in `bytes`; the object allows writing, and this borrow is the only one of this view.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len()) }
    }
}

/// The NumPy array that shares the memory of a tensor of PyTorch, which has no buffer protocol of its own. PyTorch refuses
/// tensors whose memory is elsewhere than in RAM, or that need gradients.
fn array_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let modules = object.py().import("sys")?.getattr("modules")?;
    // Who has a tensor has imported it.
    let Ok(torch) = modules.get_item("torch") else { return Ok(None) };
    match object.is_instance(&torch.getattr("Tensor")?)? {
        true => object.call_method0("numpy").map(Some),
        false => Ok(None),
    }
}

// Written by hand, since what lies there has no place in a log.
impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({} bytes)", self.len())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Where the interpreter is gone, so is the object.
        Python::try_attach(|_| {
            // SAFETY: the view was filled in by PyObject_GetBuffer, is given back once, and the interpreter is
            // attached.
            unsafe { ffi::PyBuffer_Release(&raw mut *self.view) }
        });
    }
}
