//! Our initiator on this machine and the Linux kernel's target in the QEMU lab: without TLS.

use nvme_tcp::Options;
use system_tests::qemu::{Lab, NVMET, Port, cell};
use system_tests::{HOST_NQN, Tool, host, image};

const BYTES: u64 = 4 << 20;

/// Copies an image to the first namespace, reads it back over a new connection, and looks at it from the other side.
fn copied(lab: &Lab, name: &str, flags: &[&str]) {
    let export = lab.export(name, &[4096]);
    let bytes = image(7, BYTES);
    let copy = Tool::new(["copy", "-", &export.uri(Port::Plain, 1), "--verify", "--hostnqn", HOST_NQN]);
    let run = copy.args(flags).input(bytes.clone()).run().succeeded();
    assert!(run.stderr.is_empty() || !run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(export.sha256(1, BYTES as usize), system_tests::qemu::sha256(&bytes));
}

#[test]
fn nvmet_plain() {
    cell("nvmet_plain", NVMET, "plain", |lab| copied(lab, "plain", &[]));
}

#[test]
fn nvmet_header_digest() {
    cell("nvmet_header_digest", NVMET, "header digest", |lab| copied(lab, "hdgst", &["-g"]));
}

#[test]
fn nvmet_data_digest() {
    cell("nvmet_data_digest", NVMET, "data digest", |lab| copied(lab, "ddgst", &["-G"]));
}

#[test]
fn nvmet_both_digests() {
    cell("nvmet_both_digests", NVMET, "both digests", |lab| copied(lab, "digests", &["-g", "-G"]));
}

/// Writes and reads pieces of many sizes, at multiples of their size and beside them.
fn pieces(lab: &Lab, name: &str, block: u32, digests: bool) {
    const SIZES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 516 << 10, 1 << 20, 8 << 20];
    let export = lab.export(name, &[block]);
    let options = Options::new(lab.address(Port::Plain).to_string(), &export.nqn, host());
    let controller = options.digests(digests, digests).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    assert_eq!((namespace.block_size(), namespace.size()), (block, 64 << 20));
    let bytes = image(u64::from(block), 8 << 20);
    let mut back = vec![0; bytes.len()];
    for size in SIZES {
        for at in [0, 8 << 20, (16 << 20) + u64::from(block), (40 << 20) - u64::from(block)] {
            namespace.write_at(&bytes[..size], at).unwrap();
            namespace.read_at(&mut back[..size], at).unwrap();
            assert!(back[..size] == bytes[..size], "{size} bytes at {at}");
        }
    }
    namespace.flush().unwrap();
    // Half a block, and half a block further on.
    let half = block as usize / 2;
    assert!(namespace.write_at(&bytes[..half], 0).is_err());
    assert!(namespace.read_at(&mut back[..block as usize], half as u64).is_err());
    namespace.write_zeroes(0, 64 << 10).unwrap();
    namespace.read_at(&mut back[..64 << 10], 0).unwrap();
    assert!(back[..64 << 10].iter().all(|byte| *byte == 0));
    namespace.deallocate(1 << 20, 1 << 20).unwrap();
    controller.shutdown();
}

#[test]
fn nvmet_pieces_of_512_byte_blocks() {
    cell(
        "nvmet_pieces_of_512_byte_blocks",
        NVMET,
        "4 KiB to 8 MiB, aligned and not, 512-byte blocks",
        |lab| {
            pieces(lab, "pieces512", 512, false);
        },
    );
}

#[test]
fn nvmet_pieces_of_4096_byte_blocks() {
    cell(
        "nvmet_pieces_of_4096_byte_blocks",
        NVMET,
        "4 KiB to 8 MiB, aligned and not, 4096-byte blocks",
        |lab| {
            pieces(lab, "pieces4096", 4096, true);
        },
    );
}

#[test]
fn nvmet_discovery() {
    cell("nvmet_discovery", NVMET, "discovery", |lab| {
        let export = lab.export("discovered", &[512, 4096]);
        let list =
            |uri: &str| Tool::new(["list", uri, "--json", "--hostnqn", HOST_NQN]).run().succeeded().json();
        let found = list(&format!("nvme+tcp://{}", lab.address(Port::Plain))).to_string();
        assert!(found.contains(&export.nqn) && found.contains("10.0.2.15"), "{found}");
        let namespaces = list(&export.uri(Port::Plain, None)).to_string();
        assert!(namespaces.contains("4096") && namespaces.contains("512"), "{namespaces}");
    });
}

#[test]
fn nvmet_discovery_with_a_referral() {
    cell("nvmet_discovery_with_a_referral", NVMET, "discovery: a referral is told of", |lab| {
        let export = lab.export("referring", &[512]);
        // A port listens once it has a subsystem.
        lab.ask(&format!("offer {} 4", export.nqn));
        lab.ask(
            "cd $NVMET/ports/4; mkdir referrals/there; cd referrals/there; echo ipv4 >addr_adrfam; echo tcp >addr_trtype
             echo 10.0.2.15 >addr_traddr; echo 4424 >addr_trsvcid; echo 5 >addr_portid 2>/dev/null || true; echo 1 >enable",
        );
        let address = lab.address(Port::Referring);
        let list =
            Tool::new(["list", &format!("nvme+tcp://{address}"), "--json", "--hostnqn", HOST_NQN]).run();
        lab.ask("echo 0 >$NVMET/ports/4/referrals/there/enable; rmdir $NVMET/ports/4/referrals/there");
        let found = list.succeeded().json().to_string();
        assert!(found.contains("referral") && found.contains("4424"), "{found}");
    });
}

#[test]
fn nvmet_unknown_subsystem() {
    cell("nvmet_unknown_subsystem", NVMET, "a subsystem that is not there", |lab| {
        // A port listens while it has any.
        let _other = lab.export("other", &[512]);
        let uri = format!("nvme+tcp://{}/nqn.2024-01.org.example:none", lab.address(Port::Plain));
        let run = Tool::new(["list", &uri, "--hostnqn", HOST_NQN]).run();
        run.failed(1, "SUBNQN is wrong", "`nvme-tcp list` shows those it has");
    });
}

#[test]
fn nvmet_host_that_is_not_allowed() {
    cell("nvmet_host_that_is_not_allowed", NVMET, "a host that is not allowed", |lab| {
        let export = lab.export("choosy", &[512]);
        lab.ask(&format!("allow {} nqn.2024-01.org.example:other", export.nqn));
        let run = Tool::new(["list", &export.uri(Port::Plain, None), "--hostnqn", HOST_NQN]).run();
        run.failed(4, "Connect was refused", "");
    });
}
