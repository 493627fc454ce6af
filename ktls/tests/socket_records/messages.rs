//! Handshake messages between the data.

use super::*;

with_both_layers!(
    tickets_are_dropped,
    a_long_ticket_passes_through_a_small_buffer,
    data_between_the_parts_of_a_message_is_refused,
    a_strange_handshake_message_is_refused,
    an_empty_record_is_not_the_end,
);

fn tickets_are_dropped(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &ticket(200));
    peer.send(ContentType::Handshake, &[ticket(20), ticket(30)].concat());
    peer.send_data(b"data");
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"data");
    assert_eq!(socket.take_event(), None);
}

fn a_long_ticket_passes_through_a_small_buffer(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let long = ticket(12_000);
    peer.send(ContentType::Handshake, &long[..9000]);
    peer.send(ContentType::Handshake, &long[9000..]);
    peer.send_data(b"data");
    let (_, recv) = socket.halves();
    assert_eq!(receive(recv, 3).unwrap(), b"dat");
    assert_eq!(receive(recv, 3).unwrap(), b"a");
}

fn data_between_the_parts_of_a_message_is_refused(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &ticket(200)[..100]);
    peer.send_data(b"data");
    let refused = receive(socket.halves().1, 100);
    assert!(matches!(refused, Err(Error::BadRecord(BadRecord::Interleaved { .. }))), "{refused:?}");
}

fn a_strange_handshake_message_is_refused(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &[1, 0, 0, 0]);
    let (send, recv) = socket.halves();
    assert!(matches!(receive(recv, 100), Err(Error::Handshake(_))));
    assert!(matches!(
        send.send_vectored(&[IoSlice::new(b"x")], Wait::Now),
        Err(Error::PeerAtFault(Alert::UNEXPECTED_MESSAGE))
    ));
    expect_alert(&mut peer, Alert::UNEXPECTED_MESSAGE);
}

fn an_empty_record_is_not_the_end(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"");
    peer.send_data(b"after");
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"after");
    peer.send_data(b"");
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"");
    assert!(socket.halves().1.is_closed());
}
