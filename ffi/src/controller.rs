//! A connected controller.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;

use nvme_tcp::Controller;

use crate::call::{Born, call, fill, free, get, handle, place, sizing};
use crate::error::Failure;
use crate::options::nvme_tcp_options;
use crate::statistics::Ledger;
use crate::text::{array, bytes_mut, check};
use crate::tls::{nvme_tcp_tls_info, tls_info};

/// A connected controller, with one thread of its own.
#[derive(Debug)]
pub struct nvme_tcp_controller {
    born: Born,
    pub(crate) controller: Controller,
    pub(crate) ledger: Arc<Ledger>,
}

handle!(nvme_tcp_controller, "controller");

/// What a controller and the connections to it turned out to be.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_controller_info {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// CNTLID.
    pub cntlid: u16,
    /// I/O queues granted, those of nvme_tcp_queue_open() among them.
    pub io_queues: u16,
    /// Entries in each I/O queue.
    pub queue_size: u32,
    /// VS: major in bits 31:16, minor in 15:8.
    pub nvme_version: u32,
    /// Data that goes along with a write in its capsule, in bytes.
    pub in_capsule: u32,
    /// MDTS in bytes, 0 for no limit.
    pub max_transfer: u64,
    /// How many associations there were before this one.
    pub generation: u64,
    /// The highest namespace ID.
    pub max_nsid: u32,
    /// ONCS: optional NVM commands.
    pub optional_commands: u16,
    /// Whether header digests are in force.
    pub header_digest: bool,
    /// Whether data digests are in force.
    pub data_digest: bool,
    /// Whether the connections are TLS: nvme_tcp_controller_get_tls() tells more.
    pub tls: bool,
    /// Whether DH-HMAC-CHAP took place.
    pub authenticated: bool,
    /// Whether there is a volatile write cache, so that a flush means something.
    pub volatile_write_cache: bool,
    /// Zero.
    pub reserved: [u8; 5],
    /// SN.
    pub serial_number: [c_char; 24],
    /// MN.
    pub model_number: [c_char; 48],
    /// FR.
    pub firmware_revision: [c_char; 16],
    /// SUBNQN as the controller gives it.
    pub subsysnqn: [c_char; 256],
}

sizing!(nvme_tcp_controller_info, subsysnqn: [c_char; 256]);

/// Connects, and brings up a controller with its I/O queues. It waits, at most as long as the options say for
/// each connection. One thread is started, which sends keep-alives; it takes on this thread's signal mask.
///
/// Errors: -EINVAL for options that make no sense; -ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT and others of
/// connect(2); -ECONNREFUSED where the controller refuses Connect; -EACCES where it refuses this
/// host, or authentication failed; -EKEYREJECTED where the TLS handshake failed with every identity;
/// -EPROTONOSUPPORT where it answers in TLS and TLS is off; -ECONNRESET where it closes the connection;
/// -EOPNOTSUPP where TLS by the kernel was asked for and cannot be had; -EPROTO. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_connect(
    options: Option<&nvme_tcp_options>,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_controller>>,
) -> c_int {
    call(|| {
        let out = place(out)?;
        let controller = get(options)?.to_options()?.connect()?;
        out.give(nvme_tcp_controller { born: Born::here(), controller, ledger: Arc::default() });
        Ok(())
    })
}

/// Shuts a controller down in good order, closes its connections, ends its thread and frees it. Namespaces and
/// queues that came from it are still to be freed; their commands fail from here on.
///
/// Threads: no other call on it may run or follow; any on its namespaces and queues.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_controller_free(controller: Option<Box<nvme_tcp_controller>>) {
    free(controller);
}

/// Tells what the controller and the connections to it turned out to be.
///
/// Errors: -EINVAL. Threads: any.
///
/// # Safety
/// The struct is there as far as its first member says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_controller_get_info(
    controller: Option<&nvme_tcp_controller>,
    info: *mut nvme_tcp_controller_info,
) -> c_int {
    call(|| {
        let controller = get(controller)?;
        let make = || {
            let info = controller.controller.info();
            let traits = &info.traits;
            Ok(nvme_tcp_controller_info {
                size: 0,
                cntlid: traits.cntlid,
                io_queues: traits.io_queues,
                queue_size: traits.io_entries,
                nvme_version: traits.version,
                in_capsule: traits.in_capsule,
                max_transfer: traits.max_transfer.unwrap_or(0),
                generation: info.generation,
                max_nsid: traits.max_namespace,
                optional_commands: traits.optional_commands,
                header_digest: info.negotiated.header_digest,
                data_digest: info.negotiated.data_digest,
                tls: info.tls.is_some(),
                authenticated: info.authentication.is_some(),
                volatile_write_cache: traits.volatile_write_cache,
                reserved: [0; 5],
                serial_number: array(&traits.serial_number),
                model_number: array(&traits.model_number),
                firmware_revision: array(&traits.firmware_revision),
                subsysnqn: array(&traits.subsystem_nqn),
            })
        };
        // SAFETY: the caller gives such a struct.
        unsafe { fill(info, make) }
    })
}

