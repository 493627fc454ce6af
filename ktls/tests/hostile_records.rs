//! Everything a peer can send on the record level after the handshake that it should not, in both layers.
//! The hostile peer seals in the process, so the kernel's receiving side gets authentic records too.
//!
//! Each must end in a typed error that stays, never in an EIO; the peer is told by an alert where RFC 8446
//! has one.

mod socket_support;

use std::io::{IoSlice, IoSliceMut};

use ktls::alert::Alert;
use ktls::handshake::{MAX_MESSAGE_LEN, key_update_message};
use ktls::record::{BadRecord, ContentType, MAX_IDLE_RECORDS};
use ktls::{Error, Event, Flow, Layer, Socket, Wait, probe};
use socket_support::{FRAGMENT, Peer, pattern, raw_record, with_peer};

with_both_layers!(
    an_empty_alert,
    an_empty_handshake_record,
    a_flood_of_empty_data,
    a_flood_of_padding_alone,
    a_flood_of_tickets,
    a_flood_of_key_updates,
    a_flood_of_user_canceled,
    a_plaintext_of_one_byte_too_many,
    padding_beyond_the_largest_plaintext,
    a_ciphertext_of_one_byte_too_many,
    a_record_without_a_content_type,
    an_unknown_content_type,
    a_protected_change_cipher_spec,
    a_change_cipher_spec_after_the_handshake,
    an_alert_in_plain_text,
    a_handshake_message_in_plain_text,
    a_sealed_record_of_another_outer_type,
    another_version_in_the_header,
    a_record_without_a_body,
    a_record_shorter_than_its_tag,
    a_record_sent_twice,
    records_in_the_wrong_order,
    garbage_that_the_sending_half_meets_first,
    a_fragmented_alert,
    two_alerts_in_one_record,
    a_warning_that_is_an_error,
    an_unknown_alert,
    data_after_close_notify,
    garbage_after_close_notify,
    an_alert_between_the_parts_of_a_message,
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

fn receive(socket: &mut Socket, wait: Wait) -> Result<Vec<u8>, Error> {
    let mut buf = vec![0; 40_000];
    let n = socket.halves().1.recv_vectored(&mut [IoSliceMut::new(&mut buf)], wait)?;
    buf.truncate(n);
    Ok(buf)
}

/// The next receive gives an error that `is_it`, and so does each one after it.
fn ends(socket: &mut Socket, is_it: impl Fn(&Error) -> bool) -> Error {
    let first = receive(socket, Wait::Block).unwrap_err();
    assert!(is_it(&first), "{first:?}");
    for wait in [Wait::Now, Wait::Block, Wait::Now] {
        let again = receive(socket, wait).unwrap_err();
        assert_eq!(format!("{again:?}"), format!("{first:?}"), "it must stay the same");
    }
    assert!(socket.halves().1.fill_buf(Wait::Now).is_err());
    first
}

/// The same, and the peer is told by `alert`, once; then this end sends nothing more.
fn is_refused(socket: &mut Socket, peer: &mut Peer, alert: Alert, is_it: impl Fn(&Error) -> bool) {
    let error = ends(socket, is_it);
    for _ in 0..2 {
        let refused = socket.halves().0.send_vectored(&[IoSlice::new(b"x")], Wait::Block);
        assert!(matches!(refused, Err(Error::PeerAtFault(told)) if told == alert), "{error}: {refused:?}");
    }
    assert_eq!(peer.receive(), Some((ContentType::Alert, alert.to_bytes().to_vec())), "{error}");
}

fn bad(is_it: impl Fn(&BadRecord) -> bool) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::BadRecord(record) if is_it(record))
}

/// A handshake message that RFC 8446 does not allow here.
fn handshake(error: &Error) -> bool {
    matches!(error, Error::Handshake(_))
}

fn not_authentic(record: &BadRecord) -> bool {
    matches!(record, BadRecord::NotAuthentic { .. })
}

fn empty(wanted: ContentType) -> impl Fn(&Error) -> bool {
    bad(move |record| matches!(record, BadRecord::Empty { content_type } if *content_type == wanted))
}

fn can_rekey(layer: Layer) -> bool {
    layer == Layer::Process || probe().rekey
}

fn message(kind: u8, len: usize) -> Vec<u8> {
    let [.., high, middle, low] = len.to_be_bytes();
    [&[kind, high, middle, low][..], &vec![9; len]].concat()
}

fn an_empty_alert(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, b"");
    is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, empty(ContentType::Alert));
}

fn an_empty_handshake_record(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, b"");
    is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, empty(ContentType::Handshake));
}

/// More records without data than are taken, each made by `send`.
fn flood(layer: Layer, mut send: impl FnMut(&mut Peer, u64)) {
    let (mut socket, mut peer) = with_peer(layer);
    for n in 0..=MAX_IDLE_RECORDS {
        send(&mut peer, n.into());
    }
    is_refused(
        &mut socket,
        &mut peer,
        Alert::UNEXPECTED_MESSAGE,
        bad(|record| *record == BadRecord::TooManyIdle),
    );
}

