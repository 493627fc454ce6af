//! Sockets whose handshake rustls does, against each other, rustls itself and OpenSSL, in TLS 1.2 and 1.3; in
//! the lab with the kernel's record layer.

mod rustls_support;
mod socket_support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use ktls::cipher::{RecordCipher, Version};
use ktls::rustls::{accept, connect};
use ktls::{Error, Event, Layer, Options, Socket, Wait, probe};
use rustls::{ClientConnection, HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use rustls_support::{Certificate, ciphers, name, openssl_arguments};
use socket_support::process::{Peer, Port, skip};
use socket_support::{DEADLINE, pattern, receive_all, send_all, tcp_pair};

with_both_layers!(
    both_ends_are_ours,
    a_client_against_rustls,
    a_server_against_rustls,
    tickets_go_back_to_rustls,
    keys_change_both_ways,
    a_client_against_openssl,
    a_server_against_openssl,
);

fn certificate(test: &str, layer: Layer) -> Option<Certificate> {
    let made = Certificate::make();
    if made.is_none() {
        skip(&format!("{test}, {layer:?}"), "openssl is not installed (apt install openssl)");
    }
    made
}

fn deadline() -> Option<Instant> {
    Some(Instant::now() + DEADLINE)
}

fn both_ends_are_ours(layer: Layer) {
    let Some(certificate) = certificate("both_ends_are_ours", layer) else { return };
    for cipher in ciphers() {
        let (a, b) = tcp_pair();
        let server_config = Arc::new(certificate.server(cipher));
        let options = Options::new().layer(layer);
        let server_options = options.clone();
        let server = thread::spawn(move || accept(b, &server_config, &server_options, deadline()).unwrap());
        let client = Arc::new(certificate.client(cipher));
        let client = connect(a, &client, name(), &options, deadline()).unwrap();
        let server = server.join().unwrap();
        for socket in [&client, &server] {
            assert_eq!(socket.info().suite, cipher);
            assert_eq!(socket.info().alpn.as_deref(), Some(&b"test"[..]));
        }
        assert_eq!(client.info().peer_certificates.len(), 1);
        let data = pattern(300_000);
        let (mut client, mut server) = (client.into_halves(), server.into_halves());
        thread::scope(|scope| {
            for send in [&mut client.0, &mut server.0] {
                scope.spawn(|| {
                    send_all(send, &data);
                    assert!(send.close_notify(Wait::Block).unwrap());
                });
            }
            for recv in [&mut client.1, &mut server.1] {
                scope.spawn(|| assert!(receive_all(recv) == data));
            }
        });
    }
}

/// rustls as it is: sends a greeting at once, then gives back what comes until the peer closes. Says how the
/// handshake went.
fn rustls_echo(stream: TcpStream, config: Arc<ServerConfig>) -> thread::JoinHandle<Option<HandshakeKind>> {
    thread::spawn(move || {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        stream.write_all(b"hello").unwrap();
        let mut buf = vec![0; 50_000];
        loop {
            match stream.read(&mut buf).unwrap() {
                0 => break,
                n => stream.write_all(&buf[..n]).unwrap(),
            }
        }
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        stream.conn.handshake_kind()
    })
}

/// The other end of [`rustls_echo`], to the close in both directions.
fn talk(mut socket: Socket, data: &[u8]) {
    let mut hello = [0; 5];
    socket.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    for part in data.chunks(40_000) {
        socket.write_all(part).unwrap();
        let mut back = vec![0; part.len()];
        socket.read_exact(&mut back).unwrap();
        assert!(back == part);
    }
    assert!(socket.halves().0.close_notify(Wait::Block).unwrap());
    assert_eq!(socket.read(&mut hello).unwrap(), 0);
}

fn a_client_against_rustls(layer: Layer) {
    let Some(certificate) = certificate("a_client_against_rustls", layer) else { return };
    for cipher in ciphers() {
        let (a, b) = tcp_pair();
        let server = rustls_echo(b, Arc::new(certificate.server(cipher)));
        let config = Arc::new(certificate.client(cipher));
        let socket = connect(a, &config, name(), &Options::new().layer(layer), deadline()).unwrap();
        assert_eq!(socket.info().suite, cipher);
        talk(socket, &pattern(200_000));
        assert_eq!(server.join().unwrap(), Some(HandshakeKind::Full));
    }
}

fn a_server_against_rustls(layer: Layer) {
    let Some(certificate) = certificate("a_server_against_rustls", layer) else { return };
    for cipher in ciphers() {
        let (a, b) = tcp_pair();
        let config = Arc::new(certificate.server(cipher));
        let options = Options::new().layer(layer);
        let server = thread::spawn(move || {
            let mut socket = accept(b, &config, &options, deadline()).unwrap();
            let mut all = Vec::new();
            socket.read_to_end(&mut all).unwrap();
            socket.write_all(&all).unwrap();
            assert!(socket.halves().0.close_notify(Wait::Block).unwrap());
        });
        let client = ClientConnection::new(Arc::new(certificate.client(cipher)), name()).unwrap();
        let mut stream = StreamOwned::new(client, a);
        // Sent together with the client's Finished: the server may not read it with the handshake.
        let data = pattern(30_000);
        stream.write_all(&data).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == data);
        server.join().unwrap();
    }
}

