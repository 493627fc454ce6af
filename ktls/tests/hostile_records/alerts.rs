//! Alerts, and what stands beside them.

use std::io::IoSlice;

use ktls::alert::Alert;
use ktls::record::{BadRecord, ContentType};
use ktls::{Error, Layer, Wait};

use crate::socket_support::{self, FRAGMENT, Peer, with_peer};
use crate::{bad, empty, ends, flood, is_refused, message, plain_text_is_refused, receive};

with_both_layers!(
    an_empty_alert,
    a_flood_of_user_canceled,
    an_alert_in_plain_text,
    a_fragmented_alert,
    two_alerts_in_one_record,
    a_warning_that_is_an_error,
    an_unknown_alert,
    data_after_close_notify,
    garbage_after_close_notify,
    an_alert_between_the_parts_of_a_message,
);

fn an_empty_alert(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, b"");
    is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, empty(ContentType::Alert));
}

fn a_flood_of_user_canceled(layer: Layer) {
    flood(layer, |peer, _| peer.send(ContentType::Alert, &Alert::USER_CANCELED.to_bytes()));
}

fn an_alert_in_plain_text(layer: Layer) {
    // Somebody on the way could forge it: it must not end the stream as a close_notify does.
    plain_text_is_refused(layer, 21, &Alert::CLOSE_NOTIFY.to_bytes());
}

fn alert_of_length(layer: Layer, content: &[u8]) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, content);
    let wanted = content.len();
    let is_it = bad(move |record| *record == BadRecord::AlertLength { len: wanted });
    is_refused(&mut socket, &mut peer, Alert::DECODE_ERROR, is_it);
}

fn a_fragmented_alert(layer: Layer) {
    // RFC 8446, section 5.1: alerts "MUST NOT be fragmented across records".
    alert_of_length(layer, &[1]);
}

fn two_alerts_in_one_record(layer: Layer) {
    alert_of_length(layer, &[1, 0, 1, 0]);
    alert_of_length(layer, &[1; FRAGMENT]);
}

/// An alert ends both directions; nothing is sent back.
fn is_alert(layer: Layer, level: u8, alert: Alert) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, &[level, alert.0]);
    ends(&mut socket, |error| matches!(error, Error::Alert(got) if *got == alert));
    let refused = socket.halves().0.send_vectored(&[IoSlice::new(b"x")], Wait::Block);
    assert!(matches!(refused, Err(Error::Alert(got)) if got == alert), "{refused:?}");
    drop(socket);
    assert_eq!(peer.receive(), None);
}

fn a_warning_that_is_an_error(layer: Layer) {
    // RFC 8446, section 6: the level can be ignored, an error alert is fatal.
    is_alert(layer, 1, Alert::BAD_RECORD_MAC);
    is_alert(layer, 0, Alert::HANDSHAKE_FAILURE);
}

fn an_unknown_alert(layer: Layer) {
    is_alert(layer, 1, Alert(255));
    is_alert(layer, 99, Alert(1));
}

/// RFC 8446, section 6.1: data after a closure alert is ignored, and this end may go on sending.
fn after_close_notify(layer: Layer, send: impl FnOnce(&mut Peer)) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"before");
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    send(&mut peer);
    assert_eq!(receive(&mut socket, Wait::Block).unwrap(), b"before");
    for wait in [Wait::Block, Wait::Now, Wait::Block] {
        assert_eq!(receive(&mut socket, wait).unwrap(), b"");
    }
    socket_support::send_all(socket.halves().0, b"answer");
    assert_eq!(peer.receive().unwrap().1, b"answer");
}

fn data_after_close_notify(layer: Layer) {
    after_close_notify(layer, |peer| peer.send_data(b"too late"));
}

fn garbage_after_close_notify(layer: Layer) {
    after_close_notify(layer, |peer| peer.send_raw(&[0x55; 100]));
}

fn an_alert_between_the_parts_of_a_message(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &message(4, 100)[..50]);
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    let is_it = bad(|record| *record == BadRecord::Interleaved { content_type: ContentType::Alert });
    is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, is_it);
}
