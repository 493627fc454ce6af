//! TLS on a descriptor of the caller's.

use std::ffi::{c_int, c_void};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ktls::handshake::{ClientConfig, Psk, ServerConfig};
use ktls::keys::RawKeys;
use ktls::record::ContentType;
use ktls::{Info, Options, RecvHalf, SealedBy, SendHalf, Socket, Wait};
use libc::ssize_t;

use super::keys::{direction_key, nvme_tcp_ktls_key, nvme_tcp_ktls_psk, psk};
use super::{nvme_tcp_tls_info, tls_info};
use crate::call::{Born, Outcome, call, fill, free, get, guard, handle, place};
use crate::error::{Failure, system, tls};
use crate::options::layer;
use crate::text::{bytes, bytes_mut, check};

/// The call does not wait: what cannot be done at once fails with -EAGAIN.
pub const NVME_TCP_NOWAIT: c_int = 1;

/// A record of type alert (RFC 8446, section 5.1).
pub const NVME_TCP_RECORD_ALERT: c_int = 21;
/// A record of type handshake.
pub const NVME_TCP_RECORD_HANDSHAKE: c_int = 22;
/// A record of type application_data.
pub const NVME_TCP_RECORD_DATA: c_int = 23;

/// A TCP connection with TLS on it.
#[derive(Debug)]
pub struct nvme_tcp_ktls {
    born: Born,
    info: Info,
    send: Mutex<SendHalf>,
    recv: Mutex<RecvHalf>,
}

handle!(nvme_tcp_ktls, "TLS connection");

impl nvme_tcp_ktls {
    fn new(socket: Socket) -> Self {
        let info = socket.info().clone();
        let (send, recv) = socket.into_halves();
        Self { born: Born::here(), info, send: Mutex::new(send), recv: Mutex::new(recv) }
    }

    /// Whether the kernel, or a card, has a part in it.
    pub(super) fn is_kernel_s(&self) -> bool {
        [self.info.send.by, self.info.receive.by].into_iter().any(|by| by != SealedBy::Process)
    }

    /// This end's address, and the peer's.
    pub(super) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let sending = self.sending();
        Ok((sending.tcp().local_addr()?, sending.tcp().peer_addr()?))
    }

    fn sending(&self) -> MutexGuard<'_, SendHalf> {
        self.send.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receiving(&self) -> MutexGuard<'_, RecvHalf> {
        self.recv.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a descriptor over: it is closed with the result, whatever becomes of that.
fn take(fd: c_int) -> Outcome<TcpStream> {
    // SAFETY: fcntl(2) with F_GETFD looks at no memory, and takes any number.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(system(&io::Error::last_os_error(), "the descriptor"));
    }
    // SAFETY: it is open, and the caller hands it over.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

fn wait(flags: c_int) -> Outcome<Wait> {
    match flags {
        0 => Ok(Wait::Block),
        NVME_TCP_NOWAIT => Ok(Wait::Now),
        other => Err(Failure::here(
            libc::EINVAL,
            format!("the flags are {other:#x}, expected 0 or NVME_TCP_NOWAIT"),
        )),
    }
}

/// The end of a time in milliseconds; none for -1.
fn deadline(milliseconds: c_int) -> Option<Instant> {
    u64::try_from(milliseconds).ok().map(|ms| Instant::now() + Duration::from_millis(ms))
}

