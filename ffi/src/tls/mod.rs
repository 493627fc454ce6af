//! Kernel TLS on a socket of the caller's.

mod keys;
mod probe;
mod socket;

use std::ffi::{c_char, c_int};

use ktls::cipher::{Cipher, RecordCipher};
use ktls::{Info, SealedBy};
use nvme_tcp::TlsFacts;
use nvme_tcp::psk::{Derivation, IdentityVersion};

use crate::call::sizing;
use crate::text::array;

pub use keys::*;
pub use probe::*;
pub use socket::*;

/// Records are sealed or opened by the kernel, on the processor.
pub const NVME_TCP_SEALED_BY_KERNEL: c_int = 1;
/// Records are sealed or opened by the network card.
pub const NVME_TCP_SEALED_BY_NIC: c_int = 2;
/// Records are sealed or opened by this process.
pub const NVME_TCP_SEALED_BY_PROCESS: c_int = 3;

/// What TLS is on a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct nvme_tcp_tls_info {
    /// sizeof of this struct, set by the caller.
    pub size: usize,
    /// 0x0304 is TLS 1.3.
    pub version: u16,
    /// TLS_CIPHER_* of linux/tls.h.
    pub cipher: u16,
    /// The group of the key agreement in IANA's registry; 0 where the keys were given.
    pub group: u16,
    /// Zero.
    pub reserved: u16,
    /// Who seals what this end sends: one of NVME_TCP_SEALED_BY_*.
    pub sent_by: c_int,
    /// Who opens what the peer sends: one of NVME_TCP_SEALED_BY_*.
    pub received_by: c_int,
    /// The version of the NVMe PSK identity, 0 or 1; -1 where it is none.
    pub identity_version: c_int,
    /// One of NVME_TCP_DERIVATION_*; -1 where there was none.
    pub derivation: c_int,
    /// The suite's name.
    pub suite: [c_char; 64],
    /// The PSK identity, cut where it is longer.
    pub identity: [c_char; 544],
    /// Who seals what this end sends, and why, in words.
    pub sent_why: [c_char; 256],
    /// Who opens what the peer sends, and why, in words.
    pub received_why: [c_char; 256],
}

sizing!(nvme_tcp_tls_info, received_why: [c_char; 256]);

pub(crate) fn tls_info(info: &Info, facts: Option<&TlsFacts>) -> nvme_tcp_tls_info {
    nvme_tcp_tls_info {
        size: 0,
        version: info.suite.version().id(),
        cipher: cipher_number(info.suite),
        group: info.group.map_or(0, |group| group.id()),
        reserved: 0,
        sent_by: by(info.send.by),
        received_by: by(info.receive.by),
        identity_version: facts.map_or(-1, |facts| match facts.identity_version {
            IdentityVersion::V0 => 0,
            IdentityVersion::V1 => 1,
        }),
        derivation: facts.map_or(-1, |facts| match facts.derivation {
            Derivation::Rfc8446 => crate::key::NVME_TCP_DERIVATION_RFC8446,
            Derivation::Compat => crate::key::NVME_TCP_DERIVATION_COMPAT,
        }),
        suite: array(info.suite.name()),
        identity: array(&String::from_utf8_lossy(&info.psk_identity)),
        sent_why: array(&info.send.to_string()),
        received_why: array(&info.receive.to_string()),
    }
}

fn by(by: SealedBy) -> c_int {
    match by {
        SealedBy::Kernel => NVME_TCP_SEALED_BY_KERNEL,
        SealedBy::Nic => NVME_TCP_SEALED_BY_NIC,
        SealedBy::Process => NVME_TCP_SEALED_BY_PROCESS,
        _ => 0,
    }
}

/// `TLS_CIPHER_AES_GCM_128` of linux/tls.h; the others follow in the order of [`Cipher::ALL`].
const FIRST_CIPHER: u16 = 51;

fn cipher_number(cipher: RecordCipher) -> u16 {
    let index = Cipher::ALL.iter().position(|known| *known == cipher.cipher()).unwrap_or_default();
    FIRST_CIPHER + index as u16
}

fn cipher_of(number: u16) -> Option<Cipher> {
    let index = number.checked_sub(FIRST_CIPHER)?;
    Cipher::ALL.get(usize::from(index)).copied()
}
