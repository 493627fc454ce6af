//! Installs the C library: shared and static, header, pkg-config file, manual pages.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::process;
use crate::workspace::Workspace;

const PACKAGE: &str = "nvme-tcp-ffi";
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// What Rust's standard library needs of the system: `rustc --print native-static-libs`.
const SYSTEM_LIBRARIES: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

/// What is installed where.
struct Plan {
    prefix: PathBuf,
    /// Below the prefix, or absolute.
    libdir: PathBuf,
    /// What the packager's tool puts before every path.
    destdir: Option<PathBuf>,
    /// A folder with libnvme_tcp_c.a, in place of a release build.
    from: Option<PathBuf>,
}

/// `install --prefix P [--libdir L] [--destdir D] [--from FOLDER]`
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let plan = Plan::read(options)?;
    let workspace = Workspace::find()?;
    let package = workspace.packages.values().find(|package| package.name == PACKAGE);
    let package = package.ok_or("the workspace has no C library")?;
    let archive = match &plan.from {
        Some(folder) => folder.join("libnvme_tcp_c.a"),
        None => {
            let build = workspace.cargo(&["build", "--release", "-p", PACKAGE]);
            succeed(&build)?;
            workspace.target.join("release/libnvme_tcp_c.a")
        }
    };
    let version = &package.version;
    let major = version.split('.').next().unwrap_or_default();
    let (soname, whole) = (format!("libnvme_tcp.so.{major}"), format!("libnvme_tcp.so.{version}"));

    let lib = plan.folder(&plan.libdir())?;
    link(&archive, &package.folder.join("nvme_tcp.map"), &soname, &lib.join(&whole))?;
    put_link(&whole, &lib.join(&soname))?;
    put_link(&soname, &lib.join("libnvme_tcp.so"))?;
    put(&archive, &lib.join("libnvme_tcp.a"))?;

    let include = plan.folder(&plan.prefix.join("include"))?;
    put(&package.folder.join("include/nvme_tcp.h"), &include.join("nvme_tcp.h"))?;

    let pkgconfig = plan.folder(&plan.libdir().join("pkgconfig"))?;
    write(&pkgconfig.join("nvme-tcp.pc"), &plan.pkg_config(version))?;

    let man = plan.folder(&plan.prefix.join("share/man/man3"))?;
    for page in fs::read_dir(package.folder.join("man"))? {
        let page = page?;
        put(&page.path(), &man.join(page.file_name()))?;
    }
    Ok(())
}

impl Plan {
    fn read(options: &[&str]) -> Result<Self> {
        let (mut prefix, mut libdir, mut destdir, mut from) = (None, None, None, None);
        let mut rest = options;
        while let [name, value, more @ ..] = rest {
            let place = match *name {
                "--prefix" => &mut prefix,
                "--libdir" => &mut libdir,
                "--destdir" => &mut destdir,
                "--from" => &mut from,
                other => return Err(format!("install knows no {other}").into()),
            };
            *place = Some(PathBuf::from(value));
            rest = more;
        }
        if let [name] = rest {
            return Err(format!("{name} wants a value").into());
        }
        let prefix =
            prefix.filter(|prefix| prefix.is_absolute()).ok_or("install wants --prefix, an absolute path")?;
        let libdir = libdir.unwrap_or_else(|| PathBuf::from("lib"));
        Ok(Self { prefix, libdir, destdir, from })
    }

    fn libdir(&self) -> PathBuf {
        self.prefix.join(&self.libdir)
    }

    /// A folder to install to, made if it is not there.
    fn folder(&self, folder: &Path) -> Result<PathBuf> {
        let folder = match &self.destdir {
            Some(destdir) => destdir.join(folder.strip_prefix("/")?),
            None => folder.to_owned(),
        };
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn pkg_config(&self, version: &str) -> String {
        format!(
            "prefix={}\nlibdir={}\nincludedir=${{prefix}}/include\n\nName: nvme-tcp\n\
             Description: NVMe/TCP initiator with TLS 1.3, and kernel TLS\nVersion: {version}\n\
             Libs: -L${{libdir}} -lnvme_tcp\nLibs.private: {SYSTEM_LIBRARIES}\nCflags: -I${{includedir}}\n",
            self.prefix.display(),
            self.libdir().display(),
        )
    }
}

/// Makes the shared library of the static one, with the names and versions of the script: rustc has a script
/// of its own, which knows no versions.
fn link(archive: &Path, script: &Path, soname: &str, to: &Path) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    command.args(["-shared", "-Wl,--whole-archive"]).arg(archive).arg("-Wl,--no-whole-archive");
    command.arg(format!("-Wl,--version-script={}", script.display())).arg(format!("-Wl,-soname,{soname}"));
    // A controller's thread and the destructors of thread-local memory outlive dlclose(3).
    command.args(["-Wl,-z,nodelete", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,--gc-sections", "-o"]).arg(to);
    command.args(SYSTEM_LIBRARIES.split(' '));
    succeed(&command)?;
    println!("{}", to.display());
    Ok(())
}

fn succeed(command: &Command) -> Result<()> {
    let ended = process::shown(command, DEADLINE)?;
    if ended.success() {
        Ok(())
    } else {
        Err(format!("{}: {ended}", command.get_program().to_string_lossy()).into())
    }
}

fn put(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
    println!("{}", to.display());
    Ok(())
}

fn write(to: &Path, text: &str) -> Result<()> {
    fs::write(to, text)?;
    println!("{}", to.display());
    Ok(())
}

fn put_link(target: &str, to: &Path) -> Result<()> {
    // One of an earlier version.
    drop(fs::remove_file(to));
    symlink(target, to)?;
    println!("{}", to.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        let plan = Plan::read(&["--prefix", "/usr", "--libdir", "lib/x", "--destdir", "/d"]).unwrap();
        assert_eq!(plan.libdir(), Path::new("/usr/lib/x"));
        let text = plan.pkg_config("1.2.3");
        assert!(text.contains("libdir=/usr/lib/x\n") && text.contains("Version: 1.2.3\n"), "{text}");
        for (wrong, said) in [
            (&["--prefix", "usr"][..], "absolute"),
            (&["--prefix", "/usr", "--destdir"], "--destdir wants a value"),
            (&["--root", "/"], "knows no --root"),
        ] {
            let error = Plan::read(wrong).err().unwrap().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
