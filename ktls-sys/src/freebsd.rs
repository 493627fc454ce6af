//! FreeBSD's kernel TLS (13 and later), as it is: `sys/ktls.h`, and what of `netinet/tcp.h` and
//! `opencrypto/cryptodev.h` goes with it; see ktls(4) and tcp(4).
//!
//! **There is no backend for it yet**: nothing in `linux-ktls` uses this module, and on FreeBSD every record is
//! sealed by the process. These are the numbers and layouts that one would need: they are the same on every machine,
//! so that they are here, and tested, on Linux too.
//!
//! What differs from Linux: one option takes the whole key, [`tls_enable`], and switches the direction at once; there
//! is no `TCP_ULP`; a received record comes with a control message that holds its header, [`tls_get_record`], one
//! record to a call; and [`TCP_TXTLS_MODE`] says, and sets, whether software or the network card seals.

use core::ffi::c_int;
use core::fmt;

/// Option of `IPPROTO_TCP`: takes a [`tls_enable`], and the kernel seals what is sent from then on.
pub const TCP_TXTLS_ENABLE: c_int = 39;
/// Option of `IPPROTO_TCP`: who seals, one of `TCP_TLS_MODE_*`.
pub const TCP_TXTLS_MODE: c_int = 40;
/// Option of `IPPROTO_TCP`: takes a [`tls_enable`], and the kernel opens what is received from then on.
pub const TCP_RXTLS_ENABLE: c_int = 41;
/// Option of `IPPROTO_TCP`: who opens, one of `TCP_TLS_MODE_*`.
pub const TCP_RXTLS_MODE: c_int = 42;

/// Nobody: the direction is plain TCP.
pub const TCP_TLS_MODE_NONE: c_int = 0;
/// The kernel, on the processor.
pub const TCP_TLS_MODE_SW: c_int = 1;
/// The network card, record by record (`IFNET`).
pub const TCP_TLS_MODE_IFNET: c_int = 2;
/// The network card, which does TCP too.
pub const TCP_TLS_MODE_TOE: c_int = 3;

/// Control message of `IPPROTO_TCP`: the type of the record that is sent, one byte.
pub const TLS_SET_RECORD_TYPE: c_int = 1;
/// Control message of `IPPROTO_TCP`: the header of the record received, a [`tls_get_record`].
pub const TLS_GET_RECORD: c_int = 2;

/// The major version of TLS 1.0 to 1.3.
pub const TLS_MAJOR_VER_ONE: u8 = 3;
/// The minor version of TLS 1.2.
pub const TLS_MINOR_VER_TWO: u8 = 3;
/// The minor version of TLS 1.3.
pub const TLS_MINOR_VER_THREE: u8 = 4;

/// `cipher_algorithm` of AES-GCM, with keys of 16 or 32 bytes.
pub const CRYPTO_AES_NIST_GCM_16: c_int = 25;
/// `cipher_algorithm` of ChaCha20-Poly1305 (RFC 8439).
pub const CRYPTO_CHACHA20_POLY1305: c_int = 41;

/// The key of one direction, for [`TCP_TXTLS_ENABLE`] and [`TCP_RXTLS_ENABLE`].
///
/// It points to the key and does not hold it: whoever makes one keeps what it points to alive for the call, and wipes
/// it after.
#[repr(C)]
pub struct tls_enable {
    /// `cipher_key_len` bytes.
    pub cipher_key: *const u8,
    /// `iv_len` bytes: the implicit part of the nonce, 4 for AES-GCM in TLS 1.2, 12 else.
    pub iv: *const u8,
    /// `auth_key_len` bytes; null for an AEAD.
    pub auth_key: *const u8,
    /// `CRYPTO_*`
    pub cipher_algorithm: c_int,
    /// In bytes.
    pub cipher_key_len: c_int,
    /// In bytes.
    pub iv_len: c_int,
    /// `CRYPTO_*` of a MAC; 0 for an AEAD.
    pub auth_algorithm: c_int,
    /// In bytes.
    pub auth_key_len: c_int,
    /// 0
    pub flags: c_int,
    /// [`TLS_MAJOR_VER_ONE`]
    pub tls_vmajor: u8,
    /// [`TLS_MINOR_VER_TWO`] or [`TLS_MINOR_VER_THREE`].
    pub tls_vminor: u8,
    /// The number of the next record, big-endian.
    pub rec_seq: [u8; 8],
}

impl fmt::Debug for tls_enable {
    /// Without the addresses of keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("tls_enable")
            .field("cipher_algorithm", &self.cipher_algorithm)
            .field("cipher_key_len", &self.cipher_key_len)
            .field("tls_vmajor", &self.tls_vmajor)
            .field("tls_vminor", &self.tls_vminor)
            .finish_non_exhaustive()
    }
}

/// The header of a received record, in a control message [`TLS_GET_RECORD`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct tls_get_record {
    /// The record's type: in TLS 1.3 that which was inside.
    pub tls_type: u8,
    /// As on the wire.
    pub tls_vmajor: u8,
    /// As on the wire.
    pub tls_vminor: u8,
    /// The length of what was opened, in bytes, big-endian.
    pub tls_length: u16,
}