/// Does a client's TLS 1.3 handshake with a pre-shared key over a connected TCP socket. layer is one of
/// NVME_TCP_LAYER_*. It waits, at most for `timeout` milliseconds, -1 for no limit.
///
/// The descriptor belongs to the library from here on: it is closed by nvme_tcp_ktls_free(), or when this
/// call fails (but for -EBADF). It is made blocking.
///
/// Errors: -EKEYREJECTED where the peer gave up or closed the connection, as with a key or identity it does not
/// know; -ETIMEDOUT; -EPROTO for a peer that breaks TLS; -EOPNOTSUPP where the kernel's layer was asked for and
/// cannot be had; -EINVAL, -EBADF. Threads: any.
///
/// # Safety
/// The struct and the bytes that it names are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_connect(
    fd: c_int,
    key: *const nvme_tcp_ktls_psk,
    layer: c_int,
    timeout: c_int,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_ktls>>,
) -> c_int {
    call(|| {
        let stream = take(fd)?;
        let (out, options) = (place(out)?, Options::new().layer(self::layer(layer)?));
        // SAFETY: the caller gives such a struct.
        let config = ClientConfig::new(unsafe { psk(key) }?);
        let socket = Socket::connect(stream, &config, &options, deadline(timeout)).map_err(|e| tls(&e))?;
        out.give(nvme_tcp_ktls::new(socket));
        Ok(())
    })
}

/// Does a server's TLS 1.3 handshake over a connected TCP socket, with whichever of `count` pre-shared keys
/// the client names; else as nvme_tcp_ktls_connect(). The size of the first key is that of all of them.
///
/// Errors: as nvme_tcp_ktls_connect(). Threads: any.
///
/// # Safety
/// The structs and the bytes that they name are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_accept(
    fd: c_int,
    keys: *const nvme_tcp_ktls_psk,
    count: usize,
    layer: c_int,
    timeout: c_int,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_ktls>>,
) -> c_int {
    call(|| {
        let stream = take(fd)?;
        let (out, options) = (place(out)?, Options::new().layer(self::layer(layer)?));
        // SAFETY: the caller gives such a list.
        let psks = unsafe { all_psks(keys, count) }?;
        let config = ServerConfig::new(move |identity: &[u8]| {
            psks.iter().filter(|psk| psk.identity() == identity).cloned().collect::<Vec<_>>()
        });
        let socket = Socket::accept(stream, &config, &options, deadline(timeout)).map_err(|e| tls(&e))?;
        out.give(nvme_tcp_ktls::new(socket));
        Ok(())
    })
}

/// # Safety
/// The structs, each as long as the first one says, and the bytes that they name are there.
unsafe fn all_psks(keys: *const nvme_tcp_ktls_psk, count: usize) -> Outcome<Vec<Psk>> {
    check(keys, count, "the list of keys")?;
    let mut psks = Vec::new();
    let mut at = keys.cast::<u8>();
    for _ in 0..count {
        // SAFETY: this function's contract; the first member of the first is the size.
        let size = unsafe { keys.cast::<usize>().read() };
        // SAFETY: this function's contract.
        psks.push(unsafe { psk(at.cast()) }?);
        at = at.wrapping_add(size);
    }
    Ok(psks)
}

/// Takes over after a handshake of another TLS stack, with its keys: the next byte from and to the wire must
/// be the first of a record with the sequence number that its key says. The descriptor as in
/// nvme_tcp_ktls_connect().
///
/// Errors: -EINVAL for keys that do not fit; -EOPNOTSUPP where the cipher, or the layer that was asked for,
/// cannot be had; -EBADF. Threads: any.
///
/// # Safety
/// The structs and the bytes that they name are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_wrap(
    fd: c_int,
    send_key: *const nvme_tcp_ktls_key,
    receive_key: *const nvme_tcp_ktls_key,
    layer: c_int,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_ktls>>,
) -> c_int {
    call(|| {
        let stream = take(fd)?;
        let (out, options) = (place(out)?, Options::new().layer(self::layer(layer)?));
        // SAFETY: the caller gives such a struct.
        let send = unsafe { direction_key(send_key) }?;
        // SAFETY: the same.
        let receive = unsafe { direction_key(receive_key) }?;
        let keys = RawKeys::new(send, receive).map_err(|e| Failure::here(libc::EINVAL, e.to_string()))?;
        let socket = Socket::from_keys(stream, keys, &options).map_err(|e| tls(&e))?;
        out.give(nvme_tcp_ktls::new(socket));
        Ok(())
    })
}

