//! What the kernel says of itself, in `/sys/class/nvme` and `/sys/class/nvme-subsystem`
//! (drivers/nvme/host/sysfs.c).

use std::fs;
use std::io::ErrorKind;
use std::path;

use super::KernelError;
use super::fabrics::read;
use crate::error::Result;

/// A subsystem, and what leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subsystem {
    /// `nvme-subsys0`.
    pub name: String,
    /// Its NQN.
    pub nqn: String,
    /// MN.
    pub model: String,
    /// SN.
    pub serial: String,
    /// How the kernel chooses between its paths: `numa`, `round-robin` or `queue-depth`.
    pub io_policy: Option<String>,
    /// Its controllers, by number.
    pub controllers: Vec<Controller>,
    /// Its namespaces, by name.
    pub namespaces: Vec<Block>,
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Controller {
    /// `nvme0`.
    pub name: String,
    /// `tcp`, `pcie`, `rdma`, `fc` or `loop`.
    pub transport: String,
    /// Where it is: `traddr=10.0.0.5,trsvcid=4420,src_addr=10.0.0.9` or the like.
    pub address: String,
    /// `live`, `connecting`, `resetting`, `deleting`, `dead`, `new` or what later kernels have.
    pub state: String,
    /// CNTLID.
    pub cntlid: u16,
    /// The host NQN that it was connected with.
    pub host_nqn: Option<String>,
    /// The serial number of the TLS key in the keyring `.nvme`.
    pub tls_key: Option<String>,
    /// Its paths to namespaces, by name.
    pub paths: Vec<Path>,
}

/// A way to a namespace by one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path {
    /// `nvme0c1n1`; `nvme1n1` where the kernel does no multipath.
    pub name: String,
    /// NSID.
    pub nsid: u32,
    /// `optimized`, `non-optimized`, `inaccessible`, `persistent-loss` or `change`.
    pub ana_state: Option<String>,
}

/// A namespace as the block device that programs use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// `nvme0n1`.
    pub name: String,
    /// NSID.
    pub nsid: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes in each block.
    pub block_size: u32,
}

/// The subsystems below `root`.
pub(super) fn subsystems(root: &path::Path) -> Result<Vec<Subsystem>> {
    let entries = entries(&root.join("sys/class/nvme-subsystem"))?;
    entries
        .iter()
        .filter(|(name, _)| name.starts_with("nvme-subsys"))
        .map(|entry| subsystem(root, entry))
        .collect()
}

fn subsystem(root: &path::Path, (name, path): &(String, path::PathBuf)) -> Result<Subsystem> {
    let mut controllers = Vec::new();
    let mut namespaces = Vec::new();
    for (name, path) in entries(path)? {
        match Kind::of(&name) {
            Some(Kind::Controller) => {
                controllers.push(controller(&name, &root.join("sys/class/nvme").join(&name))?)
            }
            Some(Kind::Namespace) => namespaces.push(block(&name, &path)?),
            _ => {}
        }
    }
    for found in &controllers {
        // Without multipath the namespaces are their controller's.
        for (name, path) in entries(&root.join("sys/class/nvme").join(&found.name))? {
            let known = namespaces.iter().any(|known| known.name == name);
            if Kind::of(&name) == Some(Kind::Namespace) && !known {
                namespaces.push(block(&name, &path)?);
            }
        }
    }
    Ok(Subsystem {
        name: name.clone(),
        nqn: attribute(path, "subsysnqn")?,
        model: attribute(path, "model")?,
        serial: attribute(path, "serial")?,
        io_policy: optional(path, "iopolicy")?,
        controllers,
        namespaces,
    })
}

fn controller(name: &str, path: &path::Path) -> Result<Controller> {
    let mut paths = Vec::new();
    for (name, path) in entries(path)? {
        if matches!(Kind::of(&name), Some(Kind::Path | Kind::Namespace)) {
            let (nsid, ana_state) = (number(&path, "nsid")?, optional(&path, "ana_state")?);
            paths.push(Path { name, nsid, ana_state });
        }
    }
    Ok(Controller {
        name: name.to_owned(),
        transport: attribute(path, "transport")?,
        address: attribute(path, "address")?,
        state: attribute(path, "state")?,
        cntlid: number(path, "cntlid")?,
        host_nqn: optional(path, "hostnqn")?,
        tls_key: optional(path, "tls_key")?,
        paths,
    })
}