fn a_flood_of_empty_data(layer: Layer) {
    // The kernel passes over empty data that something follows, without a trace: it cannot be counted, nor
    // does it cost this process anything. So there the flood is one that can be seen, one by one.
    let (mut socket, mut peer) = with_peer(layer);
    for _ in 0..=MAX_IDLE_RECORDS {
        peer.send_data(b"");
    }
    let refused = bad(|record| *record == BadRecord::TooManyIdle);
    if layer == Layer::Process {
        is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, refused);
    } else {
        match receive(&mut socket, Wait::Now) {
            Err(error) => assert!(refused(&error) || error.is_would_block(), "{error:?}"),
            Ok(data) => panic!("an empty record ended the stream: {data:?}"),
        }
    }
}

fn a_flood_of_padding_alone(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let record = [&[23][..], &[0; 1000]].concat();
    for n in 0..=MAX_IDLE_RECORDS {
        peer.send_raw(&raw_record(n.into(), &record));
    }
    let refused = bad(|record| *record == BadRecord::TooManyIdle);
    match receive(&mut socket, Wait::Now) {
        Err(error) => assert!(refused(&error) || (layer == Layer::Kernel && error.is_would_block())),
        Ok(data) => panic!("an empty record ended the stream: {data:?}"),
    }
}

fn a_flood_of_tickets(layer: Layer) {
    flood(layer, |peer, _| peer.send(ContentType::Handshake, &message(4, 30)));
}

fn a_flood_of_key_updates(layer: Layer) {
    if can_rekey(layer) {
        flood(layer, |peer, _| {
            peer.send(ContentType::Handshake, &key_update_message(true));
            peer.sealer.rekey();
        });
    } else {
        let (mut socket, mut peer) = with_peer(layer);
        for _ in 0..=MAX_IDLE_RECORDS {
            peer.send(ContentType::Handshake, &key_update_message(true));
            peer.sealer.rekey();
        }
        let error =
            ends(&mut socket, |error| matches!(error, Error::RekeyUnsupported { direction: Flow::Receive }));
        assert!(error.needs_new_connection());
    }
}

fn a_flood_of_user_canceled(layer: Layer) {
    flood(layer, |peer, _| peer.send(ContentType::Alert, &Alert::USER_CANCELED.to_bytes()));
}

fn too_long(error: &Error) -> bool {
    matches!(error, Error::BadRecord(BadRecord::TooLong { .. }))
}

fn a_plaintext_of_one_byte_too_many(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&raw_record(0, &[&pattern(FRAGMENT + 1)[..], &[23]].concat()));
    is_refused(&mut socket, &mut peer, Alert::RECORD_OVERFLOW, too_long);
}

fn padding_beyond_the_largest_plaintext(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let mut inner = b"short\x17".to_vec();
    inner.resize(FRAGMENT + 2, 0);
    peer.send_raw(&raw_record(0, &inner));
    is_refused(&mut socket, &mut peer, Alert::RECORD_OVERFLOW, too_long);
}

fn a_ciphertext_of_one_byte_too_many(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let [high, low] = (FRAGMENT as u16 + 257).to_be_bytes();
    peer.send_raw(&[23, 3, 3, high, low]);
    is_refused(&mut socket, &mut peer, Alert::RECORD_OVERFLOW, too_long);
}

/// The kernel has one answer to a record without a content type and to one that is not authentic.
fn a_record_without_a_content_type(layer: Layer) {
    for len in [1, 2, 100, FRAGMENT + 1] {
        let (mut socket, mut peer) = with_peer(layer);
        peer.send_raw(&raw_record(0, &vec![0; len]));
        if layer == Layer::Process {
            let is_it = bad(|record| *record == BadRecord::NoContentType);
            is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, is_it);
        } else {
            is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, bad(not_authentic));
        }
    }
}

fn is_of_inner_type(layer: Layer, inner: &[u8]) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&raw_record(0, inner));
    let wanted = *inner.last().unwrap();
    let is_it = bad(move |record| *record == BadRecord::InnerType { got: wanted });
    is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, is_it);
}

fn an_unknown_content_type(layer: Layer) {
    for content_type in [1, 19, 24, 25, 26, 127, 255] {
        is_of_inner_type(layer, &[b'x', content_type]);
        is_of_inner_type(layer, &[content_type]);
    }
}

fn a_protected_change_cipher_spec(layer: Layer) {
    is_of_inner_type(layer, &[1, 20]);
}

