//! Keys from elsewhere: raw ones of TLS 1.2 and 1.3, a key log's, and those of a rustls connection that was
//! in use; process against process on every machine, and with the kernel in the lab.

mod rustls_support;
mod socket_support;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use ktls::cipher::{CipherSuite, RecordCipher, Version};
use ktls::handshake::Role;
use ktls::keys::{DirectionKey, KeyLog, RawKeys};
use ktls::rustls::{ConvertError, Reason, RecordStream, from_connection};
use ktls::{Error, Layer, Options, SealedBy, Socket, Wait, probe_cipher};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use rustls_support::{Certificate, ciphers, name};
use socket_support::process::skip;
use socket_support::{kernel_has_tls, pattern, receive_all, send_all, tcp_pair};

/// Keys of both ends in the middle of a connection.
fn keys(cipher: RecordCipher) -> [RawKeys; 2] {
    let key = |fill: u8, sequence| {
        DirectionKey::new(cipher, &vec![fill; cipher.cipher().key_len()], &[fill; 12], sequence).unwrap()
    };
    [RawKeys::new(key(1, 5), key(2, 1000)).unwrap(), RawKeys::new(key(2, 1000), key(1, 5)).unwrap()]
}

fn exchange(cipher: RecordCipher, layers: [Layer; 2]) {
    let (a, b) = tcp_pair();
    let [keys_a, keys_b] = keys(cipher);
    let options = layers.map(|layer| Options::new().layer(layer));
    let a = Socket::from_keys(a, keys_a, &options[0]).unwrap();
    let b = Socket::from_keys(b, keys_b, &options[1]).unwrap();
    assert_eq!((a.info().suite, a.info().version()), (cipher, cipher.version().name()));
    let data = pattern(100_000);
    let (mut a, mut b) = (a.into_halves(), b.into_halves());
    assert_eq!((a.0.budget().used, a.1.budget().used), (5, 1000));
    thread::scope(|scope| {
        for send in [&mut a.0, &mut b.0] {
            scope.spawn(|| {
                send_all(send, &data);
                assert!(send.close_notify(Wait::Block).unwrap());
            });
        }
        for recv in [&mut a.1, &mut b.1] {
            scope.spawn(|| assert!(receive_all(recv) == data));
        }
    });
}

#[test]
fn raw_keys_in_process() {
    for cipher in ciphers() {
        exchange(cipher, [Layer::Process; 2]);
    }
}

#[test]
fn raw_keys_with_the_kernel() {
    if !kernel_has_tls("raw_keys_with_the_kernel") {
        return;
    }
    for cipher in ciphers() {
        exchange(cipher, [Layer::Kernel, Layer::Process]);
        exchange(cipher, [Layer::Kernel; 2]);
    }
}

#[test]
fn ciphers_of_the_kernel_alone() {
    for cipher in RecordCipher::all().filter(|cipher| !cipher.cipher().in_process()) {
        let found = probe_cipher(cipher);
        if found.send.is_none() && found.receive.is_none() {
            exchange(cipher, [Layer::Auto; 2]);
            continue;
        }
        let (a, _b) = tcp_pair();
        let [keys, _] = keys(cipher);
        let error = Socket::from_keys(a, keys, &Options::new()).map(drop).unwrap_err();
        assert!(matches!(error, Error::KernelOnly { cipher: refused, .. } if refused == cipher), "{error}");
        let text = error.to_string();
        assert!(text.contains(&cipher.to_string()) && text.contains("only with the kernel"), "{text}");
    }
    // In the lab there is one at least.
    if kernel_has_tls("ciphers_of_the_kernel_alone, with the kernel") {
        let ccm = RecordCipher::new(Version::Tls13, ktls::cipher::Cipher::Aes128Ccm).unwrap();
        assert_eq!(probe_cipher(ccm).send, None);
        exchange(ccm, [Layer::Kernel; 2]);
    }
}

#[test]
fn keys_given_raw_cannot_change_and_say_so() {
    for cipher in ciphers() {
        let (a, b) = tcp_pair();
        let [keys_a, keys_b] = keys(cipher);
        let mut a = Socket::from_keys(a, keys_a, &Options::new().layer(Layer::Process)).unwrap();
        let mut b = Socket::from_keys(b, keys_b, &Options::new().layer(Layer::Process)).unwrap();
        let error = a.halves().0.update_key(false, Wait::Block).unwrap_err();
        assert!(matches!(error, Error::NoNextKey { .. }) && error.needs_new_connection(), "{error}");
        // Nothing was sent, and nothing is broken.
        a.write_all(b"still here").unwrap();
        let mut buf = [0; 10];
        b.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"still here");
    }
}

fn certificate(test: &str) -> Option<Certificate> {
    let made = Certificate::make();
    if made.is_none() {
        skip(test, "openssl is not installed (apt install openssl)");
    }
    made
}

type Stream = StreamOwned<ClientConnection, RecordStream>;