fn block(name: &str, path: &path::Path) -> Result<Block> {
    let sectors: u64 = number(path, "size")?;
    // In sysfs a sector is 512 bytes whatever the block size.
    let size = sectors.checked_mul(512).ok_or_else(|| KernelError::Attribute {
        path: path.join("size"),
        found: sectors.to_string(),
        expected: "at most 2^55 sectors",
    })?;
    let block_size = number(path, "queue/logical_block_size")?;
    if !(512..=65_536).contains(&block_size) || !u32::is_power_of_two(block_size) {
        let (path, found) = (path.join("queue/logical_block_size"), block_size.to_string());
        return Err(
            KernelError::Attribute { path, found, expected: "a power of two from 512 to 65536" }.into()
        );
    }
    Ok(Block { name: name.to_owned(), nsid: number(path, "nsid")?, size, block_size })
}

/// What a name in sysfs is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `nvme0`
    Controller,
    /// `nvme0n1`
    Namespace,
    /// `nvme0c1n1`
    Path,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        let rest = digits(name.strip_prefix("nvme")?)?;
        if rest.is_empty() {
            return Some(Self::Controller);
        }
        let (kind, rest) = match rest.strip_prefix('c') {
            Some(rest) => (Self::Path, digits(rest)?),
            None => (Self::Namespace, rest),
        };
        digits(rest.strip_prefix('n')?)?.is_empty().then_some(kind)
    }
}

/// What follows the digits, of which there is at least one.
fn digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// What a folder holds, by name, shorter names first; nothing where there is no such folder.
fn entries(folder: &path::Path) -> Result<Vec<(String, path::PathBuf)>> {
    let failed = |source| KernelError::File { path: folder.to_owned(), source };
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(failed)?,
    };
    let mut entries = Vec::new();
    for entry in found {
        let entry = entry.map_err(failed)?;
        entries.extend(entry.file_name().into_string().ok().map(|name| (name, entry.path())));
    }
    entries.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    Ok(entries)
}

fn attribute(folder: &path::Path, name: &str) -> Result<String> {
    Ok(read(&folder.join(name))?.trim().to_owned())
}

/// An attribute that older kernels, or other controllers, have not.
fn optional(folder: &path::Path, name: &str) -> Result<Option<String>> {
    match fs::read_to_string(folder.join(name)) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KernelError::File { path: folder.join(name), source }.into()),
    }
}