/// Tells what TLS is on the connections: suite, identity, and who seals and opens the records, and why.
///
/// Errors: -ENOENT where the connections are plain; -EINVAL. Threads: any.
///
/// # Safety
/// The struct is there as far as its first member says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_controller_get_tls(
    controller: Option<&nvme_tcp_controller>,
    info: *mut nvme_tcp_tls_info,
) -> c_int {
    call(|| {
        let facts = get(controller)?.controller.info().tls;
        let facts =
            facts.ok_or_else(|| Failure::here(libc::ENOENT, "the connections are plain, without TLS"))?;
        // SAFETY: the caller gives such a struct.
        unsafe { fill(info, || Ok(tls_info(&facts.info, Some(&facts)))) }
    })
}

/// Lists the IDs of the namespaces that this host may use, in ascending order: the first `capacity` of them to
/// `nsids`, and how many there are to `count`.
///
/// Errors: those of a command; -EINVAL. Threads: any.
///
/// # Safety
/// A list of that many numbers; NULL with a capacity of 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_controller_list_namespaces(
    controller: Option<&nvme_tcp_controller>,
    nsids: *mut u32,
    capacity: usize,
    count: Option<&mut MaybeUninit<usize>>,
) -> c_int {
    call(|| {
        let count = place(count)?;
        check(nsids, capacity, "the list")?;
        let found = get(controller)?.controller.namespaces()?;
        let some = found.len().min(capacity);
        // SAFETY: the caller has room for `capacity` numbers, and `found` has at least `some`.
        unsafe { std::ptr::copy_nonoverlapping(found.as_ptr(), nsids, some) };
        count.put(found.len());
        Ok(())
    })
}

/// Reads an Identify data structure, 4096 bytes as the controller sends it.
///
/// Errors: those of a command; -EINVAL. Threads: any.
///
/// # Safety
/// A buffer of 4096 bytes, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_controller_identify(
    controller: Option<&nvme_tcp_controller>,
    cns: u8,
    nsid: u32,
    data: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller gives a buffer of this size.
        let to = unsafe { bytes_mut(data, nvme_tcp::spec::identify::IDENTIFY_LEN, "the buffer") }?;
        to.copy_from_slice(&get(controller)?.controller.identify(cns, nsid)?);
        Ok(())
    })
}

/// Reads `len` bytes (a multiple of 4) of log page `lid` from `offset` on.
///
/// Errors: those of a command; -EINVAL. Threads: any.
///
/// # Safety
/// A buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_controller_get_log_page(
    controller: Option<&nvme_tcp_controller>,
    lid: u8,
    offset: u64,
    data: *mut c_void,
    len: usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller gives a buffer of this size.
        let to = unsafe { bytes_mut(data, len, "the buffer") }?;
        Ok(get(controller)?.controller.get_log_page(lid, offset, to)?)
    })
}

/// Brings up a new association with new TLS keys, sends new commands there, and shuts the old one down when its
/// last command is done. A lost association is replaced in the same way.
///
/// Errors: -ECONNREFUSED, -EACCES, -ETIMEDOUT, -ECONNRESET, -EPROTO and others of nvme_tcp_connect(); the old
/// association is then still used. -EINVAL. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_controller_reconnect(controller: Option<&nvme_tcp_controller>) -> c_int {
    call(|| Ok(get(controller)?.controller.reconnect()?))
}

/// Authenticates once more by DH-HMAC-CHAP, with the secrets of the options, while the queues are in use.
///
/// Errors: -EACCES where it failed: the association is over; -EINVAL where no secret was set. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_controller_reauthenticate(controller: Option<&nvme_tcp_controller>) -> c_int {
    call(|| Ok(get(controller)?.controller.reauthenticate()?))
}

/// Says whether the controller is there, as far as is known, without asking it or waiting: its keep-alives
/// are answered, and no connection of the synchronous calls is lost.
///
/// Errors: why it was lost: -ETIMEDOUT, -ECONNRESET, -EPROTO and others; -EINVAL. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_controller_check(controller: Option<&nvme_tcp_controller>) -> c_int {
    call(|| Ok(get(controller)?.controller.check()?))
}
