//! Our handshake against OpenSSL's and GnuTLS's, over TCP, with data both ways behind it.

mod handshake_support;

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use handshake_support::connection::Connection;
use handshake_support::process::{Peer, Port, in_own_network, skip, version};
use handshake_support::{IDENTITY, psk, server_config};
use ktls::alert::Alert;
use ktls::cipher::CipherSuite;
use ktls::crypto::{Group, Hash};
use ktls::handshake::{ClientConfig, ClientHandshake, Error, Event, Psk, ServerConfig, ServerHandshake};
use ktls::secret::Secret;

const FROM_US: &str = "these bytes come from this library";
const FROM_THEM: &str = "these bytes come from the other side";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn identity() -> &'static str {
    std::str::from_utf8(IDENTITY).unwrap()
}

/// How OpenSSL gets a key: `-psk` means SHA-256; a key of another suite comes as a session in a file.
struct OpensslKey {
    arguments: Vec<String>,
    _file: Option<tempfile::NamedTempFile>,
}

impl OpensslKey {
    fn new(psk: &Psk) -> Self {
        let mut arguments = vec!["-psk_identity".to_owned(), identity().to_owned()];
        if psk.suite() == CipherSuite::Aes128GcmSha256 {
            arguments.extend(["-psk".to_owned(), hex(psk.secret().expose())]);
            return Self { arguments, _file: None };
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), session_pem(psk)).unwrap();
        arguments.extend(["-psk_session".to_owned(), file.path().to_str().unwrap().to_owned()]);
        Self { arguments, _file: Some(file) }
    }
}

/// One DER element of less than 128 bytes.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128);
    [&[tag, content.len() as u8], content].concat()
}

/// OpenSSL's SSL_SESSION: version 1, the TLS version, suite, session id, master key, [1] time, [2] timeout.
fn session_pem(psk: &Psk) -> String {
    const OCTETS: u8 = 4;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let integer = |number: u64| {
        let bytes = number.to_be_bytes();
        // The shortest form, with a zero in front where the first bit would be a sign.
        let skipped = bytes.iter().take_while(|&&byte| byte == 0).count();
        let digits = &bytes[skipped..];
        let sign: &[u8] = if digits.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
        der(2, &[sign, digits].concat())
    };
    let (time, timeout) = (integer(now), integer(3600));
    let fields = [
        integer(1),
        integer(0x0304),
        der(OCTETS, &psk.suite().id().to_be_bytes()),
        der(OCTETS, &[]),
        der(OCTETS, psk.secret().expose()),
        der(0xa1, &time),
        der(0xa2, &timeout),
    ];
    let text = base64(&der(0x30, &fields.concat()));
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "-----BEGIN SSL SESSION PARAMETERS-----\n{}\n-----END SSL SESSION PARAMETERS-----\n",
        lines.join("\n")
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= group.len() { DIGITS[value] as char } else { '=' });
        }
    }
    text
}

fn openssl_missing(name: &str) -> bool {
    let missing = version("openssl", "version").is_none();
    if missing {
        skip(name, "openssl is not installed (apt install openssl)");
    }
    missing
}

/// OpenSSL's server with `key`, and a TCP connection to it.
fn openssl_server(key: &Psk, extra: &[&str]) -> (Peer, TcpStream, OpensslKey) {
    let port = Port::hold();
    let key = OpensslKey::new(key);
    let address = format!("127.0.0.1:{port}");
    let mut arguments = vec!["s_server", "-accept", &address, "-tls1_3", "-nocert", "-quiet"];
    arguments.extend(key.arguments.iter().map(String::as_str));
    arguments.extend(extra);
    let mut peer = Peer::start("openssl", arguments);
    let stream = peer.connect(&port);
    (peer, stream, key)
}

fn exchange_with_server(mut connection: Connection, mut peer: Peer) -> Connection {
    connection.send(23, format!("{FROM_US}\n").as_bytes());
    peer.wait_for(FROM_US);
    peer.write(format!("{FROM_THEM}\n").as_bytes());
    connection.wait_for(FROM_THEM.as_bytes());
    connection
}

