//! What this kernel's TLS can do, and what it counts.

use std::ffi::{c_char, c_int};
use std::io;
use std::mem::MaybeUninit;

use ktls::observe::{Conf, SocketTls, SocketTlsError, TlsStat, TlsStatError};

use super::socket::nvme_tcp_ktls;
use super::{NVME_TCP_SEALED_BY_KERNEL, NVME_TCP_SEALED_BY_NIC, NVME_TCP_SEALED_BY_PROCESS};
use crate::call::{call, fill, get, place, sizing};
use crate::error::{Failure, system};
use crate::text::{array, text};

/// What this kernel's TLS can do.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_ktls_probe_result {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// Whether the kernel has TLS.
    pub available: bool,
    /// Whether it seals what TLS 1.3 with AES-128-GCM sends.
    pub sends: bool,
    /// Whether it opens what TLS 1.3 with AES-128-GCM receives.
    pub receives: bool,
    /// Whether it tells how many records a key was used for, without which this library does not use it
    /// (Linux 6.0).
    pub counts_records: bool,
    /// Whether a key can be replaced (Linux 6.14).
    pub rekey: bool,
    /// Whether records can be opened straight into the caller's memory (Linux 6.0).
    pub no_pad: bool,
    /// Zero.
    pub reserved: [u8; 2],
    /// What was found, one sentence a line, with the mend where there is one.
    pub text: [c_char; 1024],
}

sizing!(nvme_tcp_ktls_probe_result, text: [c_char; 1024]);

/// Tries out what this kernel's TLS can do, on a connection of its own on loopback. That it has TLS is
/// remembered.
///
/// Errors: -EINVAL. Threads: any.
///
/// # Safety
/// The struct is there as far as its first member says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_probe(result: *mut nvme_tcp_ktls_probe_result) -> c_int {
    let make = || {
        let probe = ktls::probe();
        let first = probe.suites.first();
        Ok(nvme_tcp_ktls_probe_result {
            size: 0,
            available: probe.missing.is_none(),
            sends: first.is_some_and(|suite| suite.send.is_none()),
            receives: first.is_some_and(|suite| suite.receive.is_none()),
            counts_records: probe.counts_records,
            rekey: probe.rekey,
            no_pad: probe.no_pad,
            reserved: [0; 2],
            text: array(&probe.explain().join("\n")),
        })
    };
    // SAFETY: the caller gives such a struct.
    call(|| unsafe { fill(result, make) })
}

/// Reads one of the kernel's TLS counters of this network namespace (/proc/net/tls_stat), such as "TlsTxSw".
///
/// Errors: -ENOENT where the kernel has no such counter, or no TLS; -EINVAL. Threads: any.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_counter(
    name: *const c_char,
    value: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    call(|| {
        let value = place(value)?;
        // SAFETY: the caller gives a C string.
        let name = unsafe { text(name, "the counter's name") }?;
        let counters = TlsStat::read().map_err(|error| {
            let errno = match &error {
                TlsStatError::Absent => libc::ENOENT,
                TlsStatError::Io(error) => error.raw_os_error().unwrap_or(libc::EIO),
                _ => libc::EIO,
            };
            Failure::here(errno, error.to_string())
        })?;
        let none = || io::Error::from_raw_os_error(libc::ENOENT);
        let found = counters.get(name).ok_or_else(none);
        value.put(
            found.map_err(|_| {
                Failure::here(libc::ENOENT, format!("the kernel has no TLS counter {name:?}"))
            })?,
        );
        Ok(())
    })
}

/// What the kernel says of one connection (sock_diag(7), TLS_INFO_* of linux/tls.h).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_ktls_socket {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// 0x0304 is TLS 1.3; 0 where the kernel does not say.
    pub version: u16,
    /// TLS_CIPHER_* of linux/tls.h; 0 where the kernel does not say.
    pub cipher: u16,
    /// Who seals what this end sends: one of NVME_TCP_SEALED_BY_*.
    pub sent_by: c_int,
    /// Who opens what the peer sends: one of NVME_TCP_SEALED_BY_*.
    pub received_by: c_int,
    /// The most bytes that go into one record; 0 where the kernel does not say.
    pub max_payload: u16,
    /// Whether a network card takes a file's pages from where they lie.
    pub zerocopy: bool,
    /// Whether records are opened straight into the caller's memory.
    pub no_pad: bool,
    /// Zero.
    pub reserved: [u8; 8],
}

sizing!(nvme_tcp_ktls_socket, reserved: [u8; 8]);

/// Asks the kernel what its TLS is on a connection.
///
/// Errors: -ENODATA where the kernel has no part in it, or tells only privileged users; those of netlink(7);
/// -EINVAL. Threads: any.
///
/// # Safety
/// The struct is there as far as its first member says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_ktls_observe(
    connection: Option<&nvme_tcp_ktls>,
    observed: *mut nvme_tcp_ktls_socket,
) -> c_int {
    call(|| {
        let connection = get(connection)?;
        let make = || {
            if !connection.is_kernel_s() {
                return Err(Failure::here(
                    libc::ENODATA,
                    "this process seals and opens the connection's records",
                ));
            }
            let (local, peer) = connection.addresses().map_err(|error| system(&error, "the connection"))?;
            let found = SocketTls::ask(local, peer).map_err(|error| match &error {
                SocketTlsError::Io(source) => system(source, "sock_diag"),
                SocketTlsError::Silent => Failure::here(libc::ENODATA, error.to_string()),
                _ => Failure::here(libc::EPROTO, error.to_string()),
            })?;
            Ok(nvme_tcp_ktls_socket {
                size: 0,
                version: found.version.unwrap_or(0),
                cipher: found.cipher.unwrap_or(0),
                sent_by: by(found.tx),
                received_by: by(found.rx),
                max_payload: found.tx_max_payload.unwrap_or(0),
                zerocopy: found.tx_zerocopy,
                no_pad: found.rx_no_pad,
                reserved: [0; 8],
            })
        };
        // SAFETY: the caller gives such a struct.
        unsafe { fill(observed, make) }
    })
}

/// A direction that the kernel has no key for is this process's.
fn by(conf: Option<Conf>) -> c_int {
    match conf {
        Some(Conf::Software) => NVME_TCP_SEALED_BY_KERNEL,
        Some(Conf::Hardware) => NVME_TCP_SEALED_BY_NIC,
        None | Some(Conf::Base) => NVME_TCP_SEALED_BY_PROCESS,
        _ => 0,
    }
}
