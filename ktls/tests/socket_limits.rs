//! Bounds of records and files, with both record layers: what this end announced, files that change while they
//! are sent, and records with more padding than the kernel was told to expect.

// Each support brings the file with the child processes.
#![allow(clippy::duplicate_mod)]

mod handshake_support;
mod socket_support;

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::AsFd;
use std::thread;

use handshake_support::{psk, server_config};
use ktls::alert::Alert;
use ktls::crypto::Hash;
use ktls::handshake::ClientConfig;
use ktls::observe::{Conf, SocketTls, SocketTlsError, TlsStat};
use ktls::record::{BadRecord, ContentType};
use ktls::{Error, Layer, Options, RecvHalf, SealedBy, Socket, Wait, Why, probe};
use socket_support::process::skip;
use socket_support::{
    DEADLINE, FRAGMENT, Peer, SUITE, established, kernel_has_tls, pattern, raw_record, receive_all, send_all,
    tcp_pair, with_peer,
};

with_both_layers!(
    our_limit_is_kept_and_the_peer_told,
    records_up_to_our_limit_pass,
    limits_of_both_ends_are_kept,
    a_file_that_shrinks_ends_with_a_record,
    a_file_resumes_where_it_stopped,
    no_card_no_zero_copy,
);

fn receive(recv: &mut RecvHalf, max: usize) -> Result<Vec<u8>, Error> {
    let mut buf = vec![0; max];
    let n = recv.recv_vectored(&mut [IoSliceMut::new(&mut buf)], Wait::Block)?;
    buf.truncate(n);
    Ok(buf)
}

/// A socket that has announced to take `limit` bytes in a record.
fn limited(layer: Layer, limit: usize) -> (Socket, Peer) {
    let (a, b) = tcp_pair();
    let [mut keys, peer] = established(SUITE, FRAGMENT);
    keys.max_receive_fragment = limit;
    (Socket::from_established(a, keys, &Options::new().layer(layer)).unwrap(), Peer::new(b, peer))
}

fn our_limit_is_kept_and_the_peer_told(layer: Layer) {
    for too_long in [101, 200, FRAGMENT] {
        let (mut socket, mut peer) = limited(layer, 100);
        peer.send_data(&pattern(100));
        let (send, recv) = socket.halves();
        assert_eq!(receive(recv, 1000).unwrap(), pattern(100));
        peer.send_data(&pattern(too_long));
        let refused = receive(recv, 1000);
        assert!(
            matches!(refused, Err(Error::BadRecord(BadRecord::TooLong { .. }))),
            "{too_long}: {refused:?}"
        );
        let told = send.send_vectored(&[IoSlice::new(b"x")], Wait::Now);
        assert!(matches!(told, Err(Error::PeerAtFault(Alert::RECORD_OVERFLOW))), "{told:?}");
        assert_eq!(peer.receive(), Some((ContentType::Alert, Alert::RECORD_OVERFLOW.to_bytes().to_vec())));
    }
}

fn records_up_to_our_limit_pass(layer: Layer) {
    let (mut socket, mut peer) = limited(layer, 100);
    let data = pattern(20_000);
    let mut lens = [100, 1, 99, 50, 100, 100, 7].into_iter().cycle();
    let mut rest = &data[..];
    while !rest.is_empty() {
        let (record, left) = rest.split_at(lens.next().unwrap().min(rest.len()));
        peer.send_data(record);
        rest = left;
    }
    peer.send(ContentType::Handshake, &[4, 0, 0, 1, 9]);
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    assert!(receive_all(socket.halves().1) == data);
}

/// By the handshake: the client's limit and the server's, each kept by the other end. Where it is left to the
/// library, this process opens.
fn limits_of_both_ends_are_kept(layer: Layer) {
    let (a, b) = tcp_pair();
    let client = ClientConfig::new(psk(Hash::Sha256, 7)).record_size_limit(1001);
    let server = server_config(vec![psk(Hash::Sha256, 7)]).record_size_limit(501);
    let options = Options::new().send_layer(layer);
    let [mut client, mut server] = thread::scope(|scope| {
        let deadline = Some(std::time::Instant::now() + DEADLINE);
        let (client_options, server_options) = (&options, &options);
        let client = scope.spawn(move || Socket::connect(a, &client, client_options, deadline).unwrap());
        let server = Socket::accept(b, &server, server_options, deadline).unwrap();
        [client.join().unwrap(), server]
    });
    for socket in [&client, &server] {
        assert_eq!(socket.info().receive.by, SealedBy::Process);
        assert_eq!(socket.info().receive.why, Why::RecordSizeLimit);
    }
    let data = pattern(30_000);
    for (from, to, limit) in [(0, 1, 500), (1, 0, 1000)] {
        let ends = [&mut client, &mut server];
        send_all(ends[from].halves().0, &data);
        let (_, recv) = ends[to].halves();
        let (mut got, mut longest) = (Vec::new(), 0);
        while got.len() < data.len() {
            // In place: one record at a time.
            let part = recv.fill_buf(Wait::Block).unwrap();
            longest = longest.max(part.len());
            got.extend_from_slice(part);
            let len = part.len();
            recv.consume(len);
        }
        assert!(got == data);
        assert_eq!(longest, limit);
    }
}

