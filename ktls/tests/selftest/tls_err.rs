//! The fixture `tls_err`: a peer that sends what it should not.

use std::time::Duration;

use ktls::record::{BadRecord, ContentType};
use ktls::{Error, Layer, Socket, Wait};

use crate::harness::{expect_nothing, polls_readable, receive, receive_by_polling, try_receive};
use crate::socket_support::{DEADLINE, Peer, pattern, with_peer};

alone!(
    bad_rec,
    bad_auth,
    bad_in_large_read,
    bad_cmsg,
    timeo,
    poll_partial_rec,
    epoll_partial_rec,
    poll_partial_rec_async,
);

/// The record's bytes, sealed and not sent.
fn sealed(peer: &mut Peer, content_type: ContentType, content: &[u8]) -> Vec<u8> {
    assert!(peer.sealer.seal_record(content_type, content).unwrap());
    let bytes = peer.sealer.pending().to_vec();
    peer.sealer.sent(usize::MAX);
    bytes
}

/// The same error each time from then on.
fn expect_not_authentic(socket: &mut Socket) {
    for _ in 0..3 {
        let result = try_receive(socket, 1000, Wait::Block);
        let refused = matches!(result, Err(Error::BadRecord(BadRecord::NotAuthentic { .. })));
        assert!(refused, "{result:?}");
    }
}

fn bad_rec(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&[0x55; 10]);
    for _ in 0..3 {
        // The kernel says EMSGSIZE once and then EAGAIN for ever: never let through.
        let result = try_receive(&mut socket, 1000, Wait::Block);
        assert!(matches!(result, Err(Error::BadRecord(_))), "{result:?}");
    }
}

fn bad_auth(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let mut bytes = sealed(&mut peer, ContentType::ApplicationData, &pattern(128));
    bytes[64] ^= 1;
    peer.send_raw(&bytes);
    // A good one after it changes nothing.
    peer.send_data(&pattern(128));
    expect_not_authentic(&mut socket);
}

fn bad_in_large_read(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(300);
    let mut bytes = Vec::new();
    for part in data.chunks(100) {
        bytes.extend(sealed(&mut peer, ContentType::ApplicationData, part));
    }
    let mut bad = sealed(&mut peer, ContentType::ApplicationData, b"never seen");
    *bad.last_mut().unwrap() ^= 0x80;
    bytes.extend(bad);
    peer.send_raw(&bytes);
    let mut got = Vec::new();
    while got.len() < data.len() {
        // Room for all four at once.
        got.extend(receive(&mut socket, 1000));
    }
    assert_eq!(got, data);
    expect_not_authentic(&mut socket);
}

fn bad_cmsg(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"good");
    let mut bytes = sealed(&mut peer, ContentType::Handshake, &[4, 0, 0, 3, 1, 2, 3]);
    bytes[8] ^= 1;
    peer.send_raw(&bytes);
    assert_eq!(receive(&mut socket, 100), b"good");
    expect_not_authentic(&mut socket);
}

fn timeo(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    socket.tcp().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    for _ in 0..2 {
        let error = try_receive(&mut socket, 100, Wait::Block).unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    socket.tcp().set_read_timeout(Some(DEADLINE)).unwrap();
    peer.send_data(b"late");
    assert_eq!(receive(&mut socket, 100), b"late");
}

fn poll_partial_rec(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(256);
    let bytes = sealed(&mut peer, ContentType::ApplicationData, &data);
    for part in bytes[..bytes.len() - 1].chunks(90) {
        peer.send_raw(part);
        // The descriptor may say more than there is; the call then waits for nothing.
        expect_nothing(&mut socket);
        assert!(!socket.halves().1.has_buffered());
    }
    if layer == Layer::Process {
        // The kernel's layer keeps to that only since the kernel's suite tests it: Linux 6.1 does not.
        assert!(!polls_readable(&socket, 0));
    }
    peer.send_raw(&bytes[bytes.len() - 1..]);
    assert!(polls_readable(&socket, 10_000));
    assert_eq!(receive(&mut socket, 1000), data);
}

fn epoll_partial_rec(layer: Layer) {
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

    let (mut socket, mut peer) = with_peer(layer);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 7)).unwrap();
    let wait = |milliseconds: u16| {
        let mut events = [EpollEvent::empty()];
        epoll.wait(&mut events, EpollTimeout::from(milliseconds)).unwrap()
    };
    let data = pattern(256);
    let bytes = sealed(&mut peer, ContentType::ApplicationData, &data);
    let (first, rest) = bytes.split_at(100);
    peer.send_raw(first);
    expect_nothing(&mut socket);
    // An edge may have come for the first part; the next one must come with the rest.
    wait(0);
    peer.send_raw(rest);
    assert_eq!(wait(10_000), 1);
    assert_eq!(receive(&mut socket, 1000), data);
    assert_eq!(wait(0), 0);
}

fn poll_partial_rec_async(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(256);
    let bytes = sealed(&mut peer, ContentType::ApplicationData, &data);
    let (first, rest) = bytes.split_at(100);
    peer.send_raw(first);
    std::thread::scope(|scope| {
        // It polls while the rest is on its way.
        scope.spawn(|| assert_eq!(receive_by_polling(&mut socket, data.len()), data));
        peer.send_raw(rest);
    });
}
