//! What the system tests share: the tool as its users get it, targets in this process, images, and a word
//! for a test that cannot run here.

mod embedded;
mod image;
mod process;
pub mod qemu;
mod server;
mod tool;

use std::io::Write;
use std::time::Duration;

pub use embedded::{Embedded, Gauge, Gauged, embedded, faulty, host, key, options};
pub use image::{Needle, image, pattern_at};
pub use process::{Process, Run};
pub use server::{HOST_NQN, KeyFile, SUBSYSTEM_NQN, Server, uri};
pub use tool::Tool;

/// Longer than anything here takes on a slow machine: what waits so long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Whether this is the User-Mode Linux lab, with one slow processor and TLS in the kernel.
pub fn in_lab() -> bool {
    std::env::var_os("NVME_TCP_LAB").is_some_and(|lab| lab == "uml")
}

/// A size for this machine, or a smaller one for the lab.
pub fn scaled(here: u64, lab: u64) -> u64 {
    if in_lab() { lab } else { here }
}

/// Says that a test was skipped, and why: to a person, and to the file that counts.
///
/// # Panics
/// The file cannot be written: then the test would count as passed.
pub fn skip(name: &str, why: &str) {
    eprintln!("SKIPPED {name}: {why}");
    append("NVME_TCP_SKIPPED", &format!("{name}: {why}\n"));
}

/// Adds a line to the file that a variable names, if it names one.
fn append(variable: &str, line: &str) {
    if let Some(path) = std::env::var_os(variable) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("xtask's lists are writable");
    }
}