fn file(data: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(data).unwrap();
    file
}

/// More was asked for than there is by now: what there is arrives, without anything sent after it.
fn a_file_that_shrinks_ends_with_a_record(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(100_000);
    let file = file(&data);
    file.set_len(30_001).unwrap();
    let (send, _) = socket.halves();
    let mut sent = 0;
    loop {
        let n = send.send_file(file.as_fd(), sent, 100_000 - sent as usize, Wait::Block).unwrap();
        if n == 0 {
            break;
        }
        sent += n as u64;
    }
    assert_eq!(sent, 30_001);
    let mut got = Vec::new();
    while got.len() < 30_001 {
        got.extend(peer.receive().unwrap().1);
    }
    assert!(got == data[..30_001]);
    assert!(!send.has_pending());
}

/// Without waiting, as far as there is room; then from there on.
fn a_file_resumes_where_it_stopped(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(20_000_000);
    let file = file(&data);
    let (send, _) = socket.halves();
    let mut sent = 0;
    let error = loop {
        match send.send_file(file.as_fd(), sent as u64, data.len() - sent, Wait::Now) {
            Ok(n) => sent += n,
            Err(error) => break error,
        }
        assert!(sent < data.len(), "all of it had room");
    };
    assert!(error.is_would_block() && sent > 0, "{error}");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut got = 0;
            while got < data.len() {
                let part = peer.receive().unwrap().1;
                assert!(data[got..].starts_with(&part), "at {got}");
                got += part.len();
            }
        });
        while sent < data.len() {
            sent += send.send_file(file.as_fd(), sent as u64, data.len() - sent, Wait::Block).unwrap();
        }
        assert!(send.flush(Wait::Block).unwrap());
    });
}

fn no_card_no_zero_copy(layer: Layer) {
    let (a, b) = tcp_pair();
    let [keys, peer] = established(SUITE, FRAGMENT);
    let options = Options::new().layer(layer).send_zerocopy(true);
    let mut socket = Socket::from_established(a, keys, &options).unwrap();
    let mut peer = Peer::new(b, peer);
    assert!(!socket.info().send_zerocopy, "loopback is no card");
    let n = socket.halves().0.send_file(file(b"content").as_fd(), 0, 100, Wait::Block).unwrap();
    assert_eq!((n, peer.receive().unwrap().1), (7, b"content".to_vec()));
}

/// Unless it is told otherwise: without it the kernel opens no record of TLS 1.3 into the caller's memory.
#[test]
fn no_padding_is_expected() {
    const TEST: &str = "no_padding_is_expected";
    if !kernel_has_tls(TEST) {
        return;
    }
    for (options, expected) in [(Options::new(), true), (Options::new().expect_no_pad(false), false)] {
        let (a, _b) = tcp_pair();
        let [keys, _] = established(SUITE, FRAGMENT);
        let socket = Socket::from_established(a, keys, &options.layer(Layer::Kernel)).unwrap();
        let tcp = socket.tcp();
        match SocketTls::ask(tcp.local_addr().unwrap(), tcp.peer_addr().unwrap()) {
            Ok(tls) => {
                assert_eq!(tls.rx_no_pad, expected && probe().no_pad, "{tls:?}");
                assert_eq!((tls.version, tls.cipher), (Some(0x0304), Some(51)));
                assert_eq!((tls.tx, tls.rx), (Some(Conf::Software), Some(Conf::Software)));
            }
            Err(why @ (SocketTlsError::Io(_) | SocketTlsError::Silent)) => {
                return skip(TEST, &why.to_string());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The kernel counts what it had to open twice, and nothing where it was told not to expect.
#[test]
fn padding_shows_in_the_counters() {
    if !kernel_has_tls("padding_shows_in_the_counters") {
        return;
    }
    for expect in [true, false] {
        let (a, b) = tcp_pair();
        let [keys, peer_keys] = established(SUITE, FRAGMENT);
        let options = Options::new().layer(Layer::Kernel).expect_no_pad(expect);
        let mut socket = Socket::from_established(a, keys, &options).unwrap();
        let mut peer = Peer::new(b, peer_keys);
        let before = TlsStat::read().unwrap();
        for number in 0..20 {
            peer.send_raw(&raw_record(number, b"data\x17\0\0\0"));
            assert_eq!(receive(socket.halves().1, 100).unwrap(), b"data");
        }
        // Other tests of this program pad nothing.
        let grown = TlsStat::read().unwrap().since(&before).no_pad();
        assert_eq!(grown.violations, if expect { 20 } else { 0 });
        assert_eq!(grown.advice(20).is_some(), expect);
    }
}
