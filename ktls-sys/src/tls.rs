//! `linux/tls.h`: TLS records sealed and opened by the kernel.
//!
//! The way of use is: attach the upper-layer protocol `"tls"` to a connected socket (`setsockopt` at level
//! `IPPROTO_TCP`, option [`TCP_ULP`]), then install a key for each direction with one of the
//! `tls12_crypto_info_*` structures (level [`SOL_TLS`], options [`TLS_TX`] and [`TLS_RX`]). The structures
//! serve TLS 1.2 and 1.3 alike, in spite of their name. Source: `include/uapi/linux/tls.h` of Linux 7.2.

use core::ffi::c_int;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The level of TLS options and control messages on a socket (`include/linux/socket.h`).
pub const SOL_TLS: c_int = 282;
/// The option at level `IPPROTO_TCP` that attaches an upper-layer protocol by its name (`linux/tcp.h`).
pub const TCP_ULP: c_int = 31;

/// Option: the key for sending, a `tls12_crypto_info_*`. Reading it gives the live record number.
pub const TLS_TX: c_int = 1;
/// Option: the key for receiving, a `tls12_crypto_info_*`. Reading it gives the live record number.
pub const TLS_RX: c_int = 2;
/// Option, 32 bits, 0 or 1: `sendfile` on a NIC that seals records may send pages without copying them.
pub const TLS_TX_ZEROCOPY_RO: c_int = 3;
/// Option, 32 bits, 0 or 1: TLS 1.3 records are expected to have no padding, so they are opened in place.
pub const TLS_RX_EXPECT_NO_PAD: c_int = 4;
/// Option, **16 bits**: the most bytes of payload in a record sent, 64 to 16384 (63 and up for TLS 1.3).
pub const TLS_TX_MAX_PAYLOAD_LEN: c_int = 5;

/// Control message of `sendmsg`, one byte: the type of the record to send.
pub const TLS_SET_RECORD_TYPE: c_int = 1;
/// Control message of `recvmsg`, one byte: the type of the record received.
pub const TLS_GET_RECORD_TYPE: c_int = 2;

/// Record type of a change of cipher, which TLS 1.3 ignores (`include/net/tls_prot.h`; RFC 8446, B.1).
pub const TLS_RECORD_TYPE_CHANGE_CIPHER_SPEC: u8 = 20;
/// Record type of an alert (RFC 8446, B.1).
pub const TLS_RECORD_TYPE_ALERT: u8 = 21;
/// Record type of a handshake message (RFC 8446, B.1).
pub const TLS_RECORD_TYPE_HANDSHAKE: u8 = 22;
/// Record type of application data (RFC 8446, B.1).
pub const TLS_RECORD_TYPE_DATA: u8 = 23;
/// Record type of a heartbeat (RFC 6520).
pub const TLS_RECORD_TYPE_HEARTBEAT: u8 = 24;
/// Record type of a DTLS 1.2 record with a connection id (RFC 9146).
pub const TLS_RECORD_TYPE_TLS12_CID: u8 = 25;
/// Record type of a DTLS 1.3 acknowledgement (RFC 9147).
pub const TLS_RECORD_TYPE_ACK: u8 = 26;

/// The minor part of a version as it stands in a record.
pub const fn TLS_VERSION_MINOR(version: u16) -> u8 {
    version.to_be_bytes()[1]
}

/// The major part of a version as it stands in a record.
pub const fn TLS_VERSION_MAJOR(version: u16) -> u8 {
    version.to_be_bytes()[0]
}

/// A version from its two parts.
pub const fn TLS_VERSION_NUMBER(major: u8, minor: u8) -> u16 {
    u16::from_be_bytes([major, minor])
}

/// The major part of [`TLS_1_2_VERSION`].
pub const TLS_1_2_VERSION_MAJOR: u8 = 3;
/// The minor part of [`TLS_1_2_VERSION`].
pub const TLS_1_2_VERSION_MINOR: u8 = 3;
/// TLS 1.2, for [`tls_crypto_info::version`].
pub const TLS_1_2_VERSION: u16 = TLS_VERSION_NUMBER(TLS_1_2_VERSION_MAJOR, TLS_1_2_VERSION_MINOR);

