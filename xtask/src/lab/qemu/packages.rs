//! Debian's packages for the guest and for QEMU itself: resolved and fetched by apt under a root of its own,
//! unpacked beside each other. Nothing is installed and nothing of this machine's apt is touched.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::process;
use crate::{Result, suite::read_file};

/// What is wanted; apt adds what these need. The kernel is found by its meta-package.
const WANTED: [&str; 9] = [
    "qemu-system-x86",
    "ktls-utils",
    "nvme-cli",
    "keyutils",
    "iproute2",
    "kmod",
    "busybox-static",
    "e2fsprogs",
    "fio",
];
const KERNEL: &str = "linux-image-cloud-amd64";
/// What those need and the lab does not, by the beginnings of their names: nothing is ever configured.
const UNWANTED: [&str; 13] = [
    "3cpio",
    "debconf",
    "dpkg",
    "dracut",
    "initramfs",
    "ipxe",
    "libc-gconv",
    "libpython3",
    "libsystemd-shared",
    "perl",
    "python3",
    "systemd",
    "udev",
];

const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];
/// Where apt here knows no mirror of Debian's.
const MIRROR: &str = "http://deb.debian.org/debian/";
/// Lists younger than this are not asked for again.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);
const DEADLINE: Duration = Duration::from_secs(10 * 60);

/// The packages of a suite, unpacked.
pub(super) struct Packages {
    /// The root of what was unpacked.
    pub(super) root: PathBuf,
    /// What was unpacked, `NAME=VERSION` a line: tells one state of the suite from another.
    pub(super) versions: String,
}

impl Packages {
    /// Fetches and unpacks what `folder` does not hold yet. What was unpacked before serves where the mirror
    /// cannot be reached.
    pub(super) fn of(suite: &str, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let apt = Apt::new(suite, &folder.canonicalize()?)?;
        let root = folder.join("root");
        let kept = read_file(&folder.join("versions"))?;
        let wanted = match apt.update().and_then(|()| apt.resolve()) {
            Ok(wanted) => wanted,
            Err(error) if !kept.is_empty() => {
                println!("qemu: {error}; what was fetched before serves");
                return Ok(Self { root, versions: kept });
            }
            Err(error) => return Err(error),
        };
        let versions: String = wanted.iter().map(|package| format!("{package}\n")).collect();
        if versions != kept {
            let fetched = apt.download(&wanted)?;
            // Gone first: half of what was unpacked must not pass for all of it.
            remove(&folder.join("versions"))?;
            remove(&root)?;
            unpack(&fetched, &root)?;
            fs::write(folder.join("versions"), &versions)?;
        }
        Ok(Self { root, versions })
    }

    /// The version of a package.
    pub(super) fn version(&self, name: &str) -> &str {
        let line = |line: &'_ &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        self.versions
            .lines()
            .find(line)
            .and_then(|line| line.split_once('='))
            .map_or("", |(_, version)| version)
    }

    /// A program of these packages, run here by their own loader and with their own libraries.
    pub(super) fn program(&self, path: &str) -> Command {
        let libraries = self.libraries();
        let mut command = Command::new(self.loader());
        command.arg("--library-path").arg(libraries).arg(self.root.join(path));
        command
    }

    /// The libraries that a program of these packages needs.
    pub(super) fn libraries_of(&self, program: &Path) -> Result<Vec<PathBuf>> {
        let mut list = Command::new(self.loader());
        list.arg("--library-path").arg(self.libraries()).arg("--list").arg(program);
        let (ended, text) = process::kept(&list, Duration::from_secs(60))?;
        if !ended.success() {
            return Err(format!("{}: {}", program.display(), text.trim()).into());
        }
        Ok(listed(&text))
    }

    pub(super) fn loader(&self) -> PathBuf {
        self.root.join("usr/lib64/ld-linux-x86-64.so.2")
    }