/// The descriptor, to wait for and to ask for addresses. It belongs to the library; reading from it or
/// writing to it breaks the connection. Before waiting for it to become readable,
/// nvme_tcp_ktls_has_buffered() must say no.
///
/// Errors: -EINVAL, -ECHILD. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_ktls_get_fd(connection: Option<&nvme_tcp_ktls>) -> c_int {
    guard(|| Ok(get(connection)?.sending().tcp().as_raw_fd()))
}

/// Whether nvme_tcp_ktls_recv() has something that the descriptor does not show.
///
/// Threads: as nvme_tcp_ktls_recv().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_ktls_has_buffered(connection: Option<&nvme_tcp_ktls>) -> bool {
    crate::call::value(false, || Ok(get(connection)?.receiving().has_buffered()))
}

/// Sends application data. Gives back how many bytes were taken, which may be fewer than all; what was taken
/// with NVME_TCP_NOWAIT may still be held back, and goes with nvme_tcp_ktls_flush().
///
/// Errors: -EAGAIN where nothing could be taken; -EKEYEXPIRED where the key has sealed as many records as it
/// may; -ECONNRESET, -EPIPE, -ECONNABORTED where the connection is over. Threads: calls that send wait for
/// one another, calls that receive go on beside them.
///
/// # Safety
/// A buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_send(
    connection: Option<&nvme_tcp_ktls>,
    data: *const c_void,
    len: usize,
    flags: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: the caller gives a buffer of this size.
        let data = unsafe { bytes(data, len, "the buffer") }?;
        let (connection, wait) = (get(connection)?, wait(flags)?);
        let sent = connection.sending().send_vectored(&[IoSlice::new(data)], wait);
        sent.map(|n| n as ssize_t).map_err(|e| tls(&e))
    })
}

/// Sends what is held back. Gives back 0 when all of it has gone.
///
/// Errors: -EAGAIN while not all has gone; -ECONNRESET and others where the connection is over.
/// Threads: as nvme_tcp_ktls_send().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_ktls_flush(connection: Option<&nvme_tcp_ktls>, flags: c_int) -> c_int {
    call(|| {
        let (connection, wait) = (get(connection)?, wait(flags)?);
        gone(connection.sending().flush(wait))
    })
}

fn gone(result: Result<bool, ktls::Error>) -> Outcome<()> {
    match result {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::here(libc::EAGAIN, "the socket takes no more now")),
        Err(error) => Err(tls(&error)),
    }
}

/// Sends `data`, which is not empty, as one record of its own type, one of NVME_TCP_RECORD_*. Gives back how
/// many bytes were taken. What a handshake or alert record does is the caller's own business.
///
/// Errors: -EMSGSIZE where it is longer than the peer takes in a record; else as nvme_tcp_ktls_send().
/// Threads: the same.
///
/// # Safety
/// A buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_send_record(
    connection: Option<&nvme_tcp_ktls>,
    record_type: c_int,
    data: *const c_void,
    len: usize,
    flags: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: the caller gives a buffer of this size.
        let data = unsafe { bytes(data, len, "the buffer") }?;
        let content_type = u8::try_from(record_type).ok().and_then(ContentType::from_byte);
        let content_type = content_type.ok_or_else(|| {
            Failure::here(libc::EINVAL, format!("the record's type is {record_type}, expected 21, 22 or 23"))
        })?;
        if data.is_empty() {
            return Err(Failure::here(libc::EINVAL, "a record is not empty"));
        }
        let (connection, wait) = (get(connection)?, wait(flags)?);
        let sent = connection.sending().send_record(content_type, data, wait);
        sent.map(|n| n as ssize_t).map_err(|e| tls(&e))
    })
}

