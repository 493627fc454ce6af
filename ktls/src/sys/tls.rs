//! linux/tls.h: the options of `SOL_TLS` and the structs that carry keys (Linux 4.13 and later).

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use ktls_sys::tls;
use zeroize::Zeroizing;

use super::check;
use crate::cipher::{Cipher, MAX_INFO_LEN, RecordCipher};
use crate::event::Flow;
use crate::keys::DirectionKey;

/// The struct that `TLS_TX` and `TLS_RX` take and give, as bytes: where its parts lie the table of ciphers
/// says, which the compiler compares with the kernel's structs.
struct CryptoInfo {
    bytes: Zeroizing<[u8; MAX_INFO_LEN]>,
    cipher: Cipher,
}

impl CryptoInfo {
    fn empty(cipher: RecordCipher) -> Self {
        let mut this = Self { bytes: Zeroizing::new([0; MAX_INFO_LEN]), cipher: cipher.cipher() };
        this.put(0..2, &cipher.version().id().to_ne_bytes());
        this.put(2..4, &cipher.cipher().kernel_id().to_ne_bytes());
        this
    }

    /// The 12-byte IV is the salt, then the iv.
    fn new(key: &DirectionKey) -> Self {
        let mut this = Self::empty(key.cipher());
        let cipher = this.cipher;
        let (salt, iv) = key.iv().expose().split_at(cipher.salt_range().len());
        this.put(cipher.iv_range(), iv);
        this.put(cipher.key_range(), key.key().expose());
        this.put(cipher.salt_range(), salt);
        this.put(cipher.sequence_range(), &key.sequence().to_be_bytes());
        this
    }

    /// Both have the same length: a key has the parts that its cipher asks for.
    fn put(&mut self, range: Range<usize>, part: &[u8]) {
        self.bytes[range].copy_from_slice(part);
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.cipher.sequence_range().end]
    }

    fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.cipher.sequence_range().end]
    }

    fn rec_seq(&self) -> u64 {
        self.as_bytes().last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

fn option(direction: Flow) -> libc::c_int {
    match direction {
        Flow::Send => tls::TLS_TX,
        Flow::Receive => tls::TLS_RX,
    }
}

/// setsockopt(2)
fn set(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `value` points to `len` readable, initialised bytes for the length of the call. The kernel
    // only reads them, copies them before it looks at them as a struct, and keeps no pointer.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), len) };
    check(result as isize).map(drop)
}

/// getsockopt(2)
fn get(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &mut [u8]) -> io::Result<()> {
    let mut len = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let value = value.as_mut_ptr().cast();
    // SAFETY: `value` points to `len` writable bytes and `len` to a socklen_t, both for the length of
    // the call; bytes are valid with whatever the kernel writes.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value, &mut len) };
    check(result as isize).map(drop)
}

/// `TCP_ULP` "tls" (tcp(7), Linux 4.13): the socket stays plain TCP until it gets keys.
pub(crate) fn attach(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, tls::TCP_ULP, b"tls")
}

/// `TLS_TX` (Linux 4.13) or `TLS_RX` (4.17): a second key for a direction since 6.14.
pub(crate) fn install_key(fd: BorrowedFd<'_>, direction: Flow, key: &DirectionKey) -> io::Result<()> {
    set(fd, tls::SOL_TLS, option(direction), CryptoInfo::new(key).as_bytes())
}

/// The number of records that the kernel sealed or opened with the present key, and of those before it got
/// the key. The kernel gives it for every cipher since 6.0; older ones may give the number that was installed.
pub(crate) fn record_sequence(fd: BorrowedFd<'_>, direction: Flow, cipher: RecordCipher) -> io::Result<u64> {
    let mut info = CryptoInfo::empty(cipher);
    get(fd, tls::SOL_TLS, option(direction), info.as_mut_bytes())?;
    Ok(info.rec_seq())
}

/// Installs the present key once more, with its present record number: the kernel, which waits for a new key
/// from the first byte of a KeyUpdate on (6.14), then goes on with the old one.
pub(crate) fn reinstall_key(fd: BorrowedFd<'_>, direction: Flow, cipher: RecordCipher) -> io::Result<()> {
    let mut info = CryptoInfo::empty(cipher);
    get(fd, tls::SOL_TLS, option(direction), info.as_mut_bytes())?;
    set(fd, tls::SOL_TLS, option(direction), info.as_bytes())
}

/// `TLS_RX_EXPECT_NO_PAD` (Linux 6.0, TLS 1.3): lets the kernel open records straight into the caller's
/// memory.
pub(crate) fn expect_no_pad(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, tls::SOL_TLS, tls::TLS_RX_EXPECT_NO_PAD, &1_u32.to_ne_bytes())
}

/// `TLS_TX_ZEROCOPY_RO` (Linux 5.19): lets a network card seal a file's pages where they lie.
pub(crate) fn zerocopy_ro(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, tls::SOL_TLS, tls::TLS_TX_ZEROCOPY_RO, &1_u32.to_ne_bytes())
}

/// `TLS_TX_MAX_PAYLOAD_LEN` (Linux 6.19), in bytes; only after `TLS_TX`.
pub(crate) fn max_payload(fd: BorrowedFd<'_>, bytes: u16) -> io::Result<()> {
    set(fd, tls::SOL_TLS, tls::TLS_TX_MAX_PAYLOAD_LEN, &bytes.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Version;

    #[test]
    fn parts_lie_where_the_kernel_looks_for_them() {
        for cipher in RecordCipher::all() {
            let len = cipher.cipher().key_len();
            let key = vec![0xaa; len];
            let iv: Vec<u8> = (1..=12).collect();
            let key = DirectionKey::new(cipher, &key, &iv, 0x0102_0304_0506_0708).unwrap();
            let info = CryptoInfo::new(&key);
            let bytes = info.as_bytes();
            let expected_len = if len == 16 { 40 } else { 56 };
            assert_eq!(bytes.len(), expected_len, "{cipher}");
            let (iv, salt): (&[u8], &[u8]) = match cipher.cipher() {
                Cipher::ChaCha20Poly1305 => (&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], &[]),
                _ => (&[5, 6, 7, 8, 9, 10, 11, 12], &[1, 2, 3, 4]),
            };
            let version: u16 = if cipher.version() == Version::Tls12 { 0x0303 } else { 0x0304 };
            let parts = [
                &version.to_ne_bytes()[..],
                &cipher.cipher().kernel_id().to_ne_bytes(),
                iv,
                &vec![0xaa; len],
                salt,
                &[1, 2, 3, 4, 5, 6, 7, 8],
            ];
            assert_eq!(bytes, parts.concat(), "{cipher}");
            assert_eq!(info.rec_seq(), 0x0102_0304_0506_0708);
        }
    }
}
