//! The guest's first file system: programs of the packages with their libraries, the kernel's modules, and this
//! machine's tool with this machine's libraries. The part that comes from packages is kept between runs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::archive::Archive;
use super::packages::{Packages, listed};
use crate::process;
use crate::suite::read_file;
use crate::{Result, workspace::Workspace};

const PROGRAMS: [&str; 9] = [
    "usr/sbin/tlshd",
    "usr/sbin/nvme",
    "usr/sbin/mkfs.ext4",
    "usr/sbin/e2fsck",
    "usr/bin/busybox",
    "usr/bin/fio",
    "usr/bin/keyctl",
    "usr/bin/ss",
    "usr/bin/kmod",
];
/// An emulated guest on a busy machine needs more than the ten seconds that a TLS handshake has there.
const PATIENT: &str = "tls_handshake_timeout=60";
/// With what these need, in the order in which they are loaded.
const MODULES: [(&str, &str); 14] = [
    ("virtio_pci", ""),
    ("virtio_net", ""),
    ("virtio_console", ""),
    ("aesni_intel", ""),
    ("gcm", ""),
    ("ccm", ""),
    ("ctr", ""),
    ("tls", ""),
    ("tcp_diag", ""),
    ("ext4", ""),
    ("null_blk", "nr_devices=0"),
    ("nvme_tcp", PATIENT),
    ("nvmet_tcp", PATIENT),
    ("brd", "rd_nr=0"),
];
const FOLDERS: [&str; 23] = [
    "dev",
    "etc",
    "etc/gnutls",
    "etc/nvme",
    "etc/tlshd",
    "host",
    "host/bin",
    "host/lib",
    "mnt",
    "modules",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib64",
    "usr/sbin",
    "var",
    "var/tmp",
];
const TLSHD: &str = "[debug]\nloglevel=1\ntls=1\nnl=0\n\n[authenticate]\nkeyrings=.nvme\n";
/// The tool may be newer than the guest's libc: it brings its own, and its loader.
const TOOL: &str =
    "#!/bin/busybox sh\nexec /host/lib/loader --library-path /host/lib /host/bin/nvme-tcp \"$@\"\n";

/// A kernel and its first file system.
pub(super) struct Image {
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
    /// The kernel's version, as its modules' folder is named.
    pub(super) version: String,
}

impl Image {
    /// Makes what `folder` does not hold yet, and adds today's tool.
    pub(super) fn make(packages: &Packages, folder: &Path, workspace: &Workspace) -> Result<Self> {
        let modules = packages.root.join("usr/lib/modules");
        let version = fs::read_dir(&modules)?.next().ok_or("the packages bring no kernel")??;
        let version = version.file_name().to_string_lossy().into_owned();
        let base = folder.join("base.cpio");
        let recipe = format!("{PROGRAMS:?} {MODULES:?} {FOLDERS:?} {TLSHD}\n{}", packages.versions);
        if read_file(&folder.join("base.recipe"))? != recipe || !base.exists() {
            super::packages::remove(&folder.join("base.recipe"))?;
            write_base(packages, &version, &base)?;
            fs::write(folder.join("base.recipe"), recipe)?;
        }
        let initrd = folder.join("initrd.cpio");
        let mut bytes = fs::read(&base)?;
        write_ours(workspace, &mut bytes)?;
        fs::write(&initrd, bytes)?;
        let kernel =
            [modules.join(&version).join("vmlinuz"), packages.root.join(format!("boot/vmlinuz-{version}"))];
        let kernel =
            kernel.into_iter().find(|file| file.exists()).ok_or("the packages bring no kernel image")?;
        Ok(Self { kernel, initrd, version })
    }
}

