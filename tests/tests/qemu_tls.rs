//! Our initiator, on this machine and in the guest, and the Linux kernel's target in the QEMU lab: TLS through tlshd.

use system_tests::qemu::{DISCOVERY_NQN, Export, Lab, NVMET_IN_GUEST, Port, Side, run, sha256};
use system_tests::{HOST_NQN, KeyFile, Run, Tool, image, on_both_sides};

const BYTES: u64 = 2 << 20;
/// Debian 13's tlshd 1.0.0 computes every binder with SHA-256.
const SHA384: &str = "Debian 13's tlshd takes no SHA-384 key";
const RFC: &str = "Debian 13's nvme-cli knows only the older derivation";

/// The flags of nvme-cli for a derivation: Debian 13's knows the older one only.
fn derivation(lab: &Lab, compat: bool) -> &'static str {
    if compat && !lab.is_debian_13() { "--compat" } else { "" }
}

fn copy(lab: &Lab, export: &Export<'_>, key: &KeyFile, flags: &[&str]) -> Run {
    let copy = Tool::new(["copy", "-", &export.uri(Port::Tls, 1), "--verify", "--json"]);
    lab.run(copy.args(key.flags()).args(flags).input(image(9, BYTES)))
}

/// Who seals the records on each side: User-Mode Linux and the guest have TLS in the kernel, most machines do not.
fn sealer(lab: &Lab) -> Option<&'static str> {
    (lab.side == Side::Guest).then_some("kernel")
}

/// Copies with a key of which the target knows the identity of this version and derivation only.
fn copied(lab: &Lab, name: &str, hash: &str, version: u8, compat: bool, flags: &[&str]) {
    let export = lab.export(name, &[4096]);
    let key = KeyFile::generate(hash);
    lab.insert_key(&key.text(), version, HOST_NQN, &export.nqn, derivation(lab, compat));
    let report = copy(lab, &export, &key, flags).succeeded().json();
    let suite = if hash == "sha384" { "TLS_AES_256_GCM_SHA384" } else { "TLS_AES_128_GCM_SHA256" };
    assert!(report["tls"].to_string().contains(suite), "{report}");
    for direction in ["tx", "rx"] {
        assert!(sealer(lab).is_none_or(|sealer| report["tls"][direction] == sealer), "{report}");
    }
    assert_eq!(export.sha256(1, BYTES as usize), sha256(&image(9, BYTES)));
}

on_both_sides!(nvmet_tls_v1_sha256, "TLS, version-1 identity, SHA-256", Some(RFC), |lab| {
    copied(lab, "v1sha256", "sha256", 1, false, &["--identity", "1"]);
});

on_both_sides!(nvmet_tls_v0_sha256, "TLS, version-0 identity, SHA-256", Some(RFC), |lab| {
    copied(lab, "v0sha256", "sha256", 0, false, &["--identity", "0"]);
});

on_both_sides!(nvmet_tls_v1_sha384, "TLS, version-1 identity, SHA-384", Some(SHA384), |lab| {
    copied(lab, "v1sha384", "sha384", 1, false, &["--identity", "1"]);
});

on_both_sides!(nvmet_tls_v0_sha384, "TLS, version-0 identity, SHA-384", Some(SHA384), |lab| {
    copied(lab, "v0sha384", "sha384", 0, false, &["--identity", "0"]);
});

on_both_sides!(
    nvmet_tls_compat_v1,
    "TLS, version-1 identity of libnvme before 1.15 (--compat)",
    None,
    |lab| {
        copied(lab, "v1compat", "sha256", 1, true, &["--identity", "1", "--compat"]);
    }
);

on_both_sides!(
    nvmet_tls_compat_v0,
    "TLS, version-0 identity of libnvme before 1.15 (--compat)",
    None,
    |lab| {
        copied(lab, "v0compat", "sha256", 0, true, &["--identity", "0", "--compat"]);
    }
);

on_both_sides!(
    /// Without a word of which identity: it is found by trying.
    nvmet_tls_finds_the_identity, "TLS, the identity is found by trying", Some(RFC), |lab| {
    copied(lab, "tryv0", "sha256", 0, false, &[]);
    copied(lab, "trycompat", "sha256", 1, true, &[]);
});

/// No key file: what the kernel's own initiator would take, ours takes as well.
#[test]
fn nvmet_tls_key_from_the_kernels_keyring() {
    let feature = "TLS, the key that nvme-cli put into the keyring .nvme (--keyring)";
    run("nvmet_tls_key_from_the_kernels_keyring", NVMET_IN_GUEST, feature, None, |lab| {
        let export = lab.export("ringed", &[4096]);
        let copy = || {
            let copy = Tool::new(["copy", "-", &export.uri(Port::Tls, 1), "--verify", "--json"]);
            copy.args(["--tls", "--keyring", ".nvme", "--hostnqn", HOST_NQN]).input(image(9, BYTES))
        };
        // The ring is empty, or holds keys of other cells.
        let none = lab.run(copy());
        let told = none.stderr.contains(".nvme") || none.stderr.contains(&export.nqn);
        assert!(none.code == Some(2) && told, "{none:?}");
        lab.insert_key(&KeyFile::generate("sha256").text(), 1, HOST_NQN, &export.nqn, "");
        let report = lab.run(copy()).succeeded().json();
        assert_eq!(report["tls"]["tx"], "kernel", "{report}");
        assert_eq!(export.sha256(1, BYTES as usize), sha256(&image(9, BYTES)));
    });
}