/// The major part of [`TLS_1_3_VERSION`].
pub const TLS_1_3_VERSION_MAJOR: u8 = 3;
/// The minor part of [`TLS_1_3_VERSION`].
pub const TLS_1_3_VERSION_MINOR: u8 = 4;
/// TLS 1.3, for [`tls_crypto_info::version`].
pub const TLS_1_3_VERSION: u16 = TLS_VERSION_NUMBER(TLS_1_3_VERSION_MAJOR, TLS_1_3_VERSION_MINOR);

/// Attribute of `INET_ULP_INFO_TLS` in sock_diag: none, never sent.
pub const TLS_INFO_UNSPEC: u16 = 0;
/// Attribute, 16 bits: the version.
pub const TLS_INFO_VERSION: u16 = 1;
/// Attribute, 16 bits: the cipher, one of `TLS_CIPHER_*`.
pub const TLS_INFO_CIPHER: u16 = 2;
/// Attribute, 16 bits: who seals, one of `TLS_CONF_*`.
pub const TLS_INFO_TXCONF: u16 = 3;
/// Attribute, 16 bits: who opens, one of `TLS_CONF_*`.
pub const TLS_INFO_RXCONF: u16 = 4;
/// Attribute without a value: [`TLS_TX_ZEROCOPY_RO`] is in force (only ever on a NIC that seals).
pub const TLS_INFO_ZC_RO_TX: u16 = 5;
/// Attribute without a value: [`TLS_RX_EXPECT_NO_PAD`] is on.
pub const TLS_INFO_RX_NO_PAD: u16 = 6;
/// Attribute, 16 bits: the value of [`TLS_TX_MAX_PAYLOAD_LEN`].
pub const TLS_INFO_TX_MAX_PAYLOAD_LEN: u16 = 7;
/// The highest attribute; a newer kernel may send higher ones.
pub const TLS_INFO_MAX: u16 = TLS_INFO_TX_MAX_PAYLOAD_LEN;

/// Value of `TLS_INFO_TXCONF` and `TLS_INFO_RXCONF`: no key in this direction, plain TCP.
pub const TLS_CONF_BASE: u16 = 1;
/// Value: the kernel seals or opens.
pub const TLS_CONF_SW: u16 = 2;
/// Value: the NIC seals or opens.
pub const TLS_CONF_HW: u16 = 3;
/// Value: the NIC does all of TLS. No driver of today sets it.
pub const TLS_CONF_HW_RECORD: u16 = 4;

/// The head of every `tls12_crypto_info_*`, both numbers in native byte order.
#[repr(C)]
#[derive(Debug, Default, Zeroize)]
pub struct tls_crypto_info {
    /// [`TLS_1_2_VERSION`] or [`TLS_1_3_VERSION`].
    pub version: u16,
    /// One of `TLS_CIPHER_*`; it decides which structure this is the head of.
    pub cipher_type: u16,
}

const _: () = assert!(size_of::<tls_crypto_info>() == 4);

/// One structure for a cipher's key, and the compiler's word on its size. The parts follow each other without
/// gaps: bytes have no alignment.
macro_rules! crypto_info {
    (
        $(#[$doc:meta])*
        $name:ident, $size:literal bytes {
            iv: $iv:ident,
            key: $key:ident,
            salt: $salt:ident,
            rec_seq: $rec_seq:ident,
        }
    ) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Default, Zeroize, ZeroizeOnDrop)]
        pub struct $name {
            /// The version and the cipher.
            pub info: tls_crypto_info,
            /// TLS 1.3: the end of the write IV, after the salt. TLS 1.2: the next explicit nonce.
            pub iv: [u8; $iv],
            /// The write key.
            pub key: [u8; $key],
            /// The start of the write IV.
            pub salt: [u8; $salt],
            /// The number of the next record, big-endian.
            pub rec_seq: [u8; $rec_seq],
        }

        impl fmt::Debug for $name {
            /// The key, the IV and the salt are left out: with them the traffic could be read.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("info", &self.info)
                    .field("rec_seq", &u64::from_be_bytes(self.rec_seq))
                    .finish_non_exhaustive()
            }
        }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            assert!(align_of::<$name>() == 2);
            assert!(core::mem::offset_of!($name, iv) == 4);
            assert!(core::mem::offset_of!($name, key) == 4 + $iv);
            assert!(core::mem::offset_of!($name, salt) == 4 + $iv + $key);
            assert!(core::mem::offset_of!($name, rec_seq) == 4 + $iv + $key + $salt);
        };
    };
}