    /// Ceph's library, which fio's own package links to, lies in a folder of its own.
    fn libraries(&self) -> String {
        let folder = self.root.join("usr/lib/x86_64-linux-gnu");
        format!("{}:{}", folder.display(), folder.join("ceph").display())
    }
}

/// The files in the loader's list: `libc.so.6 => /lib/libc.so.6 (0x7f..)`.
pub(super) fn listed(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| Some(PathBuf::from(line.split_once("=> ")?.1.rsplit_once(" (")?.0));
    text.lines().filter_map(path).filter(|path| path.is_absolute()).collect()
}

/// apt with a root of its own: its own lists, state and archives, this machine's proxies and trust.
struct Apt {
    folder: PathBuf,
    configuration: PathBuf,
}

impl Apt {
    fn new(suite: &str, folder: &Path) -> Result<Self> {
        if process::find_program("apt-get").is_none() || process::find_program("dpkg-deb").is_none() {
            return Err("no apt here to fetch Debian's packages with".into());
        }
        let keyring = KEYRINGS.into_iter().find(|file| Path::new(file).exists());
        let keyring = keyring.ok_or("no keyring of Debian's here (package debian-archive-keyring)")?;
        for name in ["lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(folder.join(name))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(
            folder.join("sources.list"),
            format!("deb [arch=amd64 signed-by={keyring}] {} {suite} main\n", mirror()),
        )?;
        let configuration = folder.join("apt.conf");
        let at = folder.display();
        fs::write(
            &configuration,
            format!(
                r#"Dir::Etc::sourcelist "{at}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "{at}/lists";
Dir::State::status "{at}/status";
Dir::Cache "{at}/cache";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "2";
# A mirror may stand still for weeks; what it has is signed all the same.
Acquire::Check-Valid-Until "false";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
"#
            ),
        )?;
        Ok(Self { folder: folder.to_owned(), configuration })
    }

    fn get(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-q").arg("-c").arg(&self.configuration).args(arguments);
        command.current_dir(self.folder.join("debs")).env("LC_ALL", "C");
        command
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let (ended, text) = process::kept(&self.get(arguments), DEADLINE)?;
        if ended.success() {
            return Ok(text);
        }
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("E: ")).collect();
        Err(format!("apt-get {}: {ended} {}", arguments[0], errors.join("; ")).into())
    }

    /// Asks the mirror for its lists, once a day.
    fn update(&self) -> Result<()> {
        let stamp = self.folder.join("updated");
        let age = fs::metadata(&stamp).and_then(|file| file.modified());
        let age = age.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_some_and(|age| age < FRESH) {
            return Ok(());
        }
        // Without this, a list that could not be fetched is a warning only.
        self.ask(&["update", "-o", "APT::Update::Error-Mode=any"])?;
        Ok(fs::write(stamp, "")?)
    }

    /// `NAME=VERSION` of every package that is to be fetched.
    fn resolve(&self) -> Result<BTreeSet<String>> {
        let mut arguments = vec!["install", "--print-uris", "-y", KERNEL];
        arguments.extend(WANTED);
        let text = self.ask(&arguments)?;
        let found: BTreeSet<String> = text.lines().filter_map(package_of).collect();
        match found.iter().any(|package| package.starts_with("nvme-cli=")) {
            true => Ok(found),
            false => Err("apt-get names no package to fetch".into()),
        }
    }

    /// Fetches packages that are not here yet, drops those that are no longer wanted, and gives their files.
    fn download(&self, wanted: &BTreeSet<String>) -> Result<Vec<PathBuf>> {
        let folder = self.folder.join("debs");
        let here: BTreeSet<String> =
            file_names(&folder)?.iter().filter_map(|name| package_of_file(name)).collect();
        let missing: Vec<&str> = wanted.difference(&here).map(String::as_str).collect();
        if !missing.is_empty() {
            println!("qemu: {} packages to fetch", missing.len());
            self.ask(&[&["download"], &missing[..]].concat())?;
        }
        let mut files = Vec::new();
        for name in file_names(&folder)? {
            match package_of_file(&name) {
                Some(package) if wanted.contains(&package) => files.push(folder.join(name)),
                _ => fs::remove_file(folder.join(name))?,
            }
        }
        match files.len() == wanted.len() {
            true => Ok(files),
            false => Err(format!("{} of {} packages are here", files.len(), wanted.len()).into()),
        }
    }
}

