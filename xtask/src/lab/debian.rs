//! Programs of a newer Debian suite, unpacked into a folder of their own with the libraries they need: this
//! machine itself is never changed. They are kept between runs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::workspace::Workspace;
use crate::{Result, process};

const SUITE: &str = "sid";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const FETCH_DEADLINE: Duration = Duration::from_secs(180);
const LOCAL_DEADLINE: Duration = Duration::from_secs(60);

/// Where Debian's libraries are, in a tree and elsewhere.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Packages, unpacked.
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Unpacks `packages`, which must name all that is needed, from the mirror that this machine's apt uses; or
    /// takes what an earlier run has unpacked. The error says why it cannot be had.
    pub(super) fn fetch(workspace: &Workspace, name: &str, packages: &[&str]) -> Result<Self> {
        if std::env::consts::ARCH != "x86_64" {
            return Err("only for x86_64".into());
        }
        let folder = workspace.target.join("lab/debian");
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let tree = Self { root: folder.join(name) };
        let list = packages.join("\n");
        // Written last, so that a tree with this file in it is whole.
        let stamp = tree.root.join("packages");
        if fs::read_to_string(&stamp).is_ok_and(|known| known.starts_with(&list)) {
            println!("lab: {name}: as unpacked before");
            return Ok(tree);
        }
        match fs::remove_dir_all(&tree.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs::create_dir_all(&tree.root)?,
        }
        let files = Apt::new(&folder)?.download(packages)?;
        for file in &files {
            let mut unpack = Command::new("dpkg-deb");
            run(unpack.arg("-x").arg(file).arg(&tree.root), LOCAL_DEADLINE)?;
            println!("lab: {name}: {}", file.file_name().unwrap_or_default().to_string_lossy());
        }
        tree.write_runner()?;
        let versions: Vec<String> =
            files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect();
        fs::write(stamp, format!("{list}\n\n{}\n", versions.join("\n")))?;
        Ok(tree)
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// A script that runs a program of the tree, its first argument, with the tree's own libraries.
    pub(super) fn runner(&self) -> PathBuf {
        self.root.join("run")
    }

    fn write_runner(&self) -> Result<()> {
        let root = self.root.to_string_lossy();
        let script = format!(
            "#!/bin/sh\n# Written by `cargo xtask`.\nprogram=$1\nshift\n\
             exec '{root}/{LIBRARIES}/{LOADER}' --library-path '{root}/{LIBRARIES}' \
             \"$(ls -d '{root}'/usr/bin/\"$program\" '{root}'/usr/sbin/\"$program\" 2>/dev/null | head -n 1)\" \"$@\"\n"
        );
        fs::write(self.runner(), script)?;
        Ok(fs::set_permissions(self.runner(), fs::Permissions::from_mode(0o755))?)
    }

    /// Makes a copy of a program of the tree that finds the tree's libraries by itself: for one that starts itself
    /// again, so that it cannot be run through the loader.
    pub(super) fn patched(&self, program: &str) -> Result<PathBuf> {
        let patchelf = process::find_program("patchelf").ok_or("no patchelf here (package patchelf)")?;
        let name = Path::new(program).file_name().ok_or("a program has a name")?;
        let copy = self.root.join(name);
        if !copy.exists() {
            let unfinished = copy.with_extension("unfinished");
            fs::copy(self.root.join(program), &unfinished)?;
            let libraries = self.root.join(LIBRARIES);
            let mut patch = Command::new(patchelf);
            patch.arg("--set-interpreter").arg(libraries.join(LOADER));
            patch.arg("--set-rpath").arg(&libraries).arg(&unfinished);
            run(&patch, LOCAL_DEADLINE)?;
            fs::rename(unfinished, &copy)?;
        }
        Ok(copy)
    }
}

/// apt with lists, sources and cache of its own.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        let folder = folder.join("apt");
        for inside in ["lists/partial", "cache/archives/partial", "etc/sources.list.d", "debs"] {
            fs::create_dir_all(folder.join(inside))?;
        }
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n",
            mirror()?
        );
        fs::write(folder.join("etc/sources.list.d/newer.sources"), source)?;
        let at = |inside: &str| folder.join(inside).to_string_lossy().into_owned();
        let settings = [
            format!("Dir::Etc={}", at("etc")),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            // Nothing of this machine's packages counts.
            "Dir::State::status=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=2".to_owned(),
            // A mirror may stand still for weeks; what it has is signed all the same.
            "Acquire::Check-Valid-Until=false".to_owned(),
        ];
        let options = settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect();
        Ok(Self { folder, options })
    }

    /// Fetches the suite's present versions, by name.
    fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let debs = self.folder.join("debs");
        let command = |arguments: &[&str]| {
            let mut command = Command::new("apt-get");
            command.arg("-q").args(&self.options).args(arguments).current_dir(&debs);
            command
        };
        run(&command(&["update"]), FETCH_DEADLINE)?;
        run(&command(&[&["download"], packages].concat()), FETCH_DEADLINE)?;
        let mut files = Vec::new();
        for package in packages {
            let begin = format!("{package}_");
            let mut found: Vec<PathBuf> = fs::read_dir(&debs)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| {
                    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begin))
                })
                .collect();
            // Of several versions the one that was fetched last.
            found.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
            files.push(found.pop().ok_or_else(|| format!("apt-get has not fetched {package}"))?);
        }
        Ok(files)
    }
}

/// The mirror of Debian that apt is set up with here.
fn mirror() -> Result<String> {
    if !Path::new(KEYRING).exists() {
        return Err(format!("no {KEYRING}: not a Debian").into());
    }
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let (_, answer) = process::kept(&ask, LOCAL_DEADLINE)?;
    let found = answer.lines().find_map(|line| line.strip_prefix("Debian "));
    Ok(found.ok_or("apt knows no mirror of Debian here")?.to_owned())
}

/// Runs a command; its output is shown only if it fails.
fn run(command: &Command, deadline: Duration) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (ended, output) = process::kept(command, deadline).map_err(|error| format!("{program}: {error}"))?;
    if ended.success() {
        return Ok(());
    }
    let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{program}: {ended}: {last}").into())
}
