//! What is done with bytes that a fuzzer makes up, or that the corpus keeps. None of it may panic, and each says what
//! else must hold.

use ktls::cipher::CipherSuite;
use ktls::crypto::Hash;
use ktls::handshake::{
    ClientConfig, ClientHandshake, Handshake, PostHandshake, Psk, RECORD_HEADER_LEN, ServerConfig,
    ServerHandshake, record_length,
};
use ktls::keys::TrafficSecret;
use ktls::observe::{DeviceCounters, DeviceTls, SocketTls, TlsStat};
use ktls::record::budget::{DEFAULT_LIMIT, Meter};
use ktls::record::process::Opener;
use ktls::secret::Secret;
use ktls::{Flow, cmsg};

/// Takes bytes, and panics where something does not hold.
pub(crate) type Body = fn(&[u8]);

/// The bodies, each with the folder of its corpus.
pub(crate) const ALL: [(&str, Body); 5] = [
    ("handshake_client", handshake_client),
    ("handshake_server", handshake_server),
    ("record_opener", record_opener),
    ("cmsg", control_messages),
    ("netlink", netlink),
];

fn psk() -> Psk {
    let secret = Secret::new(&[7; 32]).unwrap();
    Psk::new(b"identity".to_vec(), secret, Hash::Sha256).unwrap()
}

/// Records from a server, after our ClientHello.
pub(crate) fn handshake_client(bytes: &[u8]) {
    let mut client = ClientHandshake::new(&ClientConfig::new(psk()).record_size_limit(16_385)).unwrap();
    assert!(!client.take_output().is_empty(), "a client speaks first");
    feed(&mut client, bytes);
}

/// Records from a client.
pub(crate) fn handshake_server(bytes: &[u8]) {
    let config =
        ServerConfig::new(|identity: &[u8]| if identity == b"identity" { vec![psk()] } else { vec![] });
    let mut server = ServerHandshake::new(&config).unwrap();
    feed(&mut server, bytes);
}

/// Hands over record by record. After the first error there is only that error, and at most one alert to send.
fn feed(end: &mut impl Handshake, mut bytes: &[u8]) {
    while let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER_LEN>() {
        let len = record_length(header).unwrap_or(0).min(rest.len());
        let (body, rest) = rest.split_at(len);
        let mut record = [&header[..], body].concat();
        if let Err(error) = end.read_record(&mut record) {
            let _ = end.take_output();
            let mut again = record.clone();
            assert_eq!(end.read_record(&mut again), Err(error), "an error stays");
            assert!(end.take_output().is_empty(), "one alert at the most");
            return;
        }
        bytes = rest;
    }
    // Nobody has the key but the two ends: bytes made up never finish a handshake.
    assert!(!end.is_finished());
}

/// The wire as it is, and the same bytes once more as what a peer with the right key has sealed. The first byte says
/// into which pieces the wire is cut.
pub(crate) fn record_opener(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    open(bytes, usize::from(cut) + 1);
    let key = secret().record_key();
    let mut wire = Vec::new();
    for (sequence, inner) in bytes.chunks(usize::from(cut) + 1).enumerate() {
        let [high, low] = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let header = [23, 3, 3, high, low];
        let mut body = inner.to_vec();
        let tag = key.seal(sequence as u64, &header, &mut body).unwrap();
        wire.extend_from_slice(&[&header[..], &body, &tag].concat());
    }
    open(&wire, 1000);
    let mut post = PostHandshake::new();
    let _ = bytes.chunks(usize::from(cut) + 1).try_for_each(|payload| post.read(payload).map(drop));
}

fn secret() -> TrafficSecret {
    TrafficSecret::new(CipherSuite::Aes128GcmSha256, Secret::new(&[7; 32]).unwrap()).unwrap()
}

fn open(wire: &[u8], piece: usize) {
    let mut opener = Opener::new(secret(), Meter::new(Flow::Receive, DEFAULT_LIMIT, DEFAULT_LIMIT));
    let mut opened = 0;
    for piece in wire.chunks(piece) {
        opener.space()[..piece.len()].copy_from_slice(piece);
        opener.filled(piece.len());
        loop {
            match opener.next_record() {
                Ok(Some(_)) => opened += opener.plaintext().len(),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert!(opened <= wire.len(), "no more comes out than went in");
}

/// What recvmsg(2) leaves behind.
pub(crate) fn control_messages(bytes: &[u8]) {
    if let Some(content_type) = cmsg::record_type(bytes) {
        assert!(bytes.contains(&content_type));
    }
}

/// Answers of the kernel, and the text of its counters. A driver's counters come by two answers: the last byte says how
/// long the second one is.
pub(crate) fn netlink(bytes: &[u8]) {
    let _ = SocketTls::parse(bytes);
    let _ = DeviceTls::parse(bytes);
    if let Some((&len, bytes)) = bytes.split_last() {
        let (names, values) = bytes.split_at(bytes.len().saturating_sub(usize::from(len)));
        if let Ok(counters) = DeviceCounters::parse(names, values, |_| true) {
            assert!(counters.iter().count() * 8 <= values.len());
            assert!(counters.explain("eth0").len() <= counters.iter().count());
        }
    }
    if let Ok(stat) = TlsStat::parse(&String::from_utf8_lossy(bytes)) {
        assert_eq!(stat.since(&stat).iter().map(|(_, value)| value).sum::<u64>(), 0);
    }
}