fn write_base(packages: &Packages, version: &str, path: &Path) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(fs::File::create(path)?));
    for name in FOLDERS {
        archive.folder(name)?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        archive.link(name, &format!("usr/{name}"))?;
    }
    archive.file("etc/tlshd/config", TLSHD.as_bytes())?;
    archive.file("etc/hosts", b"127.0.0.1 localhost\n10.0.2.2 host\n10.0.2.15 guest\n")?;
    archive.file("etc/nsswitch.conf", b"hosts: files\n")?;
    let mut libraries = BTreeSet::from([packages.loader()]);
    for name in PROGRAMS {
        let file = packages.root.join(name).canonicalize()?;
        // busybox needs none, and the loader says so by an error.
        if !name.ends_with("busybox") {
            libraries.extend(packages.libraries_of(&file)?);
        }
        archive.program(name, &fs::read(file)?)?;
    }
    for library in libraries {
        let name = file_name(&library)?;
        let folder = if name.starts_with("ld-linux") { "usr/lib64" } else { "usr/lib/x86_64-linux-gnu" };
        archive.program(&format!("{folder}/{name}"), &fs::read(library)?)?;
    }
    write_modules(packages, version, &mut archive)?;
    archive.finish()?;
    Ok(())
}

fn write_modules<W: Write>(packages: &Packages, version: &str, archive: &mut Archive<W>) -> Result<()> {
    let tool =
        |name: &str| process::find_program(name).ok_or_else(|| format!("no {name} here (package kmod)"));
    let mut depmod = Command::new(tool("depmod")?);
    process::kept(depmod.arg("-b").arg(&packages.root).arg(version), Duration::from_secs(120))?;
    let modprobe = tool("modprobe")?;
    let mut list = String::new();
    let mut seen = BTreeSet::new();
    for (module, options) in MODULES {
        let mut depends = Command::new(&modprobe);
        depends.arg("-d").arg(&packages.root).args(["-S", version, "--show-depends", module]);
        let (ended, text) = process::kept(&depends, Duration::from_secs(60))?;
        if !ended.success() {
            return Err(format!("module {module} of {version}: {}", text.trim()).into());
        }
        // `insmod FILE`, and `builtin NAME` for what is in the kernel.
        for line in text.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let file = Path::new(line.trim());
            let file = if file.exists() {
                file.to_owned()
            } else {
                packages.root.join(line.trim().trim_start_matches('/'))
            };
            let full = file_name(&file)?;
            let name = full.strip_suffix(".xz").unwrap_or(full).to_owned();
            if !seen.insert(name.clone()) {
                continue;
            }
            let own = name.strip_suffix(".ko").is_some_and(|stem| stem.replace('-', "_") == module);
            list.push_str(&format!("{name} {}\n", if own { options } else { "" }));
            archive.file(&format!("modules/{name}"), &unpacked(packages, &file)?)?;
        }
    }
    Ok(archive.file("modules.list", list.as_bytes())?)
}

/// A module as the kernel loads it.
fn unpacked(packages: &Packages, file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return Ok(fs::read(file)?);
    }
    let output =
        Command::new(packages.root.join("usr/bin/busybox")).args(["unxz", "-c"]).arg(file).output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// What is not from packages: the first process, its scripts and the tool.
fn write_ours(workspace: &Workspace, out: &mut Vec<u8>) -> Result<()> {
    let mut archive = Archive::new(out);
    archive.program("init", include_bytes!("init.sh"))?;
    archive.file("lab.sh", include_bytes!("lab.sh"))?;
    archive.program("usr/bin/nvme-tcp", TOOL.as_bytes())?;
    let tool = workspace.tool();
    archive.program("host/bin/nvme-tcp", &fs::read(&tool)?)?;
    let (ended, text) = process::kept(Command::new("ldd").arg(&tool), Duration::from_secs(60))?;
    if !ended.success() {
        return Err(format!("ldd {}: {}", tool.display(), text.trim()).into());
    }
    for library in listed(&text) {
        archive.program(&format!("host/lib/{}", file_name(&library)?), &fs::read(&library)?)?;
    }
    // ldd names the loader by its path alone: `/lib64/ld-linux-x86-64.so.2 (0x7f..)`.
    let loader = text.lines().map(str::trim).find(|line| line.starts_with('/'));
    let loader = loader.and_then(|line| line.split(' ').next()).ok_or("ldd names no loader")?;
    archive.program("host/lib/loader", &fs::read(loader)?)?;
    archive.finish()?;
    Ok(())
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| format!("{} is no file", path.display()).into())
}