/// Sends `len` bytes of a file from `offset` on, without a copy in this process where the kernel seals and
/// the call may wait. Gives back how many bytes were taken, 0 at the end of the file.
///
/// Errors: as nvme_tcp_ktls_send(); -EBADF, -EISDIR and others of read(2). Threads: the same.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_ktls_sendfile(
    connection: Option<&nvme_tcp_ktls>,
    file: c_int,
    offset: u64,
    len: usize,
    flags: c_int,
) -> ssize_t {
    guard(|| {
        let (connection, wait) = (get(connection)?, wait(flags)?);
        if file < 0 {
            return Err(Failure::here(libc::EBADF, "the file's descriptor is negative"));
        }
        // SAFETY: it is not -1. Where it is not open either, the kernel says so.
        let file = unsafe { BorrowedFd::borrow_raw(file) };
        let sent = connection.sending().send_file(file, offset, len, wait);
        sent.map(|n| n as ssize_t).map_err(|e| tls(&e))
    })
}

/// Receives application data. Gives back how many bytes came, 0 only after the peer's close_notify. Alerts
/// and handshake records are acted upon and not given out. They may be received, and records opened, in the buffer, also
/// behind that length: it must not be memory that a guest or another process can change meanwhile.
///
/// Errors: -EAGAIN with NVME_TCP_NOWAIT where nothing has come; -ECONNRESET where the connection ended
/// without close_notify, so that data may be missing; -EBADMSG for a record that is not authentic;
/// -ECONNABORTED for an alert. Threads: calls that receive wait for one another, calls that send go on beside
/// them.
///
/// # Safety
/// A buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_recv(
    connection: Option<&nvme_tcp_ktls>,
    data: *mut c_void,
    len: usize,
    flags: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: the caller gives a buffer of this size.
        let data = unsafe { bytes_mut(data, len, "the buffer") }?;
        let (connection, wait) = (get(connection)?, wait(flags)?);
        let came = connection.receiving().recv_vectored(&mut [IoSliceMut::new(data)], wait);
        came.map(|n| n as ssize_t).map_err(|e| tls(&e))
    })
}

/// Changes the key of what this end sends (KeyUpdate), and tells the peer; with `request` it asks the peer
/// for the same. Linux NVMe peers end the connection at a KeyUpdate. With NVME_TCP_NOWAIT it may be held back, and
/// goes with nvme_tcp_ktls_flush().
///
/// Errors: -EOPNOTSUPP where the kernel seals and cannot change a key; -EKEYEXPIRED where there is no next
/// key: TLS 1.2, or a key without its traffic secret; -ECONNRESET, -EPIPE, -ECONNABORTED and others of
/// nvme_tcp_ktls_send(). Threads: as nvme_tcp_ktls_send().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_ktls_update_key(
    connection: Option<&nvme_tcp_ktls>,
    request: bool,
    flags: c_int,
) -> c_int {
    call(|| {
        let (connection, wait) = (get(connection)?, wait(flags)?);
        connection.sending().update_key(request, wait).map_err(|e| tls(&e))
    })
}

/// Tells what TLS is on the connection, and who seals and opens its records, and why.
///
/// Errors: -EINVAL. Threads: any.
///
/// # Safety
/// The struct is there as far as its first member says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_get_info(
    connection: Option<&nvme_tcp_ktls>,
    info: *mut nvme_tcp_tls_info,
) -> c_int {
    call(|| {
        let connection = get(connection)?;
        // SAFETY: the caller gives such a struct.
        unsafe { fill(info, || Ok(tls_info(&connection.info, None))) }
    })
}

/// Sends close_notify after all that was taken before: the peer then knows that nothing is missing. Nothing
/// more can be sent; receiving goes on. With NVME_TCP_NOWAIT it is called again while it gives back -EAGAIN.
///
/// Errors: as nvme_tcp_ktls_flush(). Threads: as nvme_tcp_ktls_send().
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_ktls_close_notify(connection: Option<&nvme_tcp_ktls>, flags: c_int) -> c_int {
    call(|| {
        let (connection, wait) = (get(connection)?, wait(flags)?);
        gone(connection.sending().close_notify(wait))
    })
}

/// Closes a connection, without close_notify, and frees it.
///
/// Threads: no other call on it may run or follow.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_ktls_free(connection: Option<Box<nvme_tcp_ktls>>) {
    free(connection);
}
