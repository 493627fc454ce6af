//! QEMU: a guest with the Linux kernel's own NVMe target and initiator, and TLS through tlshd.
//!
//! All of it comes from Debian's packages, QEMU included: of Debian's development suite where that can be had, of
//! Debian 13 otherwise. It is fetched once a day at most. The guest has no disk: a kernel, a first file system in memory,
//! and an agent that runs the tests' scripts.

mod archive;
mod image;
mod machine;
mod packages;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use self::image::Image;
use self::machine::{Accelerator, Machine};
use self::packages::Packages;
use crate::suite::read_file;
use crate::workspace::Workspace;
use crate::{Result, timed};

/// The suites, best first.
const SUITES: [&str; 2] = ["sid", "trixie"];
/// Names one suite instead: `NVME_TCP_QEMU_SUITE=trixie cargo xtask lab qemu`.
const ONLY: &str = "NVME_TCP_QEMU_SUITE";
/// The file that tells tests of the guest.
const LAB: &str = "NVME_TCP_QEMU";
/// Why there is none.
const MISSING: &str = "NVME_TCP_QEMU_MISSING";
/// The file to which each cell of the matrix adds its result.
const CELLS: &str = "NVME_TCP_CELLS";

/// The guest, or why there is none.
pub(crate) struct Lab {
    folder: PathBuf,
    guest: std::result::Result<Guest, String>,
    /// A guest that could be made and did not come up.
    pub(crate) failure: Option<String>,
}

struct Guest {
    machine: Machine,
    peers: table::Peers,
}

impl Lab {
    /// Makes the guest and boots it.
    pub(crate) fn boot(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target.join("lab/qemu");
        fs::create_dir_all(&folder)?;
        packages::remove(&folder.join("cells"))?;
        let only = std::env::var(ONLY).ok();
        let mut missing = Vec::new();
        let mut failure = None;
        if !cfg!(target_arch = "x86_64") {
            return Ok(Self { folder, guest: Err("the guest is made for x86-64".to_owned()), failure });
        }
        for suite in SUITES.into_iter().filter(|suite| only.as_deref().is_none_or(|only| only == *suite)) {
            let own = folder.join(suite);
            let made = timed(&format!("qemu: packages of {suite}"), || Packages::of(suite, &own)).and_then(
                |packages| {
                    let image = timed("qemu: image", || Image::make(&packages, &own, workspace))?;
                    Ok((packages, image))
                },
            );
            let (packages, image) = match made {
                Ok(made) => made,
                Err(error) => {
                    println!("qemu: {suite}: {error}");
                    missing.push(format!("{suite}: {error}"));
                    continue;
                }
            };
            match timed("qemu: boot", || Machine::boot(&packages, &image, &own)) {
                Ok(machine) => {
                    let peers = table::Peers::of(suite, &packages, &image);
                    println!("qemu: {peers}");
                    let guest = Guest { machine, peers };
                    guest.describe(&own.join("lab.json"))?;
                    return Ok(Self { folder, guest: Ok(guest), failure: None });
                }
                Err(error) => {
                    println!("qemu: {suite}: {error}");
                    failure = Some(format!("qemu: the guest of {suite} does not come up: {error}"));
                    missing.push(format!("{suite}: {error}"));
                }
            }
        }
        Ok(Self { folder, guest: Err(missing.join("; ")), failure })
    }

    /// Tells a test run where the guest is, or why there is none.
    pub(crate) fn tell(&self, tests: &mut Command) {
        match &self.guest {
            Ok(guest) => tests.env(LAB, self.description(guest)),
            Err(why) => tests.env(MISSING, why).env_remove(LAB),
        };
        tests.env(CELLS, self.cells());
    }

    /// Keeps the guest until standard input ends.
    pub(crate) fn hold(self) -> Result<()> {
        match &self.guest {
            Err(why) => Err(why.as_str().into()),
            Ok(guest) => {
                println!("{LAB}={} until this input ends", self.description(guest).display());
                std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
                Ok(())
            }
        }
    }

    /// Ends the guest and writes the table of what the tests found: peer by feature by result. Gives where it is.
    pub(crate) fn finish(self) -> Result<Option<PathBuf>> {
        let cells = read_file(&self.cells())?;
        let Ok(guest) = self.guest else { return Ok(None) };
        let console = guest.machine.said();
        // Where a kernel warns or dies, the tests may show little of it.
        for line in
            console.lines().filter(|line| line.contains("Kernel panic") || line.contains("WARNING: CPU"))
        {
            println!("qemu: the guest's console: {line}");
        }
        let path = self.folder.join("peers.md");
        fs::write(&path, table::render(&guest.peers, guest.machine.accelerator == Accelerator::Kvm, &cells))?;
        Ok(Some(path))
    }

    /// The file that describes the guest.
    fn description(&self, guest: &Guest) -> PathBuf {
        self.folder.join(&guest.peers.suite).join("lab.json")
    }

    fn cells(&self) -> PathBuf {
        self.folder.join("cells")
    }
}

impl Guest {
    /// Writes what tests have to know.
    fn describe(&self, path: &Path) -> Result<()> {
        let ports: serde_json::Map<_, _> =
            self.machine.ports.iter().map(|(service, port)| (service.to_string(), json!(port))).collect();
        let lab = json!({
            "agent": self.machine.agent(),
            "ports": ports,
            "suite": self.peers.suite,
            "kernel": self.peers.kernel,
        });
        Ok(fs::write(path, lab.to_string())?)
    }
}
