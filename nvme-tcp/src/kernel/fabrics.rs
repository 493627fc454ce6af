//! Connecting and disconnecting.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::connect::Connect;
use super::{KernelError, Namespace, Subsystem, keyring, sysfs};
use crate::error::{Error, Result};

/// The kernel of this machine, or what looks like one below some folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    root: PathBuf,
}

/// A controller that the kernel has connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connected {
    /// The number in its device's name.
    pub instance: u32,
    /// CNTLID.
    pub cntlid: u16,
}

impl Connected {
    /// The name of its device: `nvme0`.
    ///
    /// ```no_run
    /// # use nvme_tcp::kernel::{Connect, Kernel};
    /// # fn example(kernel: &Kernel, connect: &Connect) -> nvme_tcp::Result<()> {
    /// let made = kernel.connect(connect)?;
    /// println!("/dev/{}", made.name());
    /// # Ok(())
    /// # }
    /// ```
    pub fn name(&self) -> String {
        format!("nvme{}", self.instance)
    }

    /// Reads what `/dev/nvme-fabrics` answers: `instance=0,cntlid=1`.
    fn read(answer: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = answer.trim().split(',').filter_map(|field| field.split_once('='));
            fields.find_map(|(field, value)| (field == name).then_some(value))
        };
        Some(Self { instance: field("instance")?.parse().ok()?, cntlid: field("cntlid")?.parse().ok()? })
    }
}