fn number<T: std::str::FromStr>(folder: &path::Path, name: &str) -> Result<T> {
    let found = attribute(folder, name)?;
    found.parse().map_err(|_| {
        let path = folder.join(name);
        KernelError::Attribute { path, found, expected: "a number in its range" }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind as Kind2;
    use crate::kernel::Kernel;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join("sys/class").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        root
    }

    /// Two controllers of one subsystem, as Linux 7.2 shows them.
    const TREE: &[(&str, &str)] = &[
        ("nvme-subsystem/nvme-subsys0/subsysnqn", "nqn.2024-01.lab.test:tls"),
        ("nvme-subsystem/nvme-subsys0/model", "Linux          "),
        ("nvme-subsystem/nvme-subsys0/serial", "deadbeef"),
        ("nvme-subsystem/nvme-subsys0/iopolicy", "round-robin"),
        ("nvme-subsystem/nvme-subsys0/nvme0/uevent", ""),
        ("nvme-subsystem/nvme-subsys0/nvme1/uevent", ""),
        ("nvme-subsystem/nvme-subsys0/nvme0n1/size", "131072"),
        ("nvme-subsystem/nvme-subsys0/nvme0n1/nsid", "1"),
        ("nvme-subsystem/nvme-subsys0/nvme0n1/queue/logical_block_size", "4096"),
        ("nvme-subsystem/nvme-subsys0/power/control", "auto"),
        ("nvme/nvme0/transport", "tcp"),
        ("nvme/nvme0/address", "traddr=10.0.0.5,trsvcid=4420,src_addr=10.0.0.9"),
        ("nvme/nvme0/state", "live"),
        ("nvme/nvme0/cntlid", "1"),
        ("nvme/nvme0/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"),
        ("nvme/nvme0/tls_key", "2b1a09ff"),
        ("nvme/nvme0/nvme0c0n1/nsid", "1"),
        ("nvme/nvme0/nvme0c0n1/ana_state", "optimized"),
        ("nvme/nvme1/transport", "tcp"),
        ("nvme/nvme1/address", "traddr=10.0.0.6,trsvcid=4420"),
        ("nvme/nvme1/state", "connecting"),
        ("nvme/nvme1/cntlid", "2"),
        ("nvme/nvme1/nvme0c1n1/nsid", "1"),
        ("nvme/nvme1/nvme0c1n1/ana_state", "inaccessible"),
    ];

    #[test]
    fn subsystems_controllers_paths_and_namespaces() {
        let root = tree(TREE);
        let found = Kernel::below(root.path()).subsystems().unwrap();
        let [subsystem] = &found[..] else { panic!("{found:?}") };
        assert_eq!((subsystem.nqn.as_str(), subsystem.model.as_str()), ("nqn.2024-01.lab.test:tls", "Linux"));
        assert_eq!(subsystem.io_policy.as_deref(), Some("round-robin"));
        let [first, second] = &subsystem.controllers[..] else { panic!("{subsystem:?}") };
        assert_eq!((first.name.as_str(), first.state.as_str(), first.cntlid), ("nvme0", "live", 1));
        assert_eq!(first.tls_key.as_deref(), Some("2b1a09ff"));
        assert_eq!((second.tls_key.as_ref(), second.host_nqn.as_ref()), (None, None));
        let path = &second.paths[0];
        assert_eq!((path.name.as_str(), path.ana_state.as_deref()), ("nvme0c1n1", Some("inaccessible")));
        let expected = Block { name: "nvme0n1".into(), nsid: 1, size: 64 << 20, block_size: 4096 };
        assert_eq!(subsystem.namespaces, [expected]);
    }

    #[test]
    fn a_subsystem_is_disconnected_by_its_name() {
        let mut files = TREE.to_vec();
        files.extend([("nvme/nvme0/delete_controller", ""), ("nvme/nvme1/delete_controller", "")]);
        let root = tree(&files);
        let kernel = Kernel::below(root.path());
        assert_eq!(kernel.disconnect_all("nqn.2024-01.lab.test:other").unwrap(), 0);
        assert_eq!(kernel.disconnect_all("nqn.2024-01.lab.test:tls").unwrap(), 2);
        for name in ["nvme0", "nvme1"] {
            let written = root.path().join("sys/class/nvme").join(name).join("delete_controller");
            assert!(fs::read_to_string(written).unwrap().starts_with('1'));
        }
    }

    #[test]
    fn an_attribute_that_is_wrong_is_named() {
        let mut files = TREE.to_vec();
        files.push(("nvme/nvme1/cntlid", "70000"));
        let error = Kernel::below(tree(&files).path()).subsystems().unwrap_err();
        assert!(matches!(error.kind(), Kind2::Kernel(KernelError::Attribute { .. })), "{error}");
        assert!(error.to_string().contains("nvme1/cntlid is \"70000\""), "{error}");
        files.push(("nvme/nvme1/cntlid", "2"));
        files.push(("nvme-subsystem/nvme-subsys0/nvme0n1/queue/logical_block_size", "1000"));
        let error = Kernel::below(tree(&files).path()).subsystems().unwrap_err();
        assert!(error.to_string().contains("power of two"), "{error}");
    }

    #[test]
    fn names_say_what_they_are_of() {
        let all = [
            "nvme0",
            "nvme12n3",
            "nvme0c1n1",
            "nvme",
            "nvmen1",
            "nvme0c1",
            "nvme0n1p1",
            "ng0n1",
            "nvme-subsys0",
        ];
        let kinds = all.map(Kind::of);
        let (c, n, p) = (Some(Kind::Controller), Some(Kind::Namespace), Some(Kind::Path));
        assert_eq!(kinds, [c, n, p, None, None, None, None, None, None]);
    }
}