/// AES-128-GCM: the value of [`tls_crypto_info::cipher_type`].
pub const TLS_CIPHER_AES_GCM_128: u16 = 51;
/// Bytes of the initialization vector of AES-128-GCM.
pub const TLS_CIPHER_AES_GCM_128_IV_SIZE: usize = 8;
/// Bytes of the key of AES-128-GCM.
pub const TLS_CIPHER_AES_GCM_128_KEY_SIZE: usize = 16;
/// Bytes of the salt of AES-128-GCM.
pub const TLS_CIPHER_AES_GCM_128_SALT_SIZE: usize = 4;
/// Bytes of the authentication tag of AES-128-GCM.
pub const TLS_CIPHER_AES_GCM_128_TAG_SIZE: usize = 16;
/// Bytes of the record sequence number of AES-128-GCM.
pub const TLS_CIPHER_AES_GCM_128_REC_SEQ_SIZE: usize = 8;

/// AES-256-GCM: the value of [`tls_crypto_info::cipher_type`].
pub const TLS_CIPHER_AES_GCM_256: u16 = 52;
/// Bytes of the initialization vector of AES-256-GCM.
pub const TLS_CIPHER_AES_GCM_256_IV_SIZE: usize = 8;
/// Bytes of the key of AES-256-GCM.
pub const TLS_CIPHER_AES_GCM_256_KEY_SIZE: usize = 32;
/// Bytes of the salt of AES-256-GCM.
pub const TLS_CIPHER_AES_GCM_256_SALT_SIZE: usize = 4;
/// Bytes of the authentication tag of AES-256-GCM.
pub const TLS_CIPHER_AES_GCM_256_TAG_SIZE: usize = 16;
/// Bytes of the record sequence number of AES-256-GCM.
pub const TLS_CIPHER_AES_GCM_256_REC_SEQ_SIZE: usize = 8;

/// AES-128-CCM: the value of [`tls_crypto_info::cipher_type`].
pub const TLS_CIPHER_AES_CCM_128: u16 = 53;
/// Bytes of the initialization vector of AES-128-CCM.
pub const TLS_CIPHER_AES_CCM_128_IV_SIZE: usize = 8;
/// Bytes of the key of AES-128-CCM.
pub const TLS_CIPHER_AES_CCM_128_KEY_SIZE: usize = 16;
/// Bytes of the salt of AES-128-CCM.
pub const TLS_CIPHER_AES_CCM_128_SALT_SIZE: usize = 4;
/// Bytes of the authentication tag of AES-128-CCM.
pub const TLS_CIPHER_AES_CCM_128_TAG_SIZE: usize = 16;
/// Bytes of the record sequence number of AES-128-CCM.
pub const TLS_CIPHER_AES_CCM_128_REC_SEQ_SIZE: usize = 8;

/// ChaCha20-Poly1305: the value of [`tls_crypto_info::cipher_type`].
pub const TLS_CIPHER_CHACHA20_POLY1305: u16 = 54;
/// Bytes of the initialization vector of ChaCha20-Poly1305.
pub const TLS_CIPHER_CHACHA20_POLY1305_IV_SIZE: usize = 12;
/// Bytes of the key of ChaCha20-Poly1305.
pub const TLS_CIPHER_CHACHA20_POLY1305_KEY_SIZE: usize = 32;
/// Bytes of the salt of ChaCha20-Poly1305.
pub const TLS_CIPHER_CHACHA20_POLY1305_SALT_SIZE: usize = 0;
/// Bytes of the authentication tag of ChaCha20-Poly1305.
pub const TLS_CIPHER_CHACHA20_POLY1305_TAG_SIZE: usize = 16;
/// Bytes of the record sequence number of ChaCha20-Poly1305.
pub const TLS_CIPHER_CHACHA20_POLY1305_REC_SEQ_SIZE: usize = 8;

/// SM4-GCM: the value of [`tls_crypto_info::cipher_type`].
pub const TLS_CIPHER_SM4_GCM: u16 = 55;
/// Bytes of the initialization vector of SM4-GCM.
pub const TLS_CIPHER_SM4_GCM_IV_SIZE: usize = 8;
/// Bytes of the key of SM4-GCM.
pub const TLS_CIPHER_SM4_GCM_KEY_SIZE: usize = 16;
/// Bytes of the salt of SM4-GCM.
pub const TLS_CIPHER_SM4_GCM_SALT_SIZE: usize = 4;
/// Bytes of the authentication tag of SM4-GCM.
pub const TLS_CIPHER_SM4_GCM_TAG_SIZE: usize = 16;
/// Bytes of the record sequence number of SM4-GCM.
pub const TLS_CIPHER_SM4_GCM_REC_SEQ_SIZE: usize = 8;

