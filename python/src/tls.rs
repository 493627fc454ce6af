//! Kernel TLS for sockets of Python's own: what the kernel can do, and connections with keys from anywhere.
#![allow(unsafe_code, reason = "Python hands a socket over as the number of its descriptor")]

use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ktls::cipher::CipherSuite;
use ktls::crypto::Hash;
use ktls::handshake::{ClientConfig, Psk, Role, ServerConfig};
use ktls::keys::KeyLog;
use ktls::secret::Secret;
use ktls::{Direction, RecvHalf, SealedBy, SendHalf, Wait, Why};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Lent;
use crate::error::{Failure, Outcome, system};
use crate::options::layer_of;
use crate::record::Record;

/// Who seals or opens the records of one direction, and why.
pub(crate) fn direction<'py>(py: Python<'py>, direction: &Direction) -> PyResult<Bound<'py, PyAny>> {
    Record::new(py, "RecordLayer")
        .field("by", sealed_by(direction.by))?
        .field("why", direction.why.to_string())?
        .field("mend", direction.why.mend())?
        .make()
}

fn sealed_by(by: SealedBy) -> &'static str {
    match by {
        SealedBy::Kernel => "kernel",
        SealedBy::Nic => "nic",
        _ => "process",
    }
}

/// Tries what this kernel's TLS can do: a `Probe`. It needs no rights and takes less than a millisecond.
#[pyfunction]
pub(crate) fn probe<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    let probe = py.detach(ktls::probe);
    let said = |why: &Option<Why>| why.as_ref().map(ToString::to_string);
    let suites = probe.suites.iter().map(|suite| {
        Record::new(py, "SuiteProbe")
            .field("suite", suite.suite.name())?
            .field("send", said(&suite.send))?
            .field("receive", said(&suite.receive))?
            .make()
    });
    Record::new(py, "Probe")
        .field("missing", said(&probe.missing))?
        .field("mend", probe.missing.as_ref().and_then(Why::mend))?
        .field("suites", pyo3::types::PyTuple::new(py, suites.collect::<PyResult<Vec<_>>>()?)?)?
        .field("no_pad", probe.no_pad)?
        .field("max_payload", probe.max_payload)?
        .field("counts_records", probe.counts_records)?
        .field("rekey", probe.rekey)?
        .field("explanation", probe.explain().join("\n"))?
        .make()
}

/// A TLS connection: sealed and opened by the kernel where it can, else by this process. One thread may send while
/// another receives. It has the timeout that the socket had when it was wrapped.
#[pyclass(frozen, module = "nvme_tcp.ktls")]
#[derive(Debug)]
pub(crate) struct Socket {
    send: Mutex<Option<SendHalf>>,
    receive: Mutex<Option<RecvHalf>>,
    info: ktls::Info,
}

fn lock<T>(half: &Mutex<Option<T>>) -> MutexGuard<'_, Option<T>> {
    half.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    fn new(socket: ktls::Socket) -> Self {
        let info = socket.info().clone();
        let (send, receive) = socket.into_halves();
        Self { send: Mutex::new(Some(send)), receive: Mutex::new(Some(receive)), info }
    }

    /// Calls until it is done; signals come through between (PEP 475).
    fn sending<T: Send>(
        &self,
        py: Python<'_>,
        mut what: impl FnMut(&mut SendHalf) -> Result<T, ktls::Error> + Send,
    ) -> PyResult<T> {
        again(py, || match &mut *lock(&self.send) {
            Some(half) => what(half).map_err(Some),
            None => Err(None),
        })
    }

    fn receiving<T: Send>(
        &self,
        py: Python<'_>,
        mut what: impl FnMut(&mut RecvHalf) -> Result<T, ktls::Error> + Send,
    ) -> PyResult<T> {
        again(py, || match &mut *lock(&self.receive) {
            Some(half) => what(half).map_err(Some),
            None => Err(None),
        })
    }
}

/// `None` as an error: the socket is closed.
fn again<T: Send>(
    py: Python<'_>,
    mut what: impl FnMut() -> Result<T, Option<ktls::Error>> + Send,
) -> PyResult<T> {
    loop {
        match py.detach(&mut what) {
            Ok(done) => return Ok(done),
            Err(Some(ktls::Error::Io(error))) if error.kind() == io::ErrorKind::Interrupted => {
                py.check_signals()?;
            }
            Err(Some(error)) => return Err(Failure::from(error).into()),
            Err(None) => return Err(Failure::closed("socket").into()),
        }
    }
}

