//! The kernel's own NVMe/TCP initiator, driven as `nvme connect`, `nvme list` and `nvme disconnect` do: connections
//! through `/dev/nvme-fabrics`, what there is in sysfs, and commands through the devices that come of it.
//!
//! For programs that choose between this library's initiator and the kernel's, at best by a setting
//! ([`Options::attach`](crate::Options::attach)). The kernel's needs root and its module
//! nvme-tcp; its namespaces are block devices for everybody. TLS is done by a helper, tlshd, with keys from the
//! keyring `.nvme`, where [`Connect::tls`] puts them.
//!
//! ```no_run
//! use nvme_tcp::host::HostIdentity;
//! use nvme_tcp::kernel::{Connect, Kernel};
//! use nvme_tcp::psk::ConfiguredKey;
//!
//! # fn main() -> nvme_tcp::Result<()> {
//! let kernel = Kernel::new();
//! let key = ConfiguredKey::from_file("/etc/nvme/image.key")?;
//! let connect = Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &HostIdentity::load()?).tls(&key)?;
//! let made = kernel.connect(&connect)?;
//! for subsystem in kernel.subsystems()? {
//!     println!("{} {:?}", subsystem.nqn, subsystem.namespaces);
//! }
//! let namespace = kernel.wait_for_namespace(&made, 1, std::time::Duration::from_secs(5))?;
//! let mut first = [0; 4096];
//! namespace.read_at(&mut first, 0)?;
//! kernel.disconnect(&made.name())?;
//! # Ok(())
//! # }
//! ```

mod attach;
mod connect;
mod device;
mod error;
mod fabrics;
mod keyring;
mod namespace;
#[cfg(feature = "io-uring")]
mod ring;
mod sysfs;

pub use attach::{Attached, Initiator};
pub use connect::Connect;
pub use device::Device;
pub use error::KernelError;
pub use fabrics::{Connected, Kernel};
pub(crate) use keyring::find as find_nvme_keyring;
pub use namespace::Namespace;
#[cfg(feature = "io-uring")]
pub use ring::{Ring, RingCompletion, RingData};
pub use sysfs::{Block, Controller, Path, Subsystem};
