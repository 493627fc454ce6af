//! The Linux kernel's initiator in the QEMU lab, by nvme-cli, and our target on this machine.

use std::time::Duration;

use system_tests::qemu::{Connected, KERNEL_HOST, Lab, arguments, cell, newer, secret};
use system_tests::{DEADLINE, HOST_NQN, KeyFile, Server, Tool, image};

const RFC: &str = "Debian 13's nvme-cli knows only the older derivation, and our target only the present one";

/// A target of ours with 128 MiB, in whose name `name` stands, and its subsystem's name.
fn serve(name: &str, flags: &[&str]) -> (Server, String) {
    // No name begins with another's: of a subsystem whose name begins with the wanted one, Linux 7.2 takes the key.
    let nqn = format!("nqn.2024-01.org.example:{name}.");
    (Server::named(&nqn, ["ram:128M"], flags), nqn)
}

/// A file system is made, filled, unmounted, checked and read back; the kernel saw no error.
fn tree(lab: &Lab, connected: &Connected<'_>) {
    let device = connected.device();
    lab.ask(&format!(
        "at=/mnt/{name}; mkdir -p $at
         mkfs.ext4 -q -F {device}
         mount {device} $at
         cp -r /usr/sbin /lab.sh $at/
         (cd /usr && find sbin -type f | xargs sha256sum) >/tmp/{name}.sums
         umount $at
         e2fsck -fn {device} >/dev/null
         mount -o ro {device} $at
         (cd $at && sha256sum -c -s /tmp/{name}.sums) || {{ umount $at; exit 1; }}
         umount $at",
        name = connected.name,
    ));
    let errors = lab.ask(&format!("dmesg | grep -E '{}c?[0-9]*n[0-9]+: .*Error' || true", connected.name));
    assert_eq!(errors, "");
}

#[test]
fn kernel_host_discovers() {
    cell("kernel_host_discovers", KERNEL_HOST, "discover", |lab| {
        let (server, nqn) = serve("kdiscover", &[]);
        let discovery = system_tests::qemu::DISCOVERY_NQN;
        let said =
            lab.ask(&format!("nvme discover -t tcp {}", arguments(server.address, discovery, HOST_NQN)));
        assert!(said.contains(&nqn), "{said}");
    });
}

#[test]
fn kernel_host_plain_file_system() {
    cell("kernel_host_plain_file_system", KERNEL_HOST, "plain: mkfs.ext4, a tree, fsck, checksums", |lab| {
        let (server, nqn) = serve("kplain", &[]);
        tree(lab, &lab.connect(server.address, &nqn, HOST_NQN, ""));
    });
}

#[test]
fn kernel_host_digests_file_system() {
    cell(
        "kernel_host_digests_file_system",
        KERNEL_HOST,
        "both digests: mkfs.ext4, a tree, fsck, checksums",
        |lab| {
            let (server, nqn) = serve("kdigests", &[]);
            tree(lab, &lab.connect(server.address, &nqn, HOST_NQN, "-g -G"));
        },
    );
}

#[test]
fn kernel_host_one_digest() {
    cell("kernel_host_one_digest", KERNEL_HOST, "header digest alone, data digest alone", |lab| {
        let (server, nqn) = serve("kdigest", &[]);
        for flag in ["-g", "-G"] {
            let connected = lab.connect(server.address, &nqn, HOST_NQN, flag);
            lab.ask(&format!("dd if={} of=/dev/null bs=1M count=2 iflag=direct 2>&1", connected.device()));
        }
    });
}

fn over_tls(lab: &Lab, name: &str, hash: &str, version: u8) {
    let key = KeyFile::generate(hash);
    let (server, nqn) = serve(name, &["--keyfile", key.path()]);
    lab.insert_key(&key.text(), version, HOST_NQN, &nqn, "");
    tree(lab, &lab.connect(server.address, &nqn, HOST_NQN, "--tls"));
}

