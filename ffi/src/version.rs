//! Which library this is.

use std::ffi::c_char;

/// The library's version that this header is of: it changes with the ABI.
pub const NVME_TCP_VERSION_MAJOR: u32 = 0;
/// The second part of the version.
pub const NVME_TCP_VERSION_MINOR: u32 = 1;
/// The third part of the version.
pub const NVME_TCP_VERSION_PATCH: u32 = 0;

/// The version of the library that is loaded, as "0.1.0". It is valid for ever.
///
/// Threads: any, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The same as a number: the major part in bits 31:16, the minor in 15:8, the patch in 7:0.
///
/// Threads: any, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_version_number() -> u32 {
    NVME_TCP_VERSION_MAJOR << 16 | NVME_TCP_VERSION_MINOR << 8 | NVME_TCP_VERSION_PATCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_s_version_is_the_package_s() {
        let parts = [NVME_TCP_VERSION_MAJOR, NVME_TCP_VERSION_MINOR, NVME_TCP_VERSION_PATCH];
        assert_eq!(parts.map(|part| part.to_string()).join("."), env!("CARGO_PKG_VERSION"));
        assert_eq!(nvme_tcp_version_number(), 0x0000_0100);
    }
}
