//! Our initiator on this machine and the Linux kernel's target in the QEMU lab: TLS through tlshd.

use system_tests::qemu::{DISCOVERY_NQN, Export, Lab, NVMET, Port, cell, newer, sha256};
use system_tests::{HOST_NQN, KeyFile, Run, Tool, image};

const BYTES: u64 = 2 << 20;
/// Debian 13's tlshd 1.0.0 computes every binder with SHA-256.
const SHA384: &str = "Debian 13's tlshd takes no SHA-384 key";
const RFC: &str = "Debian 13's nvme-cli knows only the older derivation";

/// The flags of nvme-cli for a derivation: Debian 13's knows the older one only.
fn derivation(lab: &Lab, compat: bool) -> &'static str {
    if compat && !lab.is_debian_13() { "--compat" } else { "" }
}

fn copy(export: &Export<'_>, key: &KeyFile, flags: &[&str]) -> Run {
    let copy = Tool::new(["copy", "-", &export.uri(Port::Tls, 1), "--verify", "--json"]);
    copy.args(key.flags()).args(flags).input(image(9, BYTES)).run()
}

/// Copies with a key of which the target knows the identity of this version and derivation only.
fn copied(lab: &Lab, name: &str, hash: &str, version: u8, compat: bool, flags: &[&str]) {
    let export = lab.export(name, &[4096]);
    let key = KeyFile::generate(hash);
    lab.insert_key(&key.text(), version, HOST_NQN, &export.nqn, derivation(lab, compat));
    let report = copy(&export, &key, flags).succeeded().json();
    let suite = if hash == "sha384" { "TLS_AES_256_GCM_SHA384" } else { "TLS_AES_128_GCM_SHA256" };
    assert!(report["tls"].to_string().contains(suite), "{report}");
    assert_eq!(export.sha256(1, BYTES as usize), sha256(&image(9, BYTES)));
}

#[test]
fn nvmet_tls_v1_sha256() {
    newer("nvmet_tls_v1_sha256", NVMET, "TLS, version-1 identity, SHA-256", RFC, |lab| {
        copied(lab, "v1sha256", "sha256", 1, false, &["--identity", "1"]);
    });
}

#[test]
fn nvmet_tls_v0_sha256() {
    newer("nvmet_tls_v0_sha256", NVMET, "TLS, version-0 identity, SHA-256", RFC, |lab| {
        copied(lab, "v0sha256", "sha256", 0, false, &["--identity", "0"]);
    });
}

#[test]
fn nvmet_tls_v1_sha384() {
    newer("nvmet_tls_v1_sha384", NVMET, "TLS, version-1 identity, SHA-384", SHA384, |lab| {
        copied(lab, "v1sha384", "sha384", 1, false, &["--identity", "1"]);
    });
}

#[test]
fn nvmet_tls_v0_sha384() {
    newer("nvmet_tls_v0_sha384", NVMET, "TLS, version-0 identity, SHA-384", SHA384, |lab| {
        copied(lab, "v0sha384", "sha384", 0, false, &["--identity", "0"]);
    });
}

#[test]
fn nvmet_tls_compat_v1() {
    cell("nvmet_tls_compat_v1", NVMET, "TLS, version-1 identity of libnvme before 1.15 (--compat)", |lab| {
        copied(lab, "v1compat", "sha256", 1, true, &["--identity", "1", "--compat"]);
    });
}

#[test]
fn nvmet_tls_compat_v0() {
    cell("nvmet_tls_compat_v0", NVMET, "TLS, version-0 identity of libnvme before 1.15 (--compat)", |lab| {
        copied(lab, "v0compat", "sha256", 0, true, &["--identity", "0", "--compat"]);
    });
}

/// Without a word of which identity: it is found by trying.
#[test]
fn nvmet_tls_finds_the_identity() {
    newer("nvmet_tls_finds_the_identity", NVMET, "TLS, the identity is found by trying", RFC, |lab| {
        copied(lab, "tryv0", "sha256", 0, false, &[]);
        copied(lab, "trycompat", "sha256", 1, true, &[]);
    });
}

