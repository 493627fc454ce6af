//! Kernel TLS at both ends, the other one somebody else's: OpenSSL, GnuTLS and nginx, each with its own kernel TLS
//! switched on. The kernel's counters say that both ends have it.
//!
//! OpenSSL receives by kernel TLS since 3.2, and some distributions build it without: the lab brings a newer one,
//! named by `NVME_TCP_NEWER_PROGRAMS`.

mod rustls_support;
mod socket_support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ktls::cipher::{Cipher, RecordCipher, Version};
use ktls::observe::TlsStat;
use ktls::rustls::{accept, connect};
use ktls::{Layer, Options, SealedBy, Socket, probe_cipher};
use rustls_support::{Certificate, ciphers, name, openssl_arguments};
use socket_support::process::{Peer, Port, in_own_network, skip, version};
use socket_support::{DEADLINE, kernel_has_tls, pattern};

/// The counters are those of the whole network namespace: one test at a time.
static COUNTERS: Mutex<()> = Mutex::new(());

/// Counts who has installed keys.
struct Counting {
    before: TlsStat,
    _alone: MutexGuard<'static, ()>,
}

impl Counting {
    /// With the ciphers that this kernel has: finding them out installs keys too.
    fn start() -> (Self, Vec<RecordCipher>) {
        let alone = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
        let ciphers = kernel_ciphers();
        (Self { before: TlsStat::read().unwrap(), _alone: alone }, ciphers)
    }

    /// Whether the sockets that got keys since the last call are ours alone, one of them.
    fn is_only_ours(&self) -> bool {
        let grown = TlsStat::read().unwrap().since(&self.before);
        (grown.get("TlsTxSw"), grown.get("TlsRxSw")) == (Some(1), Some(1))
    }

    /// So many sockets have got a key to send with, and to receive with, since the last call.
    fn expect(&mut self, sending: u64, receiving: u64, what: &str) {
        let now = TlsStat::read().unwrap();
        let grown = now.since(&self.before);
        let got = (grown.get("TlsTxSw"), grown.get("TlsRxSw"));
        assert_eq!(got, (Some(sending), Some(receiving)), "{what}");
        assert_eq!(grown.get("TlsDecryptError"), Some(0), "{what}");
        self.before = now;
    }
}

/// The script that runs a newer suite's programs.
fn newer_programs(test: &str) -> Option<String> {
    match std::env::var("NVME_TCP_NEWER_PROGRAMS") {
        Ok(runner) if Path::new(&runner).exists() => Some(runner),
        _ => {
            skip(test, "needs OpenSSL 3.2 or later built with kernel TLS, which the lab brings");
            None
        }
    }
}

fn certificate(test: &str) -> Option<Certificate> {
    let made = Certificate::make();
    if made.is_none() {
        skip(test, "openssl is not installed (apt install openssl)");
    }
    made
}

/// Those that this kernel has.
fn kernel_ciphers() -> Vec<RecordCipher> {
    let has = |cipher: &RecordCipher| probe_cipher(*cipher).send.is_none();
    let found: Vec<_> = ciphers().into_iter().filter(has).collect();
    assert!(!found.is_empty(), "the kernel has none of rustls's ciphers");
    found
}

fn deadline() -> Option<Instant> {
    Some(Instant::now() + DEADLINE)
}

fn options() -> Options {
    Options::new().layer(Layer::Kernel)
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn expect_kernel(socket: &Socket, cipher: RecordCipher) {
    let info = socket.info();
    assert_eq!((info.suite, info.send.by, info.receive.by), (cipher, SealedBy::Kernel, SealedBy::Kernel));
}

/// `-rev` sends each line back reversed.
fn reversed(socket: &mut Socket) {
    socket.write_all(b"abcdefg\n").unwrap();
    let mut got = [0; 8];
    socket.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"gfedcba\n");
}

#[test]
fn openssl_serves_by_kernel_tls() {
    const TEST: &str = "openssl_serves_by_kernel_tls";
    if !kernel_has_tls(TEST) {
        return;
    }
    let (Some(runner), Some(certificate)) = (newer_programs(TEST), certificate(TEST)) else { return };
    let (mut counting, ciphers) = Counting::start();
    for cipher in ciphers {
        let port = Port::hold();
        let address = format!("127.0.0.1:{port}");
        let (path, key) = (certificate.path(), certificate.key());
        let files = ["-cert", path.to_str().unwrap(), "-key", key.to_str().unwrap()];
        let arguments = ["openssl", "s_server", "-ktls", "-accept", &address, "-rev", "-alpn", "test"];
        let mut server = Peer::start(&runner, [&arguments[..], &files, &openssl_arguments(cipher)].concat());
        let stream = patient(server.connect(&port));
        let config = Arc::new(certificate.client(cipher));
        let mut socket = connect(stream, &config, name(), &options(), deadline()).unwrap();
        expect_kernel(&socket, cipher);
        reversed(&mut socket);
        counting.expect(2, 2, &format!("{cipher}: {}", server.said()));
        socket.write_all(b"CLOSE\n").unwrap();
        assert_eq!(socket.read(&mut [0; 9]).unwrap(), 0, "{cipher}");
    }
}

