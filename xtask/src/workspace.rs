//! Where things are, and how cargo is called.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::Result;

/// One package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) folder: PathBuf,
    /// May be published: `publish` is not forbidden.
    pub(crate) public: bool,
}

/// The repository as cargo sees it.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Where cargo builds; it may be anywhere.
    pub(crate) target: PathBuf,
    /// By cargo's package id.
    pub(crate) packages: BTreeMap<String, Package>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let output = cargo().args(["metadata", "--no-deps", "--format-version=1"]).output()?;
        if !output.status.success() {
            return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let path = |value: &Value, name: &str| -> Result<PathBuf> {
            let text = value[name].as_str().ok_or_else(|| format!("cargo metadata names no {name}"))?;
            Ok(PathBuf::from(text))
        };
        let mut packages = BTreeMap::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let manifest = path(package, "manifest_path")?;
            let folder = manifest.parent().ok_or("a manifest without a folder")?.to_owned();
            let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
            let public = package["publish"].is_null();
            packages
                .insert(text("id"), Package { name: text("name"), version: text("version"), folder, public });
        }
        Ok(Self {
            root: path(&metadata, "workspace_root")?,
            target: path(&metadata, "target_directory")?,
            packages,
        })
    }

    /// The operators' tool, as `suite::build_tool` leaves it.
    pub(crate) fn tool(&self) -> PathBuf {
        self.target.join("release/nvme-tcp")
    }

    /// cargo, called from the root of the workspace.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo();
        command.args(arguments).current_dir(&self.root);
        command
    }
}

/// cargo without what `cargo run` has put into the environment for this program: build scripts would see
/// it, and be run again at each change between `cargo xtask` and plain cargo.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}