#[test]
fn nvmet_tls_with_digests() {
    newer("nvmet_tls_with_digests", NVMET, "TLS with both digests", RFC, |lab| {
        copied(lab, "tlsdigests", "sha256", 1, false, &["-g", "-G"]);
    });
}

#[test]
fn nvmet_tls_and_plain_on_one_port() {
    newer("nvmet_tls_and_plain_on_one_port", NVMET, "TLS and plain on one port", RFC, |lab| {
        let export = lab.export("both", &[4096]);
        let key = KeyFile::generate("sha256");
        lab.insert_key(&key.text(), 1, HOST_NQN, &export.nqn, "");
        let list = || Tool::new(["list", &export.uri(Port::Both, None), "--json"]);
        drop(list().args(key.flags()).run().succeeded());
        drop(list().args(["--hostnqn", HOST_NQN]).run().succeeded());
    });
}

#[test]
fn nvmet_tls_discovery() {
    newer("nvmet_tls_discovery", NVMET, "TLS, discovery with an identity of its own", RFC, |lab| {
        let export = lab.export("tlsdiscovered", &[512]);
        let key = KeyFile::generate("sha256");
        lab.insert_key(&key.text(), 1, HOST_NQN, DISCOVERY_NQN, "");
        let uri = format!("nvme+tcp://{}", lab.address(Port::Tls));
        let found =
            Tool::new(["list", &uri, "--json"]).args(key.flags()).run().succeeded().json().to_string();
        assert!(found.contains(&export.nqn) && found.contains("required"), "{found}");
    });
}

#[test]
fn nvmet_tls_port_met_in_plain() {
    cell("nvmet_tls_port_met_in_plain", NVMET, "a TLS-only port met in plain", |lab| {
        let export = lab.export("tlsonly", &[512]);
        let run = Tool::new(["list", &export.uri(Port::Tls, None), "--hostnqn", HOST_NQN]).run();
        run.failed(4, "closed the connection instead of answering ICReq", "may want TLS");
    });
}

#[test]
fn nvmet_plain_port_met_with_tls() {
    cell("nvmet_plain_port_met_with_tls", NVMET, "a plain port met with TLS", |lab| {
        let export = lab.export("plainonly", &[512]);
        let key = KeyFile::generate("sha256");
        let run = Tool::new(["list", &export.uri(Port::Plain, None)]).args(key.flags()).run();
        run.failed(4, "closed the connection during the TLS handshake", "the listener may be plain");
    });
}

#[test]
fn nvmet_tls_unknown_identity() {
    cell("nvmet_tls_unknown_identity", NVMET, "TLS, an identity that the target does not know", |lab| {
        let export = lab.export("unknown", &[512]);
        let key = KeyFile::generate("sha256");
        let log = lab.logged(|| {
            let run =
                Tool::new(["list", &export.uri(Port::Tls, None), "--identity", "1"]).args(key.flags()).run();
            run.failed(4, "closed the connection during the TLS handshake", "does not know the key");
        });
        lab.said(&log, "tlshd-unknown-identity");
    });
}

#[test]
fn nvmet_tls_wrong_key() {
    cell("nvmet_tls_wrong_key", NVMET, "TLS, a wrong key under a known identity", |lab| {
        let export = lab.export("wrongkey", &[512]);
        let (ours, theirs) = (KeyFile::generate("sha256"), KeyFile::generate("sha256"));
        lab.insert_key(&theirs.text(), 0, HOST_NQN, &export.nqn, "");
        let log = lab.logged(|| {
            let run =
                Tool::new(["list", &export.uri(Port::Tls, None), "--identity", "0"]).args(ours.flags()).run();
            run.failed(4, "closed the connection during the TLS handshake", "compare it at both ends");
        });
        lab.said(&log, "tlshd-wrong-key");
    });
}