/// SM4-CCM: the value of [`tls_crypto_info::cipher_type`].
pub const TLS_CIPHER_SM4_CCM: u16 = 56;
/// Bytes of the initialization vector of SM4-CCM.
pub const TLS_CIPHER_SM4_CCM_IV_SIZE: usize = 8;
/// Bytes of the key of SM4-CCM.
pub const TLS_CIPHER_SM4_CCM_KEY_SIZE: usize = 16;
/// Bytes of the salt of SM4-CCM.
pub const TLS_CIPHER_SM4_CCM_SALT_SIZE: usize = 4;
/// Bytes of the authentication tag of SM4-CCM.
pub const TLS_CIPHER_SM4_CCM_TAG_SIZE: usize = 16;
/// Bytes of the record sequence number of SM4-CCM.
pub const TLS_CIPHER_SM4_CCM_REC_SEQ_SIZE: usize = 8;

/// ARIA-128-GCM (TLS 1.2 only): the value of [`tls_crypto_info::cipher_type`].
pub const TLS_CIPHER_ARIA_GCM_128: u16 = 57;
/// Bytes of the initialization vector of ARIA-128-GCM.
pub const TLS_CIPHER_ARIA_GCM_128_IV_SIZE: usize = 8;
/// Bytes of the key of ARIA-128-GCM.
pub const TLS_CIPHER_ARIA_GCM_128_KEY_SIZE: usize = 16;
/// Bytes of the salt of ARIA-128-GCM.
pub const TLS_CIPHER_ARIA_GCM_128_SALT_SIZE: usize = 4;
/// Bytes of the authentication tag of ARIA-128-GCM.
pub const TLS_CIPHER_ARIA_GCM_128_TAG_SIZE: usize = 16;
/// Bytes of the record sequence number of ARIA-128-GCM.
pub const TLS_CIPHER_ARIA_GCM_128_REC_SEQ_SIZE: usize = 8;

/// ARIA-256-GCM (TLS 1.2 only): the value of [`tls_crypto_info::cipher_type`].
pub const TLS_CIPHER_ARIA_GCM_256: u16 = 58;
/// Bytes of the initialization vector of ARIA-256-GCM.
pub const TLS_CIPHER_ARIA_GCM_256_IV_SIZE: usize = 8;
/// Bytes of the key of ARIA-256-GCM.
pub const TLS_CIPHER_ARIA_GCM_256_KEY_SIZE: usize = 32;
/// Bytes of the salt of ARIA-256-GCM.
pub const TLS_CIPHER_ARIA_GCM_256_SALT_SIZE: usize = 4;
/// Bytes of the authentication tag of ARIA-256-GCM.
pub const TLS_CIPHER_ARIA_GCM_256_TAG_SIZE: usize = 16;
/// Bytes of the record sequence number of ARIA-256-GCM.
pub const TLS_CIPHER_ARIA_GCM_256_REC_SEQ_SIZE: usize = 8;

crypto_info! {
    /// The key of one direction for AES-128-GCM: 40 bytes, for `TLS_TX` and `TLS_RX`.
    tls12_crypto_info_aes_gcm_128, 40 bytes {
        iv: TLS_CIPHER_AES_GCM_128_IV_SIZE,
        key: TLS_CIPHER_AES_GCM_128_KEY_SIZE,
        salt: TLS_CIPHER_AES_GCM_128_SALT_SIZE,
        rec_seq: TLS_CIPHER_AES_GCM_128_REC_SEQ_SIZE,
    }
}

crypto_info! {
    /// The key of one direction for AES-256-GCM: 56 bytes, for `TLS_TX` and `TLS_RX`.
    tls12_crypto_info_aes_gcm_256, 56 bytes {
        iv: TLS_CIPHER_AES_GCM_256_IV_SIZE,
        key: TLS_CIPHER_AES_GCM_256_KEY_SIZE,
        salt: TLS_CIPHER_AES_GCM_256_SALT_SIZE,
        rec_seq: TLS_CIPHER_AES_GCM_256_REC_SEQ_SIZE,
    }
}

