//! Our initiator, on this machine and in the guest, and the Linux kernel's target in the QEMU lab: without TLS.

use system_tests::qemu::{Lab, Port, Side};
use system_tests::{HOST_NQN, Tool, image, on_both_sides};

const BYTES: u64 = 4 << 20;

/// Copies an image to the first namespace, reads it back over a new connection, and looks at it from the other side.
fn copied(lab: &Lab, name: &str, flags: &[&str]) {
    let export = lab.export(name, &[4096]);
    let bytes = image(7, BYTES);
    let copy = Tool::new(["copy", "-", &export.uri(Port::Plain, 1), "--verify", "--hostnqn", HOST_NQN]);
    let run = lab.run(copy.args(flags).input(bytes.clone())).succeeded();
    assert!(run.stderr.is_empty() || !run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(export.sha256(1, BYTES as usize), system_tests::qemu::sha256(&bytes));
}

on_both_sides!(nvmet_plain, "plain", None, |lab| copied(lab, "plain", &[]));

on_both_sides!(nvmet_header_digest, "header digest", None, |lab| copied(lab, "hdgst", &["-g"]));

on_both_sides!(nvmet_data_digest, "data digest", None, |lab| copied(lab, "ddgst", &["-G"]));

on_both_sides!(nvmet_both_digests, "both digests", None, |lab| copied(lab, "digests", &["-g", "-G"]));

/// Writes and reads pieces of many sizes, at multiples of their size and beside them.
fn pieces(lab: &Lab, name: &str, block: u32, digests: bool) {
    let export = lab.export(name, &[block]);
    let words =
        [&lab.address(Port::Plain).to_string(), &export.nqn, &block.to_string(), &digests.to_string()];
    let run = lab.run(Tool::other(env!("CARGO_BIN_EXE_pieces"), words)).succeeded();
    assert_eq!(run.text(), "6 sizes, plain\n");
}

on_both_sides!(
    nvmet_pieces_of_512_byte_blocks,
    "4 KiB to 8 MiB, aligned and not, 512-byte blocks",
    None,
    |lab| {
        pieces(lab, "pieces512", 512, false);
    }
);

on_both_sides!(
    nvmet_pieces_of_4096_byte_blocks,
    "4 KiB to 8 MiB, aligned and not, 4096-byte blocks",
    None,
    |lab| {
        pieces(lab, "pieces4096", 4096, true);
    }
);

on_both_sides!(nvmet_discovery, "discovery", None, |lab| {
    let export = lab.export("discovered", &[512, 4096]);
    let list = |uri: &str| {
        lab.run(Tool::new(["list", uri, "--json", "--hostnqn", HOST_NQN])).succeeded().json().to_string()
    };
    let found = list(&format!("nvme+tcp://{}", lab.address(Port::Plain)));
    let address = if lab.side == Side::Guest { "127.0.0.1" } else { "10.0.2.15" };
    assert!(found.contains(&export.nqn) && found.contains(address), "{found}");
    let namespaces = list(&export.uri(Port::Plain, None));
    assert!(namespaces.contains("4096") && namespaces.contains("512"), "{namespaces}");
});

on_both_sides!(nvmet_discovery_with_a_referral, "discovery: a referral is told of", None, |lab| {
    let export = lab.export("referring", &[512]);
    // A port listens once it has a subsystem.
    lab.ask(&format!("offer {} 4", export.nqn));
    lab.ask(
        "cd $NVMET/ports/4; mkdir referrals/there; cd referrals/there; echo ipv4 >addr_adrfam; echo tcp >addr_trtype
         echo 10.0.2.15 >addr_traddr; echo 4424 >addr_trsvcid; echo 5 >addr_portid 2>/dev/null || true; echo 1 >enable",
    );
    let address = lab.address(Port::Referring);
    let list =
        lab.run(Tool::new(["list", &format!("nvme+tcp://{address}"), "--json", "--hostnqn", HOST_NQN]));
    lab.ask("echo 0 >$NVMET/ports/4/referrals/there/enable; rmdir $NVMET/ports/4/referrals/there");
    let found = list.succeeded().json().to_string();
    assert!(found.contains("referral") && found.contains("4424"), "{found}");
});

on_both_sides!(nvmet_unknown_subsystem, "a subsystem that is not there", None, |lab| {
    // A port listens while it has any.
    let _other = lab.export("other", &[512]);
    let uri = format!("nvme+tcp://{}/nqn.2024-01.org.example:none", lab.address(Port::Plain));
    let run = lab.run(Tool::new(["list", &uri, "--hostnqn", HOST_NQN]));
    run.failed(1, "SUBNQN is wrong", "`nvme-tcp list` shows those it has");
});

on_both_sides!(nvmet_host_that_is_not_allowed, "a host that is not allowed", None, |lab| {
    let export = lab.export("choosy", &[512]);
    lab.ask(&format!("allow {} nqn.2024-01.org.example:other", export.nqn));
    let run = lab.run(Tool::new(["list", &export.uri(Port::Plain, None), "--hostnqn", HOST_NQN]));
    run.failed(4, "Connect was refused", "");
});