#[test]
fn kernel_host_tls_v1_sha256() {
    let feature = "TLS, version-1 identity, SHA-256: mkfs.ext4, a tree, fsck, checksums";
    newer("kernel_host_tls_v1_sha256", KERNEL_HOST, feature, RFC, |lab| over_tls(lab, "kv1", "sha256", 1));
}

#[test]
fn kernel_host_tls_v0_sha256() {
    let feature = "TLS, version-0 identity, SHA-256: mkfs.ext4, a tree, fsck, checksums";
    newer("kernel_host_tls_v0_sha256", KERNEL_HOST, feature, RFC, |lab| over_tls(lab, "kv0", "sha256", 0));
}

#[test]
fn kernel_host_tls_v1_sha384() {
    let feature = "TLS, version-1 identity, SHA-384: mkfs.ext4, a tree, fsck, checksums";
    newer("kernel_host_tls_v1_sha384", KERNEL_HOST, feature, RFC, |lab| {
        over_tls(lab, "kv1sha384", "sha384", 1)
    });
}

#[test]
fn kernel_host_wrong_key() {
    cell("kernel_host_wrong_key", KERNEL_HOST, "TLS with another key than the target's", |lab| {
        let [ours, theirs] = [0, 1].map(|_| KeyFile::generate("sha256"));
        let (server, nqn) = serve("kwrong", &["--keyfile", ours.path()]);
        lab.insert_key(&theirs.text(), 0, HOST_NQN, &nqn, "");
        let mut words = String::new();
        let log = lab.logged(|| words = lab.refused(server.address, &nqn, HOST_NQN, "--tls"));
        lab.said(&format!("{words}{log}"), "kernel-host-wrong-key");
    });
}

#[test]
fn kernel_host_plain_at_a_tls_port() {
    cell("kernel_host_plain_at_a_tls_port", KERNEL_HOST, "plain, where the target requires TLS", |lab| {
        let key = KeyFile::generate("sha256");
        let (server, nqn) = serve("kneedstls", &["--keyfile", key.path()]);
        let mut words = String::new();
        let log = lab.logged(|| words = lab.refused(server.address, &nqn, HOST_NQN, ""));
        lab.said(&format!("{words}{log}"), "kernel-host-plain-at-tls");
    });
}

/// The flags of `serve` for a host that authenticates itself.
fn guarded<'a>(secret: &'a KeyFile, controller: Option<&'a KeyFile>) -> Vec<&'a str> {
    let mut flags = vec!["--hostnqn", HOST_NQN, "--dhchap-keyfile", secret.path()];
    flags.extend(controller.into_iter().flat_map(|file| ["--dhchap-ctrl-keyfile", file.path()]));
    flags
}

fn secrets() -> [KeyFile; 2] {
    [0, 1].map(|_| KeyFile::with(&format!("{}\n", secret("1"))))
}

#[test]
fn kernel_host_chap_one_way() {
    cell("kernel_host_chap_one_way", KERNEL_HOST, "DH-HMAC-CHAP one way", |lab| {
        let [host, _] = secrets();
        let (server, nqn) = serve("kchap", &guarded(&host, None));
        tree(lab, &lab.connect(server.address, &nqn, HOST_NQN, &format!("--dhchap-secret={}", host.text())));
    });
}

#[test]
fn kernel_host_chap_both_ways() {
    cell("kernel_host_chap_both_ways", KERNEL_HOST, "DH-HMAC-CHAP both ways", |lab| {
        let [host, controller] = secrets();
        let (server, nqn) = serve("kmutual", &guarded(&host, Some(&controller)));
        let flags = format!("--dhchap-secret={} --dhchap-ctrl-secret={}", host.text(), controller.text());
        let connected = lab.connect(server.address, &nqn, HOST_NQN, &flags);
        lab.ask(&format!("dd if={} of=/dev/null bs=1M count=2 iflag=direct 2>&1", connected.device()));
    });
}

