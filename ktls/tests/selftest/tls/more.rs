//! MSG_MORE: records that stay open.

use std::io::IoSlice;

use ktls::alert::Alert;
use ktls::record::ContentType;
use ktls::{Layer, Socket, Wait};

use crate::harness::{Pairing, expect_nothing, receive, receive_exactly, send};
use crate::socket_support::{FRAGMENT, pattern, with_peer};

pairs!(msg_more, msg_more_unsent, msg_eor);
alone!(msg_more_then_cmsg, shutdown_unsent, msg_more_fills_records);

fn send_more(socket: &mut Socket, data: &[u8]) {
    assert_eq!(socket.halves().0.send_more(&[IoSlice::new(data)], Wait::Block).unwrap(), data.len());
}

fn msg_more(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send_more(&mut a, b"test_read\0");
    assert!(a.halves().0.has_pending());
    expect_nothing(&mut b);
    send(&mut a, b"test_read\0");
    assert!(!a.halves().0.has_pending());
    // One record: one receive gives it whole.
    assert_eq!(receive(&mut b, 100), b"test_read\0test_read\0");
}

/// What is held back goes by a flush.
fn msg_more_unsent(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send_more(&mut a, b"test_read\0");
    expect_nothing(&mut b);
    assert!(a.halves().0.flush(Wait::Block).unwrap());
    assert_eq!(receive(&mut b, 100), b"test_read\0");
    assert!(a.halves().0.flush(Wait::Now).unwrap(), "there is no more");
    expect_nothing(&mut b);
}

/// Any call without `more` ends the record.
fn msg_eor(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(1000);
    for part in data.chunks(100).take(9) {
        send_more(&mut a, part);
    }
    expect_nothing(&mut b);
    send(&mut a, &data[900..]);
    assert_eq!(receive_exactly(&mut b, 1000), data);
}

fn msg_more_then_cmsg(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    send_more(&mut socket, b"0123456789");
    let ticket = [4, 0, 0, 1, 9];
    socket.halves().0.send_record(ContentType::Handshake, &ticket, Wait::Block).unwrap();
    assert_eq!(peer.receive(), Some((ContentType::ApplicationData, b"0123456789".to_vec())));
    assert_eq!(peer.receive(), Some((ContentType::Handshake, ticket.to_vec())));
}

/// close_notify comes after what was held back.
fn shutdown_unsent(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    send_more(&mut socket, b"last words");
    assert!(socket.halves().0.close_notify(Wait::Block).unwrap());
    assert_eq!(peer.receive(), Some((ContentType::ApplicationData, b"last words".to_vec())));
    assert_eq!(peer.receive(), Some((ContentType::Alert, Alert::CLOSE_NOTIFY.to_bytes().to_vec())));
}

/// No name of the kernel's: a record that has become full ends by itself.
fn msg_more_fills_records(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(2 * FRAGMENT + 500);
    for part in data.chunks(3000) {
        send_more(&mut socket, part);
    }
    assert!(socket.halves().0.flush(Wait::Block).unwrap());
    let lens: Vec<usize> = (0..3).map(|_| peer.receive().unwrap().1.len()).collect();
    assert_eq!(lens, [FRAGMENT, FRAGMENT, 500]);
}
