//! Records that are not valid, and what came before them.

use super::*;

with_both_layers!(
    a_changed_record_is_refused_and_the_peer_told,
    who_only_receives_tells_the_peer_when_dropped,
    plain_text_is_refused,
    what_came_before_an_error_is_given_first,
);

fn a_changed_record_is_refused_and_the_peer_told(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    assert!(peer.sealer.seal_record(ContentType::ApplicationData, b"data").unwrap());
    let mut bytes = peer.sealer.pending().to_vec();
    bytes[6] ^= 1;
    peer.send_raw(&bytes);
    let (send, recv) = socket.halves();
    for _ in 0..3 {
        let refused = receive(recv, 100);
        assert!(
            matches!(refused, Err(Error::BadRecord(BadRecord::NotAuthentic { sequence: 0 }))),
            "{refused:?}"
        );
    }
    for _ in 0..2 {
        let refused = send.send_vectored(&[IoSlice::new(b"x")], Wait::Now);
        assert!(matches!(refused, Err(Error::PeerAtFault(Alert::BAD_RECORD_MAC))), "{refused:?}");
    }
    expect_alert(&mut peer, Alert::BAD_RECORD_MAC);
}

/// A server that reads, fails and ends: the usual one.
fn who_only_receives_tells_the_peer_when_dropped(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &[24, 0, 0, 1, 137]);
    let refused = receive(socket.halves().1, 100);
    assert!(matches!(refused, Err(Error::Handshake(_))), "{refused:?}");
    drop(socket);
    expect_alert(&mut peer, Alert::ILLEGAL_PARAMETER);
    assert_eq!(peer.receive(), None);

    // Who has closed says nothing more.
    let (mut socket, mut peer) = with_peer(layer);
    assert!(socket.halves().0.close_notify(Wait::Block).unwrap());
    peer.send(ContentType::Handshake, &[24, 0, 0, 1, 137]);
    receive(socket.halves().1, 100).unwrap_err();
    drop(socket);
    expect_alert(&mut peer, Alert::CLOSE_NOTIFY);
    assert_eq!(peer.receive(), None);
}

fn plain_text_is_refused(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    // An NVMe/TCP ICResp.
    peer.send_raw(&[1, 0, 0x80, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    for _ in 0..3 {
        let refused = receive(socket.halves().1, 100);
        assert!(matches!(refused, Err(Error::BadRecord(_))), "{refused:?}");
    }
}

fn what_came_before_an_error_is_given_first(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"one ");
    peer.send_data(b"two");
    peer.send_raw(&[23, 3, 3, 0x50, 0]);
    let (_, recv) = socket.halves();
    let mut got = Vec::new();
    let error = loop {
        match receive(recv, 100) {
            Ok(part) => got.extend_from_slice(&part),
            Err(error) => break error,
        }
    };
    assert_eq!(got, b"one two");
    assert!(matches!(error, Error::BadRecord(BadRecord::TooLong { .. })), "{error}");
}