/// A client's connection that was used a little, and an echo at its other end.
fn used_connection(
    certificate: &Certificate,
    cipher: RecordCipher,
    key_log: Option<Arc<dyn rustls::KeyLog>>,
) -> (Stream, thread::JoinHandle<()>) {
    let (a, b) = tcp_pair();
    let config = Arc::new(certificate.server(cipher));
    let server = thread::spawn(move || {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), b);
        let mut buf = [0; 1000];
        while let Ok(n @ 1..) = stream.read(&mut buf) {
            stream.write_all(&buf[..n]).unwrap();
        }
    });
    let mut config = certificate.client(cipher);
    config.enable_secret_extraction = true;
    config.key_log = key_log.unwrap_or(config.key_log);
    let client = ClientConnection::new(Arc::new(config), name()).unwrap();
    let mut stream = StreamOwned::new(client, RecordStream::new(a));
    stream.write_all(b"before").unwrap();
    let mut buf = [0; 6];
    stream.read_exact(&mut buf).unwrap();
    (stream, server)
}

fn still_works(mut socket: Socket) {
    for round in 0..3_u8 {
        socket.write_all(&[round; 5]).unwrap();
        let mut buf = [0xff; 5];
        socket.read_exact(&mut buf).unwrap();
        assert_eq!(buf, [round; 5]);
    }
}

with_both_layers!(a_connection_in_use_is_taken_over);

fn a_connection_in_use_is_taken_over(layer: Layer) {
    let Some(certificate) = certificate(&format!("a_connection_in_use_is_taken_over, {layer:?}")) else {
        return;
    };
    for cipher in ciphers() {
        let (stream, server) = used_connection(&certificate, cipher, None);
        let (connection, tcp) = stream.into_parts();
        let socket = from_connection(tcp, connection, &Options::new().layer(layer)).unwrap();
        assert_eq!(socket.info().suite, cipher);
        assert_eq!(socket.info().send.by == SealedBy::Process, layer == Layer::Process);
        still_works(socket);
        server.join().unwrap();
    }
}

#[test]
fn what_would_be_lost_is_given_back() {
    let Some(certificate) = certificate("what_would_be_lost_is_given_back") else { return };
    let refused = |tcp, connection: ClientConnection| match from_connection(tcp, connection, &Options::new())
    {
        Err(ConvertError::Refused(refused)) => *refused,
        other => panic!("not refused: {other:?}"),
    };
    for cipher in ciphers() {
        let (mut stream, server) = used_connection(&certificate, cipher, None);
        stream.write_all(b"undelivered").unwrap();
        let (mut connection, mut tcp) = stream.into_parts();
        // Half of the answer's header: it could not be told from rustls alone.
        let mut header = [0; 3];
        assert_eq!(connection.read_tls(&mut (&mut tcp).take(3)).unwrap(), header.len());
        let back = refused(tcp, connection);
        assert_eq!(back.reason, Reason::PartialRecord);
        let rustls::Connection::Client(connection) = back.connection else { panic!("a client") };
        let mut stream = StreamOwned::new(connection, back.stream);
        // One byte is taken, the rest is in rustls.
        stream.read_exact(&mut header[..1]).unwrap();
        let (connection, tcp) = stream.into_parts();
        let back = refused(tcp, connection);
        assert_eq!(back.reason, Reason::Undelivered { bytes: 10 });
        let (mut connection, tcp) = (back.connection, back.stream);
        let mut rest = [0; 10];
        connection.reader().read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"ndelivered");
        connection.writer().write_all(b"unsent").unwrap();
        let rustls::Connection::Client(connection) = connection else { panic!("a client") };
        let back = refused(tcp, connection);
        assert_eq!(back.reason, Reason::Unsent);
        let (mut connection, mut tcp) = (back.connection, back.stream);
        while connection.wants_write() {
            connection.write_tls(&mut tcp).unwrap();
        }
        let mut socket = from_connection(tcp, connection, &Options::new()).unwrap();
        socket.read_exact(&mut rest[..6]).unwrap();
        assert_eq!(&rest[..6], b"unsent");
        still_works(socket);
        server.join().unwrap();
    }
    let (a, _b) = tcp_pair();
    let connection = ClientConnection::new(Arc::new(certificate.client(ciphers()[0])), name()).unwrap();
    assert_eq!(refused(RecordStream::new(a), connection).reason, Reason::Handshaking);
}

#[derive(Debug, Default)]
struct Lines(Mutex<String>);

impl rustls::KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        *self.0.lock().unwrap() += &format!("{label} {} {}\n", hex(client_random), hex(secret));
    }
}

#[test]
fn a_key_log_s_keys_work() {
    let Some(certificate) = certificate("a_key_log_s_keys_work") else { return };
    for suite in CipherSuite::ALL {
        let lines = Arc::new(Lines::default());
        let key_log: Arc<dyn rustls::KeyLog> = Arc::clone(&lines) as _;
        let (stream, server) = used_connection(&certificate, suite.into(), Some(key_log));
        let (connection, tcp) = stream.into_parts();
        // How many records went before, a log does not say.
        let counted = connection.dangerous_extract_secrets().unwrap();
        let (sent, received) = (counted.tx.0, counted.rx.0);
        let log = KeyLog::parse(&lines.0.lock().unwrap()).unwrap();
        let random = *log.client_randoms().next().unwrap();
        let keys = log.keys(&random, suite, Role::Client, sent, received).unwrap();
        let mut socket = Socket::from_keys(tcp.into_inner(), keys, &Options::new()).unwrap();
        // With the secret there is a next key.
        let updated = socket.halves().0.update_key(true, Wait::Block);
        let can = socket.info().send.by == SealedBy::Process || ktls::probe().rekey;
        assert_eq!(updated.is_ok(), can);
        if can {
            still_works(socket);
        } else {
            drop(socket);
        }
        server.join().unwrap();
    }
}