crypto_info! {
    /// The key of one direction for AES-128-CCM: 40 bytes, for `TLS_TX` and `TLS_RX`.
    tls12_crypto_info_aes_ccm_128, 40 bytes {
        iv: TLS_CIPHER_AES_CCM_128_IV_SIZE,
        key: TLS_CIPHER_AES_CCM_128_KEY_SIZE,
        salt: TLS_CIPHER_AES_CCM_128_SALT_SIZE,
        rec_seq: TLS_CIPHER_AES_CCM_128_REC_SEQ_SIZE,
    }
}

crypto_info! {
    /// The key of one direction for ChaCha20-Poly1305: 56 bytes, for `TLS_TX` and `TLS_RX`.
    tls12_crypto_info_chacha20_poly1305, 56 bytes {
        iv: TLS_CIPHER_CHACHA20_POLY1305_IV_SIZE,
        key: TLS_CIPHER_CHACHA20_POLY1305_KEY_SIZE,
        salt: TLS_CIPHER_CHACHA20_POLY1305_SALT_SIZE,
        rec_seq: TLS_CIPHER_CHACHA20_POLY1305_REC_SEQ_SIZE,
    }
}

crypto_info! {
    /// The key of one direction for SM4-GCM: 40 bytes, for `TLS_TX` and `TLS_RX`.
    tls12_crypto_info_sm4_gcm, 40 bytes {
        iv: TLS_CIPHER_SM4_GCM_IV_SIZE,
        key: TLS_CIPHER_SM4_GCM_KEY_SIZE,
        salt: TLS_CIPHER_SM4_GCM_SALT_SIZE,
        rec_seq: TLS_CIPHER_SM4_GCM_REC_SEQ_SIZE,
    }
}

crypto_info! {
    /// The key of one direction for SM4-CCM: 40 bytes, for `TLS_TX` and `TLS_RX`.
    tls12_crypto_info_sm4_ccm, 40 bytes {
        iv: TLS_CIPHER_SM4_CCM_IV_SIZE,
        key: TLS_CIPHER_SM4_CCM_KEY_SIZE,
        salt: TLS_CIPHER_SM4_CCM_SALT_SIZE,
        rec_seq: TLS_CIPHER_SM4_CCM_REC_SEQ_SIZE,
    }
}

crypto_info! {
    /// The key of one direction for ARIA-128-GCM: 40 bytes, for `TLS_TX` and `TLS_RX`.
    tls12_crypto_info_aria_gcm_128, 40 bytes {
        iv: TLS_CIPHER_ARIA_GCM_128_IV_SIZE,
        key: TLS_CIPHER_ARIA_GCM_128_KEY_SIZE,
        salt: TLS_CIPHER_ARIA_GCM_128_SALT_SIZE,
        rec_seq: TLS_CIPHER_ARIA_GCM_128_REC_SEQ_SIZE,
    }
}

crypto_info! {
    /// The key of one direction for ARIA-256-GCM: 56 bytes, for `TLS_TX` and `TLS_RX`.
    tls12_crypto_info_aria_gcm_256, 56 bytes {
        iv: TLS_CIPHER_ARIA_GCM_256_IV_SIZE,
        key: TLS_CIPHER_ARIA_GCM_256_KEY_SIZE,
        salt: TLS_CIPHER_ARIA_GCM_256_SALT_SIZE,
        rec_seq: TLS_CIPHER_ARIA_GCM_256_REC_SEQ_SIZE,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn debug_shows_the_record_number_and_no_key() {
        let mut info = tls12_crypto_info_aes_gcm_256 {
            info: tls_crypto_info { version: TLS_1_3_VERSION, cipher_type: TLS_CIPHER_AES_GCM_256 },
            iv: [0xa1; 8],
            key: [0xa2; 32],
            salt: [0xa3; 4],
            rec_seq: 77_u64.to_be_bytes(),
        };
        let text = std::format!("{info:?}");
        assert_eq!(
            text,
            "tls12_crypto_info_aes_gcm_256 { info: tls_crypto_info { version: 772, cipher_type: 52 }, \
             rec_seq: 77, .. }"
        );
        info.zeroize();
        assert_eq!((info.key, info.iv, info.salt), ([0; 32], [0; 8], [0; 4]));
    }

    #[test]
    fn a_version_comes_apart_and_together() {
        assert_eq!(TLS_1_3_VERSION, 0x0304);
        assert_eq!(TLS_VERSION_MAJOR(0x0304), 3);
        assert_eq!(TLS_VERSION_MINOR(0x0304), 4);
    }
}