#[test]
fn kernel_host_chap_wrong_secret() {
    cell("kernel_host_chap_wrong_secret", KERNEL_HOST, "DH-HMAC-CHAP, a wrong secret", |lab| {
        let [host, other] = secrets();
        let (server, nqn) = serve("kchapwrong", &guarded(&host, None));
        let mut words = String::new();
        let flags = format!("--dhchap-secret={}", other.text());
        let log = lab.logged(|| words = lab.refused(server.address, &nqn, HOST_NQN, &flags));
        lab.said(&format!("{words}{log}"), "kernel-host-wrong-secret");
    });
}

#[test]
fn kernel_host_chap_no_secret() {
    cell("kernel_host_chap_no_secret", KERNEL_HOST, "DH-HMAC-CHAP wanted, none given", |lab| {
        let [host, _] = secrets();
        let (server, nqn) = serve("kchapnone", &guarded(&host, None));
        let mut words = String::new();
        let log = lab.logged(|| words = lab.refused(server.address, &nqn, HOST_NQN, ""));
        lab.said(&format!("{words}{log}"), "kernel-host-no-secret");
    });
}

#[test]
fn kernel_host_concat() {
    let why = "Linux 6.12 knows no secure channel concatenation";
    newer("kernel_host_concat", KERNEL_HOST, "secure channel concatenation", why, |lab| {
        let [host, _] = secrets();
        let (server, nqn) = serve("kconcat", &[&guarded(&host, None)[..], &["--concat"]].concat());
        let flags = format!("--dhchap-secret={} --concat", host.text());
        let connected = lab.connect(server.address, &nqn, HOST_NQN, &flags);
        lab.ask(&format!("dd if={} of=/dev/null bs=1M count=2 iflag=direct 2>&1", connected.device()));
    });
}

/// Over and over for this time, since each run verifies what it has written.
#[test]
fn kernel_host_fio_verifies() {
    const SECONDS: u64 = 60;
    let feature = "fio: random reads and writes for 60 s, verified by crc32c";
    cell("kernel_host_fio_verifies", KERNEL_HOST, feature, |lab| {
        let (server, nqn) = serve("kfio", &[]);
        let connected = lab.connect(server.address, &nqn, HOST_NQN, "");
        let script = format!(
            "now() {{ cut -d. -f1 /proc/uptime; }}
             end=$(($(now) + {SECONDS}))
             while [ $(now) -lt $end ]; do
                 fio --name=verify --filename={} --rw=randrw --bsrange=4k-128k --size=64M --direct=1 --ioengine=libaio \
                     --iodepth=16 --verify=crc32c --verify_fatal=1 --randrepeat=0 --output-format=terse
             done",
            connected.device(),
        );
        // The last run may begin in the last second.
        let run = lab.sh_within(&script, 3 * DEADLINE + Duration::from_secs(SECONDS));
        assert_eq!(run.code, Some(0), "{}{}", run.text(), run.stderr);
    });
}