/// What all servers here rest on: with only ten ports in a network, none of the others gets the one that is held.
#[test]
fn a_held_port_is_its_servers_alone() {
    if !in_own_network("a_held_port_is_its_servers_alone") {
        return;
    }
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "30001 30010").unwrap();
    let port = Port::hold();
    let any: Vec<_> =
        std::iter::from_fn(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()).take(10).collect();
    assert!(!any.is_empty() && any.len() < 10, "{} of ten", any.len());
    assert!(any.iter().all(|listener| listener.local_addr().unwrap() != port.address()));
    drop(any);
    // Nor does a client that comes too early get it, and speak to itself.
    for _ in 0..100 {
        assert!(TcpStream::connect(port.address()).is_err());
    }
    let server = TcpListener::bind(port.address()).unwrap();
    assert_eq!(server.local_addr().unwrap(), port.address());
}

#[test]
fn client_against_openssl() {
    if openssl_missing("client_against_openssl") {
        return;
    }
    for hash in [Hash::Sha256, Hash::Sha384] {
        let key = psk(hash, 3);
        let suite = CipherSuite::for_hash(hash).unwrap();
        for group in Group::ALL {
            let (peer, stream, _key) = openssl_server(&key, &["-ciphersuites", suite.name()]);
            let config = ClientConfig::new(key.clone()).groups([group]);
            let connection = Connection::new(stream, ClientHandshake::new(&config).unwrap()).unwrap();
            assert_eq!((connection.established.suite, connection.established.group), (suite, group));
            let connection = exchange_with_server(connection, peer);
            assert!(connection.events.contains(&Event::Ticket), "OpenSSL sends tickets");
            connection.close();
        }
    }
}

#[test]
fn client_answers_openssls_hello_retry_request() {
    if openssl_missing("client_answers_openssls_hello_retry_request") {
        return;
    }
    for hash in [Hash::Sha256, Hash::Sha384] {
        for compatible in [false, true] {
            let (peer, stream, _key) = openssl_server(&psk(hash, 3), &["-groups", "P-384"]);
            let config = ClientConfig::new(psk(hash, 3))
                .groups([Group::X25519, Group::Secp384r1])
                .middlebox_compatibility(compatible);
            let connection = Connection::new(stream, ClientHandshake::new(&config).unwrap()).unwrap();
            assert_eq!(connection.established.group, Group::Secp384r1);
            exchange_with_server(connection, peer).close();
        }
    }
}

#[test]
fn client_and_openssl_update_their_keys() {
    if openssl_missing("client_and_openssl_update_their_keys") {
        return;
    }
    let (peer, stream, _key) = openssl_server(&psk(Hash::Sha256, 3), &[]);
    let config = ClientConfig::new(psk(Hash::Sha256, 3));
    let mut connection = Connection::new(stream, ClientHandshake::new(&config).unwrap()).unwrap();
    connection.update_keys(true);
    let connection = exchange_with_server(connection, peer);
    assert!(connection.events.contains(&Event::KeyUpdate { requested: false }));
    connection.close();
}

#[test]
fn openssls_refusals_are_understood() {
    if openssl_missing("openssls_refusals_are_understood") {
        return;
    }
    let refused = |key: Psk, extra: &[&str]| {
        let (_peer, stream, _key) = openssl_server(&psk(Hash::Sha256, 3), extra);
        let config = ClientConfig::new(key).groups([Group::X25519]);
        Connection::new(stream, ClientHandshake::new(&config).unwrap()).err().expect("a refusal")
    };
    let alert = |error: &Error| match error {
        Error::AlertReceived { alert, .. } => *alert,
        other => panic!("{other}"),
    };
    let wrong_key = refused(psk(Hash::Sha256, 4), &[]);
    assert_eq!(alert(&wrong_key), Alert::ILLEGAL_PARAMETER);
    assert!(wrong_key.hint().unwrap().contains("the keys differ"));

    let stranger = Psk::new(b"stranger".to_vec(), Secret::new(&[3; 32]).unwrap(), Hash::Sha256).unwrap();
    let unknown = refused(stranger, &[]);
    assert_eq!(alert(&unknown), Alert::MISSING_EXTENSION);
    assert!(unknown.hint().unwrap().contains("does not know this PSK identity"));

    let no_group = refused(psk(Hash::Sha256, 3), &["-groups", "P-384"]);
    assert_eq!(alert(&no_group), Alert::HANDSHAKE_FAILURE);
}

