//! A namespace: bytes at offsets.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;

use nvme_tcp::spec::completion::Status;
use nvme_tcp::{ErrorKind, Namespace};

use crate::call::{Born, Outcome, call, free, get, handle, place, value};
use crate::controller::nvme_tcp_controller;
use crate::statistics::{Kind, Ledger};
use crate::text::{bytes, bytes_mut};

/// A namespace of a controller.
#[derive(Debug)]
pub struct nvme_tcp_namespace {
    born: Born,
    pub(crate) namespace: Namespace,
    ledger: Arc<Ledger>,
}

handle!(nvme_tcp_namespace, "namespace");

/// Runs a command on a namespace, and counts it.
fn run(
    namespace: Option<&nvme_tcp_namespace>,
    kind: Kind,
    work: impl FnOnce(&Namespace) -> nvme_tcp::Result<()>,
) -> Outcome<()> {
    let namespace = get(namespace)?;
    let result = work(&namespace.namespace);
    namespace.ledger.namespaces.shared(kind, result.is_err());
    Ok(result?)
}

/// Opens a namespace.
///
/// Errors: -ENOENT where there is none of this ID; -EOPNOTSUPP where it has metadata or protection
/// information; those of a command. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_namespace_open(
    controller: Option<&nvme_tcp_controller>,
    nsid: u32,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_namespace>>,
) -> c_int {
    call(|| {
        let out = place(out)?;
        let controller = get(controller)?;
        let namespace = controller.controller.namespace(nsid)?;
        out.give(nvme_tcp_namespace { born: Born::here(), namespace, ledger: controller.ledger.clone() });
        Ok(())
    })
}

/// Frees a namespace. Commands on it that a queue has outstanding go on.
///
/// Threads: no other call on it may run or follow.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_namespace_free(namespace: Option<Box<nvme_tcp_namespace>>) {
    free(namespace);
}

/// NSID; 0 for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_namespace_id(namespace: Option<&nvme_tcp_namespace>) -> u32 {
    value(0, || Ok(get(namespace)?.namespace.id()))
}

/// The size in bytes; 0 for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_namespace_size(namespace: Option<&nvme_tcp_namespace>) -> u64 {
    value(0, || Ok(get(namespace)?.namespace.size()))
}

/// The size of a block in bytes, a power of two from 512 to 65536; 0 for NULL. Offsets and lengths are
/// multiples of it.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_namespace_block_size(namespace: Option<&nvme_tcp_namespace>) -> u32 {
    value(0, || Ok(get(namespace)?.namespace.block_size()))
}

/// The most that one command of a queue moves, in bytes; 0 for NULL. The synchronous calls split what is
/// longer.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_namespace_max_transfer(namespace: Option<&nvme_tcp_namespace>) -> usize {
    value(0, || Ok(get(namespace)?.namespace.max_transfer()))
}

/// Whether it is write protected; false for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_namespace_is_read_only(namespace: Option<&nvme_tcp_namespace>) -> bool {
    value(false, || Ok(get(namespace)?.namespace.is_read_only()))
}

/// Reads `len` bytes at `offset`, all of them or none. It waits; the buffer is the caller's again when it
/// returns.
///
/// Errors: -EINVAL for what is not whole blocks inside the namespace; those of a command; -EBADMSG for a wrong
/// data digest; -ESHUTDOWN after nvme_tcp_controller_free(). What the buffer holds then is not defined.
/// Threads: any.
///
/// # Safety
/// A buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_pread(
    namespace: Option<&nvme_tcp_namespace>,
    buffer: *mut c_void,
    len: usize,
    offset: u64,
) -> c_int {
    call(|| {
        // SAFETY: the caller gives a buffer of this size.
        let buffer = unsafe { bytes_mut(buffer, len, "the buffer") }?;
        run(namespace, Kind::Read(len as u64), |namespace| namespace.read_at(buffer, offset))
    })
}

/// Writes `len` bytes to `offset`. It waits; the data is on stable media after nvme_tcp_flush().
///
/// Errors: -EINVAL for what is not whole blocks inside the namespace; -EROFS where that is write protected;
/// -ENOSPC; those of a command; -ESHUTDOWN after nvme_tcp_controller_free(). What stands in the range then is
/// not defined, block by block the old or the new. Threads: any.
///
/// # Safety
/// A buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_pwrite(
    namespace: Option<&nvme_tcp_namespace>,
    buffer: *const c_void,
    len: usize,
    offset: u64,
) -> c_int {
    call(|| {
        // SAFETY: the caller gives a buffer of this size.
        let buffer = unsafe { bytes(buffer, len, "the buffer") }?;
        run(namespace, Kind::Write(len as u64), |namespace| namespace.write_at(buffer, offset))
    })
}

/// Compares `len` bytes with what stands at `offset`, at the controller: 0 where they are the same. It waits.
///
/// Errors: -EILSEQ where they differ; -EOPNOTSUPP where the controller has no such command; -EINVAL for what is
/// not whole blocks inside the namespace; those of a command; -ESHUTDOWN after nvme_tcp_controller_free().
/// Threads: any.
///
/// # Safety
/// A buffer of that size, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_compare(
    namespace: Option<&nvme_tcp_namespace>,
    buffer: *const c_void,
    len: usize,
    offset: u64,
) -> c_int {
    call(|| {
        // SAFETY: the caller gives a buffer of this size.
        let buffer = unsafe { bytes(buffer, len, "the buffer") }?;
        run(namespace, Kind::Other, |namespace| match namespace.compare(buffer, offset)? {
            true => Ok(()),
            false => Err(ErrorKind::Status { command: "Compare", status: Status::COMPARE_FAILURE }.into()),
        })
    })
}

/// Makes everything that was written before durable. It waits.
///
/// Errors: those of a command; -EINVAL; -ESHUTDOWN after nvme_tcp_controller_free(). Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_flush(namespace: Option<&nvme_tcp_namespace>) -> c_int {
    call(|| run(namespace, Kind::Other, Namespace::flush))
}

/// Makes `len` bytes at `offset` read as zeros. It waits.
///
/// Errors: those of nvme_tcp_pwrite(). Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_zero(namespace: Option<&nvme_tcp_namespace>, offset: u64, len: u64) -> c_int {
    call(|| run(namespace, Kind::Other, |namespace| namespace.write_zeroes(offset, len)))
}

/// Tells the controller that `len` bytes at `offset` are not needed any more. It waits. What they read as
/// then is the controller's to choose; it does nothing where the controller has no such command.
///
/// Errors: those of nvme_tcp_pwrite(). Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_discard(namespace: Option<&nvme_tcp_namespace>, offset: u64, len: u64) -> c_int {
    call(|| run(namespace, Kind::Other, |namespace| namespace.deallocate(offset, len)))
}
