//! What stands on the wire, as tshark sees it on loopback.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use system_tests::{
    DEADLINE, HOST_NQN, KeyFile, Needle, Process, SUBSYSTEM_NQN, Server, Tool, image, scaled, skip,
};

/// Captures what passes `filter` on loopback while `act` runs; `None` where this machine cannot capture.
fn capture(name: &str, folder: &Path, filter: &str, act: impl FnOnce()) -> Option<Vec<u8>> {
    if !geteuid().is_root() {
        skip(name, "only root may capture");
        return None;
    }
    if Command::new("tshark").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        skip(name, "no tshark here (package tshark)");
        return None;
    }
    let file = folder.join("capture");
    let marks = UdpSocket::bind("127.0.0.1:0").unwrap();
    let filter = format!("({filter}) or udp port {}", marks.local_addr().unwrap().port());
    let mut tshark = Command::new("tshark");
    // A buffer that holds everything, for a capture with gaps shows nothing; a line for each packet.
    tshark.args(["-i", "lo", "-B", "64", "-F", "pcap", "-f", &filter]);
    tshark.args(["-P", "-l", "-T", "fields", "-e", "udp.length", "-w"]).arg(&file);
    tshark.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let tshark = Process::start(&mut tshark);
    if !tshark.has_said("Capturing on") {
        skip(name, &format!("tshark cannot capture here: {}", tshark.finish().stderr));
        return None;
    }
    // Packets arrive in order: the capture is whole from one mark to the other.
    mark(&tshark, &marks, 11);
    act();
    mark(&tshark, &marks, 13);
    kill(Pid::from_raw(tshark.id() as i32), Signal::SIGINT).unwrap();
    let run = tshark.finish();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!run.stderr.contains("dropped"), "{}", run.stderr);
    Some(std::fs::read(file).unwrap())
}

/// Sends datagrams of this length to nobody, until the capture shows one.
fn mark(tshark: &Process, socket: &UdpSocket, len: usize) {
    // The length that UDP's header tells counts the header's 8 bytes.
    let line = (len + 8).to_string();
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        socket.send_to(&vec![0; len], socket.local_addr().unwrap()).unwrap();
        if tshark.has_printed(&line, Duration::from_secs(1)) {
            return;
        }
    }
    panic!("the capture does not show a datagram of {len} bytes");
}

fn count(hay: &[u8], needle: &str) -> usize {
    hay.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count()
}

#[test]
fn over_tls_the_wire_shows_nothing_of_image_or_connect_and_in_plain_it_does() {
    let name = "over_tls_the_wire_shows_nothing_of_image_or_connect_and_in_plain_it_does";
    let key = KeyFile::generate("sha256");
    let bytes = image(1, scaled(4 << 20, 1 << 20));
    let needle = Needle::new(&bytes);
    let copy = |server: &Server, flags: &[&str]| {
        let copy = Tool::new(["copy", "-", &server.uri(1), "--verify"]).args(flags).input(bytes.clone());
        drop(copy.run().succeeded());
    };
    // In Connect's data a name ends with zeros; in the PSK identity of a ClientHello with a space.
    let to = |server: &Server| format!("tcp port {}", server.address.port());
    let connect_data = format!("{HOST_NQN}\0");
    let identity = format!("{HOST_NQN} {SUBSYSTEM_NQN} ");

    let plain = Server::plain(["ram:4M"]);
    let flags = ["--hostnqn", HOST_NQN];
    let Some(wire) = capture(name, key.folder(), &to(&plain), || copy(&plain, &flags)) else { return };
    // In and back out; segments cut a block in two now and then.
    let found = needle.count_in(&wire);
    assert!(found > needle.len() * 19 / 10, "{found} of twice {} blocks", needle.len());
    assert!(count(&wire, &connect_data) > 0);

    let tls = Server::tls(["ram:4M"], &key);
    let flags = key.flags();
    let Some(wire) = capture(name, key.folder(), &to(&tls), || copy(&tls, &flags)) else { return };
    assert!(wire.len() > 2 * bytes.len(), "{} bytes captured", wire.len());
    assert_eq!(needle.count_in(&wire), 0);
    assert_eq!(count(&wire, &connect_data), 0);
    // Each connection names its key once, and that is all.
    let hellos = count(&wire, "NVMe1R01 ");
    assert!(hellos > 0);
    assert_eq!((count(&wire, &identity), count(&wire, HOST_NQN)), (hellos, hellos));
    assert_eq!(count(&wire, "nqn."), 2 * hellos);
}

#[test]
fn the_demo_s_image_is_not_on_the_wire() {
    let name = "the_demo_s_image_is_not_on_the_wire";
    let file = KeyFile::with("");
    let bytes = image(2, scaled(4 << 20, 1 << 20));
    std::fs::write(file.path(), &bytes).unwrap();
    let needle = Needle::new(&bytes);
    let demo = || drop(Tool::new(["demo", "--file", file.path()]).run().succeeded());
    // The demo's port is the system's choice, so all of TCP is captured.
    let Some(wire) = capture(name, file.folder(), "tcp", demo) else { return };
    // Written, read, and read once more to be compared.
    assert!(wire.len() > 3 * bytes.len(), "{} bytes captured", wire.len());
    assert_eq!(needle.count_in(&wire), 0);
}