/// How often a device that is on its way is looked for: sysfs has no events for whoever waits for an entry.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernel {
    /// This machine's.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// let kernel = nvme_tcp::kernel::Kernel::new();
    /// for subsystem in kernel.subsystems()? {
    ///     println!("{}: {} {}", subsystem.nqn, subsystem.model, subsystem.serial);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Self {
        Self::below("/")
    }

    /// With `dev`, `proc` and `sys` below this folder.
    ///
    /// ```
    /// use nvme_tcp::kernel::Kernel;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path();
    /// // As a container has it that mounts the host's folders elsewhere, or a test without any.
    /// assert!(Kernel::below(path).subsystems()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Connects; the controller's namespaces come up soon after. The TLS key of [`Connect::tls`] is put into the
    /// keyring `.nvme` first, and stays there for the kernel's reconnects.
    ///
    /// ```no_run
    /// # use nvme_tcp::kernel::{Connect, Kernel};
    /// # fn example(kernel: &Kernel, connect: &Connect) -> nvme_tcp::Result<()> {
    /// match kernel.connect(connect) {
    ///     Ok(made) => println!("{} is controller {}", made.name(), made.cntlid),
    ///     Err(error) => eprintln!("{error}: {}", error.hint().unwrap_or_default()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no `/dev/nvme-fabrics`, or no keyring; this process may not use them; the kernel did not connect.
    pub fn connect(&self, connect: &Connect) -> Result<Connected> {
        let path = self.root.join("dev/nvme-fabrics");
        let device = OpenOptions::new().read(true).write(true).open(&path);
        let mut device = device.map_err(|source| KernelError::File { path: path.clone(), source })?;
        let key = connect.tls_psk().map(|psk| keyring::add(psk, self.keyring()?)).transpose()?;
        let text = connect.text(key)?;
        if text.len() >= keyring::PAGE {
            let most = keyring::PAGE - 1;
            return Err(Error::invalid(format!(
                "the options are {} bytes, expected at most {most}",
                text.len()
            )));
        }
        let refused = |source| KernelError::Connect { address: connect.address().to_owned(), source };
        // In one go: each write is a connection of its own.
        let written = device.write(text.as_bytes()).map_err(refused)?;
        if written != text.len() {
            return Err(refused(std::io::ErrorKind::WriteZero.into()).into());
        }
        let mut answer = String::new();
        device.read_to_string(&mut answer).map_err(refused)?;
        Connected::read(&answer).ok_or_else(|| KernelError::Answer { answer }.into())
    }

    /// Disconnects the controller `name`, `nvme0` for example; its paths go with it.
    ///
    /// ```no_run
    /// # fn example(kernel: &nvme_tcp::kernel::Kernel) -> nvme_tcp::Result<()> {
    /// kernel.disconnect("nvme0")?;
    /// // A name that is none, or that leads elsewhere, is refused before anything is written.
    /// assert!(kernel.disconnect("../nvme0").is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such controller, or this process may not.
    pub fn disconnect(&self, name: &str) -> Result<()> {
        let digits = name.strip_prefix("nvme").unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::invalid(format!("controller {name:?}, expected nvme<number>")));
        }
        let path = self.root.join("sys/class/nvme").join(name).join("delete_controller");
        // Not created where there is none.
        let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(b"1"));
        written.map_err(|source| KernelError::File { path, source }.into())
    }

    /// Disconnects every controller of the subsystem `nqn`; how many those were.
    ///
    /// ```no_run
    /// # fn example(kernel: &nvme_tcp::kernel::Kernel) -> nvme_tcp::Result<()> {
    /// let ended = kernel.disconnect_all("nqn.2024-01.io.example:images")?;
    /// println!("{ended} controllers disconnected");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`disconnect`](Self::disconnect), and as [`subsystems`](Self::subsystems).
    pub fn disconnect_all(&self, nqn: &str) -> Result<usize> {
        let subsystems = self.subsystems()?.into_iter().filter(|subsystem| subsystem.nqn == nqn);
        let names: Vec<_> =
            subsystems.flat_map(|subsystem| subsystem.controllers).map(|found| found.name).collect();
        names.iter().try_for_each(|name| self.disconnect(name))?;
        Ok(names.len())
    }

    /// The subsystems that the kernel knows, with their controllers and namespaces, of every transport. None where it
    /// has no NVMe driver.
    ///
    /// ```no_run
    /// # fn example(kernel: &nvme_tcp::kernel::Kernel) -> nvme_tcp::Result<()> {
    /// for controller in kernel.subsystems()?.iter().flat_map(|subsystem| &subsystem.controllers) {
    ///     println!("{} {} TLS key {:?}", controller.name, controller.state, controller.tls_key);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An attribute is not what it should be.
    pub fn subsystems(&self) -> Result<Vec<Subsystem>> {
        sysfs::subsystems(&self.root)
    }

    /// The namespace `nsid` of a controller, by the device of its subsystem: with several controllers the kernel
    /// chooses the path.
    ///
    /// ```no_run
    /// # use nvme_tcp::kernel::{Connected, Kernel};
    /// # fn example(kernel: &Kernel, made: &Connected) -> nvme_tcp::Result<()> {
    /// // Of one that was connected long ago: right after connecting it may not be there yet.
    /// let namespace = kernel.namespace(made, 1)?;
    /// println!("{}: {} bytes", namespace.device().path().display(), namespace.size());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such namespace, or this process may not use its device.
    pub fn namespace(&self, connected: &Connected, nsid: u32) -> Result<Namespace> {
        let name = connected.name();
        let has = |subsystem: &Subsystem| subsystem.controllers.iter().any(|found| found.name == name);
        let subsystem = self.subsystems()?.into_iter().find(has);
        let found = subsystem.and_then(|subsystem| subsystem.namespaces.into_iter().find(|n| n.nsid == nsid));
        let found = found.ok_or(KernelError::NoNamespace { nsid, controller: name })?;
        Namespace::open(&self.root, &found)
    }

    /// As [`namespace`](Self::namespace), once it is there.
    ///
    /// ```no_run
    /// # use nvme_tcp::kernel::{Connect, Kernel};
    /// # fn example(kernel: &Kernel, connect: &Connect) -> nvme_tcp::Result<()> {
    /// let made = kernel.connect(connect)?;
    /// // The kernel scans after connecting, and udev makes the device after that.
    /// let namespace = kernel.wait_for_namespace(&made, 1, std::time::Duration::from_secs(5))?;
    /// println!("{}", namespace.device().path().display());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`namespace`](Self::namespace), where it is not there in time.
    pub fn wait_for_namespace(&self, connected: &Connected, nsid: u32, limit: Duration) -> Result<Namespace> {
        let end = Instant::now() + limit;
        loop {
            match self.namespace(connected, nsid) {
                Err(error) if Instant::now() >= end => return Err(error),
                Err(_) => thread::sleep(LOOK_AGAIN),
                found => return found,
            }
        }
    }

    fn keyring(&self) -> Result<i32> {
        let path = self.root.join("proc/keys");
        let keys = read(&path)?;
        Ok(keyring::find(&keys).ok_or(KernelError::NoKeyring)?)
    }
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| KernelError::File { path: path.to_owned(), source }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Blame, ErrorKind};
    use crate::host::HostIdentity;
    use crate::psk::{ConfiguredKey, KeyHash};

    fn connect() -> Connect {
        let host = HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16])).unwrap();
        Connect::tcp("127.0.0.1", "nqn.2024-01.io.example:sub", &host)
    }

    #[test]
    fn a_kernel_without_nvme_says_what_to_load() {
        let root = tempfile::tempdir().unwrap();
        let kernel = Kernel::below(root.path());
        let error = kernel.connect(&connect()).unwrap_err();
        assert_eq!(error.blame(), Blame::Kernel);
        assert_eq!(error.hint().unwrap(), "/dev/nvme-fabrics is not there: modprobe nvme-tcp");
        assert_eq!(kernel.subsystems().unwrap(), []);
        let error = kernel.disconnect("nvme0").unwrap_err();
        assert!(error.to_string().contains("delete_controller"), "{error}");
        for wrong in ["nvme", "../nvme0", "nvme0n1", ""] {
            assert!(matches!(kernel.disconnect(wrong).unwrap_err().kind(), ErrorKind::InvalidArgument(_)));
        }
    }

    #[test]
    fn the_kernel_is_told_everything_at_once_and_its_answer_is_read() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        let device = root.path().join("dev/nvme-fabrics");
        fs::write(&device, "").unwrap();
        let kernel = Kernel::below(root.path());
        // A plain file answers nothing.
        let error = kernel.connect(&connect()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Kernel(KernelError::Answer { .. })), "{error}");
        assert_eq!(fs::read_to_string(&device).unwrap(), *connect().text(None).unwrap());
        let answer = |text| Connected::read(text).map(|made| (made.name(), made.cntlid));
        assert_eq!(answer("instance=12,cntlid=65519\n"), Some(("nvme12".into(), 65_519)));
        for wrong in ["", "instance=-1,cntlid=-1\n", "instance=1", "cntlid=1", "instance=1,cntlid=65536"] {
            assert_eq!(answer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn without_a_keyring_nothing_is_connected_in_plain() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["dev", "proc"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("dev/nvme-fabrics"), "").unwrap();
        fs::write(root.path().join("proc/keys"), "").unwrap();
        let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
        let error = Kernel::below(root.path()).connect(&connect().tls(&key).unwrap()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Kernel(KernelError::NoKeyring)), "{error}");
        assert!(error.hint().unwrap().contains("modprobe"));
        assert_eq!(fs::read_to_string(root.path().join("dev/nvme-fabrics")).unwrap(), "");
    }
}
