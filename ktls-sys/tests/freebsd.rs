//! FreeBSD's numbers and layouts against those it has published (sys/ktls.h, netinet/tcp.h and
//! opencrypto/cryptodev.h of 13.0 to 14): a published ABI stays.

use std::mem::{align_of, offset_of, size_of};
use std::ptr::null;

use ktls_sys::freebsd::*;

#[test]
fn options_and_control_messages_have_the_published_numbers() {
    assert_eq!([TCP_TXTLS_ENABLE, TCP_TXTLS_MODE, TCP_RXTLS_ENABLE, TCP_RXTLS_MODE], [39, 40, 41, 42]);
    let modes = [TCP_TLS_MODE_NONE, TCP_TLS_MODE_SW, TCP_TLS_MODE_IFNET, TCP_TLS_MODE_TOE];
    assert_eq!(modes, [0, 1, 2, 3]);
    assert_eq!([TLS_SET_RECORD_TYPE, TLS_GET_RECORD], [1, 2]);
    assert_eq!([CRYPTO_AES_NIST_GCM_16, CRYPTO_CHACHA20_POLY1305], [25, 41]);
    // The version of a record's header: 3.3 is TLS 1.2, and 3.4 stands for TLS 1.3 in tls_enable only.
    assert_eq!([TLS_MAJOR_VER_ONE, TLS_MINOR_VER_TWO, TLS_MINOR_VER_THREE], [3, 3, 4]);
}

/// Three pointers, six ints, two bytes and eight, and what fills it up to its alignment.
#[test]
fn tls_enable_lies_as_published() {
    let pointer = size_of::<*const u8>();
    assert_eq!(offset_of!(tls_enable, cipher_key), 0);
    assert_eq!(offset_of!(tls_enable, iv), pointer);
    assert_eq!(offset_of!(tls_enable, auth_key), 2 * pointer);
    let ints = [
        offset_of!(tls_enable, cipher_algorithm),
        offset_of!(tls_enable, cipher_key_len),
        offset_of!(tls_enable, iv_len),
        offset_of!(tls_enable, auth_algorithm),
        offset_of!(tls_enable, auth_key_len),
        offset_of!(tls_enable, flags),
    ];
    assert_eq!(ints, [0, 4, 8, 12, 16, 20].map(|offset| 3 * pointer + offset));
    let end = 3 * pointer + 24;
    assert_eq!(offset_of!(tls_enable, tls_vmajor), end);
    assert_eq!(offset_of!(tls_enable, tls_vminor), end + 1);
    assert_eq!(offset_of!(tls_enable, rec_seq), end + 2);
    assert_eq!(size_of::<tls_enable>(), (end + 10).next_multiple_of(align_of::<*const u8>()));
    if cfg!(target_pointer_width = "64") {
        assert_eq!(size_of::<tls_enable>(), 64);
    }
}

#[test]
fn tls_get_record_lies_as_published() {
    assert_eq!((size_of::<tls_get_record>(), align_of::<tls_get_record>()), (6, 2));
    assert_eq!(offset_of!(tls_get_record, tls_type), 0);
    assert_eq!(offset_of!(tls_get_record, tls_vmajor), 1);
    assert_eq!(offset_of!(tls_get_record, tls_vminor), 2);
    assert_eq!(offset_of!(tls_get_record, tls_length), 4);
}

#[test]
fn a_key_is_not_printed() {
    let key = [0xab_u8; 16];
    let enable = tls_enable {
        cipher_key: key.as_ptr(),
        iv: null(),
        auth_key: null(),
        cipher_algorithm: CRYPTO_AES_NIST_GCM_16,
        cipher_key_len: 16,
        iv_len: 0,
        auth_algorithm: 0,
        auth_key_len: 0,
        flags: 0,
        tls_vmajor: TLS_MAJOR_VER_ONE,
        tls_vminor: TLS_MINOR_VER_THREE,
        rec_seq: [0; 8],
    };
    let text = format!("{enable:?}");
    assert!(text.contains("cipher_key_len: 16") && !text.contains("0x"), "{text}");
}
