//! TLS whose records kernels seal, at both ends, in the QEMU lab: and the kernel's own count of it.

use system_tests::qemu::{KERNEL_HOST, KERNEL_TLS, Lab, Port, RECIPE, newer};
use system_tests::{HOST_NQN, KeyFile, Server, Tool, image};

const RFC: &str = "Debian 13's nvme-cli knows only the older derivation";
/// A key in the guest, where its programs find it.
fn key_in_guest(lab: &Lab, name: &str) -> (KeyFile, String) {
    let key = KeyFile::generate("sha256");
    let path = format!("/tmp/{name}.key");
    lab.ask(&format!("umask 077; echo {} >{path}", key.text()));
    (key, path)
}

/// Copies 2 MiB by the guest's own copy of the tool and gives what that says.
fn copy_in_guest(lab: &Lab, uri: &str, key: &str) -> String {
    let said = lab.ask(&format!(
        "dd if=/dev/urandom of=/tmp/image bs=1M count=2 2>/dev/null
         nvme-tcp copy /tmp/image {uri} --verify --json --tls --keyfile {key} --hostnqn {HOST_NQN}"
    ));
    let report: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!((&report["tls"]["tx"], &report["tls"]["rx"]), (&"kernel".into(), &"kernel".into()), "{said}");
    said
}

#[test]
fn our_initiator_and_nvmet_sealed_by_kernels() {
    let feature = "our initiator and nvmet, both ends of each connection in tls_stat";
    newer("our_initiator_and_nvmet_sealed_by_kernels", KERNEL_TLS, feature, RFC, |lab| {
        let export = lab.export("sealed", &[4096]);
        let (key, path) = key_in_guest(lab, "sealed");
        lab.insert_key(&key.text(), 1, HOST_NQN, &export.nqn, "");
        let counted = lab.tls_grown(|| {
            copy_in_guest(lab, &format!("nvme+tcp://127.0.0.1:4421/{}/1", export.nqn), &path);
        });
        // Two associations of an admin queue and an I/O queue at least, each with two ends.
        assert!(counted.iter().all(|count| *count >= 8), "{counted:?}");
        assert_eq!(export.sha256(1, 2 << 20), lab.ask("sha256sum </tmp/image")[..64]);
    });
}

#[test]
fn our_initiator_and_our_target_sealed_by_kernels() {
    let feature = "our initiator and our target, both ends of each connection in tls_stat";
    newer("our_initiator_and_our_target_sealed_by_kernels", KERNEL_TLS, feature, RFC, |lab| {
        let (_, path) = key_in_guest(lab, "ours");
        let counted = lab.tls_grown(|| {
            lab.ask(&format!(
                "nvme-tcp serve --listen 127.0.0.1:5420 -n nqn.2024-01.org.example:inguest --namespace ram:8M --keyfile {path} \
                 >/tmp/serve.out 2>&1 &
                 echo $! >/tmp/serve.pid
                 until grep -q listening /tmp/serve.out; do usleep 50000; done"
            ));
            copy_in_guest(lab, "nvme+tcp://127.0.0.1:5420/nqn.2024-01.org.example:inguest/1", &path);
            lab.ask("kill $(cat /tmp/serve.pid)");
        });
        assert!(counted.iter().all(|count| *count >= 8), "{counted:?}");
    });
}

#[test]
fn kernel_initiator_counts_its_tls() {
    let feature = "TLS in the kernel's tls_stat: an admin queue and its I/O queues";
    newer("kernel_initiator_counts_its_tls", KERNEL_HOST, feature, RFC, |lab| {
        let key = KeyFile::generate("sha256");
        let nqn = "nqn.2024-01.org.example:counted";
        let server = Server::named(nqn, ["ram:8M"], &["--keyfile", key.path()]);
        lab.insert_key(&key.text(), 1, HOST_NQN, nqn, "");
        let counted = lab.tls_grown(|| {
            let connected = lab.connect(server.address, nqn, HOST_NQN, "--tls --nr-io-queues=2");
            connected.device();
        });
        assert_eq!(counted, [3, 3]);
    });
}

/// What an operator does, start to end: a subsystem, a key, TLS, an image, a look from the other side, a new key, and
/// the statistics.
#[test]
fn the_operators_recipe() {
    let feature = "make the subsystem and the key, connect with TLS, list, stage an image, verify it from the other side, \
                   rotate the key, read the TLS statistics";
    newer("the_operators_recipe", RECIPE, feature, RFC, |lab| {
        let export = lab.export("recipe", &[4096]);
        let [old, new] = [0, 1].map(|_| KeyFile::generate("sha256"));
        let serial = lab.insert_key(&old.text(), 1, HOST_NQN, &export.nqn, "");
        let list = |key: &KeyFile| Tool::new(["list", &export.uri(Port::Tls, None)]).args(key.flags()).run();
        assert!(list(&old).succeeded().text().contains("64 MiB"));

        let bytes = image(11, 4 << 20);
        let stage = |key: &KeyFile| {
            let copy = Tool::new(["copy", "-", &export.uri(Port::Tls, 1), "--verify"]).args(key.flags());
            drop(copy.input(bytes.clone()).run().succeeded());
        };
        let counted = lab.tls_grown(|| stage(&old));
        // The target's ends alone are this kernel's: at least two associations of two queues.
        assert!(counted.iter().all(|count| *count >= 4), "{counted:?}");
        assert_eq!(export.sha256(1, bytes.len()), system_tests::qemu::sha256(&bytes));

        // The new key first, then the end of the old one: there is no moment without a key.
        lab.insert_key(&new.text(), 1, HOST_NQN, &export.nqn, "");
        stage(&new);
        stage(&old);
        lab.revoke_key(&serial);
        list(&old).failed(4, "closed the connection during the TLS handshake", "does not know the key");
        drop(list(&new).succeeded());
    });
}