fn tickets_go_back_to_rustls(layer: Layer) {
    let Some(certificate) = certificate("tickets_go_back_to_rustls", layer) else { return };
    for cipher in ciphers() {
        let server = Arc::new(certificate.server(cipher));
        let client = Arc::new(certificate.client(cipher));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (a, b) = tcp_pair();
            let echo = rustls_echo(b, Arc::clone(&server));
            let options = Options::new().layer(layer);
            talk(connect(a, &client, name(), &options, deadline()).unwrap(), b"some data");
            assert_eq!(echo.join().unwrap(), Some(kind), "{cipher}");
        }
    }
}

fn keys_change_both_ways(layer: Layer) {
    let Some(certificate) = certificate("keys_change_both_ways", layer) else { return };
    for cipher in ciphers() {
        let (a, b) = tcp_pair();
        let config = Arc::new(certificate.server(cipher));
        let server = thread::spawn(move || {
            let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), b);
            let mut buf = [0; 100];
            // Data after the client's KeyUpdate, and then the same after ours.
            while let Ok(n @ 1..) = stream.read(&mut buf) {
                if stream.conn.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
                    stream.conn.refresh_traffic_keys().unwrap();
                }
                stream.write_all(&buf[..n]).unwrap();
            }
        });
        let config = Arc::new(certificate.client(cipher));
        let mut socket = connect(a, &config, name(), &Options::new().layer(layer), deadline()).unwrap();
        let can = layer == Layer::Process || probe().rekey;
        for round in 0..3_u8 {
            match socket.halves().0.update_key(round == 1, Wait::Block) {
                Ok(()) => assert!(can && cipher.version() == Version::Tls13),
                Err(Error::NoNextKey { .. }) => assert_eq!(cipher.version(), Version::Tls12),
                Err(Error::RekeyUnsupported { .. }) => {
                    assert!(!can, "{cipher}");
                    break;
                }
                Err(error) => panic!("{cipher}: {error}"),
            }
            socket.write_all(&[round; 3]).unwrap();
            let mut back = [0xff; 3];
            socket.read_exact(&mut back).unwrap();
            assert_eq!(back, [round; 3]);
            let updated = socket.take_event() == Some(Event::PeerUpdatedKey);
            assert_eq!(updated, cipher.version() == Version::Tls13);
        }
        drop(socket);
        server.join().unwrap();
    }
}

/// Lines go there and come back: `-rev` turns them round.
fn reversed(socket: &mut Socket) {
    for line in ["first", "a longer second line"] {
        socket.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut back = vec![0; line.len() + 1];
        socket.read_exact(&mut back).unwrap();
        assert_eq!(String::from_utf8(back).unwrap().trim_end(), line.chars().rev().collect::<String>());
    }
}

