//! linux/tls.h: the options of `SOL_TLS` and the structs that carry keys (Linux 4.13 and later).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use ktls_sys::tls;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::check;
use crate::cipher::CipherSuite;
use crate::event::Flow;
use crate::keys::TrafficSecret;

/// The struct that `TLS_TX` and `TLS_RX` take and give, one for each cipher.
enum CryptoInfo {
    Gcm128(tls::tls12_crypto_info_aes_gcm_128),
    Gcm256(tls::tls12_crypto_info_aes_gcm_256),
}

impl Zeroize for CryptoInfo {
    fn zeroize(&mut self) {
        match self {
            Self::Gcm128(info) => {
                info.key.zeroize();
                info.salt.zeroize();
                info.iv.zeroize();
            }
            Self::Gcm256(info) => {
                info.key.zeroize();
                info.salt.zeroize();
                info.iv.zeroize();
            }
        }
    }
}

impl Drop for CryptoInfo {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for CryptoInfo {}

impl CryptoInfo {
    fn empty(suite: CipherSuite) -> Self {
        let info = |cipher_type| tls::tls_crypto_info { version: tls::TLS_1_3_VERSION, cipher_type };
        match suite {
            CipherSuite::Aes128GcmSha256 => Self::Gcm128(tls::tls12_crypto_info_aes_gcm_128 {
                info: info(tls::TLS_CIPHER_AES_GCM_128),
                iv: [0; 8],
                key: [0; 16],
                salt: [0; 4],
                rec_seq: [0; 8],
            }),
            CipherSuite::Aes256GcmSha384 => Self::Gcm256(tls::tls12_crypto_info_aes_gcm_256 {
                info: info(tls::TLS_CIPHER_AES_GCM_256),
                iv: [0; 8],
                key: [0; 32],
                salt: [0; 4],
                rec_seq: [0; 8],
            }),
        }
    }

    /// The key of `secret` with sequence number 0. The 12-byte write IV is the salt, then the iv.
    fn new(secret: &TrafficSecret) -> Self {
        let (key, iv) = secret.key_and_iv();
        let (salt, nonce) = iv.expose().split_at(4);
        let mut this = Self::empty(secret.suite());
        match &mut this {
            Self::Gcm128(info) => {
                info.key.copy_from_slice(key.expose());
                info.salt.copy_from_slice(salt);
                info.iv.copy_from_slice(nonce);
            }
            Self::Gcm256(info) => {
                info.key.copy_from_slice(key.expose());
                info.salt.copy_from_slice(salt);
                info.iv.copy_from_slice(nonce);
            }
        }
        this
    }

    fn rec_seq(&self) -> u64 {
        u64::from_be_bytes(match self {
            Self::Gcm128(info) => info.rec_seq,
            Self::Gcm256(info) => info.rec_seq,
        })
    }
}

fn option(direction: Flow) -> libc::c_int {
    match direction {
        Flow::Send => tls::TLS_TX,
        Flow::Receive => tls::TLS_RX,
    }
}

/// setsockopt(2) with a plain value: an integer, a byte array or a struct of linux/tls.h.
fn set<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let value: *const T = value;
    // SAFETY: `value` points to `len` readable bytes for the length of the call, all initialised: none
    // of the types in use has padding. The kernel only reads them and keeps no pointer.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.cast(), len) };
    check(result as isize).map(drop)
}

/// getsockopt(2) into a struct that any bytes are valid for.
fn get<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut len = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let value: *mut T = value;
    // SAFETY: `value` points to `len` writable bytes and `len` to a socklen_t, both for the length of
    // the call; the types in use are integers and byte arrays, valid with whatever the kernel writes.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.cast(), &mut len) };
    check(result as isize).map(drop)
}

/// `TCP_ULP` "tls" (tcp(7), Linux 4.13): the socket stays plain TCP until it gets keys.
pub(crate) fn attach(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, tls::TCP_ULP, b"tls")
}

/// `TLS_TX` (Linux 4.13) or `TLS_RX` (4.17): a second key for a direction since 6.14.
pub(crate) fn install_key(fd: BorrowedFd<'_>, direction: Flow, secret: &TrafficSecret) -> io::Result<()> {
    match &CryptoInfo::new(secret) {
        CryptoInfo::Gcm128(info) => set(fd, tls::SOL_TLS, option(direction), info),
        CryptoInfo::Gcm256(info) => set(fd, tls::SOL_TLS, option(direction), info),
    }
}

/// The number of records that the kernel sealed or opened with the present key. The kernel gives it
/// for every cipher since 6.0; older ones may give the number that was installed.
pub(crate) fn record_sequence(fd: BorrowedFd<'_>, direction: Flow, suite: CipherSuite) -> io::Result<u64> {
    let mut info = CryptoInfo::empty(suite);
    match &mut info {
        CryptoInfo::Gcm128(info) => get(fd, tls::SOL_TLS, option(direction), info)?,
        CryptoInfo::Gcm256(info) => get(fd, tls::SOL_TLS, option(direction), info)?,
    }
    Ok(info.rec_seq())
}

/// `TLS_RX_EXPECT_NO_PAD` (Linux 6.0): lets the kernel open records straight into the caller's memory.
pub(crate) fn expect_no_pad(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, tls::SOL_TLS, tls::TLS_RX_EXPECT_NO_PAD, &1_u32)
}

/// `TLS_TX_MAX_PAYLOAD_LEN` (Linux 6.19), in bytes; only after `TLS_TX`.
pub(crate) fn max_payload(fd: BorrowedFd<'_>, bytes: u16) -> io::Result<()> {
    set(fd, tls::SOL_TLS, tls::TLS_TX_MAX_PAYLOAD_LEN, &bytes)
}