#[test]
fn openssl_connects_by_kernel_tls() {
    const TEST: &str = "openssl_connects_by_kernel_tls";
    if !kernel_has_tls(TEST) {
        return;
    }
    let (Some(runner), Some(certificate)) = (newer_programs(TEST), certificate(TEST)) else { return };
    let (mut counting, ciphers) = Counting::start();
    for cipher in ciphers {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let path = certificate.path();
        let trust = ["-CAfile", path.to_str().unwrap(), "-verify_return_error", "-alpn", "test"];
        let arguments = ["openssl", "s_client", "-ktls", "-connect", &address, "-servername", "localhost"];
        let mut client = Peer::start(&runner, [&arguments[..], &trust, &openssl_arguments(cipher)].concat());
        let stream = patient(client.accept(&listener));
        let config = Arc::new(certificate.server(cipher));
        let mut socket = accept(stream, &config, &options(), deadline()).unwrap();
        expect_kernel(&socket, cipher);
        client.write(b"a line\n");
        let mut line = [0; 7];
        socket.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"a line\n");
        socket.write_all(b"said by the server\n").unwrap();
        client.wait_for("said by the server");
        counting.expect(2, 2, &format!("{cipher}: {}", client.said()));
        client.write(b"Q\n");
        assert_eq!(socket.read(&mut line).unwrap(), 0, "{cipher}: {}", client.said());
    }
}

/// GnuTLS, which takes it from its configuration file.
struct GnuTls {
    /// Built with kernel TLS (configure --enable-ktls), in this folder: docs/ktls-gnutls.md. Debian's is not, and does
    /// nothing when it reads the setting.
    folder: Option<PathBuf>,
    config: tempfile::TempDir,
}

impl GnuTls {
    fn find(test: &str) -> Option<Self> {
        let folder =
            std::env::var_os("NVME_TCP_GNUTLS").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        if folder.is_none() && version("gnutls-serv", "--version").is_none() {
            skip(test, "gnutls-serv is not installed (apt install gnutls-bin)");
            return None;
        }
        let config = tempfile::tempdir().unwrap();
        std::fs::write(config.path().join("config"), "[global]\nktls = true\n").unwrap();
        Some(Self { folder, config })
    }

    fn start(&self, program: &str, cipher: RecordCipher, arguments: &[&str]) -> Peer {
        let name_of = if cipher.cipher() == Cipher::Aes128Gcm { "AES-128-GCM" } else { "AES-256-GCM" };
        let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+{name_of}");
        let setting = format!("GNUTLS_SYSTEM_PRIORITY_FILE={}", self.config.path().join("config").display());
        let program = self.folder.as_ref().map_or_else(|| program.into(), |folder| folder.join(program));
        let own = [setting.as_str(), program.to_str().unwrap(), "--priority", &priority];
        Peer::start("env", own.iter().chain(arguments))
    }

    /// Whether both ends have given their keys to the kernel; where this GnuTLS cannot, the test is skipped.
    fn expect(&self, counting: &mut Counting, what: &str, test: &str) -> bool {
        if self.folder.is_none() && counting.is_only_ours() {
            skip(test, "this GnuTLS is built without kernel TLS: docs/ktls-gnutls.md says how to get one");
            return false;
        }
        counting.expect(2, 2, what);
        true
    }
}

/// Those of TLS 1.3 that this kernel has, and that GnuTLS gives to it rightly: 3.7.9 does so with AES-GCM, and with
/// ChaCha20 fails against every peer ("Error in the pull function").
fn gnutls_ciphers(ciphers: Vec<RecordCipher>) -> impl Iterator<Item = RecordCipher> {
    ciphers
        .into_iter()
        .filter(|cipher| cipher.version() == Version::Tls13 && cipher.cipher() != Cipher::ChaCha20Poly1305)
}

