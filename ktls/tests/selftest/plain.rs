//! The tests without a fixture.

use std::io::{IoSlice, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};

use ktls::cipher::{Cipher, CipherSuite, RecordCipher, Version};
use ktls::keys::{DirectionKey, RawKeys};
use ktls::record::ContentType;
use ktls::record::budget::{DEFAULT_LIMIT, Meter};
use ktls::record::process::{Opener, Sealer};
use ktls::{Error, Flow, Layer, Options, Socket, Wait, Why};

use crate::harness::{Pairing, receive, receive_exactly, send, try_receive};
use crate::socket_support::{
    FRAGMENT, Peer, SUITE, established, pattern, process, raw_record, sockets, tcp_pair, with_peer,
    with_peer_and,
};

pairs!(keysizes, tls_v6ops);
alone!(
    non_established,
    no_pad,
    prequeue,
    tls_12_tx_max_payload_len,
    tls_12_tx_max_payload_len_open_rec,
    tls_13_tx_max_payload_len,
    tls_13_tx_max_payload_len_open_rec,
);

/// Every cipher has its key's size in both layers.
fn keysizes(pairing: Pairing) {
    for suite in CipherSuite::ALL {
        let options = [Options::new().layer(pairing.0), Options::new().layer(pairing.1)];
        let [mut a, mut b] = sockets(suite, [&options[0], &options[1]]);
        send(&mut a, b"key size");
        assert_eq!(receive(&mut b, 100), b"key size", "{}", suite.name());
    }
}

fn tls_v6ops(pairing: Pairing) {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return process::skip("plain::tls_v6ops", "no IPv6 on the loopback device");
    };
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    let [keys_a, keys_b] = established(SUITE, FRAGMENT);
    let mut a = Socket::from_established(a, keys_a, &Options::new().layer(pairing.0)).unwrap();
    let mut b = Socket::from_established(b, keys_b, &Options::new().layer(pairing.1)).unwrap();
    let data = pattern(40_000);
    for _ in 0..2 {
        send(&mut a, &data);
        assert!(receive_exactly(&mut b, data.len()) == data);
        std::mem::swap(&mut a, &mut b);
    }
}

/// A connection that is over is no place for keys, and the error says why.
fn non_established(layer: Layer) {
    let (a, b) = tcp_pair();
    for stream in [&b, &a] {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    drop(b);
    let [keys, _] = established(SUITE, FRAGMENT);
    match (layer, Socket::from_established(a, keys, &Options::new().layer(layer))) {
        (Layer::Kernel, Err(Error::KernelTlsUnavailable { why, .. })) => {
            assert_eq!(why, Why::UlpRefused { errno: nix::errno::Errno::ENOTCONN as i32 });
        }
        (Layer::Process, Ok(mut socket)) => {
            assert!(try_receive(&mut socket, 1, Wait::Block).unwrap_err().is_unexpected_eof());
        }
        (layer, other) => panic!("{layer:?}: {other:?}"),
    }
}

/// Padding is allowed, whatever the kernel was told to expect.
fn no_pad(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(5000);
    for (n, padding) in [0, 1, 0, 255, 11_000, 0].into_iter().enumerate() {
        let inner = [&data[..], &[23], &vec![0; padding]].concat();
        peer.send_raw(&raw_record(n as u64, &inner));
        assert!(receive_exactly(&mut socket, data.len()) == data, "{padding} bytes of padding");
    }
}

/// Records that came before the keys were installed are opened like those after.
fn prequeue(layer: Layer) {
    let (a, mut b) = tcp_pair();
    let [keys, peer_keys] = established(SUITE, FRAGMENT);
    let data = pattern(200_000);
    let mut peer = Peer::new(b.try_clone().unwrap(), peer_keys);
    let mut wire = Vec::new();
    for part in data.chunks(FRAGMENT) {
        assert!(peer.sealer.seal_record(ContentType::ApplicationData, part).unwrap());
        wire.extend_from_slice(peer.sealer.pending());
        peer.sealer.sent(usize::MAX);
    }
    // Two records and a part of the third are there before.
    b.write_all(&wire[..40_000]).unwrap();
    let mut socket = Socket::from_established(a, keys, &Options::new().layer(layer)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| b.write_all(&wire[40_000..]).unwrap());
        assert!(receive_exactly(&mut socket, data.len()) == data);
    });
}

