//! Handshake messages after the handshake.

use ktls::alert::Alert;
use ktls::handshake::{MAX_MESSAGE_LEN, key_update_message};
use ktls::record::{ContentType, MAX_IDLE_RECORDS};
use ktls::{Error, Event, Flow, Layer, Wait};

use crate::socket_support::{self, FRAGMENT, with_peer};
use crate::{bad, can_rekey, empty, ends, flood, handshake, is_refused, message, not_authentic, receive};

with_both_layers!(
    an_empty_handshake_record,
    a_flood_of_tickets,
    a_flood_of_key_updates,
    a_message_that_never_ends,
    an_unknown_handshake_message,
    handshake_messages_of_the_handshake,
    a_ticket_that_is_too_long,
    the_longest_ticket,
    a_key_update_with_an_unknown_request,
    a_key_update_without_a_body,
    a_key_update_that_is_too_long,
    a_key_update_with_something_behind_it,
    the_old_key_after_a_key_update,
    a_new_key_without_a_key_update,
);

fn an_empty_handshake_record(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, b"");
    is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, empty(ContentType::Handshake));
}

fn a_flood_of_tickets(layer: Layer) {
    flood(layer, |peer, _| peer.send(ContentType::Handshake, &message(4, 30)));
}

fn a_flood_of_key_updates(layer: Layer) {
    if can_rekey(layer) {
        flood(layer, |peer, _| {
            peer.send(ContentType::Handshake, &key_update_message(true));
            peer.sealer.rekey().unwrap();
        });
    } else {
        let (mut socket, mut peer) = with_peer(layer);
        for _ in 0..=MAX_IDLE_RECORDS {
            peer.send(ContentType::Handshake, &key_update_message(true));
            peer.sealer.rekey().unwrap();
        }
        let error =
            ends(&mut socket, |error| matches!(error, Error::RekeyUnsupported { direction: Flow::Receive }));
        assert!(error.needs_new_connection());
    }
}

fn a_message_that_never_ends(layer: Layer) {
    // One byte in each record, so that it would take for ever.
    let long = message(4, 1000);
    flood(layer, |peer, n| peer.send(ContentType::Handshake, &[long[n as usize]]));
}

fn is_refused_message(layer: Layer, content: &[u8], alert: Alert) {
    let (mut socket, mut peer) = with_peer(layer);
    for part in content.chunks(FRAGMENT) {
        peer.send(ContentType::Handshake, part);
    }
    is_refused(&mut socket, &mut peer, alert, handshake);
}

fn an_unknown_handshake_message(layer: Layer) {
    for kind in [3, 7, 99, 255] {
        is_refused_message(layer, &message(kind, 10), Alert::UNEXPECTED_MESSAGE);
    }
}

fn handshake_messages_of_the_handshake(layer: Layer) {
    // ClientHello (a renegotiation), ServerHello, EncryptedExtensions, CertificateRequest, Finished.
    for kind in [1, 2, 8, 13, 20] {
        is_refused_message(layer, &message(kind, 40), Alert::UNEXPECTED_MESSAGE);
    }
}

fn a_ticket_that_is_too_long(layer: Layer) {
    // Its header is enough.
    is_refused_message(layer, &message(4, MAX_MESSAGE_LEN + 1)[..4], Alert::DECODE_ERROR);
}

fn the_longest_ticket(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    for part in message(4, MAX_MESSAGE_LEN).chunks(FRAGMENT) {
        peer.send(ContentType::Handshake, part);
    }
    peer.send_data(b"data");
    assert_eq!(receive(&mut socket, Wait::Block).unwrap(), b"data");
}

fn a_key_update_with_an_unknown_request(layer: Layer) {
    for request in [2, 255] {
        is_refused_message(layer, &[24, 0, 0, 1, request], Alert::ILLEGAL_PARAMETER);
    }
}

fn a_key_update_without_a_body(layer: Layer) {
    is_refused_message(layer, &[24, 0, 0, 0], Alert::DECODE_ERROR);
}

fn a_key_update_that_is_too_long(layer: Layer) {
    is_refused_message(layer, &[24, 0, 0, 2, 0, 0], Alert::DECODE_ERROR);
}

fn a_key_update_with_something_behind_it(layer: Layer) {
    // RFC 8446, section 5.1: messages must not span key changes.
    for behind in [&key_update_message(false)[..], &message(4, 9), &[4]] {
        let content = [&key_update_message(false)[..], behind].concat();
        is_refused_message(layer, &content, Alert::UNEXPECTED_MESSAGE);
    }
}

fn the_old_key_after_a_key_update(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &key_update_message(false));
    peer.send_data(b"old key");
    if can_rekey(layer) {
        is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, bad(not_authentic));
    } else {
        ends(&mut socket, |error| matches!(error, Error::RekeyUnsupported { direction: Flow::Receive }));
    }
    let event = socket.take_event();
    assert_eq!(event, can_rekey(layer).then_some(Event::PeerUpdatedKey));
}

fn a_new_key_without_a_key_update(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.sealer.rekey().unwrap();
    peer.send_data(b"new key");
    is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, bad(not_authentic));
}
