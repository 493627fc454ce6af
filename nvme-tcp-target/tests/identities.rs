//! One PSK identity for each connection attempt, and the one that was taken is remembered: against a front
//! that knows only one of them, as SPDK knows only version 0.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ktls::handshake::{Psk, ServerConfig};
use nvme_tcp::host::{HostIdentity, HostSource};
use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, KeyHash, derive};
use nvme_tcp::{ErrorKind, Options};
use nvme_tcp_target::{Listener, Namespace, Subsystem, Target};

const SUBSYSTEM: &str = "nqn.2024-01.test:images";
const HOST: &str = "nqn.2024-01.test:host";

/// What identities were asked for, in the order of the connections.
type Asked = Arc<Mutex<Vec<String>>>;

fn host() -> HostIdentity {
    HostIdentity { nqn: HOST.to_owned(), id: [7; 16], source: HostSource::Given }
}

/// Takes TLS off in front of a plain target, for the one identity that `known` is.
fn front(target: SocketAddr, known: nvme_tcp::psk::TlsPsk, asked: Asked) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let lookup = move |identity: &[u8]| {
        asked.lock().unwrap().push(String::from_utf8_lossy(identity).into_owned());
        let psk = Psk::new(known.identity().into(), known.secret().clone(), known.hash()).unwrap();
        if known.identity().as_bytes() == identity { vec![psk] } else { Vec::new() }
    };
    let config = ServerConfig::new(lookup);
    // Ends with the process: it waits for connections that no longer come.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = config.clone();
            thread::spawn(move || relay(stream, target, &config));
        }
    });
    address
}

fn relay(stream: TcpStream, target: SocketAddr, config: &ServerConfig) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let Ok(socket) = ktls::Socket::accept(stream, config, &ktls::Options::new(), Some(deadline)) else {
        return;
    };
    let plain = TcpStream::connect(target).unwrap();
    let (mut send, mut recv) = socket.into_halves();
    let (mut from, mut to) = (plain.try_clone().unwrap(), plain);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                if send.send_vectored(&[std::io::IoSlice::new(&buffer[..n])], ktls::Wait::Block).is_err()
                    || send.flush(ktls::Wait::Block).is_err()
                {
                    break;
                }
            }
        });
        while let Ok([_, ..]) = recv.fill_buf(ktls::Wait::Block) {
            let bytes = recv.buffered();
            let n = bytes.len();
            if to.write_all(bytes).is_err() {
                break;
            }
            recv.consume(n);
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn target() -> Target {
    let subsystem = Subsystem::new(SUBSYSTEM).namespace(1, Namespace::ram(1 << 20));
    Target::builder().subsystem(subsystem).listen(Listener::plain(([127, 0, 0, 1], 0))).start().unwrap()
}

#[test]
fn the_second_identity_is_tried_on_a_second_connection_and_remembered() {
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let target = target();
    let asked = Asked::default();
    let old = derive(&key, HOST, SUBSYSTEM, IdentityVersion::V0, Derivation::Rfc8446).unwrap();
    let address = front(target.local_addrs()[0], old, asked.clone());
    let options = Options::new(address.to_string(), SUBSYSTEM, host()).tls(key).io_queues(3);
    let controller = options.connect().unwrap();
    assert_eq!(controller.info().tls.unwrap().identity_version, IdentityVersion::V0);
    controller.namespace(1).unwrap().write_at(&[7; 4096], 0).unwrap();
    let prefixes = |from: usize| -> Vec<String> {
        asked.lock().unwrap()[from..].iter().map(|identity| identity[..8].to_owned()).collect()
    };
    // The admin queue finds out, the three I/O queues know.
    assert_eq!(prefixes(0), ["NVMe1R01", "NVMe0R01", "NVMe0R01", "NVMe0R01", "NVMe0R01"]);
    controller.reconnect().unwrap();
    assert_eq!(prefixes(5), ["NVMe0R01"; 4], "the next association starts with what worked");
    controller.shutdown();
}

#[test]
fn the_older_derivation_is_tried_last() {
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let target = target();
    let asked = Asked::default();
    let old = derive(&key, HOST, SUBSYSTEM, IdentityVersion::V1, Derivation::Compat).unwrap();
    let address = front(target.local_addrs()[0], old, asked.clone());
    let controller = Options::new(address.to_string(), SUBSYSTEM, host()).tls(key).connect().unwrap();
    assert_eq!(controller.info().tls.unwrap().derivation, Derivation::Compat);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 4, "three attempts and the second queue's: {asked:?}");
    controller.shutdown();
}

#[test]
fn where_no_identity_is_taken_the_first_failure_is_told() {
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let other = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let target = target();
    let asked = Asked::default();
    let known = derive(&other, HOST, SUBSYSTEM, IdentityVersion::V1, Derivation::Rfc8446).unwrap();
    let address = front(target.local_addrs()[0], known, asked.clone());
    let error = Options::new(address.to_string(), SUBSYSTEM, host()).tls(key).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls { .. }), "{error}");
    assert!(error.to_string().contains("unknown_psk_identity"), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 4, "each identity once");
}
