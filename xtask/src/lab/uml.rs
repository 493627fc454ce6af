//! User-Mode Linux: a Linux kernel as a process, with this machine's file system as its root, read-only.
//!
//! It needs no root and no virtualization. Debian's package `user-mode-linux` brings the kernel and its
//! modules; all else is this machine's own. Two kernels are used: the one installed here, and a newer suite's, which
//! can change keys.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use super::Step;
use super::debian::Tree;
use crate::process;
use crate::workspace::Workspace;
use crate::{Result, suite};

/// The time for one step, counted inside.
pub(super) const STEP_DEADLINE: Duration = Duration::from_secs(300);
/// The time for all, from boot to power off.
const DEADLINE: Duration = Duration::from_secs(15 * 60);
/// In the results folder: what tests wrote into the file named by `NVME_TCP_SKIPPED`.
pub(super) const SKIPPED_FILE: &str = "skipped";

/// Names the script that runs programs of a newer suite, for tests; empty where there are none.
const NEWER_PROGRAMS: &str = "NVME_TCP_NEWER_PROGRAMS";
/// Names a folder with a GnuTLS that has kernel TLS, which no Debian brings (docs/ktls-gnutls.md): handed on.
const GNUTLS: &str = "NVME_TCP_GNUTLS";

const MEMORY_MIB: u64 = 1024;
const MODULES: &str = "/usr/lib/uml/modules";
/// The kernel cannot load modules by itself from where they lie, so all are loaded: also the parts that the
/// ciphers' templates are made of. After those: two for sock_diag,
/// a device with counters of its own, and IPv6.
const LOAD: &str = "tls gcm ccm ctr ghash_generic chacha20poly1305 chacha chacha_generic poly1305_generic cryptd \
                    inet_diag tcp_diag veth ipv6";
/// Where a fresh file system may be mounted: the first that is there and hides nothing that is needed.
const SCRATCH: [&str; 5] = ["/tmp", "/mnt", "/media", "/srv", "/opt"];

/// A User-Mode Linux kernel.
pub(super) struct Machine {
    /// Goes before the names of what ran on it.
    pub(super) name: &'static str,
    kernel: PathBuf,
    modules: PathBuf,
}

/// The name of the kernel that is installed here.
pub(super) const INSTALLED: &str = "uml";
/// The same kernel once more, for the other half of the steps.
pub(super) const SECOND: &str = "uml-second";
/// The name of the newer one.
pub(super) const NEWER: &str = "uml-newer";

impl Machine {
    /// The kernel of the distribution's package.
    pub(super) fn installed(name: &'static str) -> Result<Self> {
        let kernel =
            process::find_program("linux.uml").ok_or("no linux.uml here (package user-mode-linux)")?;
        Ok(Self { name, kernel, modules: MODULES.into() })
    }

    /// A kernel that can change keys (Linux 6.14), from a newer suite.
    pub(super) fn newer(workspace: &Workspace) -> Result<Self> {
        let tree = Tree::fetch(workspace, "kernel", &["user-mode-linux", "libc6"])?;
        let kernel = tree.patched("usr/bin/linux.uml")?;
        Ok(Self { name: NEWER, kernel, modules: tree.path(MODULES.trim_start_matches('/')) })
    }

    /// Boots, runs the steps and powers off. Gives the folder with the results: for each step its output
    /// (`NAME.out`) and exit code (`NAME.code`, absent if it was not run to its end), and the kernel's
    /// counters before and after. `newer_programs` runs those of a newer suite.
    pub(super) fn run(
        &self,
        workspace: &Workspace,
        steps: &[&Step],
        newer_programs: Option<&Path>,
    ) -> Result<PathBuf> {
        let folder = workspace.target.join("lab").join(self.name);
        let results = folder.join("results");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs::create_dir_all(&results)?,
        }
        let folder = folder.canonicalize()?;
        let results = results.canonicalize()?;
        if folder.to_string_lossy().contains(char::is_whitespace) {
            return Err(
                format!("{}: a kernel's command line takes no path with spaces", folder.display()).into()
            );
        }
        let modules = self.modules(&folder)?;
        let script = folder.join("init");
        fs::write(&script, init_script(workspace, &modules, &results, steps, newer_programs)?)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;

        let mut command = Command::new(&self.kernel);
        command
            .arg(format!("mem={MEMORY_MIB}M"))
            .args(["rootfstype=hostfs", "rootflags=/", "ro", "con=null", "con0=fd:0,fd:1", "con1=null"])
            .arg(format!("init={}", script.display()))
            // The kernel takes the folder's name as it is: the slash at its end counts.
            .arg(format!("uml_dir={}/", folder.display()))
            .env("TMPDIR", memory_folder(&folder)?);