/// The next record from `socket`, and so on until `len` bytes have come: their lengths.
fn record_lengths(peer: &mut Peer, len: usize) -> (Vec<u8>, Vec<usize>) {
    let (mut got, mut lens) = (Vec::new(), Vec::new());
    while got.len() < len {
        let (_, part) = peer.receive().unwrap();
        lens.push(part.len());
        got.extend(part);
    }
    (got, lens)
}

/// Keys without a handshake, of TLS 1.2, whose record_size_limit (RFC 8449) is the kernel's TLS_TX_MAX_PAYLOAD_LEN.
fn with_tls_12_peer(layer: Layer, max_send_fragment: usize) -> (Socket, Peer) {
    let cipher = RecordCipher::new(Version::Tls12, Cipher::Aes128Gcm).unwrap();
    let key = |fill| DirectionKey::new(cipher, &[fill; 16], &[fill; 12], 1).unwrap();
    let meter = |direction| Meter::new(direction, DEFAULT_LIMIT, DEFAULT_LIMIT);
    let (a, stream) = tcp_pair();
    let keys = RawKeys::new(key(1), key(2)).unwrap().max_send_fragment(max_send_fragment);
    let socket = Socket::from_keys(a, keys, &Options::new().layer(layer)).unwrap();
    let sealer = Sealer::with_key(key(2), FRAGMENT, meter(Flow::Send)).unwrap();
    let opener = Opener::with_key(key(1), meter(Flow::Receive)).unwrap();
    (socket, Peer { stream, sealer, opener })
}

fn with_tls_13_peer(layer: Layer, max_send_fragment: usize) -> (Socket, Peer) {
    with_peer_and(&Options::new().layer(layer), max_send_fragment)
}

/// No record is longer than the peer takes, and none that is asked for goes.
fn max_payload_len(with_peer: impl Fn(usize) -> (Socket, Peer)) {
    for limit in [64, 128, 1000, FRAGMENT] {
        let (mut socket, mut peer) = with_peer(limit);
        let data = pattern(3 * limit + 1);
        send(&mut socket, &data);
        let (got, lens) = record_lengths(&mut peer, data.len());
        assert!(lens.iter().all(|&len| len <= limit), "{lens:?} of at most {limit}");
        assert!(got == data);
        let refused = socket.halves().0.send_record(ContentType::Handshake, &vec![4; limit + 1], Wait::Block);
        assert!(matches!(refused, Err(Error::RecordSize { .. })), "{refused:?}");
    }
}

/// A send that leaves a record part full: the next one begins another record, and keeps to the limit. What goes into
/// a record that is open fills it up to the limit and no further.
fn max_payload_len_open_rec((mut socket, mut peer): (Socket, Peer)) {
    send(&mut socket, &pattern(300));
    send(&mut socket, &pattern(300));
    assert_eq!(record_lengths(&mut peer, 600).1, [256, 44, 256, 44]);
    let part = pattern(300);
    let more = socket.halves().0.send_more(&[IoSlice::new(&part[..100])], Wait::Block);
    assert_eq!(more.unwrap(), 100);
    send(&mut socket, &part[100..]);
    assert_eq!(record_lengths(&mut peer, 300), (part, vec![256, 44]));
}

fn tls_12_tx_max_payload_len(layer: Layer) {
    max_payload_len(|limit| with_tls_12_peer(layer, limit));
}

fn tls_12_tx_max_payload_len_open_rec(layer: Layer) {
    max_payload_len_open_rec(with_tls_12_peer(layer, 256));
}

fn tls_13_tx_max_payload_len(layer: Layer) {
    max_payload_len(|limit| with_tls_13_peer(layer, limit));
}

fn tls_13_tx_max_payload_len_open_rec(layer: Layer) {
    max_payload_len_open_rec(with_tls_13_peer(layer, 256));
}