fn a_client_against_openssl(layer: Layer) {
    let Some(certificate) = certificate("a_client_against_openssl", layer) else { return };
    for cipher in ciphers() {
        let port = Port::hold();
        let address = format!("127.0.0.1:{port}");
        let (path, key) = (certificate.path(), certificate.key());
        let files = ["-cert", path.to_str().unwrap(), "-key", key.to_str().unwrap()];
        let arguments = ["s_server", "-accept", &address, "-rev", "-alpn", "test"];
        let all = [&arguments[..], &files, &openssl_arguments(cipher)].concat();
        let mut server = Peer::start("openssl", all);
        let stream = server.connect(&port);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let config = Arc::new(certificate.client(cipher));
        let mut socket = connect(stream, &config, name(), &Options::new().layer(layer), deadline()).unwrap();
        assert_eq!(socket.info().suite, cipher);
        reversed(&mut socket);
        // "CLOSE" makes -rev end the connection, with close_notify.
        socket.write_all(b"CLOSE\n").unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    }
}

fn a_server_against_openssl(layer: Layer) {
    let Some(certificate) = certificate("a_server_against_openssl", layer) else { return };
    for cipher in ciphers() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let path = certificate.path();
        let trust = ["-CAfile", path.to_str().unwrap(), "-verify_return_error", "-alpn", "test"];
        let arguments = ["s_client", "-connect", &address, "-servername", "localhost"];
        let mut client =
            Peer::start("openssl", [&arguments[..], &trust, &openssl_arguments(cipher)].concat());
        let stream = client.accept(&listener);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let options = Options::new().layer(layer);
        let config = Arc::new(certificate.server(cipher));
        let mut socket = accept(stream, &config, &options, deadline()).unwrap();
        client.write(b"a line\n");
        let mut line = [0; 7];
        socket.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"a line\n");
        if cipher.version() == Version::Tls13 && (layer == Layer::Process || probe().rekey) {
            // s_client's command for a KeyUpdate that asks for ours.
            client.write(b"K\n");
            client.wait_for("KEYUPDATE");
        }
        socket.write_all(b"said by the server\n").unwrap();
        client.wait_for("said by the server");
        client.write(b"Q\n");
        assert_eq!(socket.read(&mut line).unwrap(), 0, "{cipher}: {}", client.said());
    }
}

#[test]
fn a_wrong_name_is_told_at_both_ends() {
    let Some(certificate) = certificate("a_wrong_name_is_told_at_both_ends", Layer::Process) else { return };
    for cipher in ciphers() {
        let (a, b) = tcp_pair();
        let config = Arc::new(certificate.server(cipher));
        let server = thread::spawn(move || accept(b, &config, &Options::new(), deadline()).map(drop));
        let config = Arc::new(certificate.client(cipher));
        let name = "elsewhere.test".try_into().unwrap();
        let client = connect(a, &config, name, &Options::new(), deadline()).map(drop);
        let rustls_error = |result: Result<(), Error>| match result {
            Err(Error::Stack(error)) => error.downcast_ref::<rustls::Error>().cloned().unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(matches!(rustls_error(client), rustls::Error::InvalidCertificate(_)));
        let told = rustls_error(server.join().unwrap());
        assert!(matches!(told, rustls::Error::AlertReceived(_)), "{told}");
    }
}

#[test]
fn a_peer_that_goes_away_or_speaks_no_tls_is_told() {
    let Some(certificate) = certificate("a_peer_that_goes_away", Layer::Process) else { return };
    let cipher: RecordCipher = ciphers()[0];
    let config = Arc::new(certificate.client(cipher));
    let attempt = |stream| connect(stream, &config, name(), &Options::new(), deadline()).map(drop);
    let (a, b) = tcp_pair();
    drop(b);
    assert!(attempt(a).unwrap_err().is_unexpected_eof());
    let (a, mut b) = tcp_pair();
    b.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    let error = attempt(a).unwrap_err();
    assert!(matches!(error, Error::Handshake(ktls::handshake::Error::NotTls { .. })), "{error}");
    let (a, _b) = tcp_pair();
    let soon = Some(Instant::now() + std::time::Duration::from_millis(50));
    let error = connect(a, &config, name(), &Options::new(), soon).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io(ref error) if error.kind() == std::io::ErrorKind::TimedOut), "{error}");
}