        let mut console = Vec::new();
        let ended = process::lines(&command, DEADLINE, |line| {
            if line.starts_with("lab: ") {
                println!("{}: {line}", self.name);
            }
            let _ = writeln!(console, "{line}");
        })?;
        fs::write(folder.join("console.log"), &console)?;
        if !results.join("tls_stat.after").exists() {
            println!("{}", String::from_utf8_lossy(&console));
            println!("uml: {ended} before all steps were done; the console stands above");
        }
        if !results.join("tls_stat.before").exists() {
            return Err(format!("no step could be run, the lab did not come up: {ended}").into());
        }
        Ok(results)
    }

    /// The modules in the folder layout that modprobe wants.
    fn modules(&self, folder: &Path) -> Result<PathBuf> {
        let (_, version) =
            process::kept(Command::new(&self.kernel).arg("--version"), Duration::from_secs(10))?;
        let version = version.lines().last().unwrap_or_default().trim().to_owned();
        let installed = self.modules.join(&version);
        if version.is_empty() || !installed.join("modules.dep").exists() {
            return Err(format!("no modules of linux.uml {version:?} in {}", self.modules.display()).into());
        }
        let root = folder.join("modules");
        fs::create_dir_all(root.join("lib/modules"))?;
        std::os::unix::fs::symlink(&installed, root.join("lib/modules").join(&version))?;
        Ok(root)
    }
}

/// Where the kernel keeps its memory, as a file: /dev/shm where that is large enough and programs may be run
/// from it (containers often have a small one), the lab's own folder elsewhere, which is slower.
fn memory_folder(folder: &Path) -> Result<PathBuf> {
    let shm = Path::new("/dev/shm");
    let mut stat = Command::new("stat");
    stat.args(["-f", "-c", "%a %S"]).arg(shm);
    let (_, text) = process::kept(&stat, Duration::from_secs(10))?;
    let free = text
        .trim()
        .split_once(' ')
        .and_then(|(blocks, size)| blocks.parse::<u64>().ok()?.checked_mul(size.parse().ok()?));
    let mounts = fs::read_to_string("/proc/mounts")?;
    let may_run = mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some("/dev/shm") && !words.any(|options| options.contains("noexec"))
    });
    // The kernel adds a gap of up to half a gigabyte, which it does not fill.
    let enough = free.is_some_and(|free| free >= MEMORY_MIB << 20);
    Ok(if enough && may_run { shm.to_owned() } else { folder.to_owned() })
}

/// What the kernel runs as its first process.
fn init_script(
    workspace: &Workspace,
    modules: &Path,
    results: &Path,
    steps: &[&Step],
    newer_programs: Option<&Path>,
) -> Result<String> {
    let needed = [workspace.root.canonicalize()?, workspace.target.canonicalize()?];
    let hides = |folder: &str| needed.iter().any(|path| path.starts_with(folder));
    let scratch =
        SCRATCH.into_iter().find(|folder| Path::new(folder).is_dir() && !hides(folder)).ok_or_else(|| {
            format!("the repository lies under each of {SCRATCH:?}: no place for temporary files")
        })?;
    let run = if hides("/run") { "" } else { "mount -t tmpfs tmpfs /run\n" };
    let results = quoted(&results.to_string_lossy());
    let mut script = format!(
        r#"#!/bin/sh
# Written by `cargo xtask lab uml`.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME={scratch} TMPDIR={scratch} RUST_BACKTRACE=1
export NVME_TCP_LAB=uml {tool_variable}={tool} {skipped_variable}={results}/{SKIPPED_FILE}
export {NEWER_PROGRAMS}={newer_programs} {GNUTLS}={gnutls}
results={results}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=1777 tmpfs {scratch}
{run}mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
# What a system's own start gives every program: standard streams by name, terminals.
ln -sf /proc/self/fd /dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do
    ln -sf "/proc/self/fd/${{stream%%:*}}" "/dev/${{stream#*:}}"
done
mkdir -p /dev/pts
mount -t devpts -o ptmxmode=666 devpts /dev/pts
# The one place that can be written and stays.
mount -t hostfs none "$results" -o "$results"
ip link set lo up
modprobe -d {modules} -a {LOAD}

step() {{
    name=$1 folder=$2
    shift 2
    echo "lab: $name"
    (
        cd "$folder" || exit 1
        CARGO_MANIFEST_DIR=$folder exec timeout -k 5 {step_seconds} "$@"
    ) >"$results/$name.out" 2>&1 </dev/null
    echo $? >"$results/$name.code"
}}

# Without kernel TLS the file is empty, and the steps say the rest.
cat /proc/net/tls_stat >"$results/tls_stat.before"
"#,
        tool_variable = suite::TOOL,
        tool = quoted(&workspace.tool().to_string_lossy()),
        skipped_variable = suite::SKIPPED,
        modules = quoted(&modules.to_string_lossy()),
        newer_programs = quoted(&newer_programs.unwrap_or(Path::new("")).to_string_lossy()),
        gnutls = quoted(&std::env::var_os(GNUTLS).unwrap_or_default().to_string_lossy()),
        step_seconds = STEP_DEADLINE.as_secs(),
    );
    for step in steps {
        write!(script, "step {} {}", quoted(&step.name), quoted(&step.folder.to_string_lossy()))?;
        for word in &step.command {
            write!(script, " {}", quoted(word))?;
        }
        script.push('\n');
    }
    // Power off by the kernel's own door: not every machine has a `poweroff` that works without systemd.
    script.push_str(
        r#"cat /proc/net/tls_stat >"$results/tls_stat.after"
sync
echo o >/proc/sysrq-trigger
while :; do sleep 60; done
"#,
    );
    Ok(script)
}

/// A word as the shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_reads_a_quoted_word_back() {
        let word = "it's $HOME \"and\" `more` \\";
        let mut echo = Command::new("sh");
        echo.args(["-c", &format!("printf %s {}", quoted(word))]);
        assert_eq!(process::kept(&echo, Duration::from_secs(10)).unwrap().1.trim_end(), word);
    }
}