/// Takes the descriptor over from a `socket.socket`, with its timeout.
fn take(socket: &Bound<'_, PyAny>) -> PyResult<(TcpStream, Option<Duration>)> {
    let timeout: Option<f64> = socket.call_method0("gettimeout")?.extract()?;
    let timeout = match timeout {
        None => None,
        Some(seconds) if seconds > 0.0 => Some(Duration::from_secs_f64(seconds)),
        Some(_) => return Err(PyValueError::new_err("the socket must be blocking, or have a timeout")),
    };
    let fd: i32 = socket.call_method0("detach")?.extract()?;
    if fd < 0 {
        return Err(PyValueError::new_err("the socket is closed"));
    }
    // SAFETY: `detach` gave the open descriptor to us, and to nobody else.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let stream = TcpStream::from(owned);
    let set = |stream: &TcpStream| {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(timeout)?;
        stream.set_write_timeout(timeout)
    };
    set(&stream).map_err(|error| system(&error, "socket"))?;
    Ok((stream, timeout))
}

fn secret(bytes: &[u8]) -> Outcome<Secret> {
    Secret::new(bytes).ok_or_else(|| Failure::argument("a key has at most 64 bytes"))
}

/// Does a TLS 1.3 handshake by pre-shared key over a connected TCP socket, which is taken over (`detach`).
///
/// `identity` is the key's name, which goes over the wire in the clear; `hash` is the key's, and the suite's. The
/// socket's timeout bounds the handshake. `layer` is as in `nvme_tcp.connect`.
#[pyfunction]
#[pyo3(signature = (sock, identity, key, *, server_side = false, hash = "sha256", layer = None))]
pub(crate) fn wrap_psk(
    sock: &Bound<'_, PyAny>,
    identity: &[u8],
    key: &[u8],
    server_side: bool,
    hash: &str,
    layer: Option<&str>,
) -> PyResult<Socket> {
    let hash = match hash {
        "sha256" => Hash::Sha256,
        "sha384" => Hash::Sha384,
        other => {
            let message = format!("hash is {other:?}, expected \"sha256\" or \"sha384\"");
            return Err(Failure::argument(message).into());
        }
    };
    let options = ktls::Options::new().layer(layer_of(layer)?);
    let psk = Psk::new(identity.to_vec(), secret(key)?, hash);
    let psk = psk.map_err(|error| Failure::from(ktls::Error::from(error)))?;
    let (stream, timeout) = take(sock)?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let connected = sock.py().detach(move || {
        if server_side {
            let own = psk.clone();
            let known = move |name: &[u8]| if name == own.identity() { vec![own.clone()] } else { vec![] };
            ktls::Socket::accept(stream, &ServerConfig::new(known), &options, deadline)
        } else {
            ktls::Socket::connect(stream, &ClientConfig::new(psk), &options, deadline)
        }
    });
    Ok(Socket::new(connected.map_err(Failure::from)?))
}

/// Takes a connection over that another TLS stack has set up and written a key log of (RFC 9850); `wrap_ssl` does so
/// for Python's. `keylog` is the log's text, `cipher` the suite ("TLS_AES_128_GCM_SHA256"); `sent` and `received` are
/// the records that went under the application keys before. `client_random` says which connection of the log it is.
#[pyfunction]
#[pyo3(signature = (sock, keylog, cipher, *, server_side, client_random = None, sent = 0, received = 0, layer = None))]
#[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub(crate) fn wrap_keylog(
    sock: &Bound<'_, PyAny>,
    keylog: &str,
    cipher: &str,
    server_side: bool,
    client_random: Option<&[u8]>,
    sent: u64,
    received: u64,
    layer: Option<&str>,
) -> PyResult<Socket> {
    let wrong = |message: String| Failure::argument(message);
    let options = ktls::Options::new().layer(layer_of(layer)?);
    let log = KeyLog::parse(keylog).map_err(|error| wrong(error.to_string()))?;
    let random: [u8; 32] = match client_random {
        Some(random) => random.try_into().map_err(|_| wrong("client_random has 32 bytes".to_owned()))?,
        None => {
            let mut randoms = log.client_randoms();
            match (randoms.next(), randoms.next()) {
                (Some(only), None) => *only,
                _ => {
                    let count = log.client_randoms().count();
                    let message =
                        format!("the key log has {count} connections of TLS 1.3: give client_random");
                    return Err(wrong(message).into());
                }
            }
        }
    };
    let suite = CipherSuite::ALL.into_iter().find(|suite| suite.name() == cipher);
    let suite = suite.ok_or_else(|| wrong(format!("no keys of {cipher} can be made from a key log")))?;
    let role = if server_side { Role::Server } else { Role::Client };
    let keys = log.keys(&random, suite, role, sent, received).map_err(|error| wrong(error.to_string()))?;
    let (stream, _) = take(sock)?;
    let socket = sock.py().detach(move || ktls::Socket::from_keys(stream, keys, &options));
    Ok(Socket::new(socket.map_err(Failure::from)?))
}

