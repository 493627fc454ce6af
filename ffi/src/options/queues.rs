//! How many queues and how large, and how long anything may take.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use super::{assign, nvme_tcp_options, set};
use crate::text::text;

/// Sets how many I/O queues, each a connection, the synchronous calls share: 1 by default, 0 for none. The
/// controller may grant fewer.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_io_queues(
    options: Option<&mut nvme_tcp_options>,
    queues: u16,
) -> c_int {
    set(options, |options| assign(&mut options.change.io_queues, Some(queues)))
}

/// Sets how many I/O queues are kept for nvme_tcp_queue_open(): none by default.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_owned_queues(
    options: Option<&mut nvme_tcp_options>,
    queues: u16,
) -> c_int {
    set(options, |options| assign(&mut options.change.owned_queues, Some(queues)))
}

/// Sets the entries of each I/O queue, 2 to 4096; one less can be outstanding. The controller may grant
/// fewer.
///
/// Errors: -EINVAL; another number is refused by the connecting call. Threads: no other call on the same
/// object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_queue_size(
    options: Option<&mut nvme_tcp_options>,
    entries: u32,
) -> c_int {
    set(options, |options| assign(&mut options.change.queue_size, Some(entries)))
}

/// Asks for CRC-32C over headers and over data. A controller that declines is not connected to.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_digests(
    options: Option<&mut nvme_tcp_options>,
    header: bool,
    data: bool,
) -> c_int {
    set(options, |options| assign(&mut options.change.digests, Some((header, data))))
}

/// Sets the keep-alive timeout (KATO) in milliseconds, 0 for none.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_keep_alive(
    options: Option<&mut nvme_tcp_options>,
    milliseconds: u32,
) -> c_int {
    set(options, |options| {
        assign(&mut options.change.keep_alive, Some(Duration::from_millis(milliseconds.into())))
    })
}

/// Sets how long a command may take, in milliseconds. After that its connection is given up.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_timeout(
    options: Option<&mut nvme_tcp_options>,
    milliseconds: u32,
) -> c_int {
    set(options, |options| {
        assign(&mut options.change.timeout, Some(Duration::from_millis(milliseconds.into())))
    })
}

/// Sets how long a connection may take to come up, handshake included, in milliseconds: 10000 by default.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_connect_timeout(
    options: Option<&mut nvme_tcp_options>,
    milliseconds: u32,
) -> c_int {
    set(options, |options| {
        assign(&mut options.change.connect_timeout, Some(Duration::from_millis(milliseconds.into())))
    })
}

/// Sets for how long a call that waits for an answer asks the socket again and again before it sleeps, in
/// microseconds: 0, which sleeps at once, by default. What that costs in CPU time it spares in waking up, which is most
/// of a single command's time on a local network; a little more than a command takes is right, and only where the other
/// end has a CPU of its own. Where nothing comes in that time, ever fewer waits begin so. An event loop of the caller's
/// own sees no difference.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_busy_poll(
    options: Option<&mut nvme_tcp_options>,
    microseconds: u32,
) -> c_int {
    set(options, |options| assign(&mut options.change.busy_poll, Duration::from_micros(microseconds.into())))
}

/// Says that only this process can reach the buffers that are read into, and that no two reads that are outstanding
/// have a byte of them in common. Off by default: then buffers may lie in memory that a guest, another process or a
/// device can change meanwhile, but not take away. With it, reads of nvme_tcp_queue_read() and nvme_tcp_queue_readv() of
/// 4 to 32 KiB may be received where they belong before their header is here, and what comes by TLS is received, and
/// opened where this process does that, in the buffer itself: a copy less. Then whoever else can write there could put
/// words into the controller's mouth, and the buffer of a read that fails may hold what another one has read.
///
/// This is about reads. What is written has to stay as it is until that is done: with data digests some controllers end a
/// connection whose data is not what its digest was taken of.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_private_memory(
    options: Option<&mut nvme_tcp_options>,
    private_memory: bool,
) -> c_int {
    set(options, |options| assign(&mut options.change.private_memory, private_memory))
}

/// Sets how TCP reacts to the network on these connections (TCP_CONGESTION), by the kernel's name for it, such as
/// "dctcp" in a storage network whose switches mark packets; the system's own by default. Without CAP_NET_ADMIN only
/// those that /proc/sys/net/ipv4/tcp_allowed_congestion_control lists may be chosen: the connecting call gives -EPERM
/// for another one, and -ENOENT for one that the kernel does not have.
///
/// Errors: -EINVAL for what is no text. Threads: no other call on the same object at the same time.
///
/// # Safety
/// `name` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_congestion_control(
    options: Option<&mut nvme_tcp_options>,
    name: *const c_char,
) -> c_int {
    set(options, |options| {
        // SAFETY: the caller gives a C string.
        let name = unsafe { text(name, "the congestion control") }?;
        assign(&mut options.change.congestion_control, Some(name.to_owned()))
    })
}

/// Lets each queue of nvme_tcp_queue_open() send and wait in one system call, by io_uring(7), where the kernel allows
/// it (Linux 5.11 or later, and no sandbox that refuses); elsewhere, and where the kernel has the keys of a TLS
/// connection, it goes on with sendmsg(2) and recvmsg(2). Off by default: it saves one system call of two where
/// nvme_tcp_queue_complete() waits for a single command, and less the more commands are in flight. An event loop of
/// the caller's own sees no difference.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_io_uring(
    options: Option<&mut nvme_tcp_options>,
    io_uring: bool,
) -> c_int {
    set(options, |options| assign(&mut options.change.io_uring, io_uring))
}
