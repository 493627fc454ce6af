//! What a discovery controller knows.

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use nvme_tcp::discovery::{EntryKind, TlsNeed, discover};

use crate::call::{Born, call, fill, free, get, handle, place, sizing, value};
use crate::error::Failure;
use crate::options::nvme_tcp_options;
use crate::text::owned;

/// An entry leads to another discovery controller.
pub const NVME_TCP_ENTRY_REFERRAL: c_int = 1;
/// An entry leads to a subsystem with namespaces.
pub const NVME_TCP_ENTRY_SUBSYSTEM: c_int = 2;
/// An entry is the discovery controller itself.
pub const NVME_TCP_ENTRY_THIS: c_int = 3;

/// A listener has no TLS.
pub const NVME_TCP_TLS_NEED_OFF: c_int = 0;
/// A listener can do TLS.
pub const NVME_TCP_TLS_NEED_POSSIBLE: c_int = 1;
/// A listener insists on TLS.
pub const NVME_TCP_TLS_NEED_REQUIRED: c_int = 2;

/// The entries of a discovery log, as they were when it was read.
#[derive(Debug)]
pub struct nvme_tcp_discovery {
    born: Born,
    entries: Vec<Entry>,
}

handle!(nvme_tcp_discovery, "discovery log");

#[derive(Debug)]
struct Entry {
    kind: c_int,
    tls: c_int,
    port_id: u16,
    subsystem_nqn: CString,
    address: CString,
}

/// One entry of a discovery log.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_discovery_entry {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// One of NVME_TCP_ENTRY_*, or another number of the standard's SUBTYPE.
    pub kind: c_int,
    /// One of NVME_TCP_TLS_NEED_*.
    pub tls: c_int,
    /// PORTID.
    pub port_id: u16,
    /// Zero.
    pub reserved: [u8; 6],
    /// The subsystem's NQN, valid until nvme_tcp_discovery_free().
    pub subsysnqn: *const c_char,
    /// Host and port, as nvme_tcp_options_set_address() takes them; valid as long.
    pub address: *const c_char,
}

sizing!(nvme_tcp_discovery_entry, address: *const c_char);

/// Asks the discovery controller at the options' address, whatever subsystem they name. It connects, reads
/// the log, and closes the connection again. No thread is left.
///
/// Errors: as nvme_tcp_connect(). Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_discover(
    options: Option<&nvme_tcp_options>,
    out: Option<&mut MaybeUninit<*mut nvme_tcp_discovery>>,
) -> c_int {
    call(|| {
        let out = place(out)?;
        let entries = discover(get(options)?.to_discovery_options()?)?;
        let entries = entries.iter().map(|entry| Entry {
            kind: match entry.kind {
                EntryKind::Subsystem => NVME_TCP_ENTRY_SUBSYSTEM,
                EntryKind::Referral => NVME_TCP_ENTRY_REFERRAL,
                EntryKind::ThisDiscovery => NVME_TCP_ENTRY_THIS,
                EntryKind::Other(number) => number.into(),
                _ => 0,
            },
            tls: match entry.tls {
                TlsNeed::Off => NVME_TCP_TLS_NEED_OFF,
                TlsNeed::Possible => NVME_TCP_TLS_NEED_POSSIBLE,
                TlsNeed::Required => NVME_TCP_TLS_NEED_REQUIRED,
            },
            port_id: entry.port_id,
            subsystem_nqn: owned(&entry.subsystem_nqn),
            address: owned(&entry.address),
        });
        out.give(nvme_tcp_discovery { born: Born::here(), entries: entries.collect() });
        Ok(())
    })
}

/// How many entries there are; 0 for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_discovery_count(discovery: Option<&nvme_tcp_discovery>) -> usize {
    value(0, || Ok(get(discovery)?.entries.len()))
}

/// Tells of the entry `index`, from 0.
///
/// Errors: -ENOENT where there is none; -EINVAL. Threads: any.
///
/// # Safety
/// The struct is there as far as its first member says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_discovery_get(
    discovery: Option<&nvme_tcp_discovery>,
    index: usize,
    entry: *mut nvme_tcp_discovery_entry,
) -> c_int {
    call(|| {
        let discovery = get(discovery)?;
        let found = discovery.entries.get(index).ok_or_else(|| {
            let count = discovery.entries.len();
            Failure::here(libc::ENOENT, format!("there is no entry {index}, there are {count}"))
        })?;
        let filled = nvme_tcp_discovery_entry {
            kind: found.kind,
            tls: found.tls,
            port_id: found.port_id,
            subsysnqn: found.subsystem_nqn.as_ptr(),
            address: found.address.as_ptr(),
            ..EMPTY
        };
        // SAFETY: the caller gives such a struct.
        unsafe { fill(entry, || Ok(filled)) }
    })
}

const EMPTY: nvme_tcp_discovery_entry = nvme_tcp_discovery_entry {
    size: 0,
    kind: 0,
    tls: 0,
    port_id: 0,
    reserved: [0; 6],
    subsysnqn: ptr::null(),
    address: ptr::null(),
};

/// Frees a discovery log with its strings.
///
/// Threads: no other call on it may run or follow.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_discovery_free(discovery: Option<Box<nvme_tcp_discovery>>) {
    free(discovery);
}
