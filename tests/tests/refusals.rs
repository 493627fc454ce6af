//! What wrong keys, names, files and namespaces get: an exit code, a line that names the cause, a line that
//! names the mend, and nothing lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp_target::{KeyRing, Listener, Namespace, Subsystem, Target};
use system_tests::{
    DEADLINE, Gauge, Gauged, HOST_NQN, KeyFile, SUBSYSTEM_NQN, Server, Tool, embedded, image, uri,
};

const TLS: i32 = 4;

fn copy_in(uri: &str) -> Tool {
    Tool::new(["copy", "-", uri]).input(image(1, 4096))
}

#[test]
fn a_wrong_key_is_named() {
    let (theirs, ours) = (KeyFile::generate("sha256"), KeyFile::generate("sha256"));
    let server = Server::tls(["ram:1M"], &theirs);
    for choice in [&[][..], &["--identity", "0"], &["--identity", "1"]] {
        let run = copy_in(&server.uri(1)).args(ours.flags()).args(choice).run();
        run.failed(TLS, &format!("TLS with {} failed", server.address), "key");
    }
    // The server goes on.
    drop(copy_in(&server.uri(1)).args(theirs.flags()).run().succeeded());
}

#[test]
fn a_key_of_another_hash_is_unknown() {
    let (theirs, ours) = (KeyFile::generate("sha256"), KeyFile::generate("sha384"));
    let server = Server::tls(["ram:1M"], &theirs);
    copy_in(&server.uri(1)).args(ours.flags()).run().failed(TLS, "TLS with ", "key");
}

#[test]
fn a_key_of_another_host_or_subsystem_is_unknown() {
    let file = KeyFile::generate("sha256");
    let key = ConfiguredKey::from_file(file.path()).unwrap();
    let other = "nqn.2024-01.org.example:other";
    for (host, subsystem) in [(other, SUBSYSTEM_NQN), (HOST_NQN, other)] {
        let ring = KeyRing::new();
        ring.add(Some(host), Some(subsystem), key.clone());
        let target = Target::builder()
            .subsystem(Subsystem::new(SUBSYSTEM_NQN).namespace(1, Namespace::ram(1 << 20)))
            .listen(Listener::tls(([127, 0, 0, 1], 0), ring.clone()))
            .start()
            .unwrap();
        let uri = uri(target.local_addrs()[0], 1);
        copy_in(&uri).args(file.flags()).run().failed(TLS, "TLS with ", "--hostnqn");
        assert_eq!(target.statistics().commands, 0);
        // So it was that, and nothing else.
        ring.add(Some(HOST_NQN), Some(SUBSYSTEM_NQN), key.clone());
        drop(copy_in(&uri).args(file.flags()).run().succeeded());
    }
}

