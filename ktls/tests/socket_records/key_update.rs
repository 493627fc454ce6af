//! Keys that change.

use super::*;

with_both_layers!(
    tickets_and_a_key_update_in_one_record,
    a_key_update_over_two_records,
    ours_comes_before_our_next_data,
    the_peer_follows_ours,
);

fn expect_data_after_update(socket: &mut Socket, peer: &mut Peer) {
    peer.sealer.rekey().unwrap();
    peer.send_data(b"new key");
    let can = can_change_keys(socket);
    let received = receive(socket.halves().1, 100);
    if can {
        assert_eq!(received.unwrap(), b"new key");
        assert_eq!(socket.take_event(), Some(Event::PeerUpdatedKey));
    } else {
        let refused = matches!(received, Err(Error::RekeyUnsupported { direction: Flow::Receive }));
        assert!(refused, "{received:?}");
    }
}

fn tickets_and_a_key_update_in_one_record(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let record = [ticket(40), ticket(50), key_update_message(false).to_vec()].concat();
    peer.send(ContentType::Handshake, &record);
    expect_data_after_update(&mut socket, &mut peer);
}

fn a_key_update_over_two_records(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let message = key_update_message(false);
    peer.send(ContentType::Handshake, &message[..2]);
    peer.send(ContentType::Handshake, &message[2..]);
    expect_data_after_update(&mut socket, &mut peer);
}

fn ours_comes_before_our_next_data(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &key_update_message(true));
    expect_data_after_update(&mut socket, &mut peer);
    if can_change_keys(&socket) {
        send_all(socket.halves().0, b"answer");
        let update = (ContentType::Handshake, key_update_message(false).to_vec());
        assert_eq!(peer.receive(), Some(update));
        peer.opener.rekey().unwrap();
        assert_eq!(peer.receive().unwrap().1, b"answer");
    }
}

fn the_peer_follows_ours(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let can = can_change_keys(&socket);
    let (send, _) = socket.halves();
    send_all(send, b"before");
    let updated = send.update_key(true, Wait::Block);
    assert_eq!(peer.receive().unwrap().1, b"before");
    if can {
        updated.unwrap();
        send_all(send, b"after");
        let update = (ContentType::Handshake, key_update_message(true).to_vec());
        assert_eq!(peer.receive(), Some(update));
        peer.opener.rekey().unwrap();
        assert_eq!(peer.receive().unwrap().1, b"after");
    } else {
        assert!(matches!(updated, Err(Error::RekeyUnsupported { direction: Flow::Send })));
    }
}