#[test]
fn openssl_without_tls_1_3_is_understood() {
    if openssl_missing("openssl_without_tls_1_3_is_understood") {
        return;
    }
    let port = Port::hold();
    let address = format!("127.0.0.1:{port}");
    let mut peer = Peer::start(
        "openssl",
        ["s_server", "-accept", &address, "-tls1_2", "-nocert", "-quiet", "-psk", "0303"],
    );
    let stream = peer.connect(&port);
    let config = ClientConfig::new(psk(Hash::Sha256, 3));
    let error = Connection::new(stream, ClientHandshake::new(&config).unwrap()).err().unwrap();
    assert_eq!(error.hint(), Some("the server has no TLS 1.3"), "{error}");
}

/// A listener of ours, a client of theirs, and what our server makes of it.
fn accept(
    tool: &str,
    arguments: impl Fn(&str) -> Vec<String>,
    config: &ServerConfig,
) -> (Peer, Result<Connection, Error>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut peer = Peer::start(tool, arguments(&port));
    let stream = peer.accept(&listener);
    (peer, Connection::new(stream, ServerHandshake::new(config).unwrap()))
}

fn exchange_with_client(connection: Result<Connection, Error>, mut peer: Peer) -> Connection {
    let mut connection = connection.unwrap_or_else(|error| panic!("{error}: {}", peer.said()));
    peer.write(format!("{FROM_THEM}\n").as_bytes());
    connection.wait_for(FROM_THEM.as_bytes());
    connection.send(23, format!("{FROM_US}\n").as_bytes());
    peer.wait_for(FROM_US);
    connection
}

fn openssl_client(key: &Psk, extra: &[&str], config: &ServerConfig) -> (Peer, Result<Connection, Error>) {
    let key = OpensslKey::new(key);
    let arguments = |port: &str| {
        let mut arguments: Vec<String> =
            ["s_client", "-tls1_3", "-quiet", "-connect"].map(str::to_owned).into();
        arguments.push(format!("127.0.0.1:{port}"));
        arguments.extend(key.arguments.iter().cloned());
        arguments.extend(extra.iter().map(|word| (*word).to_owned()));
        arguments
    };
    accept("openssl", arguments, config)
}

#[test]
fn server_against_openssl() {
    if openssl_missing("server_against_openssl") {
        return;
    }
    for hash in [Hash::Sha256, Hash::Sha384] {
        let config = server_config(vec![psk(hash, 9), psk(hash, 3)]);
        for (name, group) in
            [("X25519", Group::X25519), ("P-256", Group::Secp256r1), ("P-384", Group::Secp384r1)]
        {
            let (peer, connection) = openssl_client(&psk(hash, 3), &["-groups", name], &config);
            let connection = exchange_with_client(connection, peer);
            assert_eq!(connection.established.group, group);
            assert_eq!(connection.established.suite.hash(), hash);
            connection.close();
        }
    }
}

#[test]
fn server_sends_openssl_a_hello_retry_request() {
    if openssl_missing("server_sends_openssl_a_hello_retry_request") {
        return;
    }
    for hash in [Hash::Sha256, Hash::Sha384] {
        let config = server_config(vec![psk(hash, 3)]).groups([Group::Secp384r1]);
        let (peer, connection) = openssl_client(&psk(hash, 3), &["-groups", "X25519:P-384"], &config);
        // Seen with OpenSSL 3.0: the second ClientHello of s_client has no key when the key is a session's.
        // With SHA-256 (`-psk`) it has one.
        if hash == Hash::Sha384
            && matches!(&connection, Err(Error::Protocol { alert: Alert::MISSING_EXTENSION, .. }))
        {
            let version = version("openssl", "version").unwrap_or_default();
            let why = "s_client withdraws a -psk_session key after a HelloRetryRequest";
            skip("server_sends_openssl_a_hello_retry_request/sha384", &format!("{version}: {why}"));
            continue;
        }
        let connection = exchange_with_client(connection, peer);
        assert_eq!(connection.established.group, Group::Secp384r1);
        connection.close();
    }
}

