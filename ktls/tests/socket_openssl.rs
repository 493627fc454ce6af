//! A socket of this library against OpenSSL, which sends tickets behind its handshake; in the lab with
//! the kernel's record layer.

mod socket_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Instant;

use ktls::cipher::CipherSuite;
use ktls::handshake::{ClientConfig, Psk};
use ktls::secret::Secret;
use ktls::{Layer, Options, Socket, Wait};
use socket_support::DEADLINE;
use socket_support::process::{Peer, Port, skip, version};

with_both_layers!(lines_come_back_reversed);

fn lines_come_back_reversed(layer: Layer) {
    for suite in [CipherSuite::Aes128GcmSha256, CipherSuite::ChaCha20Poly1305Sha256] {
        lines_with(suite, layer);
    }
}

fn lines_with(suite: CipherSuite, layer: Layer) {
    if version("openssl", "version").is_none() {
        return skip(
            &format!("lines_come_back_reversed, {layer:?}"),
            "openssl is not installed (apt install openssl)",
        );
    }
    let (port, key) = (Port::hold(), "05".repeat(32));
    let address = format!("127.0.0.1:{port}");
    let arguments = ["s_server", "-accept", &address, "-tls1_3", "-nocert", "-rev", "-psk_identity", "id"];
    let keys = ["-psk", &key, "-ciphersuites", suite.name()];
    let mut server = Peer::start("openssl", [&arguments[..], &keys].concat());
    let stream = server.connect(&port);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let psk = Psk::with_suite(b"id".to_vec(), Secret::new(&[5; 32]).unwrap(), suite).unwrap();
    let options = Options::new().layer(layer);
    let deadline = Some(Instant::now() + DEADLINE);
    let mut socket = Socket::connect(stream, &ClientConfig::new(psk), &options, deadline).unwrap();
    for line in ["first", "a longer second line"] {
        socket.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut reversed = String::new();
        BufReader::new(&mut socket).read_line(&mut reversed).unwrap();
        assert_eq!(reversed.trim_end(), line.chars().rev().collect::<String>());
    }
    // "CLOSE" makes -rev end the connection, with close_notify.
    socket.write_all(b"CLOSE\n").unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    assert!(socket.halves().0.close_notify(Wait::Block).is_ok());
}
