//! Everything a peer can send on the record level after the handshake that it should not, in both layers.
//! The hostile peer seals in the process, so the kernel's receiving side gets authentic records too.
//!
//! Each must end in a typed error that stays, never in an EIO; the peer is told by an alert where RFC 8446
//! has one.

#[macro_use]
#[path = "../socket_support/mod.rs"]
mod socket_support;

mod alerts;
mod messages;
mod records;

use std::io::{IoSlice, IoSliceMut};

use ktls::alert::Alert;
use ktls::record::{BadRecord, ContentType, MAX_IDLE_RECORDS};
use ktls::{Error, Layer, Socket, Wait, probe};
use socket_support::{Peer, with_peer};

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