#[test]
fn openssl_hears_what_the_server_says() {
    if openssl_missing("openssl_hears_what_the_server_says") {
        return;
    }
    let (peer, result) =
        openssl_client(&psk(Hash::Sha256, 3), &[], &server_config(vec![psk(Hash::Sha256, 4)]));
    assert!(matches!(result.err().unwrap(), Error::BinderMismatch { .. }));
    peer.wait_for("decrypt error");
    let (peer, result) = openssl_client(&psk(Hash::Sha256, 3), &[], &server_config(vec![]));
    assert!(matches!(result.err().unwrap(), Error::UnknownIdentity { .. }));
    // Its number in RFC 8446 is 115.
    peer.wait_for("115");
}

/// TLS 1.3 with pre-shared keys only.
const GNUTLS_PRIORITY: &str = "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK";

fn gnutls_missing(name: &str, tool: &str) -> bool {
    let missing = version(tool, "--version").is_none();
    if missing {
        skip(name, &format!("{tool} is not installed (apt install gnutls-bin)"));
    }
    missing
}

/// SHA-384 against GnuTLS's tools, in both directions, is not run: they have no option for a key's hash.
#[test]
fn gnutls_with_sha384() {
    let version = version("gnutls-cli", "--version").unwrap_or_else(|| "no gnutls-cli".to_owned());
    skip(
        "gnutls_with_sha384",
        &format!(
            "{version}: GnuTLS before 3.8.11 makes the binder of an external key always with SHA-256, \
             and its tools have no option for another hash"
        ),
    );
}

#[test]
fn client_against_gnutls() {
    const NAME: &str = "client_against_gnutls";
    if gnutls_missing(NAME, "gnutls-serv") || !in_own_network(NAME) {
        return;
    }
    let key = psk(Hash::Sha256, 3);
    let passwords = tempfile::NamedTempFile::new().unwrap();
    // An identity with a colon stands there in hex.
    let line = format!("#{}:{}\n", hex(key.identity()), hex(key.secret().expose()));
    std::fs::write(passwords.path(), line).unwrap();
    let file = format!("--pskpasswd={}", passwords.path().display());
    for (group, only) in [
        (Group::X25519, ""),
        (Group::Secp256r1, ""),
        (Group::Secp384r1, ""),
        // The share is for x25519: a HelloRetryRequest.
        (Group::Secp384r1, ":-GROUP-ALL:+GROUP-SECP384R1"),
    ] {
        let port = Port::hold();
        let priority = format!("{GNUTLS_PRIORITY}{only}");
        let mut peer = Peer::start("gnutls-serv", ["--echo", &file, &priority, &format!("--port={port}")]);
        let stream = peer.connect(&port);
        let groups = if only.is_empty() { vec![group] } else { vec![Group::X25519, group] };
        let config = ClientConfig::new(key.clone()).groups(groups).record_size_limit(16_385);
        let handshake = ClientHandshake::new(&config).unwrap();
        let mut connection = Connection::new(stream, handshake)
            .unwrap_or_else(|error| panic!("{group:?}: {error}: {}", peer.said()));
        assert_eq!(connection.established.group, group);
        connection.send(23, format!("{FROM_US}\n").as_bytes());
        connection.wait_for(FROM_US.as_bytes());
        connection.close();
    }
}

#[test]
fn server_against_gnutls() {
    const NAME: &str = "server_against_gnutls";
    if gnutls_missing(NAME, "gnutls-cli") {
        return;
    }
    let key = psk(Hash::Sha256, 3);
    for groups in [&Group::ALL[..], &[Group::X25519], &[Group::Secp256r1], &[Group::Secp384r1]] {
        let config = server_config(vec![key.clone()]).groups(groups);
        let arguments = |port: &str| {
            vec![
                format!("--pskusername={}", identity()),
                format!("--pskkey={}", hex(key.secret().expose())),
                GNUTLS_PRIORITY.to_owned(),
                format!("--port={port}"),
                "127.0.0.1".to_owned(),
            ]
        };
        let (peer, connection) = accept("gnutls-cli", arguments, &config);
        let connection = exchange_with_client(connection, peer);
        assert!(groups.contains(&connection.established.group));
        connection.close();
    }
}
