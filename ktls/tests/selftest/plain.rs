//! The tests without a fixture.

use std::io::Write;
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};

use ktls::cipher::CipherSuite;
use ktls::record::ContentType;
use ktls::{Error, Layer, Options, Socket, Wait, Why};

use crate::harness::{Pairing, receive, receive_exactly, send, try_receive};
use crate::socket_support::{
    FRAGMENT, Peer, SUITE, established, pattern, process, raw_record, sockets, tcp_pair, with_peer,
    with_peer_and,
};

pairs!(keysizes, tls_v6ops);
alone!(non_established, no_pad, prequeue, tls_13_tx_max_payload_len, tls_13_tx_max_payload_len_open_rec);

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

/// The kernel's tests of this name set it for TLS 1.2; here it is the record_size_limit of TLS 1.3.
fn tls_13_tx_max_payload_len(layer: Layer) {
    for limit in [64, 128, 1000, FRAGMENT] {
        let (mut socket, mut peer) = with_peer_and(&Options::new().layer(layer), limit);
        let data = pattern(3 * limit + 1);
        send(&mut socket, &data);
        let mut got = Vec::new();
        while got.len() < data.len() {
            let (_, part) = peer.receive().unwrap();
            assert!(part.len() <= limit, "{} bytes of at most {limit}", part.len());
            got.extend(part);
        }
        assert!(got == data);
        let refused = socket.halves().0.send_record(ContentType::Handshake, &vec![4; limit + 1], Wait::Block);
        assert!(matches!(refused, Err(Error::RecordSize { .. })), "{refused:?}");
    }
}

/// A send that leaves a record part full: the next one begins another record, and keeps to the limit.
fn tls_13_tx_max_payload_len_open_rec(layer: Layer) {
    let (mut socket, mut peer) = with_peer_and(&Options::new().layer(layer), 256);
    send(&mut socket, &pattern(300));
    send(&mut socket, &pattern(300));
    let mut lens = Vec::new();
    while lens.iter().sum::<usize>() < 600 {
        lens.push(peer.receive().unwrap().1.len());
    }
    assert_eq!(lens, [256, 44, 256, 44]);
}