#[pymethods]
impl Socket {
    /// Sends what the connection takes of a buffer; how many bytes that were.
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let lent = Lent::readable(data)?;
        self.sending(py, |half| half.send_vectored(&[IoSlice::new(lent.bytes())], Wait::Block))
    }

    /// Sends all of a buffer.
    fn sendall(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let lent = Lent::readable(data)?;
        let mut rest = lent.bytes();
        while !rest.is_empty() {
            let sent = self.sending(py, |half| half.send_vectored(&[IoSlice::new(rest)], Wait::Block))?;
            rest = rest.get(sent..).unwrap_or_default();
            py.check_signals()?;
        }
        self.sending(py, |half| half.flush(Wait::Block)).map(drop)
    }

    /// Sends `count` bytes of a file (to its end by default) from `offset` on; how many that were. The kernel's layer
    /// takes the file's pages without a copy.
    #[pyo3(signature = (file, offset = 0, count = None))]
    fn sendfile(
        &self,
        py: Python<'_>,
        file: &Bound<'_, PyAny>,
        offset: u64,
        count: Option<u64>,
    ) -> PyResult<u64> {
        let fd: i32 = file.call_method0("fileno")?.extract()?;
        if fd < 0 {
            return Err(PyValueError::new_err("the file is closed"));
        }
        let mut done = 0;
        loop {
            let left = count.map_or(u64::MAX, |count| count - done);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 20);
            if len == 0 {
                break;
            }
            let sent = self.sending(py, |half| {
                // SAFETY: Python keeps the file open for as long as its object lives, which the caller's
                // reference does; a file that another thread closes meanwhile is an error of the system.
                let file = unsafe { BorrowedFd::borrow_raw(fd) };
                half.send_file(file, offset.saturating_add(done), len, Wait::Block)
            })?;
            if sent == 0 {
                break;
            }
            done += sent as u64;
            py.check_signals()?;
        }
        self.sending(py, |half| half.flush(Wait::Block))?;
        Ok(done)
    }

    /// At most `bufsize` bytes; none after the peer's close_notify.
    fn recv<'py>(&self, py: Python<'py>, bufsize: usize) -> PyResult<Bound<'py, PyBytes>> {
        let mut buffer = vec![0; bufsize];
        let n =
            self.receiving(py, |half| half.recv_vectored(&mut [IoSliceMut::new(&mut buffer)], Wait::Block))?;
        Ok(PyBytes::new(py, buffer.get(..n).unwrap_or_default()))
    }

    /// Receives into a buffer; how many bytes that were, 0 after the peer's close_notify. What lies behind them may have
    /// changed; nobody else may write to the buffer meanwhile, since records are opened there.
    fn recv_into(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut lent = Lent::writable(buffer)?;
        let bytes = lent.bytes_mut();
        self.receiving(py, |half| half.recv_vectored(&mut [IoSliceMut::new(&mut *bytes)], Wait::Block))
    }

    /// Changes the key that this end seals with (RFC 8446, 4.6.3); `request` asks the peer for the same.
    #[pyo3(signature = (*, request = false))]
    fn update_key(&self, py: Python<'_>, request: bool) -> PyResult<()> {
        self.sending(py, |half| half.update_key(request, Wait::Block))
    }

    /// Tells the peer that nothing more will be sent. Receiving goes on.
    fn close_notify(&self, py: Python<'_>) -> PyResult<()> {
        self.sending(py, |half| half.close_notify(Wait::Block)).map(drop)
    }

    /// Closes the connection, with close_notify where it can be sent at once.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            // Not waited for: a peer that reads nothing must not hold up a close.
            if let Some(mut half) = lock(&self.send).take() {
                let _ = half.close_notify(Wait::Now);
                let _ = half.tcp().shutdown(std::net::Shutdown::Both);
            }
            drop(lock(&self.receive).take());
        });
    }

    /// The descriptor, for `select` and options; -1 when closed. Reading from it breaks the connection.
    fn fileno(&self) -> i32 {
        lock(&self.send).as_ref().map_or(-1, |half| half.tcp().as_raw_fd())
    }

    /// How many records the keys were used for: `Budgets`.
    fn budgets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let closed = || Failure::closed("socket");
        let send = lock(&self.send).as_ref().map(SendHalf::budget).ok_or_else(closed)?;
        let receive = lock(&self.receive).as_ref().map(RecvHalf::budget).ok_or_else(closed)?;
        Record::new(py, "Budgets")
            .field("sent", send.used)?
            .field("received", receive.used)?
            .field("limit", send.limit)?
            .make()
    }

    /// "TLS 1.3".
    #[getter]
    fn version(&self) -> &'static str {
        self.info.version()
    }

    /// The suite, by its name in the standard.
    #[getter]
    fn suite(&self) -> &'static str {
        self.info.suite.name()
    }

    /// Who seals what this end sends: a `RecordLayer`.
    #[getter]
    fn sender<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        direction(py, &self.info.send)
    }

    /// Who opens what the peer sends: a `RecordLayer`.
    #[getter]
    fn receiver<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        direction(py, &self.info.receive)
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        let (suite, send, receive) = (self.info.suite.name(), self.info.send.by, self.info.receive.by);
        format!("<nvme_tcp.ktls.Socket {suite}, sealed by {send}, opened by {receive}>")
    }
}
