//! Header and data digests: CRC-32C, stored little-endian (TCP, section 3.1.4).

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    if has_vectors() { crc_fast::crc32_iscsi(bytes) } else { crc32c::crc32c(bytes) }
}

/// CRC-32C of what was digested into `crc` before, then `bytes`.
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    if has_vectors() { by_vectors(crc, bytes) } else { crc32c::crc32c_append(crc, bytes) }
}

/// Whether the processor has what makes crc-fast twice as fast as crc32c: without, it is up to a half slower.
fn has_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("vpclmulqdq");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn by_vectors(crc: u32, bytes: &[u8]) -> u32 {
    // The state is what comes before the last complement.
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        let mut capsule = [0; 72];
        capsule[..5].copy_from_slice(&[4, 1, 72, 0, 76]);
        assert_eq!(crc32c(&capsule), 0xb1c1_eaba);
        assert_eq!(crc32c_append(crc32c(b"1234"), b"56789"), 0xe306_9283);
    }

    /// Bit by bit, as the polynomial is defined (TCP, section 3.1.4: 1EDC6F41h, reflected).
    fn by_bits(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
            })
        })
    }

    /// Other instructions do the work for other lengths.
    #[test]
    fn every_length_in_one_piece_and_in_two() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i * 31 + i / 251) as u8).collect();
        for len in (0..1100).chain([4095, 4096, 4097, 16_384, 65_536, 70_000]) {
            let bytes = &bytes[..len];
            let right = by_bits(bytes);
            assert_eq!(crc32c(bytes), right, "{len}");
            for at in [len / 3, len - len / 3] {
                let (begin, end) = bytes.split_at(at);
                // Whichever it is that this processor takes.
                assert_eq!(crc32c_append(crc32c(begin), end), right, "{at} of {len}");
                assert_eq!(by_vectors(by_vectors(0, begin), end), right, "{at} of {len}");
                assert_eq!(crc32c::crc32c_append(crc32c::crc32c(begin), end), right, "{at} of {len}");
            }
        }
    }
}
