//! How connections end.

use super::*;

with_both_layers!(
    half_close_leaves_the_other_direction_open,
    the_peer_s_close_notify_is_the_end_and_ours_still_goes,
    a_fin_without_close_notify_is_truncation,
    a_fin_inside_of_a_record_is_truncation,
    an_alert_ends_both_directions,
    a_malformed_alert_is_refused,
    user_canceled_alone_changes_nothing,
);

fn half_close_leaves_the_other_direction_open(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (send, recv) = socket.halves();
    send_all(send, b"last words");
    assert!(send.close_notify(Wait::Block).unwrap());
    assert!(send.close_notify(Wait::Now).unwrap(), "a second time does nothing");
    assert!(matches!(send.send_vectored(&[IoSlice::new(b"more")], Wait::Block), Err(Error::SendClosed)));
    assert_eq!(peer.receive().unwrap().1, b"last words");
    expect_alert(&mut peer, Alert::CLOSE_NOTIFY);
    peer.send_data(b"still here");
    assert_eq!(receive(recv, 100).unwrap(), b"still here");
}

fn the_peer_s_close_notify_is_the_end_and_ours_still_goes(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"bye");
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    peer.cut();
    let (send, recv) = socket.halves();
    assert_eq!(receive(recv, 100).unwrap(), b"bye");
    for _ in 0..3 {
        assert_eq!(receive(recv, 100).unwrap(), b"");
        assert_eq!(recv.fill_buf(Wait::Now).unwrap(), b"");
    }
    assert!(recv.is_closed());
    send_all(send, b"answer");
    assert!(send.close_notify(Wait::Block).unwrap());
    assert_eq!(peer.receive().unwrap().1, b"answer");
    expect_alert(&mut peer, Alert::CLOSE_NOTIFY);
}

fn a_fin_without_close_notify_is_truncation(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"half of it");
    peer.cut();
    let (_, recv) = socket.halves();
    assert_eq!(receive(recv, 100).unwrap(), b"half of it");
    for _ in 0..3 {
        let error = receive(recv, 100).unwrap_err();
        assert!(error.is_unexpected_eof() && !error.is_retryable(), "{error}");
    }
}

fn a_fin_inside_of_a_record_is_truncation(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&[23, 3, 3, 0, 100, 1, 2, 3]);
    peer.cut();
    assert!(matches!(receive(socket.halves().1, 100), Err(Error::Truncated)));
}

fn an_alert_ends_both_directions(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, &Alert::INTERNAL_ERROR.to_bytes());
    let (send, recv) = socket.halves();
    for _ in 0..2 {
        assert!(matches!(receive(recv, 100), Err(Error::Alert(Alert::INTERNAL_ERROR))));
    }
    let refused = send.send_vectored(&[IoSlice::new(b"x")], Wait::Now);
    assert!(matches!(refused, Err(Error::Alert(Alert::INTERNAL_ERROR))));
}

fn a_malformed_alert_is_refused(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, &[1, 0, 0]);
    let refused = receive(socket.halves().1, 100);
    assert!(matches!(refused, Err(Error::BadRecord(BadRecord::AlertLength { len: 3 }))));
}

fn user_canceled_alone_changes_nothing(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, &Alert::USER_CANCELED.to_bytes());
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"");
}