#[test]
fn kernel_host_admin_commands() {
    let feature = "nvme-cli: id-ctrl, id-ns, list-ns, ns-descs, smart-log, error-log, get-log, get-feature, dsm, \
                   write-zeroes, flush, compare";
    cell("kernel_host_admin_commands", KERNEL_HOST, feature, |lab| {
        let (server, nqn) = serve("kadmin", &[]);
        let connected = lab.connect(server.address, &nqn, HOST_NQN, "");
        let (device, name) = (connected.device(), &connected.name);
        let identified = lab.ask(&format!("nvme id-ctrl /dev/{name} -o json"));
        let identified: serde_json::Value = serde_json::from_str(&identified).expect("JSON");
        assert_eq!(identified["subnqn"], nqn.as_str());
        lab.ask(&format!(
            "nvme id-ns {device}; nvme list-ns /dev/{name}; nvme ns-descs {device}; nvme smart-log /dev/{name}
             nvme error-log /dev/{name}; nvme get-log /dev/{name} -i 2 -l 512 -b | wc -c; nvme get-feature /dev/{name} -f 7
             dd if=/dev/urandom of={device} bs=1M count=1 oflag=direct 2>&1
             nvme write-zeroes {device} -s 0 -c 7; nvme dsm {device} -d -s 8 -b 8; nvme flush {device}
             dd if={device} bs=8k count=1 iflag=direct 2>/dev/null | cmp - /dev/zero 2>&1 | grep -q EOF"
        ));
        lab.ask(&format!(
            "dd if=/dev/urandom of=/tmp/compared bs=4k count=1 2>/dev/null
             dd if=/tmp/compared of={device} bs=4k seek=4 oflag=direct 2>/dev/null"
        ));
        let compare =
            |slba: u32| lab.sh(&format!("nvme compare {device} -s {slba} -c 7 -z 4096 -d /tmp/compared"));
        drop(compare(32).succeeded());
        let other = compare(40);
        assert!(other.code != Some(0) && other.stderr.contains("Compare Failure"), "{}", other.stderr);
        // The association lives on.
        lab.ask(&format!("nvme id-ns {device}"));
    });
}

/// The kernel's host reserves the namespace for itself, and ours, which is another, meets that.
#[test]
fn kernel_host_reservations() {
    let feature = "nvme-cli: resv-register, resv-acquire, resv-report, resv-release; another host meets the reservation";
    cell("kernel_host_reservations", KERNEL_HOST, feature, |lab| {
        let (server, nqn) = serve("kreserve", &[]);
        let connected = lab.connect(server.address, &nqn, HOST_NQN, "");
        let device = connected.device();
        let report = || -> serde_json::Value {
            let said = lab.ask(&format!("nvme resv-report {device} --eds -o json"));
            serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
        };
        let other = || {
            let copy = Tool::new(["copy", "-", &server.uri(1), "--hostnqn", "nqn.2024-01.org.example:other"]);
            copy.input(image(12, 64 << 10)).run()
        };
        lab.ask(&format!(
            "nvme resv-register {device} --nrkey=0xabc --rrega=0
             nvme resv-acquire {device} --crkey=0xabc --rtype=1 --racqa=0"
        ));
        let held = report();
        assert_eq!((&held["rtype"], &held["regctl"]), (&1.into(), &1.into()), "{held}");
        let holder = &held["regctlext"][0];
        assert_eq!((&holder["rcsts"], &holder["rkey"]), (&1.into(), &0xabc.into()), "{held}");
        other().failed(1, "reservation conflict", "release the reservation");
        // Its holder goes on.
        lab.ask(&format!("dd if=/dev/zero of={device} bs=4k count=1 oflag=direct 2>&1"));
        lab.ask(&format!("nvme resv-release {device} --crkey=0xabc --rtype=1 --rrela=0"));
        drop(other().succeeded());
        lab.ask(&format!("nvme resv-register {device} --crkey=0xabc --rrega=1"));
        assert_eq!(report()["regctl"], 0);
    });
}

#[test]
fn kernel_host_comes_back() {
    cell("kernel_host_comes_back", KERNEL_HOST, "disconnect and connect, reset", |lab| {
        let (server, nqn) = serve("kback", &[]);
        let read = |device: &str| {
            lab.ask(&format!("dd if={device} bs=1M count=4 iflag=direct 2>/dev/null | sha256sum"))
        };
        let connected = lab.connect(server.address, &nqn, HOST_NQN, "");
        let device = connected.device();
        lab.ask(&format!("dd if=/dev/urandom of={device} bs=1M count=4 oflag=direct 2>&1"));
        let written = read(&device);
        lab.ask(&format!("nvme reset /dev/{}", connected.name));
        assert_eq!(read(&device), written);
        drop(connected);
        let connected = lab.connect(server.address, &nqn, HOST_NQN, "");
        assert_eq!(read(&connected.device()), written);
    });
}
