//! The QEMU lab: a guest with the Linux kernel's own NVMe target and initiator. `cargo xtask lab qemu` boots it.

mod export;
mod lab;
mod side;

use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::{Process, Tool, append, skip};

pub use export::{Connected, Export, arguments};
pub use lab::{Lab, Port};
pub use side::Side;

/// The kernel's target, and our initiator on this machine.
pub const NVMET: &str = "Linux nvmet, our initiator on the host (records sealed by the process)";
/// The kernel's target, and our initiator beside it in the guest.
pub const NVMET_IN_GUEST: &str = "Linux nvmet, our initiator in the guest (records sealed by the kernel)";
/// The kernel's initiator, and our target on this machine.
pub const KERNEL_HOST: &str = "Linux initiator (nvme-cli), our target on the host";
/// The kernel's target and initiator, the latter driven by `nvme_tcp::kernel`.
pub const KERNEL_DRIVEN: &str = "Linux initiator driven by nvme_tcp::kernel, Linux nvmet, both in the guest";
/// What an operator does from start to finish, with the kernel's target.
pub const RECIPE: &str = "the operator's recipe, start to finish (Linux nvmet, our tool on the host)";
/// Both ends in the guest, sealed by its kernel.
pub const KERNEL_TLS: &str =
    "kernel TLS end to end, in the guest (both ends of a connection sealed by the kernel)";

/// The well-known name of discovery controllers (Base, section 3.1.3.3).
pub const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";

/// Runs one cell of the matrix in the lab: what `peer` does with `feature`. It is recorded, and skipped by
/// its test's name where there is no lab.
pub fn cell(test: &str, peer: &str, feature: &str, body: impl FnOnce(&Lab)) {
    run(test, peer, feature, None, body);
}

/// Makes two cells of one body, each a test: our initiator on this machine, and in the guest. The arguments are the
/// tests' module, the feature, why Debian 13's packages cannot have it, if so, and the body.
#[macro_export]
macro_rules! on_both_sides {
    ($(#[$doc:meta])* $name:ident, $feature:expr, $newer:expr, $body:expr $(,)?) => {
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports, reason = "not every body names something")]
            use super::*;

            fn cell(side: &str, peer: &str) {
                let test = concat!(stringify!($name), "::").to_owned() + side;
                $crate::qemu::run(&test, peer, $feature, $newer, $body);
            }

            #[test]
            fn on_the_host() {
                cell("on_the_host", $crate::qemu::NVMET);
            }

            #[test]
            fn in_the_guest() {
                cell("in_the_guest", $crate::qemu::NVMET_IN_GUEST);
            }
        }
    };
}

/// The same for what Debian 13 does not have, and `why`.
pub fn newer(test: &str, peer: &str, feature: &str, why: &str, body: impl FnOnce(&Lab)) {
    run(test, peer, feature, Some(why), body);
}

/// [`cell`], or [`newer`] with a reason.
pub fn run(test: &str, peer: &str, feature: &str, newer: Option<&str>, body: impl FnOnce(&Lab)) {
    let side = if peer == NVMET_IN_GUEST { Side::Guest } else { Side::Host };
    let lab = match Lab::find(side) {
        Ok(lab) => lab,
        Err(why) => return record(peer, feature, Err((test, why))),
    };
    if let Some(why) = newer.filter(|_| lab.is_debian_13()) {
        return record(peer, feature, Err((test, why)));
    }
    // One at a time: counters, logs and the keyring are those of the whole guest, and tlshd 1.4.0 (Linux 7.2) now and then
    // does not find a key that is there while others are being inserted.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A test that panics leaves this behind.
    let failed = Failed { peer, feature };
    body(&lab);
    std::mem::forget(failed);
    record(peer, feature, Ok("passed"));
}

struct Failed<'a> {
    peer: &'a str,
    feature: &'a str,
}

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        record(self.peer, self.feature, Ok("FAILED"));
    }
}

fn record(peer: &str, feature: &str, result: Result<&str, (&str, &str)>) {
    let result = match result {
        Ok(result) => result.to_owned(),
        Err((test, why)) => {
            skip(test, why);
            format!("skipped: {why}")
        }
    };
    append("NVME_TCP_CELLS", &format!("{peer}\t{feature}\t{result}\n"));
}

/// A DH-HMAC-CHAP secret, made by the tool; `hmac` as in nvme-cli: 0 to 3.
pub fn secret(hmac: &str) -> String {
    Tool::new(["key", "generate-dhchap", "-m", hmac]).run().succeeded().text().trim().to_owned()
}

/// SHA-256 of these bytes, in hexadecimal.
///
/// # Panics
/// There is no `sha256sum` here.
pub fn sha256(bytes: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    process.feed(bytes.to_vec());
    process.finish().text().split(' ').next().unwrap_or_default().to_owned()
}
