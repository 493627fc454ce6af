//! `nvme_tcp::kernel` in the QEMU lab's guest: the example program connects, lists, passes commands through by ioctl
//! and by io_uring, and disconnects.

use std::path::Path;

use system_tests::qemu::{Export, KERNEL_DRIVEN, Lab, Port, cell, newer};
use system_tests::{HOST_NQN, KeyFile, Tool};

/// The example program with a subsystem of the guest's own target; what it says.
fn driven(lab: &Lab, export: &Export<'_>, port: Port, key: Option<&KeyFile>) -> String {
    // Who this host is, the program finds as others do.
    lab.put(Path::new("/etc/nvme/hostnqn"), format!("{HOST_NQN}\n").as_bytes());
    lab.put(Path::new("/etc/nvme/hostid"), b"07070707-0707-0707-0707-070707070707\n");
    let service = (port as u16).to_string();
    let program = Tool::other(env!("CARGO_BIN_EXE_kernel-initiator"), ["127.0.0.1", &service, &export.nqn]);
    let run = lab.run_in_guest(program.args(key.map(KeyFile::path))).succeeded();
    run.text().to_owned()
}

/// That it said what it does, in this order.
fn said(text: &str, nqn: &str) {
    let mut rest = text;
    for words in [
        "connected nvme",
        "identify ",
        "model Linux",
        nqn,
        "live",
        "nsid 1 67108864 bytes",
        "io_uring: 8 commands",
        "wrote and read 4096 bytes of namespace 1",
        "disconnected nvme",
    ] {
        let at = rest.find(words).unwrap_or_else(|| panic!("no {words:?} in:\n{text}"));
        rest = &rest[at + words.len()..];
    }
}

#[test]
fn kernel_driven_plain() {
    let feature = "plain: connect, list, ioctl and io_uring passthrough, disconnect";
    cell("kernel_driven_plain", KERNEL_DRIVEN, feature, |lab| {
        let export = lab.export("driven", &[4096]);
        said(&driven(lab, &export, Port::Plain, None), &export.nqn);
        assert_eq!(lab.ask("ls /sys/class/nvme"), "");
    });
}

/// The library derives the key and puts it into the keyring of the initiator, nvme-cli that of the target: they are one.
#[test]
fn kernel_driven_tls() {
    let feature = "TLS: connect, list, ioctl and io_uring passthrough, disconnect; both ends in tls_stat";
    newer(
        "kernel_driven_tls",
        KERNEL_DRIVEN,
        feature,
        "Debian 13's nvme-cli knows only the older derivation",
        |lab| {
            let export = lab.export("driventls", &[4096]);
            let key = KeyFile::generate("sha256");
            lab.insert_key(&key.text(), 1, HOST_NQN, &export.nqn, "");
            let counted = lab.tls_grown(|| said(&driven(lab, &export, Port::Tls, Some(&key)), &export.nqn));
            // An admin queue and one I/O queue, two ends of each, both this kernel's.
            assert_eq!(counted, [4, 4]);
        },
    );
}
