//! The control messages that carry a record's content type (`TLS_SET_RECORD_TYPE` and `TLS_GET_RECORD_TYPE` of
//! linux/tls.h), for those who call sendmsg(2) and recvmsg(2) themselves, by io_uring for one.
//!
//! A plain receive on a socket with `TLS_RX` gives EIO at a control record: use `RECVMSG` with [`SPACE`] bytes of
//! control data. What a control record asks for is then the caller's own business. The example `io_uring_get` does so.

use std::mem::{offset_of, size_of};

use ktls_sys::tls;

use crate::record::ContentType;

/// The length of a control message's head (cmsg(3)).
const HEADER: usize = size_of::<libc::cmsghdr>();
/// What control messages are aligned to: `CMSG_ALIGN`, which is not what musl's structure is aligned to.
const ALIGN: usize = size_of::<usize>();

/// The room that one content type takes in control data, in bytes (`CMSG_SPACE(1)`).
pub const SPACE: usize = HEADER + ALIGN;

/// The control data that makes what is sent one record of the type `content_type`.
pub fn set_record_type(content_type: u8) -> [u8; SPACE] {
    let mut bytes = [0; SPACE];
    let (header, rest) = bytes.split_at_mut(HEADER);
    header.copy_from_slice(&SET);
    rest[0] = content_type;
    bytes
}

/// The heads of the messages that set a content type, and that give one.
const SET: [u8; HEADER] = header(tls::TLS_SET_RECORD_TYPE);
const GOT: [u8; HEADER] = header(tls::TLS_GET_RECORD_TYPE);

const fn header(kind: libc::c_int) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    // musl has a shorter length, and padding beside it.
    #[allow(clippy::unnecessary_cast)]
    let len = ((HEADER + 1) as CmsgLen).to_ne_bytes();
    let (level, kind) = (tls::SOL_TLS.to_ne_bytes(), kind.to_ne_bytes());
    let mut at = 0;
    while at < len.len() {
        bytes[offset_of!(libc::cmsghdr, cmsg_len) + at] = len[at];
        at += 1;
    }
    at = 0;
    while at < level.len() {
        bytes[offset_of!(libc::cmsghdr, cmsg_level) + at] = level[at];
        bytes[offset_of!(libc::cmsghdr, cmsg_type) + at] = kind[at];
        at += 1;
    }
    bytes
}

/// The content type in control data as recvmsg(2) has left it (as many bytes as `msg_controllen` then says); other
/// messages are passed over. `None` where there is none: without `TLS_RX`, and at the end of the stream.
pub fn record_type(control: &[u8]) -> Option<u8> {
    let mut rest = control;
    loop {
        let len = CmsgLen::from_ne_bytes(part(rest, offset_of!(libc::cmsghdr, cmsg_len))?);
        let level = libc::c_int::from_ne_bytes(part(rest, offset_of!(libc::cmsghdr, cmsg_level))?);
        let kind = libc::c_int::from_ne_bytes(part(rest, offset_of!(libc::cmsghdr, cmsg_type))?);
        // u32 of musl, usize else.
        #[allow(clippy::useless_conversion)]
        let len = usize::try_from(len).ok()?;
        let data = rest.get(HEADER..len)?;
        if let (tls::SOL_TLS, tls::TLS_GET_RECORD_TYPE, [content_type, ..]) = (level, kind, data) {
            return Some(*content_type);
        }
        rest = rest.get(len.next_multiple_of(ALIGN)..)?;
    }
}

/// Whether control data begins with what the kernel gives beside application data.
#[inline(always)]
pub(crate) fn is_data<const N: usize>(control: &[u8; N]) -> bool {
    const { assert!(N >= SPACE) };
    // Not as a pattern, which would be compared byte by byte.
    control.first_chunk() == Some(&GOT) && control[HEADER] == ContentType::ApplicationData.to_byte()
}

#[cfg(target_env = "musl")]
type CmsgLen = libc::socklen_t;
#[cfg(not(target_env = "musl"))]
type CmsgLen = libc::size_t;

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn received(content_type: u8) -> [u8; SPACE] {
        let mut bytes = set_record_type(content_type);
        let kind = tls::TLS_GET_RECORD_TYPE.to_ne_bytes();
        let at = offset_of!(libc::cmsghdr, cmsg_type);
        bytes[at..at + kind.len()].copy_from_slice(&kind);
        bytes
    }

    #[test]
    fn a_type_is_found_behind_other_messages() {
        assert_eq!(record_type(&received(22)), Some(22));
        // What is set is not what was got.
        assert_eq!(record_type(&set_record_type(22)), None);
        let both = [set_record_type(23), received(21)].concat();
        assert_eq!(record_type(&both), Some(21));
        for len in 0..=HEADER {
            assert_eq!(record_type(&received(22)[..len]), None, "{len}");
        }
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn it_lies_as_on_lp64() {
        assert_eq!(SPACE, 24);
        assert_eq!(set_record_type(21)[16], 21);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = record_type(&bytes);
            let _ = record_type(&[&received(22)[..8], &bytes].concat());
        }
    }
}