/// Its server listens on every address.
#[test]
fn gnutls_serves_by_kernel_tls() {
    const TEST: &str = "gnutls_serves_by_kernel_tls";
    let (Some(gnutls), Some(certificate)) = (GnuTls::find(TEST), certificate(TEST)) else { return };
    // The first of this network, whose loopback device must be up for the kernel to be tried.
    if !in_own_network(TEST) || !kernel_has_tls(TEST) {
        return;
    }
    let (mut counting, ciphers) = Counting::start();
    for cipher in gnutls_ciphers(ciphers) {
        let port = Port::hold();
        let (path, key) = (certificate.path(), certificate.key());
        let files = ["--x509certfile", path.to_str().unwrap(), "--x509keyfile", key.to_str().unwrap()];
        let port_text = port.to_string();
        let arguments = ["--echo", "--noticket", "--disable-client-cert", "--port", &port_text];
        let mut server = gnutls.start("gnutls-serv", cipher, &[&arguments[..], &files].concat());
        let stream = patient(server.connect(&port));
        let mut config = certificate.client(cipher);
        config.alpn_protocols.clear();
        let mut socket = connect(stream, &Arc::new(config), name(), &options(), deadline()).unwrap();
        expect_kernel(&socket, cipher);
        socket.write_all(b"a line\n").unwrap();
        let mut got = [0; 7];
        socket.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"a line\n");
        if !gnutls.expect(&mut counting, &format!("{cipher}: {}", server.said()), TEST) {
            return;
        }
    }
}

#[test]
fn gnutls_connects_by_kernel_tls() {
    const TEST: &str = "gnutls_connects_by_kernel_tls";
    if !kernel_has_tls(TEST) {
        return;
    }
    let (Some(gnutls), Some(certificate)) = (GnuTls::find(TEST), certificate(TEST)) else { return };
    let (mut counting, ciphers) = Counting::start();
    for cipher in gnutls_ciphers(ciphers) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let path = certificate.path();
        let arguments = ["--port", &port, "--x509cafile", path.to_str().unwrap(), "127.0.0.1"];
        let mut client = gnutls.start("gnutls-cli", cipher, &arguments);
        let stream = patient(client.accept(&listener));
        let config = Arc::new(certificate.server(cipher));
        let mut socket = accept(stream, &config, &options(), deadline()).unwrap();
        expect_kernel(&socket, cipher);
        client.wait_for("Handshake was completed");
        client.write(b"a line\n");
        let mut line = [0; 7];
        socket.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"a line\n");
        socket.write_all(b"said by the server\n").unwrap();
        client.wait_for("said by the server");
        if !gnutls.expect(&mut counting, &format!("{cipher}: {}", client.said()), TEST) {
            return;
        }
    }
}

#[test]
fn nginx_serves_a_file_by_kernel_tls() {
    const TEST: &str = "nginx_serves_a_file_by_kernel_tls";
    if !kernel_has_tls(TEST) {
        return;
    }
    let (Some(runner), Some(certificate)) = (newer_programs(TEST), certificate(TEST)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let port = Port::hold();
    let data = pattern(2_000_000);
    std::fs::write(folder.path().join("data"), &data).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\nerror_log stderr info;\npid nginx.pid;\nevents {{}}\nhttp {{\n\
         access_log off;\nsendfile on;\n{temporary}server {{\nlisten 127.0.0.1:{port} ssl;\n\
         ssl_certificate {};\nssl_certificate_key {};\nssl_protocols TLSv1.2 TLSv1.3;\n\
         ssl_conf_command Options KTLS;\nroot {};\n}}\n}}\n",
        certificate.path().display(),
        certificate.key().display(),
        folder.path().display(),
    );
    let path = folder.path().join("nginx.conf");
    std::fs::write(&path, config).unwrap();
    let prefix = folder.path().to_str().unwrap();
    let (mut counting, ciphers) = Counting::start();
    let arguments = ["nginx", "-p", prefix, "-c", path.to_str().unwrap(), "-e", "stderr"];
    let mut server = Peer::start(&runner, arguments);
    for cipher in ciphers {
        let stream = patient(server.connect(&port));
        let mut config = certificate.client(cipher);
        config.alpn_protocols.clear();
        let mut socket = connect(stream, &Arc::new(config), name(), &options(), deadline()).unwrap();
        expect_kernel(&socket, cipher);
        socket.write_all(b"GET /data HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut got = Vec::new();
        let mut buf = vec![0; 65_536];
        let body = loop {
            let n = socket.read(&mut buf).unwrap();
            assert!(n > 0, "{cipher}: ended after {} bytes\n{}", got.len(), server.said());
            got.extend_from_slice(&buf[..n]);
            if let Some(at) = got.windows(4).position(|window| window == b"\r\n\r\n") {
                if got.len() >= at + 4 + data.len() {
                    break at + 4;
                }
            }
        };
        assert!(got.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&got[..body]));
        assert!(got[body..] == data, "{cipher}");
        counting.expect(2, 2, &format!("{cipher}: {}", server.said()));
    }
}
