//! What the Linux kernel publishes about TLS on sockets and NVMe passthrough, as it is.
//!
//! [`tls`] is `linux/tls.h` whole, with the few numbers from other headers without which it is of no use;
//! [`nvme_ioctl`] is `linux/nvme_ioctl.h` whole. Names, types and layouts are the kernel's own, so that its
//! documentation (`Documentation/networking/tls.rst`, `nvme-cli`'s sources) reads as documentation of this
//! crate. There is no code here beyond that: no system calls, no allocation, no `unsafe`.
//!
//! Two things differ from a plain translation. Structures that hold keys are neither `Copy` nor `Clone`, are
//! wiped when dropped, and print without their keys. And a structure's anonymous union of two numbers of the
//! same type ([`nvme_passthru_cmd64`](nvme_ioctl::nvme_passthru_cmd64)) is one field with two names.
//!
//! [`freebsd`] has what FreeBSD's kernel TLS would need; nothing uses it yet, and it has no backend.
//!
//! The headers described are those of Linux 7.2; an older kernel answers `ENOPROTOOPT` or `ENOTTY` to what it
//! does not know.

#![no_std]
#![forbid(unsafe_code)]
// The names are the kernel's.
#![allow(non_camel_case_types, non_snake_case)]

pub mod freebsd;
pub mod nvme_ioctl;
pub mod tls;