/// The mirror of Debian's own archive that apt uses here.
fn mirror() -> String {
    let mut targets = Command::new("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "Identifier: Packages",
        "Origin: Debian",
    ]);
    let found = process::kept(&targets, Duration::from_secs(60))
        .ok()
        .and_then(|(_, text)| text.lines().find_map(|line| line.strip_prefix("Debian ").map(str::to_owned)));
    found.unwrap_or_else(|| MIRROR.to_owned())
}

/// What a line of `apt-get --print-uris` names: `'URI' NAME_VERSION_ARCHITECTURE.deb SIZE HASH`.
fn package_of(line: &str) -> Option<String> {
    let package = package_of_file(line.strip_prefix('\'')?.split(' ').nth(1)?)?;
    let unwanted = UNWANTED.iter().any(|name| package.starts_with(name));
    // The meta-package is a name and nothing else.
    let meta = package.strip_prefix(KERNEL).is_some_and(|rest| rest.starts_with('='));
    (!unwanted && !meta).then_some(package)
}

/// `NAME=VERSION` of a package's file, whose colon is written `%3a`.
fn package_of_file(name: &str) -> Option<String> {
    let mut parts = name.strip_suffix(".deb")?.splitn(3, '_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(format!("{name}={}", version.replace("%3a", ":")))
}

fn file_names(folder: &Path) -> Result<Vec<String>> {
    let entries: std::io::Result<Vec<_>> = fs::read_dir(folder)?.collect();
    Ok(entries?.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn unpack(files: &[PathBuf], root: &Path) -> Result<()> {
    // All suites have merged /usr: older packages' paths land where the newer ones' are.
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
    }
    for file in files {
        // Through tar, which follows those links where `dpkg-deb -x` would replace them.
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink --no-same-owner -C \"$2\"",
            "sh",
        ]);
        let (ended, text) = process::kept(command.arg(file).arg(root), DEADLINE)?;
        if !ended.success() {
            return Err(format!("{}: {ended} {}", file.display(), text.trim()).into());
        }
    }
    Ok(())
}

/// Removes a file or a folder that may be there.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_prints_is_read() {
        let line = "'http://deb.debian.org/debian/pool/main/b/busybox/busybox-static_1.38.0-3%2bb1_amd64.deb' \
                    busybox-static_1%3a1.38.0-3+b1_amd64.deb 970908 MD5Sum:00";
        assert_eq!(package_of(line).as_deref(), Some("busybox-static=1:1.38.0-3+b1"));
        assert_eq!(package_of("'http://x/systemd_262_amd64.deb' systemd_262_amd64.deb 1 MD5Sum:00"), None);
        assert_eq!(package_of("'x' linux-image-cloud-amd64_7_amd64.deb 1 MD5Sum:00"), None);
        let image = "'x' linux-image-7.2-cloud-amd64_7.2_amd64.deb 1 MD5Sum:00";
        assert_eq!(package_of(image).as_deref(), Some("linux-image-7.2-cloud-amd64=7.2"));
        assert_eq!(package_of("Reading package lists..."), None);
    }

    #[test]
    fn what_the_loader_lists_is_read() {
        let text =
            "\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /x/libc.so.6 (0x0)\n\t/lib64/ld.so => /y/ld.so (0x0)\n";
        assert_eq!(listed(text), [PathBuf::from("/x/libc.so.6"), PathBuf::from("/y/ld.so")]);
    }
}