on_both_sides!(nvmet_tls_with_digests, "TLS with both digests", Some(RFC), |lab| {
    copied(lab, "tlsdigests", "sha256", 1, false, &["-g", "-G"]);
});

on_both_sides!(nvmet_tls_and_plain_on_one_port, "TLS and plain on one port", Some(RFC), |lab| {
    let export = lab.export("both", &[4096]);
    let key = KeyFile::generate("sha256");
    lab.insert_key(&key.text(), 1, HOST_NQN, &export.nqn, "");
    let list = || Tool::new(["list", &export.uri(Port::Both, None), "--json"]);
    drop(lab.run(list().args(key.flags())).succeeded());
    drop(lab.run(list().args(["--hostnqn", HOST_NQN])).succeeded());
});

on_both_sides!(nvmet_tls_discovery, "TLS, discovery with an identity of its own", Some(RFC), |lab| {
    let export = lab.export("tlsdiscovered", &[512]);
    let key = KeyFile::generate("sha256");
    lab.insert_key(&key.text(), 1, HOST_NQN, DISCOVERY_NQN, "");
    let uri = format!("nvme+tcp://{}", lab.address(Port::Tls));
    let found = lab.run(Tool::new(["list", &uri, "--json"]).args(key.flags())).succeeded().json().to_string();
    assert!(found.contains(&export.nqn) && found.contains("required"), "{found}");
});

on_both_sides!(nvmet_tls_port_met_in_plain, "a TLS-only port met in plain", None, |lab| {
    let export = lab.export("tlsonly", &[512]);
    let run = lab.run(Tool::new(["list", &export.uri(Port::Tls, None), "--hostnqn", HOST_NQN]));
    run.failed(4, "closed the connection instead of answering ICReq", "may want TLS");
});

on_both_sides!(nvmet_plain_port_met_with_tls, "a plain port met with TLS", None, |lab| {
    let export = lab.export("plainonly", &[512]);
    let key = KeyFile::generate("sha256");
    let run = lab.run(Tool::new(["list", &export.uri(Port::Plain, None)]).args(key.flags()));
    run.failed(4, "closed the connection during the TLS handshake", "the listener may be plain");
});

on_both_sides!(nvmet_tls_unknown_identity, "TLS, an identity that the target does not know", None, |lab| {
    let export = lab.export("unknown", &[512]);
    let key = KeyFile::generate("sha256");
    let log = lab.logged(|| {
        let run =
            lab.run(Tool::new(["list", &export.uri(Port::Tls, None), "--identity", "1"]).args(key.flags()));
        run.failed(4, "closed the connection during the TLS handshake", "does not know the key");
    });
    lab.said(&log, "tlshd-unknown-identity");
});

on_both_sides!(nvmet_tls_wrong_key, "TLS, a wrong key under a known identity", None, |lab| {
    let export = lab.export("wrongkey", &[512]);
    let (ours, theirs) = (KeyFile::generate("sha256"), KeyFile::generate("sha256"));
    lab.insert_key(&theirs.text(), 0, HOST_NQN, &export.nqn, "");
    let log = lab.logged(|| {
        let run =
            lab.run(Tool::new(["list", &export.uri(Port::Tls, None), "--identity", "0"]).args(ours.flags()));
        run.failed(4, "closed the connection during the TLS handshake", "compare it at both ends");
    });
    lab.said(&log, "tlshd-wrong-key");
});

on_both_sides!(
    /// Insisting on version 1 where the target has version 0 alone, as SPDK always does: both sides' words.
    nvmet_tls_version_0_only,
    "TLS, a target that knows version-0 identities only: found by trying, named where version 1 is insisted on",
    Some(RFC),
    |lab| {
        let export = lab.export("only0", &[512]);
        let key = KeyFile::generate("sha256");
        lab.insert_key(&key.text(), 0, HOST_NQN, &export.nqn, "");
        let list = |flags: &[&str]| {
            lab.run(Tool::new(["list", &export.uri(Port::Tls, None)]).args(key.flags()).args(flags))
        };
        drop(list(&[]).succeeded());
        let log = lab.logged(|| {
            let run = list(&["--identity", "1"]);
            run.failed(4, "closed the connection during the TLS handshake", "only knows version-0 identities");
        });
        lab.said(&log, "tlshd-unknown-identity");
    },
);

on_both_sides!(nvmet_tls_revoked_key, "TLS, a key that was revoked", Some(RFC), |lab| {
    let export = lab.export("revoked", &[512]);
    let key = KeyFile::generate("sha256");
    let serial = lab.insert_key(&key.text(), 1, HOST_NQN, &export.nqn, "");
    let list = || lab.run(Tool::new(["list", &export.uri(Port::Tls, None)]).args(key.flags()));
    drop(list().succeeded());
    lab.revoke_key(&serial);
    list().failed(4, "closed the connection during the TLS handshake", "does not know the key");
});

on_both_sides!(
    nvmet_tls_pieces,
    "TLS: 4 KiB to 8 MiB, aligned and not, 4096-byte blocks",
    Some(RFC),
    |lab| {
        let export = lab.export("tlspieces", &[4096]);
        let key = KeyFile::generate("sha256");
        lab.insert_key(&key.text(), 1, HOST_NQN, &export.nqn, "");
        let words = [&lab.address(Port::Tls).to_string(), &export.nqn, "4096", "false", key.path()];
        let run = lab.run(Tool::other(env!("CARGO_BIN_EXE_pieces"), words)).succeeded();
        let sealed = sealer(lab).unwrap_or_default();
        assert!(
            run.text().starts_with("6 sizes, sealed by") && run.text().contains(sealed),
            "{}",
            run.text()
        );
    }
);
