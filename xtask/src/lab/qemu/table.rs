//! The table of peers: what each feature did with each, from the tests' own words.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::image::Image;
use super::packages::Packages;

/// What the guest is made of.
pub(super) struct Peers {
    pub(super) suite: String,
    pub(super) kernel: String,
    versions: Vec<(&'static str, String)>,
}

impl Peers {
    pub(super) fn of(suite: &str, packages: &Packages, image: &Image) -> Self {
        let named = [
            ("nvme-cli", "nvme-cli"),
            ("libnvme", "libnvme1t64"),
            ("tlshd (ktls-utils)", "ktls-utils"),
            ("GnuTLS", "libgnutls30t64"),
            ("QEMU", "qemu-system-x86"),
        ];
        Self {
            suite: suite.to_owned(),
            kernel: image.version.clone(),
            versions: named.map(|(name, package)| (name, packages.version(package).to_owned())).into(),
        }
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Debian {}: Linux {}", self.suite, self.kernel)?;
        self.versions.iter().try_for_each(|(name, version)| write!(f, ", {name} {version}"))
    }
}

/// The table, as Markdown. A cell is a line `PEER\tFEATURE\tRESULT`.
pub(super) fn render(peers: &Peers, kvm: bool, cells: &str) -> String {
    let mut by_peer: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for line in cells.lines() {
        let mut parts = line.splitn(3, '\t');
        if let (Some(peer), Some(feature), Some(result)) = (parts.next(), parts.next(), parts.next()) {
            by_peer.entry(peer).or_default().insert(feature, result);
        }
    }
    let mut text = format!(
        "# Peers\n\nWritten by `cargo xtask lab qemu` from what its tests found; each row is a test in `tests/tests/qemu_*.rs`.\n\n\
         {peers}. The guest's instructions were {}.\n",
        if kvm { "run by KVM" } else { "emulated" },
    );
    for (peer, features) in by_peer {
        // Writing to a String does not fail.
        let _ = write!(text, "\n## {peer}\n\n| feature | result |\n|---|---|\n");
        for (feature, result) in features {
            let _ = writeln!(text, "| {feature} | {} |", result.replace('|', "\\|"));
        }
    }
    text.push_str(include_str!("notes.md"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cells_make_a_table() {
        let peers = Peers {
            suite: "sid".to_owned(),
            kernel: "7.2".to_owned(),
            versions: vec![("QEMU", "11".to_owned())],
        };
        let text = render(&peers, false, "b\ty\tpassed\na\tz\tfailed\na\tx\tskipped: no | here\n");
        let rows =
            "## a\n\n| feature | result |\n|---|---|\n| x | skipped: no \\| here |\n| z | failed |\n\n## b\n";
        assert!(text.contains(rows), "{text}");
        assert!(
            text.contains("Debian sid: Linux 7.2, QEMU 11. The guest's instructions were emulated."),
            "{text}"
        );
    }
}
