//! Headers, lengths, content types and keys.

use std::io::IoSlice;

use ktls::alert::Alert;
use ktls::record::{BadRecord, ContentType, MAX_IDLE_RECORDS};
use ktls::{Error, Layer, Wait};

use crate::socket_support::{self, FRAGMENT, pattern, raw_record, with_peer};
use crate::{bad, ends, is_refused, message, not_authentic, plain_text_is_refused, receive};

with_both_layers!(
    a_flood_of_empty_data,
    a_flood_of_padding_alone,
    a_plaintext_of_one_byte_too_many,
    padding_beyond_the_largest_plaintext,
    a_ciphertext_of_one_byte_too_many,
    a_record_without_a_content_type,
    an_unknown_content_type,
    a_protected_change_cipher_spec,
    a_change_cipher_spec_after_the_handshake,
    a_handshake_message_in_plain_text,
    a_sealed_record_of_another_outer_type,
    another_version_in_the_header,
    a_record_without_a_body,
    a_record_shorter_than_its_tag,
    a_record_sent_twice,
    records_in_the_wrong_order,
    garbage_that_the_sending_half_meets_first,
);

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

fn a_change_cipher_spec_after_the_handshake(layer: Layer) {
    plain_text_is_refused(layer, 20, &[1]);
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
        // The kernel looks at a header when the record before it was taken.
        for good in [&b"good"[..], b""] {
            let (mut socket, mut peer) = with_peer(layer);
            if !good.is_empty() {
                peer.send_data(good);
            }
            peer.send_raw(&[&garbage[..], &[0; 50]].concat());
            let (send, _) = socket.halves();
            // However far it comes: no error of the receiving direction under another name.
            for _ in 0..10 {
                match send.send_vectored(&[IoSlice::new(b"x")], Wait::Block) {
                    Ok(_) => {}
                    Err(Error::PeerAtFault(_)) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
            if !good.is_empty() {
                assert_eq!(receive(&mut socket, Wait::Block).unwrap(), good);
            }
            ends(&mut socket, |error| matches!(error, Error::BadRecord(_)));
            let refused = socket.halves().0.send_vectored(&[IoSlice::new(b"x")], Wait::Block);
            assert!(matches!(refused, Err(Error::PeerAtFault(_))), "{refused:?}");
            // Data may have gone before the alert.
            while peer.receive().expect("an alert").0 != ContentType::Alert {}
        }
    }
}