#[test]
fn a_key_text_that_was_not_copied_well_is_refused_before_anything_is_sent() {
    let good = KeyFile::generate("sha256").text();
    let body = good.strip_prefix("NVMeTLSkey-1:01:").unwrap();
    // Another letter in the middle: no checksum fits it.
    let at = body.len() / 2;
    let letter = if &body[at..=at] == "A" { "B" } else { "A" };
    let changed = format!("NVMeTLSkey-1:01:{}{letter}{}", &body[..at], &body[at + 1..]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let uri = uri(listener.local_addr().unwrap(), 1);
    for (wrong, cause, hint) in [
        (changed, "CRC-32", "copy the text again"),
        (format!("NVMeTLSkey-1:02:{body}"), "its hash 02 asks for 48", "32-byte keys go with 01"),
        (format!("NVMeTLSkey-1:09:{body}"), "hash \"09\"", "32-byte keys go with 01"),
        (format!("NVMeTLSkey-1:01:{}", &body[4..]), "29 bytes long", "copy the text again"),
        (good[..30].to_owned(), "ends inside its key field", "copy the whole text"),
    ] {
        let file = KeyFile::with(&wrong);
        let run = copy_in(&uri).args(file.flags()).run();
        run.failed(2, cause, hint);
        assert!(!run.stderr.contains(&body[..12]), "{}", run.stderr);
        let serve =
            Tool::new(["serve", "--listen", "127.0.0.1:0", "-n", "nqn.test:s", "--namespace", "ram:1M"]);
        serve.args(["--keyfile", file.path()]).run().failed(2, cause, hint);
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn tls_against_a_plain_listener_is_named() {
    let key = KeyFile::generate("sha256");
    let server = Server::plain(["ram:1M"]);
    let run = copy_in(&server.uri(1)).args(key.flags()).run();
    run.failed(TLS, &format!("TLS with {}", server.address), "without --tls");
    let list = Tool::new(["list", &format!("nvme+tcp://{}", server.address)]).args(key.flags());
    list.run().failed(TLS, "TLS with ", "without --tls");
    drop(copy_in(&server.uri(1)).run().succeeded());
}

#[test]
fn plain_against_a_tls_listener_is_named() {
    let key = KeyFile::generate("sha256");
    let server = Server::tls(["ram:1M"], &key);
    copy_in(&server.uri(1)).run().failed(TLS, &server.address.to_string(), "--tls");
    Tool::new(["list", &format!("nvme+tcp://{}", server.address)]).run().failed(TLS, "", "--tls");
}

#[test]
fn a_tls_listener_answers_plain_text_with_no_byte_of_nvme() {
    let key = KeyFile::generate("sha256");
    let server = Server::tls(["ram:1M"], &key);
    let mut icreq = [0; 128];
    icreq[0] = PduType::IcReq as u8;
    icreq[2] = 128;
    icreq[4] = 128;
    let answer = |address| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&icreq).unwrap();
        let mut first = [0; 8];
        let n = stream.read(&mut first).unwrap_or(0);
        first[..n].to_vec()
    };
    // Nothing, or a TLS alert.
    let answered = answer(server.address);
    assert!(matches!(answered[..], [] | [21, 3, ..]), "{answered:?}");
    // The same bytes get an answer where they belong.
    let plain = Server::plain(["ram:1M"]);
    assert_eq!(answer(plain.address)[0], PduType::IcResp as u8);
}

#[test]
fn a_host_that_is_not_allowed_stays_out() {
    let key = KeyFile::generate("sha256");
    let allowed = "nqn.2024-01.org.example:allowed";
    let plain = Server::start(["ram:1M"], &["--hostnqn", allowed]);
    let tls = Server::start(["ram:1M"], &["--hostnqn", allowed, "--keyfile", key.path()]);
    for (server, flags) in [(plain, vec!["--hostnqn", HOST_NQN]), (tls, key.flags().to_vec())] {
        let run = copy_in(&server.uri(1)).args(flags).run();
        run.failed(TLS, "Connect was refused", "this host NQN is not allowed");
    }
}

#[test]
fn an_unknown_subsystem_is_named() {
    let server = Server::plain(["ram:1M"]);
    let uri = format!("nvme+tcp://{}/nqn.2024-01.org.example:none/1", server.address);
    copy_in(&uri).run().failed(1, "Connect was refused", "`nvme-tcp list` shows");
}

#[test]
fn a_namespace_that_does_not_exist_is_named() {
    let server = Server::plain(["ram:1M"]);
    copy_in(&server.uri(2)).run().failed(1, "namespace 2 does not exist", "`nvme-tcp list` shows");
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("image");
    let run = Tool::new(["copy", &server.uri(7), file.to_str().unwrap()]).run();
    run.failed(1, "namespace 7 does not exist", "`nvme-tcp list` shows");
    assert!(!file.exists());
}

#[test]
fn an_image_that_is_too_large_is_refused_before_its_first_byte() {
    let server = Server::plain(["ram:1M"]);
    drop(Tool::new(["copy", "-", &server.uri(1)]).input(image(1, 1 << 20)).run().succeeded());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    fs::write(&file, image(2, (1 << 20) + 1)).unwrap();
    let run = Tool::new(["copy", file.to_str().unwrap(), &server.uri(1), "--verify"]).run();
    run.failed(1, "the image has 1048577 bytes, and the namespace 1048576", "larger namespace");
    let held = Tool::new(["copy", &server.uri(1), "-"]).run().succeeded().stdout;
    assert!(held == image(1, 1 << 20));
    // Of a pipe nobody knows how long it is.
    let run = Tool::new(["copy", "-", &server.uri(1)]).input(image(2, (1 << 20) + 1)).run();
    run.failed(1, "the image has", "larger namespace");
}

#[test]
fn more_than_the_namespace_holds_cannot_be_copied_out() {
    let server = Server::plain(["ram:1M"]);
    let run = Tool::new(["copy", &server.uri(1), "/dev/null", "--length", "2M"]).run();
    run.failed(2, "2097152 bytes are asked for, and the namespace has 1048576", "--length");
}

#[test]
fn a_namespace_with_metadata_or_protection_is_refused_before_its_first_byte() {
    for (change, cause) in [
        (Namespace::metadata_bytes as fn(Namespace, u16) -> Namespace, "8 bytes of metadata"),
        (|namespace, _| namespace.protection(1), "protection information of type 1"),
        (
            |namespace, bytes| namespace.metadata_bytes(bytes).protection(2),
            "protection information of type 2",
        ),
    ] {
        let gauge = Arc::new(Gauge::default());
        let namespace = Namespace::backend(Gauged { size: 1 << 20, gauge: gauge.clone() });
        let served = embedded(change(namespace, 8), None, |_| {});
        let run = Tool::new(["copy", "-", &served.uri()]).input(vec![0; 4096]).run();
        run.failed(1, cause, "without metadata and protection information");
        let run = Tool::new(["copy", &served.uri(), "/dev/null"]).run();
        run.failed(1, cause, "without metadata and protection information");
        let touched = [&gauge.written, &gauge.wrong, &gauge.read].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(touched, [0; 3]);
        assert_eq!(served.target.statistics().failed_commands, 0);
    }
}

#[test]
fn a_write_protected_namespace_is_refused_before_its_first_byte() {
    let served = embedded(Namespace::ram(1 << 20).read_only(), None, |_| {});
    copy_in(&served.uri()).run().failed(1, "namespace 1 is write protected", "serves it for reading only");
    assert_eq!(served.target.statistics().failed_commands, 0);
}

#[test]
fn a_target_without_room_says_so() {
    let gauge = Arc::new(Gauge::default());
    gauge.full_from.store(1 << 20, Ordering::SeqCst);
    let served = embedded(Namespace::backend(Gauged { size: 4 << 20, gauge }), None, |_| {});
    let run = Tool::new(["copy", "-", &served.uri()]).input(vec![0; 3 << 20]).run();
    run.failed(1, "Write failed: capacity exceeded", "make room there");
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let server = Server::plain(["ram:1M"]);
    let io = |args: [&str; 2], cause: &str, hint: &str| {
        Tool::new(["copy"]).args(args).run().failed(1, cause, hint);
    };
    let uri = server.uri(1);
    io(["/no/such/file", &uri], "cannot read /no/such/file: No such file", "check the name");
    io(["/", &uri], "cannot read /: ", "name a file");
    // Whoever reads its first page gets an I/O error, root too.
    io(["/proc/self/mem", &uri], "cannot read the image: Input/output error", "dmesg");
    io([&uri, "/"], "cannot write /: Is a directory", "name a file");
    let nowhere = "/no/such/folder/image";
    io([&uri, nowhere], "cannot write /no/such/folder/image: No such file", "its folder is there");
    io([&uri, "/dev/full"], "cannot write the image: No space left", "make room there");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = Tool::new(["copy", &uri, "-"]).stdout(full()).run();
    run.failed(1, "cannot write the image: No space left", "make room there");
    let run = Tool::new(["key", "generate"]).stdout(full()).run();
    run.failed(1, "cannot write to standard output: No space left", "make room there");
    Tool::new(["key", "check", "--keyfile", "/no/such/key"]).run().failed(
        1,
        "/no/such/key",
        "check the name",
    );
}

#[test]
fn a_file_without_permission_is_named() {
    if nix::unistd::geteuid().is_root() {
        return system_tests::skip("a_file_without_permission_is_named", "root may read everything");
    }
    let file = KeyFile::with("");
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let server = Server::plain(["ram:1M"]);
    let run = Tool::new(["copy", file.path(), &server.uri(1)]).run();
    run.failed(1, "Permission denied", "a user who may read it");
}

#[test]
fn a_served_file_that_is_none_is_named() {
    let serve = |namespace: &str, cause: &str, hint: &str| {
        let run =
            Tool::new(["serve", "--listen", "127.0.0.1:0", "-n", "nqn.test:s", "--namespace", namespace]);
        run.run().failed(1, cause, hint);
    };
    serve("/no/such/file", "/no/such/file: No such file", "check the name");
    serve("/", "/: ", "name a file");
    serve("ram:1000", "1000 bytes are not a whole number", "a multiple of 512");
    let disk = KeyFile::with("");
    fs::File::create(disk.path()).unwrap().set_len(1 << 20).unwrap();
    let _server = Server::plain([disk.path()]);
    serve(disk.path(), "it is locked", "fuser");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::plain(["ram:1M"]);
    let run = Tool::new(["serve", "-n", "nqn.test:s", "--namespace", "ram:1M", "--listen"]);
    let run = run.arg(server.address.to_string()).run();
    run.failed(1, &format!("cannot listen on {}: Address already in use", server.address), "--listen");
}

#[test]
fn a_closed_port_is_no_connection() {
    let key = KeyFile::generate("sha256");
    // A port that is in use and does not listen: nobody else gets it meanwhile.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = connected.local_addr().unwrap();
    let closed = uri(address, 1);
    for flags in [&[][..], &key.flags()] {
        let run = copy_in(&closed).args(flags).run();
        run.failed(3, &format!("cannot connect to {address}: Connection refused"), "nothing listens there");
    }
    let run = Tool::new(["copy", "/dev/null", "nvme+tcp://name.invalid/nqn.test:s/1"]).run();
    run.failed(3, "cannot connect to name.invalid:4420", "check the address");
}

#[test]
fn wrong_uris_and_sizes_are_wrong_usage() {
    for args in [
        &["copy", "a", "nvme+tcp://127.0.0.1/nqn.test:s"][..],
        &["copy", "a", "nvme+tcp://127.0.0.1:0/nqn.test:s/1"],
        &["copy", "a", "nvme+rdma://127.0.0.1/nqn.test:s/1"],
        &["copy", "a", "b"],
        &["copy", "nvme+tcp://127.0.0.1/nqn.test:s/1", "-", "--length", "1.5Q"],
        &["copy", "a", "nvme+tcp://127.0.0.1/nqn.test:s/1", "--length", "1M"],
        &["copy", "-", "nvme+tcp://127.0.0.1/nqn.test:s/1", "--tls"],
        &["copy", "-", "nvme+tcp://127.0.0.1/nqn.test:s/1", "--keyfile", "k"],
        &["list"],
        &["serve", "--namespace", "ram:1M"],
    ] {
        let run = Tool::new(args).run();
        assert_eq!((run.code, run.stdout.len()), (Some(2), 0), "{args:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty());
    }
}