/// The kernel does not look at the outer type: what is not sealed is not authentic to it, if it is long
/// enough to be waited for.
fn plain_text_is_refused(layer: Layer, content_type: u8, content: &[u8]) {
    let (mut socket, mut peer) = with_peer(layer);
    let [.., high, low] = content.len().to_be_bytes();
    peer.send_raw(&[&[content_type, 3, 3, high, low][..], content].concat());
    if layer == Layer::Process {
        let is_it = bad(move |record| *record == BadRecord::OuterType { got: content_type });
        is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, is_it);
    } else {
        is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, bad(not_authentic));
    }
}

fn a_change_cipher_spec_after_the_handshake(layer: Layer) {
    plain_text_is_refused(layer, 20, &[1]);
}

fn an_alert_in_plain_text(layer: Layer) {
    // Somebody on the way could forge it: it must not end the stream as a close_notify does.
    plain_text_is_refused(layer, 21, &Alert::CLOSE_NOTIFY.to_bytes());
}

fn a_handshake_message_in_plain_text(layer: Layer) {
    plain_text_is_refused(layer, 22, &message(4, 100));
}

/// Only the header is wrong. The kernel takes it for what it would be with the right one; either way nothing
/// but authentic data comes out.
fn a_sealed_record_of_another_outer_type(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let mut record = raw_record(0, b"data\x17");
    record[0] = 22;
    peer.send_raw(&record);
    if layer == Layer::Process {
        let is_it = bad(|record| *record == BadRecord::OuterType { got: 22 });
        is_refused(&mut socket, &mut peer, Alert::UNEXPECTED_MESSAGE, is_it);
    } else {
        match receive(&mut socket, Wait::Block) {
            Ok(data) => assert_eq!(data, b"data"),
            Err(error) => assert!(matches!(error, Error::BadRecord(_)), "{error:?}"),
        }
    }
}

/// RFC 8446, section 5.1: it "MUST be ignored"; but it is authentic data too, so what changed it is seen.
fn another_version_in_the_header(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let mut record = raw_record(0, b"data\x17");
    record[2] = 4;
    peer.send_raw(&record);
    if layer == Layer::Process {
        is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, bad(not_authentic));
    } else {
        let is_it = bad(|record| *record == BadRecord::Header);
        is_refused(&mut socket, &mut peer, Alert::PROTOCOL_VERSION, is_it);
    }
}

fn is_too_short(layer: Layer, len: u8) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&[&[23, 3, 3, 0, len][..], &vec![7; len.into()]].concat());
    let is_it = bad(move |record| match layer {
        Layer::Process => *record == BadRecord::TooShort { len: len.into(), min: 17 },
        _ => not_authentic(record),
    });
    is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, is_it);
}

fn a_record_without_a_body(layer: Layer) {
    is_too_short(layer, 0);
}

fn a_record_shorter_than_its_tag(layer: Layer) {
    is_too_short(layer, 1);
    is_too_short(layer, 15);
    // A tag and nothing to be sealed by it, not even a content type.
    is_too_short(layer, 16);
}

fn a_record_sent_twice(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let record = raw_record(0, b"once\x17");
    peer.send_raw(&record);
    assert_eq!(receive(&mut socket, Wait::Block).unwrap(), b"once");
    peer.send_raw(&record);
    is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, bad(not_authentic));
}

fn records_in_the_wrong_order(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&raw_record(1, b"second\x17"));
    peer.send_raw(&raw_record(0, b"first\x17"));
    is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, bad(not_authentic));
}

/// The kernel gives the error of a header to whoever calls first, and only once.
fn garbage_that_the_sending_half_meets_first(layer: Layer) {
    for garbage in [[23, 3, 3, 0xff, 0xff], [23, 3, 9, 0, 50], [0x55; 5]] {
        let (mut socket, mut peer) = with_peer(layer);
        peer.send_data(b"good");
        peer.send_raw(&garbage);
        peer.send_raw(&[0; 50]);
        peer.cut();
        let (send, _) = socket.halves();
        // However far it comes: no error of the receiving direction under another name.
        for _ in 0..10 {
            match send.send_vectored(&[IoSlice::new(b"x")], Wait::Block) {
                Ok(_) => {}
                Err(Error::PeerAtFault(_)) => break,
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(receive(&mut socket, Wait::Block).unwrap(), b"good");
        ends(&mut socket, |error| matches!(error, Error::BadRecord(_)));
        let refused = socket.halves().0.send_vectored(&[IoSlice::new(b"x")], Wait::Block);
        assert!(matches!(refused, Err(Error::PeerAtFault(_))), "{refused:?}");
        while let Some((content_type, content)) = peer.receive() {
            if content_type == ContentType::Alert {
                assert_eq!(content[0], 2);
                break;
            }
        }
    }
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
    is_refused_message(layer, &message(4, MAX_MESSAGE_LEN + 1)[..4], Alert::ILLEGAL_PARAMETER);
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
    peer.sealer.rekey();
    peer.send_data(b"new key");
    is_refused(&mut socket, &mut peer, Alert::BAD_RECORD_MAC, bad(not_authentic));
}
