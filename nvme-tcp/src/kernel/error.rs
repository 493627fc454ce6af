//! What can go wrong on the kernel's path.

use std::io;
use std::path::PathBuf;

/// Why the kernel's own initiator did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A file or device cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel did not connect.
    #[error("the kernel does not connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The kernel connected, and said so in words that are not understood.
    #[error("the kernel answered {answer:?}, expected instance=<number>,cntlid=<number>")]
    Answer {
        /// Its words.
        answer: String,
    },
    /// An attribute in sysfs is not what it should be.
    #[error("{} is {found:?}, expected {expected}", path.display())]
    Attribute {
        /// Which.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The kernel gives no io_uring, or does not go on with it.
    #[error("io_uring for commands of 128 bytes: {0}")]
    Ring(io::Error),
    /// There is no keyring for TLS keys.
    #[error("the kernel has no keyring .nvme")]
    NoKeyring,
    /// The TLS key cannot be put into the keyring.
    #[error("the TLS key cannot be put into the keyring .nvme: {0}")]
    Keyring(io::Error),
    /// The namespace did not show up.
    #[error("no device for namespace {nsid} of {controller}")]
    NoNamespace {
        /// Which.
        nsid: u32,
        /// Whose.
        controller: String,
    },
}

impl KernelError {
    /// What an operator can do about it.
    ///
    /// ```no_run
    /// # fn example(connect: &nvme_tcp::kernel::Connect) {
    /// use nvme_tcp::{ErrorKind, kernel::Kernel};
    ///
    /// if let Err(error) = Kernel::new().connect(connect) {
    ///     // `Error::hint` has the same, whatever the error is.
    ///     let ErrorKind::Kernel(kernel) = error.kind() else { return };
    ///     eprintln!("{kernel}: {}", kernel.hint().unwrap_or("no advice"));
    /// }
    /// # }
    /// ```
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::File { source, path } => match source.raw_os_error() {
                Some(libc::ENOENT) if path.ends_with("dev/nvme-fabrics") => {
                    "/dev/nvme-fabrics is not there: modprobe nvme-tcp"
                }
                Some(libc::ENOENT) => {
                    "it is gone: the controller may have been disconnected, or lost for good"
                }
                Some(libc::EACCES | libc::EPERM) => "the kernel's initiator is root's: run as root",
                Some(libc::EOPNOTSUPP) => {
                    "it takes no such commands: through io_uring, /dev/ng0n1 takes those of I/O and /dev/nvme0 those of \
                     administration"
                }
                _ => return None,
            },
            Self::Connect { source, .. } => match source.raw_os_error() {
                Some(libc::EALREADY) => {
                    "this host is connected to it already: allow another by Connect::duplicate"
                }
                Some(libc::EINVAL) => {
                    "this kernel does not know one of the options, or its value: its log (dmesg) says which"
                }
                Some(libc::ECONNREFUSED) => "nothing listens there: check address, port and target",
                Some(libc::EADDRNOTAVAIL) => "the host's address or interface is not one of this machine's",
                Some(libc::ENOKEY) => "the key is not in the keyring .nvme any more: connect anew",
                Some(libc::EKEYREJECTED | libc::EACCES) => {
                    "the TLS handshake failed: is tlshd running, and does it read the keyring .nvme?"
                }
                Some(libc::ETIMEDOUT) => {
                    "nobody answers: check address and firewall, and with TLS that tlshd is running"
                }
                Some(libc::EPERM) => "the kernel's initiator is root's: run as root",
                _ => "the kernel's log (dmesg) says more",
            },
            Self::Ring(source) => match source.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => {
                    "io_uring is switched off here (sysctl kernel.io_uring_disabled, or a container's rules): use the \
                     calls of Device"
                }
                Some(libc::ENOSYS | libc::EINVAL) => "this kernel is too old: it wants Linux 5.19",
                _ => "use the calls of Device",
            },
            Self::NoKeyring => "modprobe nvme-tcp, of a kernel with CONFIG_NVME_TCP_TLS",
            Self::Keyring(source) => match source.raw_os_error() {
                Some(libc::EACCES | libc::EPERM) => "the keyring .nvme is root's: run as root",
                Some(libc::ENODEV) => "this kernel has no keys of type psk: it wants CONFIG_NVME_KEYRING",
                _ => return None,
            },
            Self::NoNamespace { .. } => {
                "the target does not show it to this host, or udev has not come to it yet"
            }
            Self::Answer { .. } | Self::Attribute { .. } => return None,
        })
    }
}
